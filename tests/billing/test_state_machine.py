"""Any sequence of reserving, using, correcting, retrying and letting time pass keeps the books (laws: billing.md 5.1).

15 runs here, the full count in `make prove`. Over all of billing: test_whole_machine.py.
"""

import os
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import ClassVar
from uuid import uuid5

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Project
from billing.models import (
    Reservation,
    SpendByCause,
    SpendByDay,
    SpendCap,
    UsageByHour,
    UsageByResource,
    UsageEvent,
    WriteOff,
)
from billing.rating import rate
from billing.services.reservations import BudgetExceeded, ReservationEnded, expire_reservations, extend, release
from billing.services.usage import UsageConflict, record_usage
from catalog.selectors import UnitPrice, unit_prices
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import hour_of
from tests.factories.accounts import make_project
from tests.factories.billing import NOW, make_record, make_reservation
from tests.factories.catalog import make_price

LIMIT = 5 * NANO_PER_USD
# A million tokens of the first, and 1,000 seconds of the second, are a share of the cap that reaches it soon.
SKUS = ("model.demo.input", "instance.gpu_1x.surplus")
RUNS, STEPS = (1000, 40) if os.environ.get("PROVE") else (15, 12)


class Books(RuleBasedStateMachine):
    # The same in every run, made once; the prices hold for all time.
    project: ClassVar[Project]
    prices: ClassVar[dict[str, UnitPrice]]

    @initialize()
    def open(self):
        self.block = transaction.atomic()
        self.block.__enter__()
        self.now = NOW
        self.sent = []
        self.held = []

    def teardown(self):
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    @rule(percent=st.integers(1, 60), seconds=st.integers(1, 300))
    def reserve(self, percent, seconds):
        before = self.facts()
        try:
            until = self.now + timedelta(seconds=seconds)
            held = make_reservation(self.project, LIMIT * percent // 100, now=self.now, expires_at=until)
        except BudgetExceeded:
            assert self.facts() == before
        else:
            self.held.append(held.pk)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), percent=st.integers(0, 60))
    def extend(self, data, percent):
        before = self.facts()
        until = self.now + timedelta(seconds=120)
        pk = data.draw(st.sampled_from(self.held))
        try:
            with transaction.atomic():
                extend(reservation_id=pk, additional_nano=LIMIT * percent // 100, now=self.now, expires_at=until)
        except (BudgetExceeded, ReservationEnded):
            assert self.facts() == before

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release_twice(self, data):
        pk = data.draw(st.sampled_from(self.held))
        release(reservation_id=pk, now=self.now)
        before = self.facts()
        assert release(reservation_id=pk, now=self.now) == 0
        assert self.facts() == before

    @rule(
        data=st.data(),
        parts=st.lists(
            st.tuples(st.sampled_from(SKUS), st.integers(1, 60), st.integers(0, 7200)), min_size=1, max_size=4
        ),
    )
    def use(self, data, parts):
        units = {SKUS[0]: 60_000, SKUS[1]: 70}
        records = [
            make_record(self.project, units[sku] * share, sku=sku, occurred_at=self.now - timedelta(seconds=ago))
            for sku, share, ago in parts
        ]
        reservation = data.draw(st.none() | st.sampled_from(self.held)) if self.held else None
        done = record_usage(records, reservation_id=reservation, now=self.now)
        assert done.counted == len(records)
        self.sent += records

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def replay(self, data):
        before = self.facts()
        again = data.draw(st.lists(st.sampled_from(self.sent), min_size=1, max_size=6))
        done = record_usage(again, reservation_id=None, now=self.now)
        assert (done.counted, done.charged_nano, done.written_off_nano) == (0, 0, 0)
        assert self.facts() == before

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def contradict(self, data):
        before = self.facts()
        known = data.draw(st.sampled_from(self.sent))
        try:
            with transaction.atomic():
                other = replace(known, quantity=known.quantity + 1)
                record_usage([make_record(self.project), other], reservation_id=None, now=self.now)
        except UsageConflict:
            assert self.facts() == before
        else:
            pytest.fail("the same event was accepted with two contents")

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def correct(self, data):
        wrong = data.draw(st.sampled_from(self.sent))
        if wrong.corrects is None:
            correction = replace(
                wrong, event_id=uuid5(wrong.event_id, "correct"), quantity=-wrong.quantity, corrects=wrong.event_id
            )
            record_usage([correction], reservation_id=None, now=self.now)
            self.sent += [] if correction in self.sent else [correction]

    @rule(seconds=st.integers(1, 600) | st.integers(3600, 200_000))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)
        expire_reservations(now=self.now)
        assert not Reservation.objects.overdue(self.now).exists()

    def facts(self):
        caps = list(SpendCap.objects.values_list("limit_nano", "settled_nano", "reserved_nano"))
        holds = list(Reservation.objects.order_by("pk").values_list("pk", "amount_nano", "state", "expires_at"))
        counts = [model.objects.count() for model in (UsageEvent, UsageByHour, UsageByResource, WriteOff)]
        return caps, holds, counts, list(UsageByHour.objects.order_by("hour", "sku").values_list("quantity", flat=True))

    @invariant()
    def books_balance(self):
        if not hasattr(self, "sent"):
            return
        cap = SpendCap.objects.first()
        if cap is None:
            return
        assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano == LIMIT
        assert cap.reserved_nano == sum(Reservation.objects.values_list("amount_nano", flat=True))
        written_off = sum(WriteOff.objects.values_list("amount_nano", flat=True))
        assert written_off >= 0
        rated = self.rated()
        assert cap.settled_nano + written_off == rated
        assert sum(SpendByDay.objects.values_list("amount_nano", flat=True)) == rated
        by_cause: Counter[tuple[str, int]] = Counter()
        for cause, span_days, amount in SpendByCause.objects.values_list("cause", "span_days", "amount_nano"):
            by_cause[cause, span_days] += amount
        kinds = list(product(SpendByCause.Cause, (1, 7)))
        assert {kind: by_cause[kind] for kind in kinds} == dict.fromkeys(kinds, rated)
        explained = sum(UsageByResource.objects.values_list("quantity", flat=True))
        assert explained == sum(record.quantity for record in self.sent)

    def rated(self):
        """Rate what was sent from scratch, and compare the buckets with it."""
        used: defaultdict[datetime, list[tuple[str, int]]] = defaultdict(list)
        for record in self.sent:
            used[hour_of(record.occurred_at)].append((record.sku, record.quantity))
        lines = {
            (hour, line.sku): (line.quantity, line.amount_nano)
            for hour, quantities in used.items()
            for line in rate(quantities, self.prices)
        }
        stored = UsageByHour.objects.values_list("hour", "sku", "quantity", "amount_nano")
        assert {(hour, sku): (quantity, amount) for hour, sku, quantity, amount in stored} == lines
        return sum(amount for _, amount in lines.values())


@pytest.mark.django_db
def test_any_sequence_of_events_keeps_the_books():
    make_price(SKUS[0], 800_000_003, 1_000_000)
    make_price(SKUS[1], 2_490_000_000, 3_600)
    Books.project, Books.prices = make_project(), unit_prices(SKUS, NOW)
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=RUNS, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
