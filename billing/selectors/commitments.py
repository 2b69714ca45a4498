"""What organizations committed themselves to use, and how much of it they have. Rules: docs/algorithms/invoicing.md."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum

from accounts.models import Organization
from billing.invoicing import Commitment
from billing.models import Contract, InvoiceLine
from billing.selectors.unbilled import unbilled_usage
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd
from portal.lib.periods import month_of


def commitments_of(organization_id: int, *, before: datetime) -> list[Commitment]:
    """Return what an organization is committed to in terms that begin before an instant, with what was billed of it."""
    contracts = Contract.objects.filter(organization_id=organization_id).committed()
    return [
        _commitment(contract) for contract in contracts.filter(committed_from__lt=before).order_by("committed_from")
    ]


def _commitment(contract: Contract) -> Commitment:
    assert contract.committed_from is not None  # noqa: S101  # the table says so
    assert contract.committed_until is not None  # noqa: S101
    lines = InvoiceLine.objects.of_organization(contract.organization_id).live()
    used = lines.filter(contract=None, month__gte=contract.committed_from, month__lt=contract.committed_until)
    return Commitment(
        contract.public_id,
        contract.committed_from,
        contract.committed_until,
        contract.committed_cents * NANO_PER_CENT,
        drawn_nano=used.aggregate(Sum("amount_nano"))["amount_nano__sum"] or 0,
        booked_nano=lines.filter(contract=contract).aggregate(Sum("amount_nano"))["amount_nano__sum"] or 0,
    )


def frozen(commitment: Commitment) -> dict[str, Any]:
    """Return a commitment as an invoice keeps it."""
    terms = {"starts_at": commitment.starts_at.isoformat(), "ends_at": commitment.ends_at.isoformat()}
    return asdict(commitment) | terms


def organization_ids_with_true_up(*, before: datetime) -> list[int]:
    """Return the organizations with a term that was over by an instant and is not billed. For the platform role."""
    over = Contract.objects.committed().filter(committed_until__lte=before).order_by("organization_id")
    return sorted({contract.organization_id for contract in over if not _is_billed(contract)})


def first_true_up(organization_id: int, *, before: datetime) -> datetime | None:
    """Return the last month of the first term of an organization that was over by an instant and is not billed."""
    over = Contract.objects.filter(organization_id=organization_id).committed().filter(committed_until__lte=before)
    ends = [contract.committed_until for contract in over if not _is_billed(contract)]
    first = min((end for end in ends if end is not None), default=None)
    return None if first is None else month_of(first - timedelta(hours=1)).start


def _is_billed(contract: Contract) -> bool:
    commitment = _commitment(contract)
    return commitment.drawn_nano + commitment.booked_nano >= commitment.amount_nano


@dataclass(frozen=True, slots=True)
class BurnDown:
    """What was used of a commitment so far, as pages print it. thousandths: of the amount, 1,000 at the most."""

    contract: str
    name: str
    starts_at: datetime
    ends_at: datetime
    committed: str
    drawn: str
    exact_drawn: str
    left: str
    thousandths: int
    is_over: bool


def burn_downs(organization: Organization, now: datetime) -> list[BurnDown]:
    """Return every commitment of an organization that has begun, the newest first; drawn is also what is unbilled."""
    begun = {one.contract: one for one in commitments_of(organization.pk, before=now)}
    if not begun:
        return []
    usage = unbilled_usage(organization.pk, before=now)
    parts = [(month_of(bucket.hour).start, bucket.amount_nano) for bucket in usage.buckets]
    parts += [(share.month, share.amount_nano) for share in usage.tiers]
    contracts = Contract.objects.filter(public_id__in=begun).order_by("-committed_from")
    return [_burn_down(contract, begun[contract.public_id], parts, now) for contract in contracts]


def _burn_down(
    contract: Contract, commitment: Commitment, parts: Iterable[tuple[datetime, int]], now: datetime
) -> BurnDown:
    unbilled_nano = sum(amount_nano for month, amount_nano in parts if commitment.covers(month))
    drawn_nano = commitment.drawn_nano + unbilled_nano
    return BurnDown(
        contract=contract.public_id,
        name=contract.name,
        starts_at=commitment.starts_at,
        ends_at=commitment.ends_at,
        committed=display_usd(commitment.amount_nano),
        drawn=display_usd(drawn_nano),
        exact_drawn=f"${decimal_string(drawn_nano)}",
        left=display_usd(max(commitment.amount_nano - drawn_nano, 0)),
        thousandths=min(max(drawn_nano, 0) * 1000 // commitment.amount_nano, 1000),
        is_over=commitment.ends_at <= now,
    )
