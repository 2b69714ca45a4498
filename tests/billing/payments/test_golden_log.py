"""What the provider tells of one organization, in any order, late and again, comes to the same (security W2).

The log is of everything that we act on: payments on its pages that succeed, expire and are paid although they were
canceled, charges of kept cards that succeed and are declined, refunds that arrive and that a bank sends back, disputes
that are won and lost, a question of a bank, a debt that is paid, and cards that come and go. Some rows are written
before what they follow from is known, as where messages of hours come at once.
"""

import os
import random
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.error import HTTPError

import pytest
from django.utils import timezone

from accounts.services.staff import StaffGroup
from billing.demo_stripe.keeping import Keeper
from billing.gateways import payment_provider
from billing.gateways.payment_provider import Told
from billing.models import (
    AccountKind,
    CreditGrant,
    Dispute,
    Invoice,
    LedgerAccount,
    Payment,
    PaymentMethod,
    Refund,
    SpendCap,
    StripeEvent,
)
from billing.selectors import prove_ledger
from billing.selectors.debts import debts_of
from billing.services.cards import read_cards, start_card_setup
from billing.services.charges import charge
from billing.services.credits import lock_cap
from billing.services.customers import customer_of
from billing.services.disputes import look_after_disputes
from billing.services.invoice_payments import collect_invoice
from billing.services.payments import look_after_payments, read_payment
from billing.services.refunding import look_after_refunds
from billing.services.refunds import approve_refund, propose_refund
from billing.services.standing import work_standings
from billing.services.stripe_events import ACTED_ON, store_messages, work_events
from billing.services.top_ups import WaysBack, open_payment_page, start_top_up
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.payments.test_refunds import FAILING, PENDING, spend
from tests.billing.payments.test_top_ups import DECLINED, STARTER, limit_nano
from tests.billing.test_services_invoices import ON_TERMS
from tests.factories.accounts import make_membership, make_organization
from tests.support import undone

SEED = int(os.environ.get("SEED", "20261126"))
ORDERS = 50 if os.environ.get("PROVE") else 1
CARD, DECLINED_LATER = "4242424242424242", "pm_card_chargeCustomerFail"
BACK = WaysBack("http://127.0.0.1:9/", "http://127.0.0.1:9/")
# What people pay for what they may use, whatever comes of it.
PAID_CENTS = 2500 + 4000 + 3000 + 2000 + 1200 + 1500 + 700 + 1250
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


class Life:
    """An organization, and what has happened at the provider of which it has heard little."""

    def __init__(self, double: Any) -> None:
        self.double = double
        self.now = timezone.now()
        self.organization = make_organization(name="Acme")
        self.payer = make_membership(self.organization).user
        lock_cap(organization_id=self.organization.pk, now=self.now)
        start_card_setup(organization=self.organization, now=self.now)
        self.customer = customer_of(self.organization)
        self.first = double.v1.payment_methods.attach("pm_card_visa", {"customer": self.customer}).id
        with as_platform():
            read_cards(organization_id=self.organization.pk, now=self.now)
        self.known()
        self.unheard()

    def known(self) -> None:
        """What has arrived, was spent and is on its way back before the first message of the log."""
        self.lost = self.arrived(2500)
        self.refunded, self.unrefunded = self.arrived(4000, PENDING), self.arrived(3000, FAILING)
        # The first payment's credit ends before the others', and so is spent before them.
        grants = CreditGrant.objects.filter(source=f"payment:{self.lost.public_id}")
        grants.update(expires_at=self.now + 365 * DAY)
        spend(self.organization, 9)
        one, other = make_staff(StaffGroup.FINANCE), make_staff(StaffGroup.FINANCE)
        for payment in (self.refunded, self.unrefunded):
            with as_platform():
                refund = propose_refund(payment=payment, amount_cents=1000, reason="Why", by=one, now=self.now)
                approve_refund(refund=refund, by=other, now=self.now)
        with as_platform():
            look_after_refunds(now=self.now)

    def unheard(self) -> None:
        """What happens at the provider alone, as long as nothing is decided."""
        self.won, self.also_lost, self.asked = (self.paid(cents) for cents in (2000, 1200, 1500))
        self.disputes = {
            self.disputed(self.lost): "lost",
            self.disputed(self.won): "won",
            self.disputed(self.also_lost): "lost",
            self.disputed(self.asked, is_inquiry=True): "won",
        }
        self.untried, self.declined = self.begun(1100), self.begun(1100)
        with pytest.raises(HTTPError, match="402"):
            self.double.control("checkout", session=self.declined.stripe_session_id, card=DECLINED)
        for payment in (self.untried, self.declined):
            self.double.v1.checkout.sessions.expire(payment.stripe_session_id)
        self.canceled = self.paid(700)
        Payment.objects.filter(pk=self.canceled.pk).update(state="canceled", ended_at=self.now)
        self.debt = self.begun(900, purpose=Payment.Purpose.DEBT)
        self.double.control("checkout", session=self.debt.stripe_session_id)
        self.charged()
        self.cards()

    def decide(self) -> None:
        """What happens at the provider then: banks decide, and what was sent back arrives or does not."""
        for dispute, outcome in self.disputes.items():
            self.double.control("dispute", dispute=dispute, outcome=outcome)
        self.double.control("clock", seconds=2 * 24 * 60 * 60)

    def charged(self) -> None:
        """Charge cards without their holder, and die before writing so."""
        with as_platform():
            self.collected, self.refused = (
                collect_invoice(invoice=self.invoice(number), now=self.now) for number in (1, 2)
            )
            declined = self.double.v1.payment_methods.attach(DECLINED_LATER, {"customer": self.customer})
            read_cards(organization_id=self.organization.pk, now=self.now)
            card = PaymentMethod.objects.get(stripe_payment_method_id=declined.id)
            Payment.objects.filter(pk=self.refused.pk).update(card=card)
            for payment in (self.collected, self.refused):
                charge(Payment.objects.get(pk=payment.pk), self.now)
            self.double.v1.payment_methods.detach(declined.id)

    def cards(self) -> None:
        """Two more are kept, of which one is removed; the first stays."""
        names = ("pm_card_mastercard", "pm_card_amex")
        two = [self.double.v1.payment_methods.attach(name, {"customer": self.customer}).id for name in names]
        self.double.v1.payment_methods.detach(two[1])
        self.kept = [self.first, two[0]]

    def invoice(self, number: int) -> Invoice:
        return Invoice.objects.create(
            organization=self.organization,
            number=f"G-{number}",
            status="open",
            period_start=self.now - 60 * number * DAY,
            period_end=self.now - 60 * number * DAY + 30 * DAY,
            total_cents=1250,
            owed_cents=1250,
            due_cents=1250,
            counted_below=0,
            terms=asdict(ON_TERMS),
            drafted_at=self.now,
            issued_at=self.now,
            due_at=self.now,
        )

    def begun(self, cents: int, **more: object) -> Payment:
        payment = start_top_up(organization=self.organization, user=self.payer, amount_cents=500, now=self.now)
        Payment.objects.filter(pk=payment.pk).update(amount_cents=cents, **more)
        payment.refresh_from_db()
        open_payment_page(payment=payment, back=BACK)
        payment.refresh_from_db()
        return payment

    def paid(self, cents: int, card: str = CARD) -> Payment:
        payment = self.begun(cents)
        self.double.control("checkout", session=payment.stripe_session_id, card=card)
        return payment

    def arrived(self, cents: int, card: str = CARD) -> Payment:
        payment = self.paid(cents, card)
        with as_platform():
            read_payment(payment_id=payment.pk, now=self.now)
        payment.refresh_from_db()
        return payment

    def disputed(self, payment: Payment, *, is_inquiry: bool = False) -> str:
        session = self.double.v1.checkout.sessions.retrieve(payment.stripe_session_id)
        intent = self.double.v1.payment_intents.retrieve(session.payment_intent)
        return str(self.double.control("dispute", charge=intent.latest_charge, is_inquiry=is_inquiry)["id"])

    def outcome(self) -> dict[str, object]:
        """Return everything that messages change, but when and in how many steps."""
        mine = {"organization": self.organization}
        payments, cap = Payment.objects.filter(**mine).order_by("pk"), SpendCap.objects.get(**mine)
        self.organization.refresh_from_db()
        accounts = list(LedgerAccount.objects.filter(**mine).select_related("grant"))
        balances = {AccountKind(one.kind): one.balance_nano for one in accounts if one.grant is None}
        # A card that was removed before we knew of it is nobody's.
        messages = StripeEvent.objects.exclude(type__startswith="payment_method.", state="ignored")
        return {
            "payments": list(payments.values_list("pk", "state", "refunded_cents")),
            "refunds": list(Refund.objects.order_by("pk").values_list("payment_id", "state")),
            "disputes": sorted(Dispute.objects.values_list("payment_id", "state", "frozen_cents")),
            "grants": sorted(CreditGrant.objects.filter(**mine).values_list("source", "amount_nano")),
            "credit": {one.grant.source: one.balance_nano for one in accounts if one.grant is not None},
            "cash": balances[AccountKind.CASH_IN_TRANSIT],
            "disputed": balances[AccountKind.DISPUTES],
            "receivable": balances[AccountKind.RECEIVABLE],
            "cap": (cap.limit_nano, cap.settled_nano, cap.reserved_nano),
            "invoices": list(Invoice.objects.order_by("pk").values_list("number", "status")),
            "standing": (self.organization.payment_state, debts_of(self.organization.pk).cents),
            "cards": sorted(PaymentMethod.objects.usable().values_list("stripe_payment_method_id", flat=True)),
            "left to do": sorted(messages.exclude(state="done").values_list("type", "state", "problem")),
        }


class Telling:
    """One order of the messages."""

    def __init__(self, life: Life, chance: random.Random) -> None:
        self.life, self.chance, self.now = life, chance, life.now
        self.numbers = count()

    def known(self) -> list[Told]:
        with as_platform():
            told = payment_provider.messages_since(self.life.now - MINUTE)
            return [one for one in told if one.type in ACTED_ON]

    def tell(self, messages: list[Told]) -> None:
        """Tell of each one to three times, some of them under another name, and work on them now and then."""
        copies = [self.copy(one) for one in messages for _ in range(self.chance.choice([1, 1, 2, 3]))]
        self.chance.shuffle(copies)
        while copies:
            size = self.chance.randrange(1, 6)
            some, copies = copies[:size], copies[size:]
            self.now += MINUTE
            with as_platform():
                store_messages(some, now=self.now)
                work_events(now=self.now)
                if self.chance.random() < 0.15:
                    self.sweep()
            assert limit_nano(self.life.organization) <= STARTER + PAID_CENTS * NANO_PER_CENT

    def copy(self, message: Told) -> Told:
        is_other = self.chance.random() < 0.3
        return replace(message, event_id=f"{message.event_id}_{next(self.numbers)}") if is_other else message

    def sweep(self) -> None:
        self.now += timedelta(minutes=11)
        for work in (look_after_payments, look_after_refunds, look_after_disputes):
            work(now=self.now)


@pytest.mark.django_db
def test_messages_in_any_order_late_and_again_come_to_the_same(double, tmp_path):
    life = Life(double)
    keeper = Keeper(double.account, tmp_path / "provider.json")
    keeper.write()
    for number in range(ORDERS):
        keeper.load()
        with undone():
            telling = Telling(life, random.Random(SEED + number))
            first = telling.known()
            telling.chance.shuffle(first)
            early = first[: telling.chance.randrange(len(first))]
            telling.tell(early)
            life.decide()
            rest = [one for one in telling.known() if one not in early]
            assert len(early) + len(rest) >= 40
            late = telling.chance.sample(rest, 4)
            again = telling.chance.sample(early, len(early) // 4)
            telling.tell([one for one in rest if one not in late] + again)
            telling.now += DAY
            telling.tell(late)
            with as_platform():
                for _twice in range(2):
                    telling.sweep()
                    work_events(now=telling.now)
                    work_standings(now=telling.now)

            assert life.outcome() == wanted(life), f"order {number} of seed {SEED}"
            assert not prove_ledger().differences
    keeper.load()


def wanted(life: Life) -> dict[str, object]:
    """Return what all of it comes to, in dollars and cents that a person can add up."""
    paid = {life.lost: 2500, life.refunded: 4000, life.unrefunded: 3000, life.won: 2000, life.also_lost: 1200}
    paid |= {life.asked: 1500, life.canceled: 700}
    states = dict.fromkeys((*paid, life.debt, life.collected), "succeeded")
    states |= {life.untried: "canceled", life.declined: "canceled", life.refused: "failed"}
    # Of the first payment nine dollars are spent; of the second a quarter goes back.
    left = paid | {life.lost: 900, life.refunded: 3000, life.also_lost: 0}
    sources = {payment: f"payment:{payment.public_id}" for payment in paid}
    starter = f"starter:{life.organization.pk}"
    return {
        "payments": sorted((one.pk, state, 1000 if one == life.refunded else 0) for one, state in states.items()),
        "refunds": [(life.refunded.pk, "succeeded"), (life.unrefunded.pk, "failed")],
        "disputes": sorted(
            [
                (life.lost.pk, "lost", 1600),
                (life.won.pk, "won", 0),
                (life.also_lost.pk, "lost", 1200),
                (life.asked.pk, "closed", 0),
            ]
        ),
        "grants": sorted([(starter, STARTER), *((sources[one], cents * NANO_PER_CENT) for one, cents in paid.items())]),
        "credit": {starter: STARTER} | {sources[one]: cents * NANO_PER_CENT for one, cents in left.items()},
        # Of the first payment nothing is there any more, and its debt and an invoice are.
        "cash": (sum(left.values()) - 900 + 900 + 1250) * NANO_PER_CENT,
        "disputed": 0,
        # What was lost after it was spent is paid again. No posting of the invoice's own is in this book.
        "receivable": -1250 * NANO_PER_CENT,
        # Who pays an invoice can use as much again.
        "cap": (STARTER + (sum(left.values()) + 1250) * NANO_PER_CENT, 9 * NANO_PER_USD, 0),
        "invoices": [("G-1", "paid"), ("G-2", "open")],
        "standing": ("past_due", 0),
        "cards": sorted(life.kept),
        "left to do": [],
    }
