"""Any sequence of payments, reloads, usage, refunds, disputes, debts and ends of credit keeps the laws (W7).

They are those of docs/algorithms/payments.md. After each step the books, the cap and the rows say the same; in the end
the provider says it too. What workers do is done as the platform role.
"""

import json
import os
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.utils import timezone
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

from accounts.models import AuditEvent
from accounts.services.staff import StaffGroup
from billing.gateways.payment_provider import ProviderTrouble
from billing.models import AccountKind, CreditGrant, Dispute, LedgerAccount, Payment, Refund, SpendCap
from billing.selectors import prove_ledger
from billing.selectors.debts import debts_of
from billing.selectors.disputes import frozen_nano_by_source
from billing.selectors.standing import overdue_cents
from billing.services.auto_reload import start_reload
from billing.services.cards import read_cards, start_card_setup
from billing.services.credit_expiry import expire_credits
from billing.services.credits import lock_cap
from billing.services.customers import customer_of
from billing.services.debts import UnableToPayDebt, start_debt_payment
from billing.services.disputes import look_after_disputes
from billing.services.payments import look_after_payments, read_payment
from billing.services.refunding import look_after_refunds
from billing.services.refunds import UnableToRefund, approve_refund, propose_refund
from billing.services.standing import work_standings
from billing.services.stripe_events import fetch_messages, work_events
from billing.services.top_ups import ProviderUnavailable, UnableToTopUp, WaysBack, open_payment_page, start_top_up
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.payments.test_faults import impatient
from tests.billing.payments.test_top_ups import STARTER
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import make_auto_reload, make_record
from tests.factories.catalog import make_price

__all__ = ["impatient"]

PROVE = bool(os.environ.get("PROVE"))
RUNS, STEPS = (60, 25) if PROVE else (2, 8)
SKU = "model.demo.input"
GOOD = "4242424242424242"
CARDS = st.sampled_from([GOOD, "4000000000007726", "4000000000005126"])
LONG = 25 * 60  # minutes, after which the provider has forgotten keys and pages are over
SHARES = st.sampled_from([1, 25, 60, 100])
DISPUTED = "4000000000000259"
BACK = WaysBack("http://127.0.0.1:9/", "http://127.0.0.1:9/")


class Money(RuleBasedStateMachine):
    double: ClassVar[Any]

    @initialize(has_bought=st.booleans())
    def open(self, has_bought):
        self.double.control("reset")
        self.block = transaction.atomic()
        self.block.__enter__()
        self.now = timezone.now()
        self.cut_count = 0
        self.organization = make_organization()
        self.payer = make_membership(self.organization).user
        self.one, self.other = (make_staff(StaffGroup.FINANCE) for _ in range(2))
        lock_cap(organization_id=self.organization.pk, now=self.now)
        make_price(SKU, NANO_PER_USD, 1_000_000)
        start_card_setup(organization=self.organization, now=self.now)
        self.double.v1.payment_methods.attach("pm_card_visa", {"customer": customer_of(self.organization)})
        with as_platform():
            read_cards(organization_id=self.organization.pk, now=self.now)
        make_auto_reload(self.organization)
        if has_bought:
            # What refunds and disputes are about; without, credit is low enough for a reload.
            self.buy(2500, GOOD)
            self.hear()

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

    def ended_cents(self):
        """Return what the log says that has ended of bought credit."""
        ended = AuditEvent.objects.filter(action="credit.ended").order_by("sequence")
        dollars = [json.loads(changes)["amount"][0] for changes in ended.values_list("changes", flat=True)]
        return sum(int(Decimal(amount).scaleb(2)) for amount in dollars)

    def page_of(self, payment):
        """Open the provider's page as often as it takes; return its id, None where the answer never came."""
        for _ in range(4):
            with suppress(ProviderUnavailable):
                open_payment_page(payment=payment, back=BACK)
                break
        payment.refresh_from_db()
        return payment.stripe_session_id

    def charge_of(self, place):
        """Return the charge of a payment that arrived, by its place; None before there is one."""
        if not (paid := self.paid()):
            return None
        intent = self.double.v1.payment_intents.retrieve(paid[place % len(paid)].stripe_payment_intent_id)
        return self.double.v1.charges.retrieve(intent.latest_charge)

    @rule(cents=st.integers(500, 10_000), card=CARDS)
    def buy(self, cents, card):
        try:
            payment = start_top_up(organization=self.organization, user=self.payer, amount_cents=cents, now=self.now)
        except UnableToTopUp:
            assert Dispute.objects.contested().exists() or Payment.objects.unfinished().count() >= 10
            return
        if session := self.page_of(payment):
            self.double.control("checkout", session=session, card=card)

    @rule(is_cut=st.booleans())
    def reload(self, is_cut):
        """Begin to charge the kept card, as its job does; the provider's answer may get lost."""
        with as_platform():
            payment = start_reload(organization_id=self.organization.pk, now=self.now)
            if payment is None:
                return
            if is_cut:
                self.lose_answers("/v1/payment_intents")
            with suppress(ProviderTrouble):
                read_payment(payment_id=payment.pk, now=self.now)

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
        with suppress(UnableToRefund), as_platform():
            refund = propose_refund(payment=payment, amount_cents=cents, reason="Why", by=self.one, now=self.now)
            approve_refund(refund=refund, by=self.other, now=self.now)

    @rule(card=st.sampled_from([GOOD, DISPUTED]))
    def pay_what_is_owed(self, card):
        try:
            payment = start_debt_payment(organization=self.organization, user=self.payer, now=self.now)
        except UnableToPayDebt:
            assert debts_of(self.organization.pk).payable_cents == 0
            return
        session = self.page_of(payment)
        if session and self.double.v1.checkout.sessions.retrieve(session).status == "open":
            self.double.control("checkout", session=session, card=card)

    @rule(place=st.integers(0, 9), is_inquiry=st.booleans())
    def dispute(self, place, is_inquiry):
        charge = self.charge_of(place)
        if charge and not charge.disputed:
            self.double.control("dispute", charge=charge.id, is_inquiry=is_inquiry)

    @rule(place=st.integers(0, 9))
    def lose(self, place):
        """Let a bank take a payment back and keep it, which by single steps is rare."""
        charge = self.charge_of(place)
        if charge and not charge.disputed:
            made = self.double.control("dispute", charge=charge.id)
            self.hear()
            self.double.control("dispute", dispute=made["id"], outcome="lost")
            self.hear()

    @rule(place=st.integers(0, 9), outcome=st.sampled_from(["won", "lost"]))
    def decide(self, place, outcome):
        undecided = [one for one in self.double.v1.disputes.list().data if one.status.endswith("needs_response")]
        if undecided:
            self.double.control("dispute", dispute=undecided[place % len(undecided)].id, outcome=outcome)

    @precondition(lambda self: self.cut_count < 2)
    @rule(path=st.sampled_from(["/v1/checkout", "/v1/refunds"]))
    def cut(self, path):
        self.cut_count += 1
        self.lose_answers(path)

    def lose_answers(self, path):
        """Let the answer to what is asked next get lost, also when it is asked at once again."""
        self.double.control("fail", kind="drop", count=2, after=True, path=path)

    @rule(minutes=st.sampled_from([11, 60, LONG]))
    def wait(self, minutes):
        self.now += timedelta(minutes=minutes)
        self.double.control("clock", seconds=minutes * 60)

    @rule()
    def hear(self):
        with as_platform():
            fetch_messages(now=self.now)
            work_events(now=self.now)

    @rule()
    def sweep(self):
        with as_platform():
            for work in (look_after_payments, look_after_refunds, look_after_disputes):
                work(now=self.now)

    @rule(place=st.integers(0, 9))
    def end_credit(self, place):
        """Let the time of what a payment bought be over, if it has not been used up."""
        if paid := self.paid():
            source = f"payment:{paid[place % len(paid)].public_id}"
            CreditGrant.objects.filter(source=source, expires_at=None).update(expires_at=self.now)
        with as_platform():
            expire_credits(now=self.now)

    @invariant()
    def the_books_say_what_the_rows_say(self):
        if not hasattr(self, "block"):
            return
        debts_cents = sum(payment.amount_cents for payment in self.paid() if payment.purpose == "debt")
        bought_cents = sum(payment.amount_cents - payment.refunded_cents for payment in self.paid()) - debts_cents
        contested, lost = list(Dispute.objects.contested()), list(Dispute.objects.filter(state="lost"))
        frozen_cents = sum(dispute.frozen_cents for dispute in contested)
        taken_cents = sum(dispute.frozen_cents for dispute in lost)
        gone_cents = sum(dispute.amount_cents for dispute in (*contested, *lost))
        ended_cents = self.ended_cents()
        wanted = {
            AccountKind.PREPAID_CREDIT: bought_cents - taken_cents - ended_cents,
            AccountKind.CASH_IN_TRANSIT: bought_cents + debts_cents - gone_cents,
            AccountKind.DISPUTES: sum(dispute.amount_cents for dispute in contested),
            AccountKind.RECEIVABLE: sum(dispute.amount_cents - dispute.frozen_cents for dispute in lost) - debts_cents,
        }
        found = dict.fromkeys(wanted, 0)
        for account in LedgerAccount.objects.owned_by(self.organization).filter(kind__in=wanted):
            found[AccountKind(account.kind)] += account.balance_nano
        assert found == {kind: cents * NANO_PER_CENT for kind, cents in wanted.items()}
        cap = self.cap
        assert cap.limit_nano == STARTER + (bought_cents - frozen_cents - taken_cents - ended_cents) * NANO_PER_CENT
        assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano
        assert sum(frozen_nano_by_source(self.organization.pk).values()) == frozen_cents * NANO_PER_CENT
        assert not prove_ledger().differences
        told = debts_of(self.organization.pk)
        assert told.cents - told.too_much_cents == wanted[AccountKind.RECEIVABLE]
        self.organization.refresh_from_db()
        stands = self.organization.payment_state
        if contested:
            assert stands == "disputed"
        elif not overdue_cents(self.organization.pk, self.now):
            assert stands == "good"
        else:
            # One whose end was the first that we heard waits for the next look.
            assert stands in ("past_due", "good")

    def settle_with_the_provider(self):
        """Let everything come to its end, and compare with what the provider says."""
        for minutes in (11, *[LONG] * (3 + self.cut_count)):
            self.wait(minutes)
            self.hear()
            self.sweep()
        intents = {one.id: one for one in self.double.v1.payment_intents.list({"limit": 100}).data}
        succeeded = {name for name, one in intents.items() if one.status == "succeeded"}
        paid = {payment.stripe_payment_intent_id: payment for payment in self.paid()}
        assert set(paid) == succeeded
        # However often it was asked for, it was made once.
        sessions = [one for one in self.double.v1.checkout.sessions.list({"limit": 100}).data if one.mode == "payment"]
        for made in (sessions, intents.values()):
            names = [one.metadata["payment"] for one in made]
            assert len(names) == len(set(names))
        with as_platform():
            work_standings(now=self.now)
        if overdue_cents(self.organization.pk, self.now):
            self.organization.refresh_from_db()
            assert self.organization.payment_state in ("past_due", "disputed")
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
def test_any_sequence_keeps_the_laws(double, impatient):
    run(double, RUNS, STEPS)
