"""Changes of the price list by staff: one proposes, another publishes. For the platform role.

What is published is a new version (catalog.services.prices): none that was ever in force is edited.
"""

from datetime import datetime

from django.db import transaction

from accounts.models import User
from catalog.models import Price, PriceProposal, Sku
from catalog.services.prices import end_price, publish_price
from portal.lib.errors import DomainError
from portal.lib.tiers import NO_TIERS, BadTiers, Tiers, make_tiers, stored

PROPOSE = "catalog.propose_price"
APPROVE = "catalog.approve_price"


class UnableToProposePrice(DomainError):
    code = "unable_to_propose_price"


class UnableToDecideProposal(DomainError):
    code = "unable_to_decide_proposal"


@transaction.atomic
def propose_price(
    *,
    sku: str,
    price_nano: int | None,
    active_from: datetime,
    reason: str,
    by: User,
    now: datetime,
    tiers: Tiers = NO_TIERS,
) -> PriceProposal:
    """Propose a version of a SKU's price, or with None that it is no longer sold.

    Raises UnableToProposePrice if `by` may not, for a SKU that is unknown, has never had a price or waits for another
    decision, or for what could not be published as it is.
    """
    if not by.is_staff or not by.has_perm(PROPOSE):
        raise UnableToProposePrice("You may not propose prices.")
    found = Sku.objects.select_for_update().filter(code=sku).first()
    if found is None or not Price.objects.filter(sku=found).exists():
        raise UnableToProposePrice("There is no such SKU on the price list.")
    if PriceProposal.objects.open().filter(sku=found).exists():
        raise UnableToProposePrice("Another change of this SKU waits for a decision.")
    try:
        make_tiers(tiers.mode, stored(tiers), price_nano=price_nano or 0)
    except BadTiers as error:
        raise UnableToProposePrice(str(error)) from error
    proposal = PriceProposal(
        sku=found,
        price_nano=price_nano,
        tier_mode=tiers.mode.value,
        tiers=stored(tiers),
        active_from=active_from,
        reason=reason,
        proposed_by=by,
        proposed_at=now,
    )
    _try(proposal, now)
    proposal.save(force_insert=True)
    return proposal


@transaction.atomic
def publish_proposal(*, proposal: PriceProposal, by: User, now: datetime) -> Price:
    """Publish what somebody else has proposed, and return the version that begins, or the one that ends.

    Raises UnableToDecideProposal if `by` may not or has proposed it, or when it is decided; UnableToPublishPrice or
    UnableToEndPrice when its time has passed or notice is too short by now.
    """
    proposal = _locked(proposal, by)
    if proposal.proposed_by_id == by.pk:
        raise UnableToDecideProposal("Somebody else publishes what you have proposed.")
    price = _apply(proposal, now)
    _decide(proposal, PriceProposal.Status.PUBLISHED, by, now)
    return price


@transaction.atomic
def decline_proposal(*, proposal: PriceProposal, by: User, now: datetime) -> PriceProposal:
    """Leave the list as it is; whoever proposed may take it back so. Raises UnableToDecideProposal."""
    return _decide(_locked(proposal, by, or_proposer=True), PriceProposal.Status.DECLINED, by, now)


def _locked(proposal: PriceProposal, by: User, *, or_proposer: bool = False) -> PriceProposal:
    proposal = PriceProposal.objects.select_for_update(no_key=True).get(pk=proposal.pk)
    is_own = or_proposer and proposal.proposed_by_id == by.pk
    if not by.is_staff or not (by.has_perm(APPROVE) or is_own):
        raise UnableToDecideProposal("You may not decide about prices.")
    if proposal.status != PriceProposal.Status.OPEN:
        raise UnableToDecideProposal(f"It is {proposal.get_status_display().lower()} already.")
    return proposal


def _decide(proposal: PriceProposal, status: PriceProposal.Status, by: User, now: datetime) -> PriceProposal:
    proposal.status, proposal.decided_by, proposal.decided_at = status, by, now
    proposal.save(update_fields=["status", "decided_by", "decided_at"])
    return proposal


def _try(proposal: PriceProposal, now: datetime) -> None:
    """Raise what publishing would raise, and leave the list as it is."""
    with transaction.atomic():
        _apply(proposal, now)
        transaction.set_rollback(True)


def _apply(proposal: PriceProposal, now: datetime) -> Price:
    sku = proposal.sku
    if proposal.price_nano is None:
        return end_price(sku=sku, active_to=proposal.active_from, now=now)
    latest = Price.objects.filter(sku=sku).order_by("-version")[0]
    return publish_price(
        sku=sku,
        price_nano=proposal.price_nano,
        unit_size=latest.unit_size,
        active_from=proposal.active_from,
        tiers=make_tiers(proposal.tier_mode, proposal.tiers, price_nano=proposal.price_nano),
        now=now,
    )
