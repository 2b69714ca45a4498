"""Any sequence of reports, repeats, contradictions, corrections and decisions gives each event id one fate.

Two organizations whose usage comes in time, late, too late, too early, unpriced and wrong, from outside and from the
portal itself. 20 runs here, the full count in `make prove`. The law: docs/algorithms/metering.md.
"""

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

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

from accounts.models import Project, User
from accounts.services.staff import StaffGroup
from billing.models import SpendCap, UsageByHour, UsageEvent, UsageFate, WriteOff
from billing.services.credits import lock_cap
from billing.services.reported import correction_id_of
from billing.services.usage import record_usage
from billing.services.usage_decisions import UnableToDecide, accept_event, refuse_event
from billing.services.usage_reports import report_usage
from portal.lib.periods import hour_of, month_of
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.factories.accounts import make_project
from tests.factories.billing import close_month_before, make_record, make_report
from tests.factories.catalog import make_price

RUNS, STEPS = (200, 40) if os.environ.get("PROVE") else (20, 12)
# A day before a month is invoiced, so that this happens in most runs.
START = datetime(2026, 11, 2, 23, 30, tzinfo=UTC)
PRICED, UNPRICED = "model.demo.input", "model.free.input"
# How long ago, with both sides of every limit.
AGES = st.sampled_from(
    [
        timedelta(minutes=-5, seconds=-1),
        timedelta(minutes=-5),
        timedelta(0),
        timedelta(hours=3),
        timedelta(days=3),
        timedelta(days=35),
        timedelta(days=35, seconds=1),
        timedelta(days=60),
    ]
)
KINDS = st.sampled_from(["good", "good", "good", "good", "unpriced", "negative", "foreign"])
QUANTITIES = st.integers(1, 10**6)
NEW = st.tuples(st.integers(0, 1), QUANTITIES, AGES, KINDS)
FOR_A_PERSON = {"too_old", "future", "unpriced"}
REASON = "Somebody looked at it and decided"


class Metering(RuleBasedStateMachine):
    projects: ClassVar[list[Project]] = []
    staff: ClassVar[User]

    @initialize()
    def open(self):
        self.block = transaction.atomic()
        self.block.__enter__()
        make_price(PRICED, 150_000_000, 1_000_000)
        for project in self.projects:
            lock_cap(organization_id=project.organization_id, now=START)
        self.now = START
        self.invoiced_until = datetime(2000, 1, 1, tzinfo=UTC)
        self.invoice()
        self.sent = {}  # what an id was first reported with, and what it hears: outcome, reason
        self.fates: dict[UUID, tuple[str, str]] = {}
        self.decided = set()
        self.own = {}  # what the portal measured itself, by id
        self.late = set()

    def teardown(self):
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    # --- What is expected ---------------------------------------------------------------------------

    def closed(self):
        return self.invoiced_until

    def invoice(self):
        """Issue for both what is three days over."""
        end = month_of(self.now - timedelta(hours=72)).start
        if end > self.invoiced_until:
            for project in self.projects:
                close_month_before(project.organization, end)
            self.invoiced_until = end

    def counted(self, report):
        return ("late" if report.occurred_at < self.closed() else "counted", "")

    def verdict(self, report):
        """Return what a new report should become: outcome and reason; no outcome while it has to wait."""
        owners = {project.public_id: project.organization.public_id for project in self.projects}
        first, ahead = self.now - timedelta(days=35), self.now + timedelta(minutes=5)
        waits = report.corrects is not None and (report.corrects not in self.fates or self.waits(report.corrects))
        rules = [
            (owners[report.project] != report.organization, "unknown_project"),
            (report.quantity < 0 and report.corrects is None, "negative"),
            (report.occurred_at > ahead, "future"),
            (report.occurred_at < first, "too_old"),
            (waits, "corrects_unknown"),
            (report.sku == UNPRICED, "unpriced"),
            (report.corrects is not None and not waits and self.is_rejected(report.corrects), "corrects_nothing"),
            (report.corrects is not None and not self.is_opposite(report), "corrects_otherwise"),
        ]
        reason = next((reason for applies, reason in rules if applies), "")
        if reason == "corrects_unknown":
            return "", reason
        return ("rejected", reason) if reason else self.counted(report)

    def is_rejected(self, event_id):
        return self.fates[event_id][0] == "rejected"

    def is_opposite(self, report):
        corrected = self.sent.get(report.corrects)
        return corrected is not None and corrected.corrects is None and report == self.opposite(corrected)

    def waits(self, event_id):
        outcome, reason = self.fates[event_id]
        return outcome == "rejected" and reason in FOR_A_PERSON and event_id not in self.decided

    @staticmethod
    def opposite(report):
        corrects = report.event_id
        return replace(report, event_id=correction_id_of(corrects), quantity=-report.quantity, corrects=corrects)

    def expected(self, batch):
        """Return what each delivery should hear, in the order that events of a batch are looked at."""
        heard = {}
        order = sorted(range(len(batch)), key=lambda place: (batch[place].corrects is not None, place))
        for place in order:
            report = batch[place]
            if report.event_id not in self.fates:
                outcome, reason = self.verdict(report)
                if outcome:
                    self.fates[report.event_id], self.sent[report.event_id] = (outcome, reason), report
                heard[place] = (outcome or "deferred", reason)
            elif self.sent[report.event_id] != report:
                heard[place] = ("rejected", "conflict")
            else:
                outcome, reason = self.fates[report.event_id]
                heard[place] = (outcome, reason) if outcome == "rejected" else ("duplicate", "")
        return [heard[place] for place in range(len(batch))]

    # --- What happens -------------------------------------------------------------------------------

    def deliver(self, batch):
        expected = self.expected(batch)
        with as_platform():
            answers = report_usage(batch, now=self.now)
        assert [(answer.outcome.value, answer.reason) for answer in answers] == expected
        fates = [self.fates.get(report.event_id, ("",))[0] for report in batch]
        assert [answer.fate for answer in answers] == fates

    def made(self, place, quantity, age, kind):
        project = self.projects[place]
        sku = UNPRICED if kind == "unpriced" else PRICED
        signed = -quantity if kind == "negative" else quantity
        report = make_report(project, signed, sku=sku, occurred_at=self.now - age)
        other = self.projects[1 - place].public_id
        return replace(report, project=other) if kind == "foreign" else report

    @rule(
        new=st.lists(st.tuples(st.integers(0, 1), QUANTITIES, AGES, KINDS), min_size=1, max_size=5), twice=st.booleans()
    )
    def report(self, new, twice):
        batch = [self.made(*each) for each in new]
        self.deliver(batch + batch if twice else batch)

    @rule(new=NEW, off=st.sampled_from([0, 0, 1]), is_first=st.booleans(), goes_on=st.booleans())
    def report_with_its_correction(self, new, off, is_first, goes_on):
        report = self.made(*new)
        opposite = self.opposite(report)
        batch = [report, replace(opposite, quantity=opposite.quantity + off)]
        self.deliver(batch if is_first else batch[::-1])
        if goes_on:
            self.deliver([self.opposite(batch[1])])

    @rule(place=st.integers(0, 1), quantity=QUANTITIES, age=AGES)
    def correct_before_it_comes(self, place, quantity, age):
        report = self.made(place, quantity, age, "good")
        self.deliver([self.opposite(report)])
        self.deliver([report])

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def replay(self, data):
        """Any part of what was sent, in any order, changes nothing."""
        sent = list(self.sent.values())
        before = self.facts()
        self.deliver(data.draw(st.permutations(sent))[: data.draw(st.integers(1, len(sent)))])
        assert self.facts() == before

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), seconds=st.integers(0, 2), more=st.integers(0, 1), elsewhere=st.booleans())
    def contradict(self, data, seconds, more, elsewhere):
        known = data.draw(st.sampled_from(list(self.sent.values())))
        other = replace(known, quantity=known.quantity + more, occurred_at=known.occurred_at + timedelta(0, seconds))
        if elsewhere:
            there = next(one for one in self.projects if one.organization.public_id != known.organization)
            other = replace(other, organization=there.organization.public_id, project=there.public_id)
        if other == known:
            return
        before = self.facts()
        self.deliver([other])
        assert self.facts() == before

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), off=st.sampled_from([0, 0, 0, 1]))
    def correct(self, data, off):
        corrections = [report for report in self.sent.values() if report.corrects]
        everything = list(self.sent.values())
        known = data.draw(st.sampled_from(everything) | st.sampled_from(corrections or everything))
        opposite = self.opposite(known)
        self.deliver([replace(opposite, quantity=opposite.quantity + off)])

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), accepts=st.booleans())
    def decide(self, data, accepts):
        self.decide_about(data.draw(st.sampled_from(list(self.sent))), accepts=accepts)

    @rule(
        place=st.integers(0, 1),
        quantity=QUANTITIES,
        off=st.sampled_from([0, 0, 1]),
        is_known=st.booleans(),
        verdicts=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=3),
    )
    def decide_about_two(self, place, quantity, off, is_known, verdicts):
        """An event and its correction are too old, and a person looks at them in any order."""
        report = self.made(place, quantity, timedelta(days=40), "good")
        opposite = replace(self.opposite(report), quantity=off - quantity)
        self.deliver([report, opposite] if is_known else [opposite])
        for of_correction, accepts in verdicts:
            if of_correction or is_known:
                self.decide_about((opposite if of_correction else report).event_id, accepts=accepts)

    def decide_about(self, event_id, *, accepts):
        report, decide = self.sent[event_id], accept_event if accepts else refuse_event
        may = self.waits(event_id)
        if may and accepts:
            may = report.sku == PRICED and report.occurred_at <= self.now + timedelta(minutes=5)
            if may and report.corrects is not None:
                is_counted = report.corrects in self.fates and not self.is_rejected(report.corrects)
                may = is_counted and self.is_opposite(report)
        before = self.facts()
        try:
            with as_platform(), transaction.atomic():
                decide(event_id=event_id, reason=REASON, by=self.staff, now=self.now)
        except UnableToDecide:
            assert not may
            assert self.facts() == before
            return
        assert may
        self.decided.add(event_id)
        if accepts:
            self.fates[event_id] = (self.counted(report)[0], self.fates[event_id][1])

    @rule(place=st.integers(0, 1), quantity=QUANTITIES, hours=st.sampled_from([0, 3, 3 * 24, 34 * 24]))
    def measure(self, place, quantity, hours):
        record = make_record(self.projects[place], quantity, occurred_at=self.now - timedelta(hours=hours))
        self.own[record.event_id] = record
        if record.occurred_at < self.closed():
            self.late.add(record.event_id)
        record_usage([record], reservation_id=None, now=self.now)

    @precondition(lambda self: self.own)
    @rule(data=st.data())
    def measure_again(self, data):
        record = data.draw(st.sampled_from(list(self.own.values())))
        if record.occurred_at < self.now - timedelta(days=35):
            return
        before = self.facts()
        assert record_usage([record], reservation_id=None, now=self.now).duplicate == 1
        assert self.facts() == before

    @rule(hours=st.sampled_from([1, 24, 24 * 20]))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)
        self.invoice()

    # --- What holds ---------------------------------------------------------------------------------

    def facts(self):
        models = (UsageFate, UsageEvent, UsageByHour, WriteOff)
        caps = SpendCap.objects.order_by("pk").values_list("pk", "settled_nano", "reserved_nano")
        return [sorted(model.objects.values_list(), key=repr) for model in models], list(caps)

    @invariant()
    def each_id_has_its_one_fate(self):
        if not hasattr(self, "sent"):
            return
        stored = {fate.event_id: (fate.outcome, fate.reason) for fate in UsageFate.objects.all()}
        assert stored == self.fates | dict.fromkeys(self.late, ("late", ""))
        counted = [self.sent[event_id] for event_id, (outcome, _) in self.fates.items() if outcome != "rejected"]
        events = [*counted, *self.own.values()]
        assert sorted(UsageEvent.objects.values_list("event_id", "quantity")) == sorted(
            (event.event_id, event.quantity) for event in events
        )
        quantities: Counter[datetime] = Counter()
        for event in events:
            quantities[hour_of(event.occurred_at)] += event.quantity
        stored_quantities: Counter[datetime] = Counter()
        for hour, quantity in UsageByHour.objects.values_list("hour", "quantity"):
            stored_quantities[hour] += quantity
        assert stored_quantities == quantities
        settled = sum(SpendCap.objects.values_list("settled_nano", flat=True))
        written_off = sum(WriteOff.objects.values_list("amount_nano", flat=True))
        assert settled + written_off == sum(UsageByHour.objects.values_list("amount_nano", flat=True))


def run(runs: int, steps: int, *phases: Phase) -> None:
    Metering.projects = [make_project() for _ in range(2)]
    Metering.staff = make_staff(StaffGroup.FINANCE)
    run_state_machine_as_test(
        Metering,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=phases or tuple(Phase),
            database=None,
        ),
    )


@pytest.mark.django_db
def test_any_sequence_gives_each_id_one_fate():
    run(RUNS, STEPS)
