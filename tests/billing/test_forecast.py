"""What the month comes to at this rate: in every range the same, and never a guess from nothing."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.urls import reverse

from billing.invoicing.forecast import at_this_rate
from billing.selectors.spend import Range
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from tests.billing.test_services_invoices import DOLLAR, SKU, allow
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price
from tests.visits import signed_in

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
NOVEMBER = month_of(datetime(2026, 11, 1, tzinfo=UTC))
SIXTY = 60 * NANO_PER_USD


@pytest.mark.parametrize(
    ("gone", "spent_nano", "forecast_nano"),
    [
        (2 * DAY, SIXTY, None),
        (3 * DAY - SECOND, SIXTY, None),
        (3 * DAY, SIXTY, 600 * NANO_PER_USD),
        (10 * DAY, SIXTY, 180 * NANO_PER_USD),
        (10 * DAY, 1, 3),
        (7 * DAY, 1, 4),
        (30 * DAY - SECOND, SIXTY, 60_000_023_148),
        (10 * DAY, 0, None),
        (10 * DAY, -1, None),
    ],
)
def test_a_month_comes_to_what_was_spent_at_the_pace_so_far(gone, spent_nano, forecast_nano):
    assert at_this_rate(spent_nano, NOVEMBER, NOVEMBER.start + gone) == forecast_nano


@pytest.mark.django_db
@pytest.mark.parametrize("chosen", Range.values)
@pytest.mark.parametrize(
    ("now", "amount"),
    [
        (NOVEMBER.start + 20 * DAY, "$6.00"),
        # Of the days of October that these ranges have nothing is in it.
        (NOVEMBER.start + 4 * DAY, "$7.50"),
        (NOVEMBER.start + 2 * DAY, None),
    ],
)
def test_the_page_says_it_of_the_running_month_whatever_range_it_shows(chosen, now, amount):
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    project = make_project(make_organization())
    allow(project, 1_000)
    for dollars, at in ((100, NOVEMBER.start - SECOND), (1, NOVEMBER.start), (3, NOVEMBER.start + 19 * DAY)):
        if at < now:
            record = make_record(project, dollars * DOLLAR, sku=SKU, occurred_at=at)
            record_usage([record], reservation_id=None, now=at)
    client = signed_in(make_membership(project.organization).user)

    with time_machine.travel(now, tick=False):
        answer = client.get(reverse("billing:spend", args=[project.organization.slug]), {"range": chosen})

    forecast = answer.context["view"].forecast
    assert (forecast and forecast.amount) == amount
    assert ("At this rate, this month comes to" in answer.content.decode()) == (amount is not None)
