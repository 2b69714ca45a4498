"""Charge what usage has cost to every cap over it. Rules and worked numbers: docs/algorithms/caps.md."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import structlog
from django.db.models import F

from billing.models import Reservation, SpendCap, WriteOff
from billing.rating import CapState, settle
from billing.services.limits import is_over, limits_at, limits_in_force

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UsageChange:
    """By how many nano-dollars the buckets of an hour changed through one project and key; below 0 for a correction."""

    project_id: int
    api_key_id: int | None
    hour: datetime
    amount_nano: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Nano-dollars that were charged, and that found no room."""

    charged_nano: int
    written_off_nano: int


def settle_usage(
    *, credit: SpendCap, changes: Sequence[UsageChange], reservation_id: int | None, now: datetime
) -> Settled:
    """Charge changes of rated amounts: out of the reservation while it is held, then out of the room left.

    credit: the organization's own cap, locked by the caller, so that no other of its caps and none of its reservations
    moves meanwhile. What a cap that stops has no room for is written off for all of them; what a correction
    gives back goes to the caps in whose period the corrected usage lies.
    """
    reservation = _held(credit, reservation_id)
    charged_nano = written_off_nano = 0
    for part in _by_caps(credit, changes, now):
        done = _charge(credit, reservation, part) if part.amount_nano > 0 else _give_back(credit, part)
        charged_nano += done.charged_nano
        written_off_nano += done.written_off_nano
    if written_off_nano:
        _write_off(credit, reservation_id, written_off_nano, now)
    return Settled(charged_nano, written_off_nano)


@dataclass(frozen=True, slots=True)
class _Part:
    """A change and the caps beside the credit that it counts against."""

    amount_nano: int
    limits: Sequence[SpendCap]


def _by_caps(credit: SpendCap, changes: Sequence[UsageChange], now: datetime) -> list[_Part]:
    """Add up the changes that count against the same caps, corrections first: what they give back can be used."""
    moved = [change for change in changes if change.amount_nano]
    if not moved:
        return []
    projects = {change.project_id for change in moved}
    keys = {change.api_key_id for change in moved if change.api_key_id is not None}
    organization_id = credit.organization_id
    in_force = limits_in_force(organization_id=organization_id, project_ids=projects, key_ids=keys, now=now)
    # One object for each row: the parts below move them one after the other.
    known = {cap.pk: cap for cap in in_force}
    parts = []
    for change in moved:
        limits = in_force
        if change.amount_nano < 0 and in_force:
            then = limits_at(organization_id=organization_id, project_ids=projects, key_ids=keys, instant=change.hour)
            limits = [known.setdefault(cap.pk, cap) for cap in then]
        mine = [cap for cap in limits if is_over(cap, project_id=change.project_id, api_key_id=change.api_key_id)]
        parts.append(_Part(change.amount_nano, mine))

    def order(part: _Part) -> tuple[bool, list[int]]:
        return part.amount_nano > 0, [cap.pk for cap in part.limits]

    return [
        _Part(sum(part.amount_nano for part in same), same[0].limits)
        for same in (list(group) for _caps, group in groupby(sorted(parts, key=order), key=order))
    ]


def _charge(credit: SpendCap, reservation: Reservation | None, part: _Part) -> Settled:
    in_force = [credit, *part.limits]
    tightest = min((cap for cap in in_force if cap.stops), key=lambda cap: cap.remaining_nano)
    held_nano = reservation.amount_nano if reservation else 0
    state = CapState(tightest.limit_nano, tightest.settled_nano, tightest.reserved_nano, held_nano)
    settlement = settle(state, part.amount_nano)
    if reservation and settlement.from_reservation_nano:
        reservation.amount_nano -= settlement.from_reservation_nano
        reservation.save(update_fields=["amount_nano"])
        held_in = {reservation.cap_id, *reservation.limit_ids}
        _move(held_in, in_force, settled=settlement.from_reservation_nano, reserved=-settlement.from_reservation_nano)
    from_room_nano = settlement.charged_nano - settlement.from_reservation_nano
    _move([cap.pk for cap in in_force], in_force, settled=from_room_nano)
    return Settled(settlement.charged_nano, settlement.written_off_nano)


def _give_back(credit: SpendCap, part: _Part) -> Settled:
    settlement = settle(CapState(credit.limit_nano, credit.settled_nano, credit.reserved_nano, 0), part.amount_nano)
    _move([credit.pk], [credit], settled=settlement.charged_nano)
    for cap in part.limits:
        # A cap that was made later has not counted all of what is given back.
        _move([cap.pk], [cap], settled=max(settlement.charged_nano, -cap.settled_nano))
    return Settled(settlement.charged_nano, settlement.written_off_nano)


def _move(ids: Iterable[int], known: Iterable[SpendCap], *, settled: int, reserved: int = 0) -> None:
    """Add to what is settled and reserved, in nano-dollars, in the rows and in the objects that stand for them."""
    wanted = set(ids)
    if not wanted or settled == reserved == 0:
        return
    SpendCap.objects.filter(pk__in=wanted).update(
        settled_nano=F("settled_nano") + settled, reserved_nano=F("reserved_nano") + reserved
    )
    for cap in known:
        if cap.pk in wanted:
            cap.settled_nano += settled
            cap.reserved_nano += reserved


def _held(credit: SpendCap, reservation_id: int | None) -> Reservation | None:
    # Whoever changes a reservation holds its credit's lock, as we do.
    if reservation_id is None:
        return None
    return Reservation.objects.held().filter(pk=reservation_id, cap=credit).first()


def _write_off(credit: SpendCap, reservation_id: int | None, amount_nano: int, now: datetime) -> None:
    log.warning("billing.cap.overrun", cap=credit.public_id, amount_nano=amount_nano)
    WriteOff.objects.create(
        organization_id=credit.organization_id,
        cap=credit,
        reservation_id=reservation_id,
        amount_nano=amount_nano,
        reason=WriteOff.Reason.OVERRUN if amount_nano > 0 else WriteOff.Reason.CORRECTION,
        created_at=now,
    )
