"""Pages of staff: changes of the price list, which one proposes and another publishes."""

import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.models import User
from catalog import selectors
from catalog.forms import PriceProposalForm
from catalog.models import PriceProposal
from catalog.services.proposals import APPROVE, PROPOSE, decline_proposal, propose_price, publish_proposal
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:catalog_priceproposal_changelist"
DECISIONS: dict[str, Callable[..., object]] = {"publish": publish_proposal, "decline": decline_proposal}


@admin.register(PriceProposal)
class PriceProposalAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """One page: what is proposed, what was decided, and a form for a new proposal. No version is edited anywhere."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.proposals), name=LIST.removeprefix("admin:"))]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def proposals(self, request: HttpRequest) -> HttpResponse:
        """Show the proposals; POST proposes, publishes or declines."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        decision = request.POST.get("decision", "")
        form = PriceProposalForm(request.POST if request.method == "POST" and not decision else None)
        if request.method == "POST":
            _check_change(request)
            with as_platform():
                done = _decide(request, decision) if decision else _propose(request, form, timezone.now())
            if done:
                messages.success(request, done)
                return redirect(LIST)
        with as_platform():
            rows = selectors.proposal_rows()
        context = {
            **self.admin_site.each_context(request),
            "title": _("Price changes"),
            "rows": rows,
            "form": form if request.user.has_perm(PROPOSE) else None,
            "may_approve": request.user.has_perm(APPROVE),
            "own_id": request.user.pk,
        }
        status = HTTPStatus.UNPROCESSABLE_ENTITY if request.method == "POST" else HTTPStatus.OK
        return TemplateResponse(request, "admin/price_proposals.html", context, status=status)


def _check_change(request: HttpRequest) -> None:
    if not (request.user.has_perm(PROPOSE) or request.user.has_perm(APPROVE)):
        raise PermissionDenied
    if not is_sign_in_recent(request, time.time()):
        raise ReauthenticationRequired


def _propose(request: HttpRequest, form: PriceProposalForm, now: datetime) -> str:
    """Return what to say of a proposal, "" with the form saying why when it is refused."""
    if not form.is_valid() or not isinstance(request.user, User):
        return ""
    given = form.cleaned_data
    try:
        propose_price(
            sku=given["sku"],
            price_nano=form.price_nano,
            tiers=form.tiers,
            active_from=given["active_from"],
            reason=given["reason"],
            by=request.user,
            now=now,
        )
    except DomainError as error:
        form.add_error(None, str(error))
        return ""
    return _("Proposed. Somebody else has to publish it.")


def _decide(request: HttpRequest, decision: str) -> str:
    """Return what to say of a decision, "" with a message when it is refused."""
    public_id = request.POST.get("proposal", "")
    # PostgreSQL takes no NUL in a text.
    proposal = None if "\0" in public_id else PriceProposal.objects.filter(public_id=public_id).first()
    if proposal is None or decision not in DECISIONS:
        messages.error(request, _("There is no such proposal."))
        return ""
    try:
        DECISIONS[decision](proposal=proposal, by=request.user, now=timezone.now())
    except DomainError as error:
        messages.error(request, str(error))
        return ""
    return _("Done.")
