"""The benchmark's organization is one that the services could have made: its numbers agree with each other."""

from itertools import product

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count, Sum

from accounts.models import ApiKey, Organization, Project
from billing.models import SpendByCause, SpendByDay, SpendCap, UsageByHour, UsageByResource, UsageEvent
from billing.selectors import budget_of
from compute.models import Instance
from compute.services.pools import ensure_demo_pools
from inference.models import Receipt
from portal.lib.money import divide_half_even

pytestmark = pytest.mark.django_db
TINY = {"instances": 20, "events": 500, "projects": 5, "verbosity": 0}


@pytest.fixture
def benchmark() -> Organization:
    call_command("load_catalog", verbosity=0)
    ensure_demo_pools()
    call_command("load_benchmark_data", **TINY)
    return Organization.objects.get(name="Benchmark")


def test_makes_as_many_rows_as_it_was_asked_for(benchmark):
    counts = [
        model.objects.filter(organization=benchmark).count()
        for model in (Instance, UsageEvent, Receipt, ApiKey, Project)
    ]

    # One project comes with every organization.
    assert counts == [20, 500, 100, 6, 6]


def test_buckets_are_the_rating_of_the_events_and_the_cap_is_their_sum(benchmark):
    buckets = list(UsageByHour.objects.owned_by(benchmark))
    events = UsageEvent.objects.filter(organization=benchmark)
    by_sku = {row["sku"]: row["quantity"] for row in events.values("sku").annotate(quantity=Sum("quantity"))}

    for bucket in buckets:
        assert bucket.amount_nano == divide_half_even(bucket.quantity * bucket.price_nano, bucket.unit_size)
    total = sum(bucket.amount_nano for bucket in buckets)
    assert total > 0
    assert budget_of(benchmark).settled_nano == total
    assert SpendCap.objects.of_organization(benchmark.pk).get().settled_nano == total
    for model in (UsageByHour, SpendByDay, UsageByResource):
        rows = model.objects.owned_by(benchmark).values("sku").annotate(sum=Sum("quantity"))
        assert {row["sku"]: row["sum"] for row in rows} == by_sku
    for sums in (UsageByHour, SpendByDay):
        whole = sums.objects.owned_by(benchmark).aggregate(amount=Sum("amount_nano"), events=Sum("event_count"))
        assert whole == {"amount": total, "events": 500}
    for cause, span_days in product(SpendByCause.Cause, (1, 7)):
        amounts = SpendByCause.objects.owned_by(benchmark).filter(cause=cause, span_days=span_days)
        assert amounts.aggregate(amount=Sum("amount_nano"))["amount"] == total


def test_receipts_cost_what_their_tokens_do_and_keys_spread_over_the_projects(benchmark):
    receipts = Receipt.objects.owned_by(benchmark)

    assert receipts.filter(cost_usd=0).count() == 0
    assert receipts.aggregate(keys=Count("api_key", distinct=True))["keys"] == 6


def test_a_second_time_needs_another_name(benchmark):
    with pytest.raises(CommandError, match="exists already"):
        call_command("load_benchmark_data", **TINY)
    call_command("load_benchmark_data", name="Another", **TINY)

    assert Instance.objects.owned_by(benchmark).count() == 20
    assert Instance.objects.owned_by(Organization.objects.get(name="Another")).count() == 20


def test_is_refused_outside_development(settings):
    settings.DEVELOPMENT = False

    with pytest.raises(CommandError, match="development only"):
        call_command("load_benchmark_data", **TINY)

    assert not Organization.objects.exists()
