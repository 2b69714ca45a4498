"""Usage: counted once, priced by its hour, settled in the same transaction; every refusal changes nothing."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum

from billing.models import SpendByCause, SpendByDay, SpendCap, UsageByHour, UsageByResource, UsageEvent, WriteOff
from billing.rating import explain, rate
from billing.selectors import budget_of
from billing.services.reservations import expire_reservations, release
from billing.services.usage import (
    RecordedUsage,
    UnpricedUsage,
    UsageConflict,
    UsageRefused,
    UsageTooOld,
    record_usage,
)
from catalog.selectors import unit_prices
from catalog.services.prices import publish_price
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import GATEWAY_ALIAS, _role, connected_as, set_organization
from tests.factories.accounts import make_project
from tests.factories.billing import NOW, make_record, make_reservation
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    make_price("model.demo.input", 150_000_000, 1_000_000)
    make_price("instance.gpu.surplus", 2_490_000_000, 3600)
    return make_project()


def facts():
    """Everything that recording usage may change."""
    models = (UsageEvent, UsageByHour, SpendByDay, SpendByCause, UsageByResource, WriteOff)
    rows = [sorted(model.objects.values_list(), key=repr) for model in models]
    caps = list(SpendCap.objects.values_list("settled_nano", "reserved_nano"))
    return rows, caps


NOTHING: tuple[list[list[object]], list[object]] = ([[], [], [], [], [], []], [])


def settled(project):
    return budget_of(project.organization).settled_nano


def test_counts_prices_and_settles(project):
    recorded = record_usage([make_record(project, 1_000_000)], reservation_id=None, now=NOW)

    assert recorded == RecordedUsage(counted=1, duplicate=0, charged_nano=150_000_000, written_off_nano=0)
    bucket = UsageByHour.objects.get()
    assert (bucket.quantity, bucket.event_count, bucket.amount_nano) == (1_000_000, 1, 150_000_000)
    assert (bucket.hour, bucket.updated_at) == (NOW.replace(minute=0), NOW)
    assert settled(project) == 150_000_000


def test_rounds_the_whole_bucket_and_never_adds_roundings(project):
    # 150 n$ per 1,000 tokens: 3 tokens are 0.45 n$, and three times that 1.35.
    make_price("model.tiny.input", 150, 1000)
    changes = [
        record_usage([make_record(project, 3, sku="model.tiny.input")], reservation_id=None, now=NOW).charged_nano
        for _ in range(3)
    ]

    assert changes == [0, 1, 0]
    assert UsageByHour.objects.get().amount_nano == settled(project) == 1


def test_counts_an_event_once_for_ever(project):
    records = [make_record(project, quantity) for quantity in (10, 20, 30)]
    record_usage(records, reservation_id=None, now=NOW)
    before = facts()

    again = record_usage([records[2], records[0], records[1]], reservation_id=None, now=NOW + timedelta(days=1))

    assert again == RecordedUsage(counted=0, duplicate=3, charged_nano=0, written_off_nano=0)
    assert facts() == before


def test_counts_what_is_new_in_a_repeated_call(project):
    known, new = make_record(project, 1_000_000), make_record(project, 2_000_000)
    record_usage([known], reservation_id=None, now=NOW)

    recorded = record_usage([known, known, new], reservation_id=None, now=NOW)

    assert (recorded.counted, recorded.duplicate, recorded.charged_nano) == (1, 1, 300_000_000)


def test_counts_nothing_for_nothing(project):
    assert record_usage([], reservation_id=None, now=NOW).counted == 0
    assert not SpendCap.objects.exists()


@pytest.mark.parametrize(
    "change", [{"quantity": 11}, {"sku": "instance.gpu.surplus"}, {"resource_id": "other"}, {"api_key_id": 7}]
)
def test_refuses_a_known_event_with_other_content_and_changes_nothing(project, change):
    record = make_record(project, 10)
    record_usage([record], reservation_id=None, now=NOW)
    before = facts()

    for calls in ([replace(record, **change)], [make_record(project, 5), replace(record, **change)]):
        with pytest.raises(UsageConflict):
            record_usage(calls, reservation_id=None, now=NOW)

    assert facts() == before


def test_refuses_one_call_that_contradicts_itself(project):
    record = make_record(project, 10)

    with pytest.raises(UsageConflict):
        record_usage([record, replace(record, quantity=11)], reservation_id=None, now=NOW)

    assert facts() == NOTHING


def test_refuses_unpriced_usage_loudly_and_changes_nothing(project):
    reservation = make_reservation(project)
    before = facts()

    with pytest.raises(UnpricedUsage, match=r"model\.free\.input"):
        record_usage(
            [make_record(project), make_record(project, sku="model.free.input")],
            reservation_id=reservation.pk,
            now=NOW,
        )

    assert facts() == before


def test_refuses_usage_before_its_price_began(project):
    make_price("model.new.input", 100, 1, active_from=NOW.replace(minute=0))
    hour_before = NOW.replace(minute=0) - timedelta(seconds=1)

    with pytest.raises(UnpricedUsage):
        record_usage(
            [make_record(project, sku="model.new.input", occurred_at=hour_before)], reservation_id=None, now=NOW
        )


@pytest.mark.parametrize(
    ("ahead", "error"),
    [(timedelta(minutes=5, seconds=1), UsageRefused), (-timedelta(days=35, seconds=1), UsageTooOld)],
)
def test_refuses_events_of_other_times_and_changes_nothing(project, ahead, error):
    records = [make_record(project), make_record(project, occurred_at=NOW + ahead)]

    with pytest.raises(error):
        record_usage(records, reservation_id=None, now=NOW)

    assert facts() == NOTHING


@pytest.mark.parametrize("ahead", [timedelta(minutes=5), -timedelta(days=35)])
def test_accepts_events_at_the_edge_of_time(project, ahead):
    recorded = record_usage([make_record(project, occurred_at=NOW + ahead)], reservation_id=None, now=NOW)

    assert recorded.counted == 1


def test_refuses_two_organizations_in_one_call(project):
    with pytest.raises(UsageRefused):
        record_usage([make_record(project), make_record(make_project())], reservation_id=None, now=NOW)

    assert facts() == NOTHING


def test_refuses_a_negative_event_that_corrects_nothing(project):
    with pytest.raises(UsageRefused):
        record_usage([make_record(project, -1)], reservation_id=None, now=NOW)

    assert facts() == NOTHING


def test_refuses_a_project_of_another_organization(project):
    foreign = replace(make_record(project), project_id=make_project().pk)

    # What the commit checks is checked at once here.
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with pytest.raises(IntegrityError, match="same_organization"):
        record_usage([foreign], reservation_id=None, now=NOW)

    assert facts() == NOTHING


def test_takes_back_a_corrected_event(project):
    wrong = make_record(project, 1_000_000)
    record_usage([wrong], reservation_id=None, now=NOW)

    correction = replace(wrong, event_id=uuid4(), quantity=-1_000_000, corrects=wrong.event_id)
    recorded = record_usage([correction], reservation_id=None, now=NOW)

    assert recorded.charged_nano == -150_000_000
    assert settled(project) == UsageByHour.objects.get().amount_nano == 0


def test_splits_hours_and_explains_by_key_resource_and_member(project):
    records = [
        make_record(project, 10, api_key_id=1, resource_id="a"),
        make_record(project, 20, api_key_id=1, resource_id="a", occurred_at=NOW + timedelta(minutes=-40)),
        make_record(project, 40, api_key_id=2, resource_id="a"),
        make_record(project, 80, resource_id="a"),
        make_record(project, 160, user_id=3, resource_id="a"),
    ]

    record_usage(records, reservation_id=None, now=NOW)

    assert list(UsageByHour.objects.order_by("hour").values_list("quantity", flat=True)) == [20, 290]
    explained = UsageByResource.objects.order_by("quantity").values_list("api_key_id", "user_id", "quantity")
    assert list(explained) == [(1, 0, 30), (2, 0, 40), (0, 0, 80), (0, 3, 160)]


def by_cause(cause):
    by_week, by_day = (
        dict(
            SpendByCause.objects.filter(cause=cause, span_days=span_days)
            .values_list("cause_id")
            .annotate(amount=Sum("amount_nano"))
        )
        for span_days in (7, 1)
    )
    assert by_week == by_day
    return by_day


def test_adds_up_what_each_cause_changed(project):
    records = [
        make_record(project, 10, api_key_id=1, resource_id="a"),
        make_record(project, 40, api_key_id=2, resource_id="b"),
        make_record(project, 3, user_id=3, resource_id="a"),
    ]
    record_usage(records, reservation_id=None, now=NOW)
    [wrong] = [record for record in records if record.resource_id == "b"]
    moved = [
        replace(make_record(project, -40, api_key_id=2, resource_id="b"), corrects=wrong.event_id),
        make_record(project, 40, api_key_id=1, resource_id="a"),
    ]

    record_usage(moved, reservation_id=None, now=NOW)

    whole = UsageByHour.objects.get().amount_nano
    assert by_cause("project") == {str(project.pk): whole}
    assert by_cause("resource") == {"a": whole, "b": 0}
    assert sum(by_cause("key").values()) == sum(by_cause("member").values()) == whole
    assert set(by_cause("key")) == {"0", "1", "2"}
    assert by_cause("key")["2"] == 0
    assert set(by_cause("member")) == {"0", "3"}


def test_spreads_as_the_calculation_does(project):
    sku = make_price("model.spread.input", 150, 1_000).sku.code
    first, *more = [make_record(project, 3, sku=sku, resource_id=name) for name in "zabc"]
    record_usage([first], reservation_id=None, now=NOW)

    record_usage(more, reservation_id=None, now=NOW)

    explained = explain(3, [3, 3, 3], unit_prices([sku], NOW)[sku])
    assert [by_cause("resource")[name] for name in "abc"] == explained
    assert sum(explained) + by_cause("resource")["z"] == UsageByHour.objects.get().amount_nano


def test_keeps_the_price_of_the_hour(project):
    old = make_price("model.cut.input", 200, 1)
    hour = NOW.replace(minute=0)
    new = publish_price(sku=old.sku, price_nano=100, unit_size=1, active_from=hour, now=hour - timedelta(hours=1))
    records = [
        make_record(project, 1, sku="model.cut.input", occurred_at=hour + timedelta(seconds=second))
        for second in (-1, 0)
    ]

    record_usage(records, reservation_id=None, now=NOW)

    rows = UsageByHour.objects.order_by("hour").values_list("amount_nano", "price_id")
    assert list(rows) == [(200, old.public_id), (100, new.public_id)]


def test_asks_the_same_few_queries_whatever_the_number_of_events_and_hours(project, django_assert_num_queries):
    record_usage([make_record(project)], reservation_id=None, now=NOW)
    records = [make_record(project, occurred_at=NOW - timedelta(hours=number % 40)) for number in range(200)]

    # A savepoint and its end, the credit, the prices, the one statement, the other caps, the settlement.
    with django_assert_num_queries(7):
        record_usage(records, reservation_id=None, now=NOW)


def test_takes_the_change_out_of_the_reservation(project):
    reservation = make_reservation(project, NANO_PER_USD)

    record_usage([make_record(project, 1_000_000)], reservation_id=reservation.pk, now=NOW)

    reservation.refresh_from_db()
    budget = budget_of(project.organization)
    assert reservation.amount_nano == budget.reserved_nano == 850_000_000
    assert budget.settled_nano == 150_000_000


def test_charges_the_room_left_when_the_reservation_is_too_small(project):
    reservation = make_reservation(project, 100_000_000)

    record_usage([make_record(project, 1_000_000)], reservation_id=reservation.pk, now=NOW)

    reservation.refresh_from_db()
    assert (reservation.state, reservation.amount_nano) == ("held", 0)
    assert settled(project) == 150_000_000
    assert budget_of(project.organization).reserved_nano == 0


@pytest.mark.parametrize("ended", ["expired", "released"])
def test_writes_off_what_a_late_settlement_finds_no_room_for(project, ended):
    late = make_reservation(project, 4 * NANO_PER_USD)
    if ended == "expired":
        expire_reservations(now=late.expires_at)
    else:
        release(reservation_id=late.pk, now=NOW)
    make_reservation(project, 4_900_000_000)

    recorded = record_usage([make_record(project, 1_000_000)], reservation_id=late.pk, now=NOW)

    assert (recorded.charged_nano, recorded.written_off_nano) == (100_000_000, 50_000_000)
    budget = budget_of(project.organization)
    assert (budget.settled_nano, budget.remaining_nano) == (100_000_000, 0)
    assert WriteOff.objects.get().amount_nano == 50_000_000
    assert UsageByHour.objects.get().amount_nano == 150_000_000


def test_never_draws_on_the_reservation_of_another_organization(project):
    foreign = make_reservation(make_project(), NANO_PER_USD)

    record_usage([make_record(project, 1_000_000)], reservation_id=foreign.pk, now=NOW)

    foreign.refresh_from_db()
    assert foreign.amount_nano == NANO_PER_USD
    assert settled(project) == 150_000_000


def test_equals_the_rating_of_the_raw_events(project):
    skus = ("model.demo.input", "instance.gpu.surplus")
    records = [
        make_record(project, 37 * number % 1009, sku=skus[number % 2], occurred_at=NOW - timedelta(minutes=7 * number))
        for number in range(60)
    ]
    for start in range(0, 60, 7):
        record_usage(records[max(start - 3, 0) : start + 7], reservation_id=None, now=NOW)

    prices = unit_prices(skus, NOW)
    hours = {record.occurred_at.replace(minute=0) for record in records}
    expected = sum(
        line.amount_nano
        for hour in hours
        for line in rate([(r.sku, r.quantity) for r in records if r.occurred_at.replace(minute=0) == hour], prices)
    )
    assert sum(UsageByHour.objects.values_list("amount_nano", flat=True)) == expected
    assert settled(project) + sum(WriteOff.objects.values_list("amount_nano", flat=True)) == expected


def test_works_as_each_role_of_the_portal(project):
    amounts = []
    for number, enter in enumerate((_role, lambda _: connected_as(GATEWAY_ALIAS))):
        with enter("headroom_app"):
            set_organization(project.organization_id)
            reservation = make_reservation(project, NANO_PER_USD)
            for _ in range(2):
                record = make_record(project, 1_000_000, cause=f"as role {number}")
                amounts.append(record_usage([record], reservation_id=reservation.pk, now=NOW).charged_nano)
            release(reservation_id=reservation.pk, now=NOW)

    assert amounts == [150_000_000, 0, 150_000_000, 0]
    assert settled(project) == 300_000_000


def test_opens_an_account_as_the_gateway_but_never_raises_a_limit(project):
    with connected_as(GATEWAY_ALIAS):
        make_reservation(project)
        with pytest.raises(Exception, match="permission denied"), transaction.atomic():
            SpendCap.objects.update(limit_nano=10**15)

    assert budget_of(project.organization).limit_nano == 5 * NANO_PER_USD


def test_no_role_of_the_portal_changes_an_event_or_reaches_around_its_policy(project):
    record_usage([make_record(project)], reservation_id=None, now=NOW)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM billing_usageevent")
        partition = cursor.fetchone()[0]
    statements = [
        "UPDATE billing_usageevent SET quantity = 0",
        "DELETE FROM billing_usageevent",
        f"TABLE {partition}",
        "DELETE FROM billing_usagebyhour",
        "UPDATE billing_creditgrant SET amount_nano = 1",
        "DELETE FROM billing_writeoff",
    ]

    for role in ("headroom_app", "headroom_gateway", "headroom_platform"):
        for statement in statements:
            if role == "headroom_platform" and partition.endswith("_default"):
                continue
            with (
                _role(role),
                pytest.raises(Exception, match="permission denied"),
                transaction.atomic(),
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)


def test_the_app_role_sees_the_events_of_its_organization_alone(project):
    stranger = make_project()
    record_usage([make_record(project)], reservation_id=None, now=NOW)
    record_usage([make_record(stranger)], reservation_id=None, now=NOW)

    with _role("headroom_app"):
        set_organization(project.organization_id)
        seen = {
            organization
            for model in (UsageEvent, UsageByHour, SpendByDay, SpendByCause, UsageByResource, SpendCap)
            for organization in model.objects.values_list("organization_id", flat=True)
        }

    assert seen == {project.organization_id}
