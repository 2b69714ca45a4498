"""Warn people of caps that fill: at 50, 80 and 100 %, and when a month will cost more than its cap.

Noted first and mailed after, so that a mail server's bad hour loses no warning.
"""

from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F, Q
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual

from accounts.models import Permission
from accounts.services.mails import addresses_with, mail_each, page_address
from billing.invoicing.forecast import FORECAST_FROM, at_this_rate
from billing.models import CapWarning, SpendCap
from billing.models.cap import WARNINGS, passed_warning
from billing.selectors.caps import cap_row
from portal.lib.batches import one_by_one
from portal.lib.periods import Period, month_of

log = structlog.get_logger(__name__)

FORECAST = 0


def warn_of_caps(*, now: datetime) -> int:
    """Note a warning for every running cap that passed a threshold since the last one, and for every monthly forecast.

    Return how many. For the platform role: across organizations, each cap in a transaction of its own.
    """
    running = SpendCap.objects.current().filter(Q(period_end=None) | Q(period_end__gt=now), limit_nano__gt=0)
    due = Q()
    for percent in WARNINGS:
        passed = GreaterThanOrEqual(F("settled_nano") * 100, F("limit_nano") * percent)
        due |= Q(passed, warned_percent__lt=percent)
    month = month_of(now)
    gone_percent = (now - month.start) * 100 // (month.end - month.start)
    if gone_percent >= FORECAST_FROM:
        # Rounded down, so that none is missed: `_warn` reckons exactly.
        ahead = GreaterThan(F("settled_nano") * 100, F("limit_nano") * gone_percent)
        due |= Q(ahead, period=SpendCap.Period.MONTH, is_forecast_warned=False)
    ids = list(running.filter(due).order_by("pk").values_list("pk", flat=True))
    return sum(_warn(cap_id, now) for cap_id in ids)


def mail_warnings(*, now: datetime) -> int:
    """Mail every warning that was not mailed yet to those who may change caps; return how many.

    For the platform role. A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(CapWarning.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.cap_warning_not_mailed", warning_id=pk),
    )


@transaction.atomic
def _warn(cap_id: int, now: datetime) -> int:
    cap = SpendCap.objects.select_for_update(no_key=True).get(pk=cap_id)
    passed = passed_warning(cap.settled_nano, cap.limit_nano)
    warned = 0
    if passed > cap.warned_percent:
        cap.warned_percent = passed
        # Who is at the end needs no forecast.
        cap.is_forecast_warned |= passed == WARNINGS[-1]
        _note(cap, passed, now)
        warned += 1
    if not cap.is_forecast_warned and (forecast_nano(cap, now) or 0) > cap.limit_nano:
        cap.is_forecast_warned = True
        _note(cap, FORECAST, now)
        warned += 1
    if warned:
        cap.save(update_fields=["warned_percent", "is_forecast_warned"])
    return warned


def forecast_nano(cap: SpendCap, now: datetime) -> int | None:
    """Return what a monthly cap will have settled by its end at the pace so far; None while it is too early to say."""
    if cap.period != SpendCap.Period.MONTH or cap.period_start is None or cap.period_end is None:
        return None
    return at_this_rate(cap.settled_nano, Period(cap.period_start, cap.period_end), now)


def _note(cap: SpendCap, percent: int, now: datetime) -> None:
    CapWarning.objects.create(
        organization_id=cap.organization_id,
        cap=cap,
        percent=percent,
        limit_nano=cap.limit_nano,
        settled_nano=cap.settled_nano,
        warned_at=now,
    )


@transaction.atomic
def _mail(warning_id: int, now: datetime) -> int:
    warnings = CapWarning.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    warning = warnings.filter(pk=warning_id, mailed_at=None).first()
    if warning is None:
        return 0
    cap = SpendCap.objects.select_related("project", "api_key").get(pk=warning.cap_id)
    mail_each(
        "cap_warning",
        addresses_with(warning.organization, Permission.MANAGE_BILLING),
        warning=warning,
        cap=cap_row(cap, now),
        organization=warning.organization.name,
        address=page_address("billing:cap-list", warning.organization.slug),
    )
    warning.mailed_at = now
    warning.save(update_fields=["mailed_at"])
    return 1
