"""A run never costs more than the list said when it was launched, whatever the list says later."""

from datetime import timedelta

import pytest

from accounts.models import Project
from billing.models import InvoiceLine, UsageByHour
from billing.selectors.invoice_export import export_records
from billing.services.month_closing import close_months_of
from billing.verify_invoice import main
from catalog.models import Price, Sku
from catalog.selectors import rate_card
from catalog.services.prices import UnableToEndPrice, UnableToPublishPrice, end_price, publish_price
from compute.models import Instance, Pool
from compute.services.run_prices import run_prices
from portal.lib.exports import json_lines, json_of
from portal.lib.periods import month_of
from tests.compute.test_services_instances import NOW, reconcile, run, seconds
from tests.factories.accounts import make_project
from tests.factories.billing import make_contract
from tests.factories.catalog import make_sku
from tests.factories.compute import HOURLY_NANO, make_instance, make_pool

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
TWELVE = NOW.replace(minute=0, second=0)
ONE = TWELVE + HOUR
DOUBLE, TRIPLE, HALF = 2 * HOURLY_NANO, 3 * HOURLY_NANO, HOURLY_NANO // 2
MONTH_AGO = NOW - timedelta(days=31)


def publish(sku: str, price_nano: int, at=ONE, now=MONTH_AGO) -> Price:
    return publish_price(sku=make_sku(sku), price_nano=price_nano, unit_size=3_600, active_from=at, now=now)


@pytest.fixture
def pool() -> Pool:
    return make_pool()


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def instance(double, project, pool) -> Instance:
    return reconcile(make_instance(NOW, project, pool=pool), NOW)


def paid(instance: Instance, *hours) -> list[int]:
    prices = run_prices(instance, hours)
    return [prices[hour].price_nano for hour in hours]


def test_a_run_keeps_its_price_and_a_new_one_pays_the_new(instance, project, pool):
    publish(instance.sku, DOUBLE)

    run(instance, NOW + seconds(5), int((ONE - NOW).total_seconds()) + 900)
    new = make_instance(ONE, project, pool=pool)

    instance.refresh_from_db()
    buckets = {row.hour: row for row in UsageByHour.objects.order_by("hour")}
    assert [buckets[hour].price_nano for hour in (TWELVE, ONE)] == [HOURLY_NANO, HOURLY_NANO]
    assert [buckets[hour].sku for hour in (TWELVE, ONE)] == [instance.sku, instance.kept_sku]
    assert (instance.price_nano, new.price_nano) == (HOURLY_NANO, DOUBLE)
    assert paid(new, ONE) == [DOUBLE]


def test_what_it_costs_is_invoiced_at_the_kept_price_and_computes_again(instance, project, tmp_path):
    publish(instance.sku, DOUBLE)
    run(instance, NOW + seconds(5), int((ONE - NOW).total_seconds()) + 900)

    [invoice] = close_months_of(organization=project.organization, now=month_of(NOW).end + timedelta(days=1))

    assert {line.price_nano for line in InvoiceLine.objects.of_invoice(invoice)} == {HOURLY_NANO}
    export, card = tmp_path / "invoice.jsonl", tmp_path / "rate-card.json"
    export.write_bytes(b"".join(json_lines(export_records(invoice.organization, invoice))))
    card.write_bytes(json_of(rate_card()))
    assert main([str(export), "--prices", str(card)]) == 0


def test_a_run_pays_the_cheaper_of_both_and_never_more_than_at_launch(instance):
    hours = [ONE + timedelta(days=40 * number) for number in range(5)]
    for at, price_nano in zip(hours[:4], (DOUBLE, HALF, TRIPLE, HOURLY_NANO), strict=True):
        publish(instance.sku, price_nano, at, at - timedelta(days=31))

    publish(instance.sku, TRIPLE, hours[4], hours[4] - timedelta(days=31))

    assert paid(instance, TWELVE, *hours) == [HOURLY_NANO, HOURLY_NANO, HALF, HOURLY_NANO, HOURLY_NANO, HOURLY_NANO]


def test_what_was_announced_and_is_withdrawn_keeps_nothing(instance):
    publish(instance.sku, DOUBLE, NOW.replace(minute=0) + timedelta(days=40), NOW)
    publish(instance.sku, HALF, ONE, NOW)

    assert not Price.objects.filter(sku__keeps__isnull=False).exists()
    publish(instance.sku, DOUBLE, ONE + timedelta(days=60), ONE + HOUR)
    begins = Price.objects.filter(sku__keeps__isnull=False).values_list("active_from", "price_nano")
    assert sorted(begins) == sorted([(ONE + timedelta(days=60), nano) for nano in (HOURLY_NANO, HALF)])


def test_a_run_goes_on_at_its_price_when_nothing_is_sold_so_any_more(instance):
    end_price(sku=make_sku(instance.sku), active_to=ONE, now=NOW)

    assert paid(instance, TWELVE, ONE, ONE + timedelta(days=400)) == [HOURLY_NANO] * 3


def test_a_discount_is_off_the_kept_price_too(instance, project):
    make_contract(project.organization, discount_basis_points=5_000, active_from=ONE)
    publish(instance.sku, DOUBLE)

    assert paid(instance, TWELVE, ONE) == [HOURLY_NANO, HALF]


def test_a_kept_price_is_public_and_never_changes(instance):
    publish(instance.sku, DOUBLE)
    kept = Sku.objects.get(code=instance.kept_sku)

    [row] = [row for row in rate_card().prices if row.sku == kept.code]
    assert (row.active_from, row.active_to, row.price) == (ONE, None, "2.49")
    with pytest.raises(UnableToPublishPrice, match="never changes"):
        publish(kept.code, TRIPLE, ONE + timedelta(days=40), ONE)
    with pytest.raises(UnableToEndPrice, match="never ends"):
        end_price(sku=kept, active_to=ONE + timedelta(days=40), now=ONE)


def test_models_keep_no_price():
    sku = make_sku("model.demo.input")
    publish_price(sku=sku, price_nano=1, unit_size=1, active_from=MONTH_AGO.replace(minute=0), now=MONTH_AGO)
    publish_price(sku=sku, price_nano=2, unit_size=1, active_from=ONE, now=MONTH_AGO)

    assert not Sku.objects.filter(keeps__isnull=False).exists()
