"""Proposed changes of the price list as pages of staff print them."""

from dataclasses import dataclass
from datetime import datetime

from catalog.models import PriceProposal
from portal.lib.money import decimal_string

NEWEST = 200


@dataclass(frozen=True, slots=True)
class ProposalRow:
    public_id: str
    sku: str
    price: str  # exact decimal; empty: no longer sold
    tiers: str  # in words, as they are written
    active_from: datetime
    reason: str
    status: str
    is_open: bool
    proposed_by: str
    proposed_by_id: int
    decided_by: str


def proposal_rows() -> list[ProposalRow]:
    """Return the newest 200 proposals, those that wait first."""
    proposals = PriceProposal.objects.select_related("sku", "proposed_by", "decided_by").order_by("-pk")[:NEWEST]
    return sorted((_row(proposal) for proposal in proposals), key=lambda row: not row.is_open)


def _row(proposal: PriceProposal) -> ProposalRow:
    steps = [f"{above}:{decimal_string(nano)}" for above, nano in proposal.tiers]
    return ProposalRow(
        public_id=proposal.public_id,
        sku=proposal.sku.code,
        price="" if proposal.price_nano is None else decimal_string(proposal.price_nano),
        tiers=" ".join([proposal.tier_mode, *steps]) if steps else "",
        active_from=proposal.active_from,
        reason=proposal.reason,
        status=proposal.get_status_display(),
        is_open=proposal.status == PriceProposal.Status.OPEN,
        proposed_by=proposal.proposed_by.public_id,
        proposed_by_id=proposal.proposed_by_id,
        decided_by=proposal.decided_by.public_id if proposal.decided_by else "",
    )
