"""Contracts: drafted by one of staff, looked at with what they would have cost, approved and published by another."""

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
from billing.forms.contracts import ContractEndForm, ContractForm
from billing.models import Contract
from billing.selectors import burn_downs, contract_twin, staff_contracts
from billing.services.contracts import (
    APPROVE,
    DRAFT,
    approve_contract,
    discard_contract,
    draft_contract,
    end_contract,
    publish_contract,
)
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:billing_contract_changelist"
DETAIL = "admin:billing_contract_detail"
STEPS: dict[str, Callable[..., Contract]] = {
    "approve": approve_contract,
    "publish": publish_contract,
    "discard": discard_contract,
}


@admin.register(Contract)
class ContractAdmin(ReadingAdmin):
    """The list with a form for a draft, and a page for each. A contract is never edited but drafted anew."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("", view(self.contracts), name=LIST.removeprefix("admin:")),
            path("<str:public_id>/", view(self.contract), name=DETAIL.removeprefix("admin:")),
        ]

    def contracts(self, request: HttpRequest) -> HttpResponse:
        """List contracts; POST drafts one."""
        self.check_reading(request)
        may_draft = request.user.has_perm(DRAFT)
        form = ContractForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_draft)
            if form.is_valid() and (contract := _drafted(form, by, timezone.now())):
                messages.success(request, _("Drafted. Somebody else has to approve it."))
                return redirect(DETAIL, contract.public_id)
        with as_platform():
            organization = organization_of(request)
            rows = staff_contracts.contract_rows(organization)
        context = {
            "title": _("Contracts"),
            "organization": organization,
            "rows": rows,
            "form": form if may_draft else None,
        }
        return self.answer(request, "admin/contracts.html", context)

    def contract(self, request: HttpRequest, public_id: str) -> HttpResponse:
        """Show a contract and its twin; POST takes the next step."""
        self.check_reading(request)
        with as_platform():
            contract = staff_contracts.find_contract(public_id)
            if contract is None:
                raise Http404
            now = timezone.now()
            form = ContractEndForm(request.POST if request.POST.get("step") == "end" else None)
            may_approve = request.user.has_perm(APPROVE)
            if request.method == "POST":
                by = self.check_changing(request, is_allowed=may_approve or request.user.has_perm(DRAFT))
                if _step(request, contract, form, by):
                    return redirect(DETAIL, public_id)
            context = {
                "title": contract.name,
                "row": staff_contracts.contract_row(contract),
                "prices": staff_contracts.agreed_rows(contract),
                "burn_down": next(
                    (one for one in burn_downs(contract.organization, now) if one.contract == public_id), None
                ),
                "twin": contract_twin(contract, now),
                "steps": _steps(contract, request),
                "form": form if may_approve and contract.status == Contract.Status.PUBLISHED else None,
            }
        return self.answer(request, "admin/contract.html", context)


def _step(request: HttpRequest, contract: Contract, form: ContractEndForm, by: User) -> bool:
    word, now = request.POST.get("step", ""), timezone.now()
    if word == "end" and form.is_valid():
        ends = form.cleaned_data["active_to"]
        return take_step(request, lambda: end_contract(contract=contract, active_to=ends, by=by, now=now))
    step = STEPS.get(word)
    return take_step(request, step and partial(step, contract=contract, by=by, now=now))


def _drafted(form: ContractForm, by: User, now: datetime) -> Contract | None:
    """Draft what the form says; None, with the form saying why, when that is refused."""
    with as_platform():
        organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
        if organization is None:
            form.add_error("organization", _("There is no organization with this address."))
            return None
        try:
            return draft_contract(organization=organization, terms=form.terms(), by=by, now=now)
        except DomainError as error:
            form.add_error(None, str(error))
            return None


def _steps(contract: Contract, request: HttpRequest) -> list[tuple[str, str]]:
    """Return what may be pressed: (word, label)."""
    found = []
    may_approve, may_draft = request.user.has_perm(APPROVE), request.user.has_perm(DRAFT)
    is_own = contract.drafted_by_id == request.user.pk
    if may_approve and not is_own and contract.can_become(Contract.Status.APPROVED):
        found.append(("approve", _("Approve")))
    if may_approve and contract.can_become(Contract.Status.PUBLISHED):
        found.append(("publish", _("Publish")))
    if (may_approve or may_draft) and contract.can_become(Contract.Status.DISCARDED):
        found.append(("discard", _("Discard")))
    return found
