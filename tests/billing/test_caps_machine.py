"""Any sequence of setting caps, reserving, using, correcting and letting periods end keeps every cap.

Two projects and three keys, with caps of every scope and period that come, change and go. After every step each row is
what tests/billing/caps_reckoning.py says it is. 15 runs here, the full count in `make prove`.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import uuid5

import pytest
from django.db import transaction
from django.db.models import Sum
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

from accounts.models import ApiKey, Project
from billing.models import CreditGrant, Reservation, SpendCap, UsageByHour, WriteOff
from billing.services.caps import CapTarget, UnableToSetCap, remove_cap, set_cap
from billing.services.credits import Award, award_credit
from billing.services.limits import Payer
from billing.services.reservations import (
    BudgetExceeded,
    ReservationEnded,
    expire_reservations,
    extend,
    release,
    reserve,
)
from billing.services.usage import UsageRecord, record_usage
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from portal.lib.periods import calendar_period
from tests.billing.caps_reckoning import CREDIT, ORGANIZATION, Event, Over, Reckoning, Refused, Work
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price

CREDIT_NANO = 5 * NANO_PER_USD
TOKEN_NANO = 1_000  # a dollar for a million: nothing is rounded
# Before the end of a day, a week and a month: all of them end in most runs.
START = datetime(2026, 11, 29, 22, 30, tzinfo=UTC)
RUNS, STEPS = (600, 50) if os.environ.get("PROVE") else (15, 15)

PERIODS = st.sampled_from(["day", "week", "month", "lifetime"])
# The organization, two projects, three keys; and what works: a project by itself or through a key.
TARGETS, WORKERS = st.integers(0, 5), st.integers(0, 4)
# What a limit leaves above what is used already, in percent of the credit that is left: it is refused below 0. Without
# one the cap is removed.
CAPS = st.tuples(TARGETS, PERIODS, st.sampled_from([30, None, -10, 0, 5, 10, 20, 40, 60, 80]), st.booleans())
# Of the room in the tightest cap, in percent: mostly a part of it, so that there is room for what comes after.
PERCENT = st.sampled_from([20, *range(1, 41, 3), 100, 101, 150])
HOLDING_SECONDS = st.integers(60, 6_000) | st.integers(6_000, 300_000) | st.integers(300_000, 3_000_000)
# Who, how much, and seconds ago: today, and in a period before.
USES = st.tuples(WORKERS, PERCENT, st.integers(0, 4_000) | st.integers(4_000, 400_000))
# Which one, of those that there are.
PICK = st.integers(0, 40)
HOLDS = st.tuples(WORKERS, PERCENT, HOLDING_SECONDS)
AGAIN = st.sampled_from([None, None, None, None, 0, 1, 2])
# How long before a step nothing happens: seconds, or until the end of a period and a second on either side. That time
# passes is no rule of its own, which Hypothesis would leave out of half of the runs.
ENDS = st.tuples(st.sampled_from(["day", "week", "month"]), st.integers(-1, 1))
PAUSES = st.just(0) | st.integers(0, 6_000) | ENDS
REFUSALS = (BudgetExceeded, ReservationEnded, UnableToSetCap)


class Caps(RuleBasedStateMachine):
    projects: ClassVar[list[Project]] = []
    keys: ClassVar[list[ApiKey]] = []

    @initialize(caps=st.lists(CAPS, min_size=1, max_size=4), holds=st.lists(HOLDS, min_size=1, max_size=3))
    def open(self, caps, holds):
        self.block = transaction.atomic()
        self.block.__enter__()
        self.now = START
        organization = self.projects[0].organization
        self.workers = [
            *(Work(project.pk) for project in self.projects),
            *(Work(key.project_id, key.pk) for key in self.keys),
        ]
        self.targets: list[tuple[Over, CapTarget]] = [
            (ORGANIZATION, CapTarget(organization)),
            *((("project", project.pk), CapTarget(organization, project=project)) for project in self.projects),
            *((("key", key.pk), CapTarget(organization, api_key=key)) for key in self.keys),
        ]
        self.books = Reckoning(CREDIT_NANO)
        self.holds: list[int] = []  # primary keys, in the books' order
        self.sent: list[UsageRecord] = []
        for cap in caps:
            self.set_cap(cap)
        for hold in holds:
            self.hold(hold, None)

    def teardown(self):
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    def both[T, U](self, do: Callable[[], T], reckon: Callable[[], U]) -> tuple[T, U] | None:
        """Do something and reckon it: either both refuse, for the same lack of room, or both return what came of it."""
        refusal: Refused | None = None
        refused: Exception | None = None
        try:
            expected = reckon()
        except Refused as error:
            refusal = error
        try:
            with transaction.atomic():
                done = do()
        except REFUSALS as error:
            refused = error
        assert (refused is None) == (refusal is None)
        if refusal:
            assert getattr(refused, "room_nano", None) == refusal.room
            return None
        return done, expected

    @rule(cap=CAPS, pause=PAUSES)
    def change_cap(self, cap, pause):
        self.wait(pause)
        self.set_cap(cap)

    def set_cap(self, cap):
        number, period, percent, stops = cap
        over, target = self.targets[number]
        if (over, period) == (ORGANIZATION, "lifetime"):
            self.add_credit(abs(percent or 100))
        elif percent is None:
            self.remove(over, period)
        else:
            limit = max(self.books.used(over, period, self.now) + self.books.caps[CREDIT].room * percent // 100, 0)
            values = {"limit_nano": limit, "stops": stops, "now": self.now}
            self.both(
                lambda: set_cap(target=target, period=SpendCap.Period(period), **values),
                lambda: self.books.set_cap(over, period, limit, stops=stops, now=self.now),
            )

    def add_credit(self, cents):
        source = f"machine:{self.books.caps[CREDIT].limit}"
        given = Award(CreditGrant.Kind.PROMOTIONAL, cents * NANO_PER_CENT, source)
        award_credit(organization=self.projects[0].organization, given=given, now=self.now)
        self.books.add_credit(cents * NANO_PER_CENT)

    def remove(self, over, period):
        at = self.books.find(over, period)
        if at is not None:
            remove_cap(cap=SpendCap.objects.order_by("pk")[at], now=self.now)
            self.books.remove_cap(at)

    @rule(hold=HOLDS, again=AGAIN, pause=PAUSES)
    def reserve(self, hold, again, pause):
        """again: a holder that may hold already, or whose hold is overdue."""
        self.wait(pause)
        self.hold(hold, again)

    def hold(self, hold, again):
        who, percent, seconds = hold
        work = self.workers[who]
        holder = f"inst_{len(self.holds) if again is None else again % (len(self.holds) + 1)}"
        amount = max(self.books.least_room(work, self.now) * percent // 100, 1)
        until = self.now + timedelta(seconds=seconds)
        both = self.both(
            lambda: (
                reserve(
                    payer=Payer(self.projects[0].organization_id, work.project, work.key),
                    purpose=Reservation.Purpose.INSTANCE_LEASE,
                    holder=holder,
                    amount_nano=amount,
                    now=self.now,
                    expires_at=until,
                ).pk
            ),
            lambda: self.books.reserve(work, holder, amount, self.now, until),
        )
        if both:
            pk, at = both
            self.holds += [pk] if at == len(self.holds) else []
            assert self.holds[at] == pk

    def hold_of(self, pick):
        """Return the place of a hold: one that is held, or that ended last."""
        places = range(len(self.holds))
        held = [at for at in places if self.books.holds[at].is_held]
        ended = [at for at in places if not self.books.holds[at].is_held][-1:]
        return (held + ended)[pick % len(held + ended)]

    @precondition(lambda self: self.holds)
    @rule(pick=PICK, percent=st.just(0) | PERCENT, pause=PAUSES)
    def extend(self, pick, percent, pause):
        self.wait(pause)
        at = self.hold_of(pick)
        more = self.books.least_room(self.books.holds[at].work, self.now) * percent // 100
        until = self.now + timedelta(seconds=600)
        self.both(
            lambda: extend(reservation_id=self.holds[at], additional_nano=more, now=self.now, expires_at=until),
            lambda: self.books.extend(at, more, self.now, until),
        )

    @rule(pick=st.none() | PICK, pause=PAUSES)
    def give_back(self, pick, pause):
        """Release a hold, or sweep up all that are overdue."""
        self.wait(pause)
        if pick is None or not self.holds:
            assert expire_reservations(now=self.now) == self.books.expire(self.now)
        else:
            at = self.hold_of(pick)
            assert release(reservation_id=self.holds[at], now=self.now) == self.books.end(at)

    @rule(uses=st.lists(USES, min_size=1, max_size=3), pick=st.sampled_from([0, None, 1, 2]), pause=PAUSES)
    def use(self, uses, pick, pause):
        """One call with the usage of several; out of a hold of anybody's, or of none."""
        self.wait(pause)
        self.record([self.used(*use) for use in uses], pick)

    @precondition(lambda self: self.sent)
    @rule(picks=st.lists(PICK, min_size=1, max_size=3), uses=st.lists(USES, max_size=1), pause=PAUSES)
    def correct(self, picks, uses, pause):
        """Take back what was used, twice at times, and use some of what that gives back in the same call."""
        self.wait(pause)
        wrong = [self.sent[pick % len(self.sent)] for pick in picks]
        corrections = [
            replace(one, event_id=uuid5(one.event_id, "correct"), quantity=-one.quantity, corrects=one.event_id)
            for one in wrong
            if one.occurred_at > self.now - timedelta(days=34)
        ]
        records = [self.used(*use) for use in uses]
        self.record([*{one.event_id: one for one in corrections}.values(), *records], None)

    def used(self, who, percent, ago):
        work = self.workers[who]
        record = make_record(
            next(project for project in self.projects if project.pk == work.project),
            max(self.books.least_room(work, self.now) * percent // 100 // TOKEN_NANO, 1),
            occurred_at=self.now - timedelta(seconds=ago),
            api_key_id=work.key,
        )
        self.sent.append(record)
        return record

    def record(self, records, pick):
        hold = None if pick is None or not self.holds else self.hold_of(pick)
        events = [
            Event(one.event_id, one.occurred_at, Work(one.project_id, one.api_key_id), one.quantity * TOKEN_NANO)
            for one in records
        ]
        done = record_usage(records, reservation_id=None if hold is None else self.holds[hold], now=self.now)
        expected = self.books.use(events, hold, self.now)
        assert (done.counted, done.charged_nano, done.written_off_nano) == expected

    def wait(self, pause):
        if isinstance(pause, int):
            self.now += timedelta(seconds=pause)
        else:
            period, seconds = pause
            self.now = max(calendar_period(period, self.now).end + timedelta(seconds=seconds), self.now)

    @invariant()
    def every_row_is_what_was_reckoned(self):
        if not hasattr(self, "books"):
            return
        caps = list(SpendCap.objects.order_by("pk"))
        # The credit opens with what first needs it.
        for row, cap in zip(caps, self.books.caps, strict=True) if caps else ():
            over = (row.scope, row.project_id or row.api_key_id)
            of_row = (over, row.period, row.period_start, row.period_end, row.stops, row.limit_nano, row.is_current)
            assert of_row == (cap.over, cap.period, cap.start, cap.end, cap.stops, cap.limit, cap.is_current)
            assert row.reserved_nano == cap.reserved
            # What a cap has counted that was removed is history.
            assert row.settled_nano == cap.settled or cap.series in self.books.removed
        holds = Reservation.objects.order_by("pk").values_list("pk", "state", "amount_nano", "expires_at", "cap_id")
        places = {row.pk: at for at, row in enumerate(caps)}
        limits = Reservation.objects.order_by("pk").values_list("limit_ids", flat=True)
        found = [
            (pk, state == "held", amount, until, {places[credit], *(places[cap] for cap in ids)})
            for (pk, state, amount, until, credit), ids in zip(holds, limits, strict=True)
        ]
        reckoned = zip(self.holds, self.books.holds, strict=True)
        assert found == [(pk, one.is_held, one.amount, one.expires_at, set(one.caps)) for pk, one in reckoned]

    @invariant()
    def the_laws_hold(self):
        if not hasattr(self, "books"):
            return
        caps, holds = self.books.caps, self.books.holds
        for at, cap in enumerate(caps):
            assert cap.reserved == sum(hold.amount for hold in holds if at in hold.caps)
            assert not cap.stops or cap.settled + cap.reserved <= cap.limit
        written_off = WriteOff.objects.aggregate(Sum("amount_nano", default=0))["amount_nano__sum"]
        rated = UsageByHour.objects.aggregate(Sum("amount_nano", default=0))["amount_nano__sum"]
        assert written_off == self.books.written_off >= 0
        assert caps[CREDIT].settled + written_off == rated == sum(one.amount for one in self.books.events.values())


def run(runs: int, steps: int, *phases: Phase) -> None:
    make_price("model.demo.input", TOKEN_NANO * 1_000_000, 1_000_000)
    first = make_project()
    Caps.projects = [first, make_project(first.organization, "second")]
    Caps.keys = [make_key(project, now=START).api_key for project in (*Caps.projects, first)]
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
