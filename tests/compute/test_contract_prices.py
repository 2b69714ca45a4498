"""An instance holds, shows and costs what its organization has agreed on, hour by hour."""

from datetime import datetime, timedelta

import pytest
from django.test import Client

from accounts.models import Scope
from billing.models import UsageByHour
from billing.selectors import budget_of
from billing.services.contracts import AgreedPrice
from catalog.models import LeaseClass
from catalog.services.prices import publish_price
from compute.selectors import launch_offers, spend_of
from compute.services.funding import LEASE_SECONDS, cost_of
from tests.compute.test_services_instances import NOW, reconcile, run, seconds
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import make_contract
from tests.factories.catalog import make_sku
from tests.factories.compute import HOURLY_NANO, make_instance, make_pool

pytestmark = pytest.mark.django_db
TWELVE = NOW.replace(minute=0, second=0)
HALF = HOURLY_NANO // 2


def held(price_nano: int) -> int:
    return cost_of(LEASE_SECONDS, price_nano=price_nano, unit_size=3_600)


def test_a_launch_holds_and_shows_the_price_that_was_agreed_on(double):
    project, pool = make_project(), make_pool()
    sku = pool.instance_type.sku(LeaseClass.ON_DEMAND)
    make_contract(project.organization, AgreedPrice(sku, HALF), now=NOW)

    instance = make_instance(NOW, project, pool=pool)

    [offer] = launch_offers(project.organization, NOW)
    price = offer.row.price_of(LeaseClass.ON_DEMAND)
    assert price is not None
    assert (instance.price_nano, price.nano_per_hour) == (HALF, HALF)
    assert budget_of(project.organization).reserved_nano == held(HALF)


def test_programs_are_told_the_price_that_was_agreed_on():
    project, pool = make_project(), make_pool()
    make_contract(project.organization, discount_basis_points=5_000, now=datetime(2026, 11, 1, tzinfo=NOW.tzinfo))

    def cents_for(project) -> int:
        key = make_key(project, now=NOW, scopes=(Scope.INSTANCES_READ,))
        answer = Client().get("/api/v1/instance-types", headers={"authorization": f"Bearer {key.secret}"})
        return int(answer.json()["data"][pool.instance_type.name]["instance_type"]["price_cents_per_hour"])

    assert (cents_for(project), cents_for(make_project())) == (124, 249)  # 124.5, a tie


def test_a_running_instance_holds_and_costs_the_price_of_each_hour(double):
    instance = reconcile(make_instance(NOW), NOW)
    one = TWELVE + timedelta(hours=1)
    # Cheaper from one o'clock on.
    publish_price(sku=make_sku(instance.sku), price_nano=HALF, unit_size=3_600, active_from=one, now=NOW)

    run(instance, NOW + seconds(5), int((one - NOW).total_seconds()) + 900)

    instance.refresh_from_db()
    buckets = {row.hour: row for row in UsageByHour.objects.order_by("hour")}
    assert [buckets[hour].price_nano for hour in (TWELVE, one)] == [HOURLY_NANO, HALF]
    assert instance.price_nano == HALF
    billed = sum(row.amount_nano for row in buckets.values())
    unbilled = spend_of(instance).seconds - sum(row.quantity for row in buckets.values())
    assert spend_of(instance).amount_nano - billed == pytest.approx(unbilled * HALF / 3_600, abs=1)
