"""Refunds: what waits, what was paid back; proposed by one of finance and approved by another."""

from collections.abc import Callable
from functools import partial

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import User
from billing.admin.steps import organization_of, take_step
from billing.forms.finance import RefundForm
from billing.models import Payment, Refund
from billing.selectors import refunds
from billing.services.refunds import APPROVE, PROPOSE, approve_refund, decline_refund, propose_refund
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:billing_refund_changelist"
DETAIL = "admin:billing_refund_detail"
STEPS: dict[str, Callable[..., Refund]] = {"approve": approve_refund, "decline": decline_refund}


@admin.register(Refund)
class RefundAdmin(ReadingAdmin):
    """The list with a form to propose one, and a page for each where another person decides."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.refunds), name=LIST.removeprefix("admin:")),
            path("<str:public_id>/", view(self.refund), name=DETAIL.removeprefix("admin:")),
        ]

    def refunds(self, request: HttpRequest) -> HttpResponse:
        """List refunds; POST proposes one."""
        self.check_reading(request)
        may_propose = request.user.has_perm(PROPOSE)
        form = RefundForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_propose)
            if form.is_valid() and (refund := _proposed(form, by)):
                messages.success(request, _("Proposed. Somebody else has to approve it."))
                return redirect(DETAIL, refund.public_id)
        with as_platform():
            organization = organization_of(request)
            rows = refunds.staff_refund_rows(organization)
        context = {"title": _("Refunds"), "organization": organization, "rows": rows}
        return self.answer(request, "admin/refunds.html", context | {"form": form if may_propose else None})

    def refund(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show a refund; POST decides about it."""
        self.check_reading(request)
        with as_platform():
            refund = refunds.find_refund(public_id)
            if refund is None:
                raise Http404
            if request.method == "POST":
                is_allowed = request.user.has_perm(APPROVE) or request.user.has_perm(PROPOSE)
                by = self.check_changing(request, is_allowed=is_allowed)
                if _decided(refund, request, by):
                    return redirect(DETAIL, public_id)
            context = {
                "title": public_id,
                "row": refunds.refund_row(refund),
                "steps": _steps(refund, self.staff(request)),
            }
        return self.answer(request, "admin/refund.html", context)


def _proposed(form: RefundForm, by: User) -> Refund | None:
    """Propose what the form says; None, with the form saying why, when that is refused."""
    with as_platform():
        payment = Payment.objects.filter(public_id=form.cleaned_data["payment"]).first()
        if payment is None:
            form.add_error("payment", _("There is no payment with this id."))
            return None
        try:
            return propose_refund(
                payment=payment,
                amount_cents=form.amount_cents(),
                reason=form.cleaned_data["reason"],
                by=by,
                now=timezone.now(),
            )
        except DomainError as error:
            form.add_error(None, str(error))
            return None


def _decided(refund: Refund, request: HttpRequest, by: User) -> bool:
    step = STEPS.get(request.POST.get("step", ""))
    return take_step(request, step and partial(step, refund=refund, by=by, now=timezone.now()))


def _steps(refund: Refund, user: User) -> list[tuple[str, str]]:
    """Return what may be pressed: (word, label)."""
    if refund.state != Refund.State.ASKED:
        return []
    found = []
    if user.has_perm(APPROVE) and refund.asked_by != user.public_id:
        found.append(("approve", _("Approve: take the credit back and send the money")))
    if user.has_perm(APPROVE) or user.has_perm(PROPOSE):
        found.append(("decline", _("Decline")))
    return found
