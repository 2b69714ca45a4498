"""Contracts: drafted by one of staff, looked at with what they would have cost, approved and published by another."""

import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.models import Organization, User
from billing.admin.reading import ReadingAdmin, organization_of
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
            self._check_change(request, may_draft)
            if form.is_valid() and (contract := _drafted(form, request.user, timezone.now())):
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
        return self._page(request, "admin/contracts.html", context, is_refused=form.is_bound)

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
                self._check_change(request, may_approve or request.user.has_perm(DRAFT))
                if self._step(request, contract, form):
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
        return self._page(request, "admin/contract.html", context, is_refused=request.method == "POST")

    def _check_change(self, request: HttpRequest, is_allowed: bool) -> None:
        if not is_allowed:
            raise PermissionDenied
        if not is_sign_in_recent(request, time.time()):
            raise ReauthenticationRequired

    def _step(self, request: HttpRequest, contract: Contract, form: ContractEndForm) -> bool:
        """Take the step that was asked for; False, with a message, when it is refused."""
        step, now = request.POST.get("step", ""), timezone.now()
        try:
            if step in STEPS:
                STEPS[step](contract=contract, by=request.user, now=now)
            elif step == "end" and form.is_valid():
                end_contract(contract=contract, active_to=form.cleaned_data["active_to"], by=_staff(request), now=now)
            else:
                return False
        except DomainError as error:
            messages.error(request, str(error))
            return False
        messages.success(request, _("Done. It is in the organization's audit log."))
        return True

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any], *, is_refused: bool) -> HttpResponse:
        response = self.page(request, template, context)
        response.status_code = HTTPStatus.UNPROCESSABLE_ENTITY if is_refused else HTTPStatus.OK
        return response


def _staff(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # noqa: S101  # for the type checker: the admin lets nobody else in
    return request.user


def _drafted(form: ContractForm, by: object, now: datetime) -> Contract | None:
    """Draft what the form says; None, with the form saying why, when that is refused."""
    assert isinstance(by, User)  # noqa: S101  # for the type checker
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
