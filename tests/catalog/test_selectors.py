from datetime import UTC, datetime, timedelta

import pytest

from catalog.models import LeaseClass, ServedModel
from catalog.selectors import (
    instance_type_row,
    instance_type_rows,
    price_history,
    price_list,
    served_model_row,
    served_model_rows,
)
from catalog.services.prices import publish_price
from tests.factories.catalog import load_price_list, make_instance_type, make_served_model, make_sku

NOW = datetime(2026, 11, 22, 9, 41, tzinfo=UTC)
TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def test_a_shape_shows_exact_prices_per_hour_and_per_second():
    make_instance_type("gpu_1x_l40s", price_nano=900_000_000)

    price = instance_type_rows(NOW)[0].price_of("surplus")

    assert price is not None
    assert (price.per_hour, price.per_second, price.per_second_is_exact) == ("0.90", "0.00025", True)
    assert price.cents_per_hour == 90


def test_a_price_per_second_without_an_end_is_rounded_and_says_so():
    make_instance_type("gpu_1x_l40s", price_nano=2_990_000_000)

    price = instance_type_rows(NOW)[0].price_of("surplus")

    assert price is not None
    assert (price.per_hour, price.per_second, price.per_second_is_exact) == ("2.99", "0.000830556", False)


def test_every_shipped_price_per_second_is_exact():
    load_price_list()

    prices = [price for row in instance_type_rows(NOW) for price in row.prices]

    assert prices
    assert all(price.per_second_is_exact for price in prices)


def test_shapes_come_cheapest_first_with_three_lease_classes_each():
    load_price_list()

    rows = instance_type_rows(NOW)

    assert rows[0].name == "cpu_8x_general"
    assert {tuple(price.lease_class for price in row.prices) for row in rows} == {("surplus", "on_demand", "reserved")}
    assert instance_type_row("gpu_8x_h100_sxm5", NOW).total_accelerator_memory_gib == 640  # type: ignore[union-attr]


def test_what_is_unlisted_or_has_no_price_is_not_offered():
    make_instance_type("gpu_1x_l40s", price_nano=None)
    make_served_model("no-price", price_nano=None)
    unlisted = make_served_model("unlisted")
    unlisted.is_listed = False
    unlisted.save()

    assert instance_type_rows(NOW) == []
    assert served_model_rows(NOW) == []
    assert served_model_row("unlisted", NOW) is None
    assert instance_type_row("gpu_1x_l40s", NOW) is None


def test_a_model_shows_the_prices_in_force_at_that_instant():
    model = make_served_model("bge-m3", kind=ServedModel.Kind.EMBEDDING, price_nano=10_000_000)
    sku = make_sku(model.sku(ServedModel.TokenKind.INPUT))
    # A higher price, which was announced in time.
    earlier = TEN - timedelta(days=31)
    publish_price(sku=sku, price_nano=22_500_000, unit_size=1_000_000, active_from=TEN, now=earlier)

    before = served_model_row("bge-m3", NOW)
    after = served_model_row("bge-m3", TEN)

    assert before is not None
    assert after is not None
    assert (before.input, before.cached_input, before.output) == ("0.01", "", "")
    assert after.input == "0.0225"


def test_the_history_has_every_version_newest_first():
    shape = make_instance_type("gpu_1x_l40s", price_nano=900_000_000)
    sku = shape.sku(LeaseClass.SURPLUS)
    publish_price(sku=make_sku(sku), price_nano=800_000_000, unit_size=3_600, active_from=TEN, now=NOW)

    history = price_history([sku])

    assert [(row.version, row.price, row.active_from == TEN) for row in history] == [
        (2, "0.80", True),
        (1, "0.90", False),
    ]
    assert [row.sku for row in price_list(NOW)] == sorted(shape.sku(lease_class) for lease_class in LeaseClass)
    assert {row.price for row in price_list(TEN + timedelta(hours=1))} == {"0.80", "0.90"}
