"""Bank transfers: recorded by one of finance, confirmed by another, taken back by two."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import Organization, User
from billing.admin.steps import organization_of, take_step
from billing.forms.transfers import TransferDisputeForm, TransferForm
from billing.models import BankTransfer
from billing.selectors import transfers as selectors
from billing.services.transfers import (
    PERMISSION,
    confirm_transfer,
    discard_transfer,
    dispute_transfer,
    record_transfer,
    take_back_transfer,
)
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:billing_banktransfer_changelist"
DETAIL = "admin:billing_banktransfer_detail"
STEPS: dict[str, Callable[..., BankTransfer]] = {
    "confirm": confirm_transfer,
    "discard": discard_transfer,
    "take_back": take_back_transfer,
}
Status = BankTransfer.Status


@admin.register(BankTransfer)
class BankTransferAdmin(ReadingAdmin):
    """The list with a form for what arrived, and a page for each. A transfer is never edited but recorded anew."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.transfers), name=LIST.removeprefix("admin:")),
            path("<str:public_id>/", view(self.transfer), name=DETAIL.removeprefix("admin:")),
        ]

    def transfers(self, request: HttpRequest) -> HttpResponse:
        """List transfers; POST records one."""
        self.check_reading(request)
        may_record = request.user.has_perm(PERMISSION)
        form = TransferForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_record)
            if form.is_valid() and (transfer := _recorded(form, by, timezone.now())):
                messages.success(request, _("Recorded. Somebody else has to confirm it."))
                return redirect(DETAIL, transfer.public_id)
        with as_platform():
            organization = organization_of(request)
            rows = selectors.transfer_rows(organization)
        context = {
            "title": _("Bank transfers"),
            "organization": organization,
            "rows": rows,
            "form": form if may_record else None,
        }
        return self.answer(request, "admin/transfers.html", context)

    def transfer(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show one transfer and what it pays; POST takes the next step."""
        self.check_reading(request)
        is_dispute = request.POST.get("step") == "dispute"
        form = TransferDisputeForm(request.POST if is_dispute else None)
        with as_platform():
            transfer = selectors.find_transfer(public_id)
            if transfer is None:
                raise Http404
            may_change = request.user.has_perm(PERMISSION)
            if request.method == "POST":
                by = self.check_changing(request, is_allowed=may_change)
                if _step(request, transfer, form, by):
                    return redirect(DETAIL, public_id)
            may_dispute = may_change and transfer.can_become(Status.TAKEN_BACK)
            context = {
                "title": _("Bank transfer"),
                "row": selectors.transfer_row(transfer),
                "paid": selectors.paid_rows(transfer),
                "steps": _steps(transfer, request) if may_change else [],
                "form": form if may_dispute and not transfer.disputed_by else None,
            }
        return self.answer(request, "admin/transfer.html", context)


def _recorded(form: TransferForm, by: User, now: datetime) -> BankTransfer | None:
    """Record what the form says; None, with the form saying why, when that is refused."""
    slug, arrived = form.cleaned_data["organization"], form.arrived()
    with as_platform():
        if slug:
            organization = Organization.objects.filter(slug=slug).first()
        else:
            organization = selectors.organization_named_in(arrived.reference)
        if organization is None:
            form.add_error("organization", _("There is no organization with this address, or invoice of that number."))
            return None
        try:
            matches = form.cleaned_data["invoices"] or None
            return record_transfer(organization=organization, arrived=arrived, matches=matches, by=by, now=now)
        except DomainError as error:
            form.add_error(None, str(error))
            return None


def _step(request: HttpRequest, transfer: BankTransfer, form: TransferDisputeForm, by: User) -> bool:
    word, now = request.POST.get("step", ""), timezone.now()
    if word == "dispute" and form.is_valid():
        because = form.cleaned_data["because"]
        return take_step(request, lambda: dispute_transfer(transfer=transfer, because=because, by=by, now=now))
    step = STEPS.get(word)
    return take_step(request, step and partial(step, transfer=transfer, by=by, now=now))


def _steps(transfer: BankTransfer, request: HttpRequest) -> list[tuple[str, str]]:
    """Return what may be pressed: (word, label)."""
    me = getattr(request.user, "public_id", "")
    found = []
    if transfer.can_become(Status.CONFIRMED) and transfer.recorded_by != me:
        found.append(("confirm", _("Confirm")))
    if transfer.can_become(Status.DISCARDED):
        found.append(("discard", _("Discard")))
    if transfer.can_become(Status.TAKEN_BACK) and transfer.disputed_by not in ("", me):
        found.append(("take_back", _("Take it back")))
    return found
