"""Which caps limit a piece of work: the credit, and those of periods, of its project and of its key.

Whoever calls these holds the lock of the organization's credit, so that caps neither come nor change meanwhile.
Rules: docs/algorithms/caps.md.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F

from billing.models import SpendCap
from portal.lib.periods import calendar_period


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a piece of work: an organization, in one of its projects, by one of its API keys or by none.

    api_key_id may be left empty for a key without a cap of its own.
    """

    organization_id: int
    project_id: int
    api_key_id: int | None = None


def limits_over(payer: Payer, now: datetime) -> list[SpendCap]:
    """Return the caps beside the credit that limit the payer's work now; see `limits_in_force`."""
    keys = [] if payer.api_key_id is None else [payer.api_key_id]
    return limits_in_force(organization_id=payer.organization_id, project_ids=[payer.project_id], key_ids=keys, now=now)


def limits_in_force(
    *, organization_id: int, project_ids: Collection[int], key_ids: Collection[int], now: datetime
) -> list[SpendCap]:
    """Return the caps beside the credit that limit work of these projects and keys now.

    A period that has ended is followed up by the next one, with the same limit and nothing settled.
    """
    found = SpendCap.objects.limits().current()
    mine = found.over(organization_id=organization_id, project_ids=project_ids, key_ids=key_ids).order_by("pk")
    return [follow_up(cap, now) if cap.has_ended(now) else cap for cap in mine]


def limits_at(
    *, organization_id: int, project_ids: Collection[int], key_ids: Collection[int], instant: datetime
) -> list[SpendCap]:
    """Return the caps beside the credit in whose period the instant lies, ended ones too."""
    mine = SpendCap.objects.limits().over(organization_id=organization_id, project_ids=project_ids, key_ids=key_ids)
    return [cap for cap in mine.order_by("pk") if cap.covers(instant)]


def is_over(cap: SpendCap, *, project_id: int, api_key_id: int | None) -> bool:
    """Whether a cap limits work of this project and key."""
    match SpendCap.Scope(cap.scope):
        case SpendCap.Scope.ORGANIZATION:
            return True
        case SpendCap.Scope.PROJECT:
            return cap.project_id == project_id
        case SpendCap.Scope.KEY:
            return cap.api_key_id == api_key_id


def add_reserved(cap_ids: Iterable[int], amount_nano: int) -> None:
    """Hold more in each of these caps, or less for a negative amount."""
    ids = list(cap_ids)
    if ids and amount_nano:
        SpendCap.objects.filter(pk__in=ids).update(reserved_nano=F("reserved_nano") + amount_nano)


def follow_up(cap: SpendCap, now: datetime) -> SpendCap:
    """Begin the running period of a cap whose last one has ended."""
    SpendCap.objects.filter(pk=cap.pk).update(is_current=False)
    period = calendar_period(cap.period, now)
    return SpendCap.objects.create(
        organization_id=cap.organization_id,
        scope=cap.scope,
        project_id=cap.project_id,
        api_key_id=cap.api_key_id,
        period=cap.period,
        period_start=period.start,
        period_end=period.end,
        stops=cap.stops,
        limit_nano=cap.limit_nano,
        created_at=now,
    )
