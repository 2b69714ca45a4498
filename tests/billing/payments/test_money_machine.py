"""Any sequence of payments, reloads, usage, refunds and disputes keeps the laws of docs/algorithms/payments.md (W7).

After each step the books, the cap and the rows say the same; in the end the provider says it too.
"""

import os
from contextlib import suppress
from datetime import timedelta
from types import ModuleType
from typing import Any, ClassVar

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from accounts.services.staff import StaffGroup
from billing.models import AccountKind, CreditGrant, Dispute, LedgerAccount, Payment, Refund, SpendCap
from billing.selectors import prove_ledger
from billing.services import dispute_money, refunding, refunds
from billing.services.auto_reload import start_reload
from billing.services.cards import read_cards, start_card_setup
from billing.services.credits import lock_cap
from billing.services.customers import customer_of
from billing.services.disputes import look_after_disputes
from billing.services.payments import look_after_payments
from billing.services.refunding import look_after_refunds
from billing.services.refunds import UnableToRefund, approve_refund, propose_refund
from billing.services.stripe_events import fetch_messages, work_events
from billing.services.top_ups import UnableToTopUp, WaysBack, open_payment_page, start_top_up
from billing.services.usage import record_usage
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from tests.accounts.test_legal_holds import make_staff
from tests.billing.mistakes import make_mistake
from tests.billing.payments.test_top_ups import STARTER
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import make_auto_reload, make_record
from tests.factories.catalog import make_price

PROVE = bool(os.environ.get("PROVE"))
RUNS, STEPS = (60, 25) if PROVE else (2, 8)
SKU = "model.demo.input"
CARDS = st.sampled_from(["4242424242424242", "4000000000007726", "4000000000005126"])
SHARES = st.sampled_from([1, 25, 60, 100])
BACK = WaysBack("http://127.0.0.1:9/", "http://127.0.0.1:9/")
DAY = timedelta(days=1)


class Money(RuleBasedStateMachine):
    double: ClassVar[Any]

    @initialize()
    def open(self):
        self.double.control("reset")
        self.block = transaction.atomic()
        self.block.__enter__()
        self.now = timezone.now()
        self.organization = make_organization()
        self.payer = make_membership(self.organization).user
        self.one, self.other = (make_staff(StaffGroup.FINANCE) for _ in range(2))
        lock_cap(organization_id=self.organization.pk, now=self.now)
        make_price(SKU, NANO_PER_USD, 1_000_000)
        start_card_setup(organization=self.organization, now=self.now)
        self.double.v1.payment_methods.attach("pm_card_visa", {"customer": customer_of(self.organization)})
        read_cards(organization_id=self.organization.pk, now=self.now)
        make_auto_reload(self.organization)

    def teardown(self):
        if hasattr(self, "block"):
            try:
                self.settle_with_the_provider()
                self.the_books_say_what_the_rows_say()
            finally:
                transaction.set_rollback(True)
                self.block.__exit__(None, None, None)

    @property
    def cap(self):
        return SpendCap.objects.of_organization(self.organization.pk).get()

    def paid(self):
        return list(Payment.objects.filter(state="succeeded").order_by("pk"))

    @rule(cents=st.integers(500, 10_000), card=CARDS)
    def buy(self, cents, card):
        try:
            payment = start_top_up(organization=self.organization, user=self.payer, amount_cents=cents, now=self.now)
        except UnableToTopUp:
            assert Dispute.objects.contested().exists() or Payment.objects.unfinished().count() >= 10
            return
        open_payment_page(payment=payment, back=BACK)
        payment.refresh_from_db()
        self.double.control("checkout", session=payment.stripe_session_id, card=card)

    @rule()
    def reload(self):
        start_reload(organization_id=self.organization.pk, now=self.now)

    @rule(share=SHARES)
    def use(self, share):
        tokens = self.cap.remaining_nano * share // 100 // 1000
        if tokens > 0:
            record = make_record(self.organization.projects.get(), tokens, sku=SKU, occurred_at=self.now)
            record_usage([record], reservation_id=None, now=self.now)

    @rule(place=st.integers(0, 9), share=SHARES)
    def refund(self, place, share):
        if not (paid := self.paid()):
            return
        payment = paid[place % len(paid)]
        cents = max(payment.amount_cents * share // 100, 1)
        with suppress(UnableToRefund):
            refund = propose_refund(payment=payment, amount_cents=cents, reason="Why", by=self.one, now=self.now)
            approve_refund(refund=refund, by=self.other, now=self.now)

    @rule(place=st.integers(0, 9), is_inquiry=st.booleans())
    def dispute(self, place, is_inquiry):
        if not (paid := self.paid()):
            return
        intent = self.double.v1.payment_intents.retrieve(paid[place % len(paid)].stripe_payment_intent_id)
        if not self.double.v1.charges.retrieve(intent.latest_charge).disputed:
            self.double.control("dispute", charge=intent.latest_charge, is_inquiry=is_inquiry)

    @rule(place=st.integers(0, 9), outcome=st.sampled_from(["won", "lost"]))
    def decide(self, place, outcome):
        undecided = [one for one in self.double.v1.disputes.list().data if one.status.endswith("needs_response")]
        if undecided:
            self.double.control("dispute", dispute=undecided[place % len(undecided)].id, outcome=outcome)

    @rule(hours=st.sampled_from([1, 25]))
    def wait(self, hours):
        self.now += timedelta(hours=hours)
        self.double.control("clock", seconds=hours * 3600)

    @rule()
    def hear(self):
        fetch_messages(now=self.now)
        work_events(now=self.now)

    @rule()
    def sweep(self):
        for work in (look_after_payments, look_after_refunds, look_after_disputes):
            work(now=self.now)

    @invariant()
    def the_books_say_what_the_rows_say(self):
        if not hasattr(self, "block"):
            return
        bought_cents = sum(payment.amount_cents - payment.refunded_cents for payment in self.paid())
        contested, lost = list(Dispute.objects.contested()), list(Dispute.objects.filter(state="lost"))
        frozen_cents = sum(dispute.frozen_cents for dispute in contested)
        taken_cents = sum(dispute.frozen_cents for dispute in lost)
        gone_cents = sum(dispute.amount_cents for dispute in (*contested, *lost))
        wanted = {
            AccountKind.PREPAID_CREDIT: bought_cents - taken_cents,
            AccountKind.CASH_IN_TRANSIT: bought_cents - gone_cents,
            AccountKind.DISPUTES: sum(dispute.amount_cents for dispute in contested),
            AccountKind.RECEIVABLE: sum(dispute.amount_cents - dispute.frozen_cents for dispute in lost),
        }
        found = dict.fromkeys(wanted, 0)
        for account in LedgerAccount.objects.owned_by(self.organization).filter(kind__in=wanted):
            found[AccountKind(account.kind)] += account.balance_nano
        assert found == {kind: cents * NANO_PER_CENT for kind, cents in wanted.items()}
        cap = self.cap
        assert cap.limit_nano == STARTER + (bought_cents - frozen_cents - taken_cents) * NANO_PER_CENT
        assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano
        marked = sum(CreditGrant.objects.owned_by(self.organization).values_list("frozen_nano", flat=True))
        assert marked == frozen_cents * NANO_PER_CENT
        assert not prove_ledger().differences

    def settle_with_the_provider(self):
        """Let everything come to its end, and compare with what the provider says."""
        for _ in range(3):
            self.wait(25)
            self.hear()
            self.sweep()
        intents = {one.id: one for one in self.double.v1.payment_intents.list({"limit": 100}).data}
        succeeded = {name for name, one in intents.items() if one.status == "succeeded"}
        paid = {payment.stripe_payment_intent_id: payment for payment in self.paid()}
        assert set(paid) == succeeded
        sent = dict.fromkeys(paid, 0)
        for refund in self.double.v1.refunds.list({"limit": 100}).data:
            sent[refund.payment_intent] += refund.amount if refund.status != "failed" else 0
        assert sent == {name: payment.refunded_cents for name, payment in paid.items()}
        assert not Refund.objects.filter(state__in=Refund.ON_THE_WAY).exists()
        told = {one.id: one.status for one in self.double.v1.disputes.list({"limit": 100}).data}
        known = {"disputed": "needs_response", "inquiry": "warning_needs_response", "closed": "warning_closed"}
        assert told == {
            dispute.stripe_dispute_id: known.get(dispute.state, dispute.state) for dispute in Dispute.objects.all()
        }


def run(double, runs, steps, *phases):
    machine = type("Run", (Money,), {"double": double})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=phases or tuple(Phase),
        ),
    )


@pytest.mark.django_db
def test_any_sequence_keeps_the_laws(double):
    run(double, RUNS, STEPS)


MISTAKES: list[tuple[ModuleType, str, str]] = [
    (refunds, 'limit_nano=F("limit_nano") - amount_nano', 'limit_nano=F("limit_nano")'),
    (refunds, 'refunded_cents=F("refunded_cents") + refund.amount_cents', 'refunded_cents=F("refunded_cents") + 1'),
    (refunding, 'limit_nano=F("limit_nano") + amount_nano', 'limit_nano=F("limit_nano")'),
    (refunding, "State.FAILED: {*Refund.ON_THE_WAY, State.SUCCEEDED}", "State.FAILED: {*Refund.ON_THE_WAY}"),
    (dispute_money, "dispute.amount_cents - dispute.frozen_cents)", "dispute.amount_cents)"),
    (dispute_money, "_move(dispute, grant, cap, -dispute.frozen_cents)", "_move(dispute, grant, cap, -1)"),
]


@pytest.mark.skipif(not PROVE, reason="looks for each of the mistakes: in the full proof")
@pytest.mark.django_db
@pytest.mark.parametrize(("module", "right", "wrong"), MISTAKES)
def test_a_mistake_is_found(double, monkeypatch, module, right, wrong):
    make_mistake(module, right, wrong, monkeypatch)

    with pytest.raises((AssertionError, DomainError, IntegrityError)):
        run(double, 60, 25, Phase.generate)
