"""Any sequence of everything that moves money keeps the books (laws: docs/algorithms, billing 5.1).

Usage, caps, holds, credit, top-ups, closings, invoices and their payments, voids and notes, refunds, disputes, debts,
ends of credit, corrections and repeats, through the services and on PostgreSQL. What the payment provider says comes in
where the worker of its messages hands it over: settle_payment, settle_refund, settle_dispute. After each step every
cap, hold, bucket and account is what two plain reckonings say, in one statement. What else is proven: ADR 0035.
"""

import os
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar
from uuid import uuid5

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from billing.models import CreditGrant, SpendByCause
from billing.models.ledger import CREDIT as CREDIT_KINDS
from billing.services.caps import CapTarget
from billing.services.usage import UsageConflict, UsageRecord, record_usage
from tests.billing.caps_reckoning import CREDIT, ORGANIZATION, Reckoning, Work
from tests.billing.whole_facts import digest_of, facts_of
from tests.billing.whole_invoices import Invoicing
from tests.billing.whole_reckoning import Money
from tests.billing.whole_scene import (
    CAPS,
    HOLDS,
    OLDEST,
    PICK,
    PRODUCTS,
    RATES,
    START,
    STARTER,
    TERMS,
    USES,
    Scene,
    make_scene,
)
from tests.doubles.stripe_double import KEY
from tests.factories.catalog import make_price

# In `make prove` twice, once on each core.
HALVES, RUNS, STEPS = (2, 300, 50) if os.environ.get("PROVE") else (1, 20, 45)
# What is kept in sums of its own comes to what was rated.
SUMS = ["day", *(f"{cause}{days}" for cause in SpendByCause.Cause for days in (1, 7))]


class Whole(Invoicing):
    scenes: ClassVar[list[Scene]] = []

    @initialize(
        on_terms=st.sampled_from([True, False]),
        caps=st.lists(CAPS, max_size=2),
        hold=HOLDS,
        cents=st.integers(500, 3_000),
        uses=USES,
    )
    def open(self, on_terms, caps, hold, cents, uses):
        self.block = transaction.atomic()
        self.block.__enter__()
        self.scene = self.scenes[on_terms]
        self.organization = self.scene.organization
        self.now = START
        first, second, key = *self.scene.projects, self.scene.key
        self.workers = [Work(first.pk), Work(second.pk), Work(key.project_id, key.pk)]
        self.targets = [
            (ORGANIZATION, CapTarget(self.organization)),
            (("project", first.pk), CapTarget(self.organization, project=first)),
            (("project", second.pk), CapTarget(self.organization, project=second)),
            (("key", key.pk), CapTarget(self.organization, api_key=key)),
        ]
        self.caps = Reckoning(STARTER + (TERMS if on_terms else 0))
        names = {project.pk: project.public_id for project in self.scene.projects}
        self.money = Money(RATES, self.scene.may_owe, names, PRODUCTS)
        self.note_grant(CreditGrant.objects.get(organization=self.organization))
        self.holds = []
        self.sent = {}
        self.paid = []
        self.backs = []
        self.told = []
        self.heard = set()
        self.serial = 0
        self.hold(hold, None)
        if on_terms:
            # More than its credit, so that something is owed at the end of the month.
            self.record([self.used(0, 0, 60, 60)], None)
        else:
            self.buy(cents, ["succeeded"])
        for cap in caps:
            self.set_cap(cap)
        self.record([self.used(*uses)], None)

    def teardown(self):
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    # --- Repeats ------------------------------------------------------------------------------------

    @precondition(lambda self: self.told)
    @rule(share=st.integers(1, 100), pick=st.none() | PICK, pause=st.just(0) | st.integers(0, 6_000))
    def replay(self, share, pick, pause):
        """All that was told until some moment, again: usage in one call, out of another hold, and every message."""
        self.wait(pause)
        prefix = self.told[: max(len(self.told) * share // 100, 1)]
        before = digest_of(self.organization.pk)
        usage = [one for one in prefix if isinstance(one, UsageRecord) and one.occurred_at > self.now - OLDEST]
        at = None if pick is None else self.hold_of(pick)
        done = record_usage(usage[::-1], reservation_id=None if at is None else self.holds[at], now=self.now)
        assert (done.counted, done.charged_nano, done.written_off_nano) == (0, 0, 0)
        for tell in prefix:
            if not isinstance(tell, UsageRecord):
                tell()
        self.contradict(usage[:1])
        assert digest_of(self.organization.pk) == before

    def contradict(self, usage):
        """Tell something else of what is known, beside something new."""
        for known in usage:
            other = replace(known, quantity=known.quantity + 1)
            new = replace(known, event_id=uuid5(known.event_id, "new"))
            with pytest.raises(UsageConflict), transaction.atomic():
                record_usage([new, other], reservation_id=None, now=self.now)

    # --- Laws ---------------------------------------------------------------------------------------

    @invariant()
    def books_are_what_was_reckoned(self):
        if not hasattr(self, "told"):
            return
        facts = facts_of(self.organization.pk)
        places = {row[-1]: at for at, row in enumerate(facts.caps)}
        for row, cap in zip(facts.caps, self.caps.caps, strict=True):
            bounds = [None if at is None else int(at.timestamp()) for at in (cap.start, cap.end)]
            assert row[:9] == [*cap.over, cap.period, *bounds, cap.stops, cap.limit, cap.is_current, cap.reserved]
            # What a cap has counted that was removed is history.
            assert row[9] == cap.settled or cap.series in self.caps.removed
            assert not cap.stops or row[8] + row[9] <= row[6]
        found = [(*row[:4], {places[cap] for cap in row[4]}) for row in facts.holds]
        assert found == [
            (pk, one.is_held, one.amount, int(one.expires_at.timestamp()), set(one.caps))
            for pk, one in zip(self.holds, self.caps.holds, strict=True)
        ]
        self.usage_is_what_was_sent(facts)
        self.ledger_is_what_was_reckoned(facts)

    def usage_is_what_was_sent(self, facts):
        used = {
            (int(hour.timestamp()), project, sku): [quantity, RATES[sku].of(quantity)]
            for (hour, project, sku), quantity in self.money.used.items()
        }
        assert {tuple(row[:3]): row[3:] for row in facts.buckets} == used
        assert facts.events == sum(isinstance(one, UsageRecord) for one in self.told)
        assert facts.explained == sum(self.money.used.values())
        rated = self.money.rated
        assert facts.sums == dict.fromkeys(SUMS, rated)
        assert facts.written_off == self.caps.written_off
        assert self.caps.caps[CREDIT].settled + facts.written_off == rated
        # What was rated is on lines of invoices, or waits.
        unbilled = sum(self.money.amount(*step) for step in self.money.steps(datetime.max.replace(tzinfo=UTC)).items())
        assert facts.billed + unbilled == rated

    def ledger_is_what_was_reckoned(self, facts):
        debits = credits_ = 0
        kinds: Counter[str] = Counter()
        grants = {}
        for kind, grant, debit, credit, entries_debit, entries_credit in facts.accounts:
            assert (debit, credit) == (entries_debit, entries_credit)
            debits += debit
            credits_ += credit
            if kind in CREDIT_KINDS:
                grants[grant] = credit - debit
                assert credit >= debit
            kinds["credit" if kind in CREDIT_KINDS else kind] += debit - credit
        assert debits == credits_
        assert kinds == self.money.accounts
        assert grants == {grant.pk: grant.left for grant in self.money.grants.values()}


def run(machine: type[Whole], runs: int, steps: int, *phases: Phase, from_seed: int | None = None) -> None:
    for sku, rate in RATES.items():
        make_price(sku, rate.price_nano, rate.unit_size, active_from=datetime(2027, 1, 1, tzinfo=UTC))
    machine.scenes = [make_scene(may_owe=may_owe) for may_owe in (False, True)]
    if from_seed is not None:
        # A class of its own, since the seed stays on it.
        machine = seed(from_seed)(type("Seeded", (machine,), {}))
    with override_settings(STRIPE_SECRET_KEY=KEY):
        run_state_machine_as_test(
            machine,
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
@pytest.mark.parametrize("half", range(HALVES))
def test_any_sequence_of_everything_keeps_the_books(half):
    run(Whole, RUNS, STEPS)
