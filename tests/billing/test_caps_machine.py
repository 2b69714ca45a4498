"""Any sequence of setting caps, reserving, using, correcting and letting periods end keeps every cap.

Two projects and two keys, with caps of every scope and period that come, change and go. Caps that only warn, there from
the start, are the oracle: each has settled what was charged to the work that it is over. 40 runs here, the full
count in `make prove`.
"""

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid5

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.models import Reservation, SpendCap, UsageByHour, WriteOff
from billing.services.caps import CapTarget, UnableToSetCap, remove_cap, set_cap
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
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price

LIMIT = 5 * NANO_PER_USD
# Before the end of a day, a week and a month: all of them end in most runs.
START = datetime(2026, 11, 29, 22, 30, tzinfo=UTC)
PERIODS = list(SpendCap.Period)
RUNS, STEPS = (600, 50) if os.environ.get("PROVE") else (40, 15)


class Caps(RuleBasedStateMachine):
    @initialize()
    def open(self):
        self.block = transaction.atomic()
        self.block.__enter__()
        make_price("model.demo.input", NANO_PER_USD, 1_000_000)
        first = make_project()
        self.organization = first.organization
        self.projects = [first, make_project(self.organization, "second")]
        self.keys = [make_key(project, now=START).api_key for project in self.projects]
        self.now = START
        self.held: dict[int, int] = {}
        self.sent: list[tuple[int, object]] = []
        self.charged: Counter[int] = Counter()
        self.oracles = {}
        for place, period in ((place, period) for place in range(4) for period in ("lifetime", "day")):
            if place < 2:
                target = CapTarget(self.organization, project=self.projects[place])
            else:
                target = CapTarget(self.organization, api_key=self.keys[place - 2])
            made = set_cap(target=target, period=SpendCap.Period(period), limit_nano=LIMIT, stops=False, now=self.now)
            self.oracles[place, period] = made.pk

    def teardown(self):
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    def payer(self, who):
        """0 and 1: a project without a key; 2 and 3: through its key."""
        key = self.keys[who - 2].pk if who > 1 else None
        return Payer(self.organization.pk, self.projects[who % 2].pk, key)

    @rule(period=st.sampled_from(["day", "week", "month"]), percent=st.integers(0, 60), stops=st.booleans())
    def cap_the_organization(self, period, percent, stops):
        self.set(CapTarget(self.organization), period, percent, stops)

    @rule(of=st.integers(0, 1), period=st.sampled_from(["week", "month"]), percent=st.integers(0, 60))
    def cap_a_project(self, of, period, percent):
        self.set(CapTarget(self.organization, project=self.projects[of]), period, percent, stops=True)

    @rule(of=st.integers(0, 1), period=st.sampled_from(["week", "month"]), percent=st.integers(0, 60))
    def cap_a_key(self, of, period, percent):
        self.set(CapTarget(self.organization, api_key=self.keys[of]), period, percent, stops=True)

    def set(self, target, period, percent, stops):
        before = self.facts()
        try:
            with transaction.atomic():
                set_cap(
                    target=target,
                    period=SpendCap.Period(period),
                    limit_nano=LIMIT * percent // 100,
                    stops=stops,
                    now=self.now,
                )
        except UnableToSetCap:
            assert self.facts() == before

    @rule(data=st.data())
    def remove(self, data):
        caps = SpendCap.objects.limits().current().exclude(pk__in=self.oracles.values()).exclude(period="lifetime")
        removable = [cap for cap in caps.order_by("pk") if cap.period != "day" or cap.scope == "organization"]
        if removable:
            remove_cap(cap=data.draw(st.sampled_from(removable)), now=self.now)

    @rule(
        who=st.integers(0, 3), percent=st.integers(1, 50), seconds=st.integers(60, 4_000) | st.integers(4_000, 200_000)
    )
    def reserve(self, who, percent, seconds):
        before = self.facts()
        try:
            with transaction.atomic():
                hold = reserve(
                    payer=self.payer(who),
                    purpose=Reservation.Purpose.INSTANCE_LEASE,
                    holder=f"inst_{len(self.held)}",
                    amount_nano=LIMIT * percent // 100,
                    now=self.now,
                    expires_at=self.now + timedelta(seconds=seconds),
                )
        except BudgetExceeded:
            assert self.facts() == before
        else:
            self.held[hold.pk] = who

    @precondition(lambda self: self.held)
    @rule(data=st.data(), percent=st.integers(0, 40))
    def extend(self, data, percent):
        before = self.facts()
        pk = data.draw(st.sampled_from(sorted(self.held)))
        try:
            with transaction.atomic():
                extend(
                    reservation_id=pk,
                    additional_nano=LIMIT * percent // 100,
                    now=self.now,
                    expires_at=self.now + timedelta(seconds=600),
                )
        except (BudgetExceeded, ReservationEnded):
            assert self.facts() == before
        else:
            in_force = SpendCap.objects.limits().current().filter(pk__in=Reservation.objects.get(pk=pk).limit_ids)
            assert not [cap for cap in in_force if cap.has_ended(self.now)]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        release(reservation_id=data.draw(st.sampled_from(sorted(self.held))), now=self.now)

    @rule(data=st.data(), who=st.integers(0, 3), share=st.integers(1, 40), ago=st.integers(0, 90_000))
    def use(self, data, who, share, ago):
        payer = self.payer(who)
        record = make_record(
            self.projects[who % 2],
            share * 50_000,
            occurred_at=self.now - timedelta(seconds=ago),
            api_key_id=payer.api_key_id,
        )
        mine = sorted(pk for pk, holder in self.held.items() if holder == who)
        reservation = data.draw(st.none() | st.sampled_from(mine)) if mine else None
        self.count(who, record_usage([record], reservation_id=reservation, now=self.now))
        self.sent.append((who, record))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def correct(self, data):
        who, wrong = data.draw(st.sampled_from(self.sent))
        if wrong.occurred_at < self.now - timedelta(days=34):
            return
        correction = replace(
            wrong, event_id=uuid5(wrong.event_id, "correct"), quantity=-wrong.quantity, corrects=wrong.event_id
        )
        self.count(who, record_usage([correction], reservation_id=None, now=self.now))

    def count(self, who, recorded):
        self.charged[who % 2] += recorded.charged_nano
        if who > 1:
            self.charged[who] += recorded.charged_nano

    @rule(seconds=st.integers(1, 6_000) | st.integers(3_600, 90_000) | st.integers(90_000, 800_000))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)
        expire_reservations(now=self.now)

    def facts(self):
        caps = list(SpendCap.objects.order_by("pk").values_list("pk", "limit_nano", "settled_nano", "reserved_nano"))
        # A period that ended may have been followed up by what was refused.
        moved = [cap for cap in caps if cap[2] or cap[3]]
        return moved, list(Reservation.objects.order_by("pk").values_list("pk", "amount_nano", "state", "limit_ids"))

    @invariant()
    def every_cap_holds(self):
        if not hasattr(self, "organization"):
            return
        holds = list(Reservation.objects.held().values_list("amount_nano", "cap_id", "limit_ids"))
        for cap in SpendCap.objects.all():
            assert cap.reserved_nano == sum(amount for amount, credit, ids in holds if cap.pk in (credit, *ids))
            if cap.stops:
                assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano

    @invariant()
    def every_cap_counted_what_was_charged(self):
        if not hasattr(self, "organization"):
            return
        for place in range(4):
            settled = SpendCap.objects.get(pk=self.oracles[place, "lifetime"]).settled_nano
            if WriteOff.objects.exists():
                # The correction of what was written off may give back what other work has cost: never below nothing.
                assert settled >= self.charged[place]
            else:
                assert settled == self.charged[place]
            first = SpendCap.objects.get(pk=self.oracles[place, "day"])
            days = SpendCap.objects.filter(
                scope=first.scope, project=first.project, api_key=first.api_key, period="day"
            )
            # No less: what was charged on another day than it is taken back from stays counted there.
            assert sum(days.values_list("settled_nano", flat=True)) >= self.charged[place]
        credit = SpendCap.objects.of_organization(self.organization.pk).get()
        written_off = sum(WriteOff.objects.values_list("amount_nano", flat=True))
        rated = sum(UsageByHour.objects.values_list("amount_nano", flat=True))
        assert credit.settled_nano == self.charged[0] + self.charged[1] == rated - written_off


def run(runs: int, steps: int, *phases: Phase) -> None:
    run_state_machine_as_test(
        Caps,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=phases or tuple(Phase),
            database=None,
        ),
    )


@pytest.mark.django_db
def test_any_sequence_keeps_every_cap():
    run(RUNS, STEPS)
