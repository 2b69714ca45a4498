"""Set, change and remove the spend caps that people set beside the credit. Rules: docs/algorithms/caps.md."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

from django.db import transaction
from django.db.models import Sum

from accounts.models import ApiKey, Organization, Project
from accounts.services.api_keys import note_key_change
from accounts.services.audit import changed, record_event
from billing.models import SpendByCause, SpendByDay, SpendCap
from billing.models.cap import WARNINGS, passed_warning
from billing.services.credits import lock_cap
from billing.services.limits import follow_up
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_USD, decimal_string, display_usd
from portal.lib.periods import Period, calendar_period, day_of

LARGEST_NANO = 10_000_000 * NANO_PER_USD
MAXIMUM_CAPS = 1_000


class UnableToSetCap(DomainError):
    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "unable_to_set_cap"


@dataclass(frozen=True, slots=True)
class CapTarget:
    """What a cap is over: a project, an API key, or with neither the whole organization."""

    organization: Organization
    project: Project | None = None
    api_key: ApiKey | None = None

    @property
    def scope(self) -> SpendCap.Scope:
        if self.api_key is not None:
            return SpendCap.Scope.KEY
        return SpendCap.Scope.PROJECT if self.project is not None else SpendCap.Scope.ORGANIZATION


@transaction.atomic
def set_cap(*, target: CapTarget, period: SpendCap.Period, limit_nano: int, stops: bool, now: datetime) -> SpendCap:
    """Set the cap of a target for a period, or change the one that it has; it holds from the next reservation on.

    What the running period has cost already counts. stops: refuse what does not fit, else only warn. Raises
    UnableToSetCap for a limit out of range, one that stops and is below what is used or held already, and for
    the organization's lifetime cap, which is its credit.
    """
    if target.scope is SpendCap.Scope.ORGANIZATION and period is SpendCap.Period.LIFETIME:
        raise UnableToSetCap("The organization's cap for all time is its credit. Choose a day, a week or a month.")
    if not 0 <= limit_nano <= LARGEST_NANO:
        raise UnableToSetCap(f"A cap lies between $0.00 and {display_usd(LARGEST_NANO)}.")
    # Nothing is reserved or settled meanwhile, so that what is found below stays true.
    lock_cap(organization_id=target.organization.pk, now=now)
    caps = SpendCap.objects.owned_by(target.organization).limits().current()
    cap = caps.filter(scope=target.scope, project=target.project, api_key=target.api_key, period=period).first()
    is_raised = cap is not None and limit_nano > cap.limit_nano
    if is_raised and not Organization.objects.get(pk=target.organization.pk).may_have_new:
        raise UnableToSetCap("A bill is overdue: pay it, and caps can be raised again.")
    if cap is None:
        if caps.count() >= MAXIMUM_CAPS:
            raise UnableToSetCap(f"An organization has {MAXIMUM_CAPS} caps at the most: remove some that do nothing.")
        return _make(target, period, limit_nano, stops=stops, now=now)
    if cap.has_ended(now):
        cap = follow_up(cap, now)
    return _change(cap, limit_nano, stops=stops, now=now)


@transaction.atomic
def remove_cap(*, cap: SpendCap, now: datetime) -> None:
    """Let a cap limit nothing any more; its rows stay as history. One that is removed stays so."""
    lock_cap(organization_id=cap.organization_id, now=now)
    if not SpendCap.objects.limits().current().filter(pk=cap.pk).update(is_current=False):
        return
    _tell_processes(cap, now)
    record_event(
        "cap.removed", organization_id=cap.organization_id, target=("cap", cap.public_id), changes=_shown(cap), now=now
    )


def _make(target: CapTarget, period: SpendCap.Period, limit_nano: int, *, stops: bool, now: datetime) -> SpendCap:
    span = None if period is SpendCap.Period.LIFETIME else calendar_period(period.value, now)
    found_nano = _spent(target, span, now)
    _refuse_below_use(limit_nano, found_nano, 0, stops=stops)
    cap = SpendCap.objects.create(
        organization=target.organization,
        scope=target.scope,
        project=target.project,
        api_key=target.api_key,
        period=period,
        period_start=span.start if span else None,
        period_end=span.end if span else None,
        stops=stops,
        limit_nano=limit_nano,
        settled_nano=found_nano,
        found_nano=found_nano,
        warned_percent=(passed := passed_warning(found_nano, limit_nano)),
        # Who is at the end needs no forecast.
        is_forecast_warned=passed == WARNINGS[-1],
        created_at=now,
    )
    _tell_processes(cap, now)
    changes = {name: (None, value) for name, (value, _none) in _shown(cap).items()}
    record_event(
        "cap.set", organization_id=cap.organization_id, target=("cap", cap.public_id), changes=changes, now=now
    )
    return cap


def _change(cap: SpendCap, limit_nano: int, *, stops: bool, now: datetime) -> SpendCap:
    _refuse_below_use(limit_nano, cap.settled_nano, cap.reserved_nano, stops=stops)
    changes = changed(limit=(decimal_string(cap.limit_nano), decimal_string(limit_nano)), stops=(cap.stops, stops))
    if not changes:
        return cap
    cap.limit_nano, cap.stops = limit_nano, stops
    # Whoever raises a limit hears again when the new one comes near.
    cap.warned_percent = passed_warning(cap.settled_nano, limit_nano)
    cap.is_forecast_warned = cap.warned_percent == WARNINGS[-1]
    cap.save(update_fields=["limit_nano", "stops", "warned_percent", "is_forecast_warned"])
    record_event(
        "cap.changed", organization_id=cap.organization_id, target=("cap", cap.public_id), changes=changes, now=now
    )
    return cap


def _refuse_below_use(limit_nano: int, settled_nano: int, reserved_nano: int, *, stops: bool) -> None:
    if not stops or limit_nano >= settled_nano + reserved_nano:
        return
    # Rounded up to a cent, so that what the sentence names is accepted.
    lowest = display_usd(-(-(settled_nano + reserved_nano) // (NANO_PER_USD // 100)) * (NANO_PER_USD // 100))
    raise UnableToSetCap(
        f"{display_usd(settled_nano)} is spent already and {display_usd(reserved_nano)} is held for running work:"
        f" a cap that stops work can be {lowest} at the least."
    )


def _spent(target: CapTarget, span: Period | None, now: datetime) -> int:
    """Return what the target has cost in the span until now, in nano-dollars; without a span in all."""
    period = span or Period(day_of(now).replace(year=2000), calendar_period("day", now).end)
    total: int | None
    if target.scope is SpendCap.Scope.ORGANIZATION:
        total = (
            SpendByDay.objects.owned_by(target.organization)
            .within(period)
            .aggregate(Sum("amount_nano"))["amount_nano__sum"]
        )
    else:
        narrowed = target.api_key or target.project
        causes = SpendByCause.objects.owned_by(target.organization).by_day(period)
        mine = causes.filter(cause=target.scope.value, cause_id=str(narrowed.pk if narrowed else ""))
        total = mine.aggregate(Sum("amount_nano"))["amount_nano__sum"]
    return max(total or 0, 0)


def _tell_processes(cap: SpendCap, now: datetime) -> None:
    # Gateways remember of each key whether it has caps of its own.
    if cap.api_key_id is not None:
        note_key_change(api_key_id=cap.api_key_id, now=now)


def _shown(cap: SpendCap) -> dict[str, tuple[str | bool, None]]:
    over = cap.api_key or cap.project
    return {
        "scope": (cap.scope, None),
        "period": (cap.period, None),
        "limit": (decimal_string(cap.limit_nano), None),
        "stops": (cap.stops, None),
        **({"over": (over.public_id, None)} if over else {}),
    }
