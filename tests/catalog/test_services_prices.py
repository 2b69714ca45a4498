from datetime import UTC, datetime, timedelta

import pytest

from catalog.models import Price
from catalog.selectors import unit_prices
from catalog.services.prices import UnableToEndPrice, UnableToPublishPrice, end_price, next_hour, publish_price
from tests.factories.catalog import make_price, make_sku

NOW = datetime(2026, 11, 22, 9, 41, tzinfo=UTC)
TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)
ELEVEN = TEN + timedelta(hours=1)
SKU = "instance.gpu_1x_l40s.on_demand"

pytestmark = pytest.mark.django_db


def publish(price_nano: int, active_from: datetime = TEN, now: datetime = NOW) -> Price:
    return publish_price(sku=make_sku(SKU), price_nano=price_nano, unit_size=3_600, active_from=active_from, now=now)


def versions() -> list[tuple[int, int, datetime, datetime | None]]:
    rows = Price.objects.order_by("version")
    return [(price.version, price.price_nano, price.active_from, price.active_to) for price in rows]


def test_a_new_version_begins_where_the_old_one_ends():
    first = make_price(SKU, 900, 3_600)

    second = publish(800)

    assert versions() == [(1, 900, first.active_from, TEN), (2, 800, TEN, None)]
    assert unit_prices([SKU], TEN - timedelta(seconds=1))[SKU].price_id == first.public_id
    assert unit_prices([SKU], TEN)[SKU].price_id == second.public_id


def test_the_same_price_again_changes_nothing():
    first = make_price(SKU, 900, 3_600)

    again = publish(900)

    assert again == first
    assert versions() == [(1, 900, first.active_from, None)]


def test_another_price_replaces_one_that_was_announced_and_has_not_begun():
    first = make_price(SKU, 900, 3_600)
    publish(800, active_from=ELEVEN)

    publish(700)

    assert versions() == [(1, 900, first.active_from, TEN), (2, 700, TEN, None)]


def test_the_price_in_force_goes_on_when_the_announced_change_is_taken_back():
    first = make_price(SKU, 900, 3_600)
    publish(800)

    publish(900)

    assert versions() == [(1, 900, first.active_from, None)]


@pytest.mark.parametrize("active_from", [TEN + timedelta(minutes=30), TEN - timedelta(hours=1), NOW])
def test_refuses_to_change_an_hour_that_has_begun_or_to_begin_inside_one(active_from):
    make_price(SKU, 900, 3_600)
    before = versions()

    with pytest.raises(UnableToPublishPrice):
        publish(800, active_from=active_from)

    assert versions() == before


def test_the_first_price_of_a_sku_may_begin_in_the_past():
    publish(900, active_from=TEN - timedelta(days=300))

    assert SKU in unit_prices([SKU], NOW)


def test_an_ended_price_is_missing_from_then_on():
    make_price(SKU, 900, 3_600)

    end_price(sku=make_sku(SKU), active_to=TEN, now=NOW)

    assert SKU in unit_prices([SKU], TEN - timedelta(seconds=1))
    assert SKU not in unit_prices([SKU], TEN)


@pytest.mark.parametrize("active_to", [TEN + timedelta(minutes=1), TEN - timedelta(hours=1)])
def test_refuses_to_end_a_price_inside_an_hour_or_in_the_past(active_to):
    make_price(SKU, 900, 3_600)
    before = versions()

    with pytest.raises(UnableToEndPrice):
        end_price(sku=make_sku(SKU), active_to=active_to, now=NOW)

    assert versions() == before


def test_refuses_to_end_what_has_no_price():
    with pytest.raises(UnableToEndPrice):
        end_price(sku=make_sku(SKU), active_to=TEN, now=NOW)


def test_the_next_hour_is_later_even_on_the_hour():
    assert next_hour(NOW) == TEN
    assert next_hour(TEN) == ELEVEN
