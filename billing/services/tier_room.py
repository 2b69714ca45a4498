"""Room that tiers free in an organization's credit. Rules: docs/algorithms/invoicing.md.

Usage is settled at the first price of its version, and an invoice bills what is left after tiers: the difference is
room again from then on. So is usage that was billed before as unused commitment. The caller holds the credit's lock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from billing.invoicing import Line
from billing.models import InvoiceLine, SpendCap, WriteOff


def changes_room(lines: Iterable[Line]) -> int:
    """Return what lines bill beside usage at its first price, as far as room depends on it, in nano-dollars."""
    return sum(line.tier_nano + min(line.true_up_nano, 0) for line in lines)


@dataclass(frozen=True, slots=True)
class TierRoom:
    """What becomes of the credit's limit, in nano-dollars.

    gives_nano: below 0 where corrections undo what tiers had taken off. short_nano: what should go and has no room,
    since other work uses it: that is ours to pay.
    """

    total_nano: int
    gives_nano: int
    short_nano: int


def tier_room(cap: SpendCap, change_nano: int = 0) -> TierRoom:
    """Return what the credit's limit becomes once invoices bill so much more for tiers than the live ones do."""
    lines = InvoiceLine.objects.of_organization(cap.organization_id).live()
    of_tiers = lines.aggregate(Sum("tier_nano"))["tier_nano__sum"] or 0
    given_back = lines.filter(contract__isnull=False, amount_nano__lt=0).aggregate(Sum("amount_nano"))
    billed_nano = of_tiers + (given_back["amount_nano__sum"] or 0)
    return room_after(cap.remaining_nano, cap.tier_room_nano, -(billed_nano + change_nano))


def room_after(remaining_nano: int, given_nano: int, total_nano: int) -> TierRoom:
    """Return how a limit moves from what tiers have given it to what they take off in all, with so much room left."""
    wanted_nano = total_nano - given_nano
    gives_nano = max(wanted_nano, -max(remaining_nano, 0))
    return TierRoom(total_nano, gives_nano, gives_nano - wanted_nano)


def settle_tier_room(cap: SpendCap, room: TierRoom, *, now: datetime) -> None:
    """Change the limit for an invoice that is issued, and write off what has no room."""
    _change(cap, room.gives_nano, room.total_nano)
    if room.short_nano:
        WriteOff.objects.create(
            organization_id=cap.organization_id,
            cap=cap,
            amount_nano=room.short_nano,
            reason=WriteOff.Reason.TIERS,
            created_at=now,
        )


def return_tier_room(cap: SpendCap) -> None:
    """Take back the room that an invoice gave which is void now, as far as there is; the next one takes the rest."""
    room = tier_room(cap)
    _change(cap, room.gives_nano, cap.tier_room_nano + room.gives_nano)


def _change(cap: SpendCap, gives_nano: int, total_nano: int) -> None:
    if gives_nano or total_nano != cap.tier_room_nano:
        cap.limit_nano += gives_nano
        cap.tier_room_nano = total_nano
        cap.save(update_fields=["limit_nano", "tier_room_nano"])
