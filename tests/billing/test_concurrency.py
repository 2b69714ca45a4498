"""Caps, accounts and events under writers at once, with real commits and the production role."""

from contextlib import suppress
from datetime import timedelta
from random import Random

import pytest
from django.db import transaction

from billing.models import CreditGrant, Reservation, SpendCap, UsageByHour, UsageEvent, WriteOff
from billing.services.caps import CapTarget, set_cap
from billing.services.credits import lock_cap
from billing.services.limits import Payer
from billing.services.reservations import (
    BudgetExceeded,
    ReservationEnded,
    expire_reservations,
    extend,
    release,
    reserve,
)
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform, set_organization
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import NOW, make_record
from tests.factories.catalog import make_price
from tests.own_database import SUPERUSER

WRITERS = 16
LIMIT = 5 * NANO_PER_USD


@pytest.fixture
def project(own_database):
    with own_database.in_use(SUPERUSER):
        make_price("model.demo.input", 150_000_000, 1_000_000)
        return make_project()


def hold(project, holder, amount_nano, now=NOW, key_id=None):
    return reserve(
        payer=Payer(project.organization_id, project.pk, key_id),
        purpose=Reservation.Purpose.GATEWAY_LEASE,
        holder=holder,
        amount_nano=amount_nano,
        now=now,
        expires_at=now + timedelta(seconds=60),
    )


def assert_books_balance(own_database):
    with own_database.in_use(SUPERUSER):
        cap = SpendCap.objects.get()
        assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano == LIMIT
        assert cap.reserved_nano == sum(Reservation.objects.values_list("amount_nano", flat=True))
        rated = sum(UsageByHour.objects.values_list("amount_nano", flat=True))
        assert cap.settled_nano + sum(WriteOff.objects.values_list("amount_nano", flat=True)) == rated
        return cap


@pytest.mark.asvs("2.3.4")
def test_writers_at_once_never_pass_the_cap_and_use_it_up(own_database, project):
    def work(number):
        random = Random(number)
        granted = 0
        for attempt in range(25):
            amount = random.randint(LIMIT // 200, LIMIT // 100)
            try:
                with transaction.atomic():
                    set_organization(project.organization_id)
                    hold(project, f"{number}-{attempt}", amount)
            except BudgetExceeded:
                continue
            granted += amount
        return granted

    with own_database.in_use():
        granted = sum(own_database.in_threads(WRITERS, work))

    cap = assert_books_balance(own_database)
    assert cap.reserved_nano == granted
    # Every refusal was right: what is left is less than the smallest amount asked.
    assert cap.remaining_nano < LIMIT // 200


def test_writers_at_once_never_pass_any_of_the_caps_over_them(own_database, project):
    with own_database.in_use(SUPERUSER):
        key = make_key(project, now=NOW).api_key
        lock_cap(organization_id=project.organization_id, now=NOW)
        caps = [
            set_cap(target=target, period=SpendCap.Period.DAY, limit_nano=LIMIT * percent // 100, stops=True, now=NOW)
            for target, percent in [
                (CapTarget(project.organization), 80),
                (CapTarget(project.organization, project=project), 60),
                (CapTarget(project.organization, api_key=key), 20),
            ]
        ]

    def work(number):
        random = Random(number)
        key_id = key.pk if number % 2 else None
        for attempt in range(15):
            with suppress(BudgetExceeded), transaction.atomic():
                set_organization(project.organization_id)
                held = hold(project, f"{number}-{attempt}", random.randint(LIMIT // 200, LIMIT // 60), key_id=key_id)
                if attempt % 3 == 0:
                    release(reservation_id=held.pk, now=NOW)
                elif attempt % 3 == 1:
                    record = make_record(project, random.randint(1, 500_000), api_key_id=key_id)
                    record_usage([record], reservation_id=held.pk, now=NOW)

    with own_database.in_use():
        own_database.in_threads(WRITERS, work)

    with own_database.in_use(SUPERUSER):
        holds = list(Reservation.objects.held().values_list("amount_nano", "limit_ids"))
        for cap in caps:
            cap.refresh_from_db()
            assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano
            assert cap.reserved_nano == sum(amount for amount, ids in holds if cap.pk in ids)
        # The whole project's cap was in use up to its end, and every refusal was right.
        assert caps[1].remaining_nano < LIMIT // 60


def test_one_account_opens_when_many_need_it_at_once(own_database, project):
    def work(number):
        with transaction.atomic():
            set_organization(project.organization_id)
            return hold(project, f"inst_{number}", 1000).pk

    with own_database.in_use():
        assert all(isinstance(found, int) for found in own_database.in_threads(WRITERS, work))

    with own_database.in_use(SUPERUSER):
        assert CreditGrant.objects.get().amount_nano == SpendCap.objects.get().limit_nano == LIMIT


def test_one_holder_holds_once_when_it_asks_many_times_at_once(own_database, project):
    def work(number):
        with transaction.atomic():
            set_organization(project.organization_id)
            return hold(project, "inst_1", NANO_PER_USD).pk

    with own_database.in_use():
        assert len(set(own_database.in_threads(WRITERS, work))) == 1

    assert assert_books_balance(own_database).reserved_nano == NANO_PER_USD


def test_an_event_reported_by_many_at_once_is_counted_once(own_database, project):
    records = [make_record(project, 100_000 + number) for number in range(20)]

    def work(number):
        mine = Random(number).sample(records, len(records))
        with transaction.atomic():
            set_organization(project.organization_id)
            return record_usage(mine, reservation_id=None, now=NOW).counted

    with own_database.in_use():
        assert sum(own_database.in_threads(8, work)) == len(records)

    cap = assert_books_balance(own_database)
    with own_database.in_use(SUPERUSER):
        assert UsageEvent.objects.count() == len(records)
        assert cap.settled_nano == UsageByHour.objects.get().amount_nano


def use(held, random):
    record_usage([make_record(held.project, random.randint(1, 2_000_000))], reservation_id=held.pk, now=NOW)


def give_back(held, random):
    release(reservation_id=held.pk, now=NOW)


def renew(held, random):
    until = NOW + timedelta(seconds=random.randint(1, 200))
    with suppress(BudgetExceeded, ReservationEnded), transaction.atomic():
        extend(reservation_id=held.pk, additional_nano=random.randint(0, LIMIT // 50), now=NOW, expires_at=until)


def test_the_books_balance_after_leases_were_used_renewed_released_and_swept_at_once(own_database, project):
    def work(number):
        return sweep() if number == 0 else live_with_leases(Random(number), f"holder {number}")

    def sweep():
        # The sweep comes in the midst of settlements.
        with as_platform():
            return sum(expire_reservations(now=NOW + timedelta(seconds=20 * tick)) for tick in range(10))

    def live_with_leases(random, holder):
        granted = 0
        for _ in range(8):
            with suppress(BudgetExceeded), transaction.atomic():
                set_organization(project.organization_id)
                held = hold(project, holder, random.randint(1, LIMIT // 30))
                granted += 1
                for act in random.choices((use, renew, give_back), k=2):
                    act(held, random)
        return granted

    with own_database.in_use():
        done = own_database.in_threads(WRITERS // 2, work)

    assert all(isinstance(count, int) for count in done), done
    assert any(done[1:])
    assert_books_balance(own_database)
