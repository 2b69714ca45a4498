"""Pages of staff: changes of the price list, which one proposes and another publishes."""

from collections.abc import Callable
from datetime import datetime

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
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
class PriceProposalAdmin(ReadingAdmin):
    """One page: what is proposed, what was decided, and a form for a new proposal. No version is edited anywhere."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.proposals), name=LIST.removeprefix("admin:"))]

    def proposals(self, request: HttpRequest) -> HttpResponse:
        """Show the proposals; POST proposes, publishes or declines."""
        self.check_reading(request)
        decision = request.POST.get("decision", "")
        form = PriceProposalForm(request.POST if request.method == "POST" and not decision else None)
        may_propose, may_approve = request.user.has_perm(PROPOSE), request.user.has_perm(APPROVE)
        if request.method == "POST":
            self.check_changing(request, is_allowed=may_propose or may_approve)
            with as_platform():
                done = _decide(request, decision) if decision else _propose(request, form, timezone.now())
            if done:
                messages.success(request, done)
                return redirect(LIST)
        with as_platform():
            rows = selectors.proposal_rows()
        context = {
            "title": _("Price changes"),
            "rows": rows,
            "form": form if may_propose else None,
            "may_approve": may_approve,
            "own_id": request.user.pk,
        }
        return self.answer(request, "admin/price_proposals.html", context)


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
