"""Every second is in exactly one invoice: month ends, leap days and the days on which clocks change (W10)."""

import os
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.invoicing import Bucket, lines_of
from billing.models import Invoice, InvoicedBucket
from billing.services.month_closing import GRACE, close_months_of
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import hour_of, month_of
from tests.billing.test_services_invoices import use
from tests.factories.accounts import make_organization, make_project
from tests.factories.catalog import make_price

DATES = 400 if os.environ.get("PROVE") else 12
SECOND = timedelta(seconds=1)
# Around what calendars do: each by a second before, at, and after it.
EDGES = [
    datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
    datetime(2100, 2, 28, 23, 59, 59, tzinfo=UTC),
    datetime(2027, 3, 28, 2, 30, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2027, 10, 31, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2027, 11, 7, 1, 30, fold=1, tzinfo=ZoneInfo("America/New_York")),
    datetime(2027, 1, 31, 23, 30, tzinfo=ZoneInfo("Pacific/Auckland")),
]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
instants = st.integers(0, 75 * 366 * 86_400).map(lambda seconds: FIRST + timedelta(seconds=seconds)) | st.builds(
    lambda edge, seconds: edge.astimezone(UTC) + timedelta(seconds=seconds), st.sampled_from(EDGES), st.integers(-2, 2)
)


@settings(max_examples=DATES * 5, deadline=None)
@given(instants)
def test_an_instant_is_in_the_month_of_its_invoice_and_no_other(instant):
    month = month_of(instant)
    bucket = Bucket(hour_of(instant), "proj_a", "models", "sku", "price_1", 1, 1, 0, 1)

    assert month.contains(instant)
    assert month_of(month.end).start == month.end
    assert month_of(month.start - SECOND).end == month.start
    [line] = lines_of([bucket], month)
    assert (line.is_adjustment, line.month) == (False, month.start)
    with pytest.raises(ValueError, match="later invoice"):
        lines_of([bucket], month_of(month.start - SECOND))


@pytest.mark.django_db
def test_usage_around_every_end_of_a_month_is_billed_once():
    make_price("model.demo.input", NANO_PER_USD, 1_000_000, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    project = make_project(make_organization())
    month, used = month_of(datetime(2027, 12, 1, tzinfo=UTC)), 0
    for _number in range(max(DATES // 4, 3)):
        for at in (month.start, month.end - SECOND, month.end):
            use(project, 1_000, at, now=at)
            used += 1_000
        # A second before the grace is over nothing is issued, and at its end it is.
        organization = project.organization
        assert close_months_of(organization=organization, now=month.end + GRACE - SECOND) == []
        [invoice] = close_months_of(organization=organization, now=month.end + GRACE)
        assert (invoice.period_start, invoice.period_end) == (month.start, month.end)
        month = month_of(month.end)

    steps = list(InvoicedBucket.objects.select_related("invoice"))
    assert all(step.invoice.period_start <= step.hour < step.invoice.period_end for step in steps)
    # What came at the very end belongs to the month that no invoice is there for yet.
    assert sum(step.quantity_after - step.quantity_before for step in steps) == used - 1_000
    periods = list(Invoice.objects.order_by("period_start").values_list("period_start", "period_end"))
    assert all(end == start for (_, end), (start, _) in pairwise(periods))


# Where people live who look at their invoices: east and west of all, with halves of hours, and with clocks that change.
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Pacific/Auckland",
        "Pacific/Kiritimati",
        "America/St_Johns",
        "Pacific/Pago_Pago",
    )
]
# Two leap years and what lies between; whoever begins on 31 January has no such day in most months that follow.
BEGUN, YEARS = date(2027, 1, 31), range(2027, 2033)


def odd_dates(count: int, chance: Random) -> list[date]:
    """Return days on which a calendar does something, and where they are fewer others too, in their order.

    Months that begin and end, leap days, clocks that change, and the 29th to 31st: those that a month may not have.
    """
    days = [BEGUN + timedelta(days=number) for number in range((date(YEARS.stop, 1, 31) - BEGUN).days)]
    ends = {day for day in days if 1 in (day.day, (day + timedelta(days=1)).day)}
    changes = {day for day in days for zone in ZONES if changes_clocks(day, zone)}
    odd = sorted(ends | changes | {day for day in days if day.day in (29, 30, 31)})
    if len(odd) < count:
        return sorted([*odd, *chance.sample(sorted(set(days) - set(odd)), count - len(odd))])
    return sorted(chance.sample(odd, count))


def changes_clocks(day: date, zone: ZoneInfo) -> bool:
    midnight = datetime.combine(day, time(), zone)
    return midnight.utcoffset() != datetime.combine(day + timedelta(days=1), time(), zone).utcoffset()


def instants_of(day: date, zone: ZoneInfo) -> list[datetime]:
    """Return a day's local beginning and the hour in which clocks change, each a second before, at, and after it."""
    at = [datetime.combine(day, time(hour), zone) for hour in (0, 2, 3)] if changes_clocks(day, zone) else []
    at = at or [datetime.combine(day, time(), zone)]
    return [one.astimezone(UTC) + timedelta(seconds=seconds) for one in at for seconds in (-1, 0, 1)]


@pytest.mark.django_db
def test_every_second_around_what_calendars_do_is_in_exactly_one_invoice_wherever_people_live():
    make_price("model.demo.input", NANO_PER_USD, 1_000_000, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    project = make_project(make_organization())
    chance = Random(DATES)
    days = odd_dates(DATES, chance)
    uses = [(at, zone) for day in days for zone in chance.sample(ZONES, 2) for at in instants_of(day, zone)]
    uses.sort(key=lambda use: use[0])
    used: Counter[datetime] = Counter()
    closed = month_of(uses[0][0]).start

    for number, (at, zone) in enumerate(uses):
        # Nothing depends on the clock of whoever looks, nor on the hour at which months are closed.
        with timezone.override(zone):
            if at >= month_of(closed).end + GRACE:
                closed = month_of(at - GRACE).start
                close_months_of(organization=project.organization, now=at)
            use(project, 1_000 + number, at, now=at)
        used[hour_of(at)] += 1_000 + number
    close_months_of(organization=project.organization, now=month_of(uses[-1][0]).end + GRACE)

    billed: Counter[datetime] = Counter()
    for step in InvoicedBucket.objects.select_related("invoice"):
        billed[step.hour] += step.quantity_after - step.quantity_before
        assert step.invoice.period_start <= step.hour < step.invoice.period_end
    assert billed == used
    for start, end in Invoice.objects.values_list("period_start", "period_end"):
        assert (start, end) == (month_of(start).start, month_of(start).end)
    assert Invoice.objects.values("period_start").distinct().count() == Invoice.objects.count()
