"""Money that comes by the payment provider and goes back: rules of test_whole_machine.py."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)

from billing.gateways.payment_provider import CURRENCY, DisputeSeen, PaymentSeen, RefundSeen
from billing.models import (
    CreditGrant,
    Dispute,
    Payment,
)
from billing.services.debts import UnableToPayDebt, start_debt_payment
from billing.services.disputes import settle_dispute
from billing.services.payments import settle_payment
from billing.services.refunding import settle_refund
from billing.services.refunds import UnableToRefund, approve_refund, ask_for_refund
from billing.services.top_ups import MOST_UNFINISHED, UnableToTopUp, start_top_up
from portal.lib.money import NANO_PER_CENT
from tests.billing.whole_scene import DISPUTED, HEARD, PAUSES, PICK, UNFINISHED, Back, Paid
from tests.billing.whole_work import Working


class Paying(Working):
    # --- Payments -----------------------------------------------------------------------------------

    @rule(cents=st.integers(500, 5_000), heard=HEARD, pause=PAUSES)
    def top_up(self, cents, heard, pause):
        self.wait(pause)
        self.buy(cents, heard)

    def buy(self, cents, heard):
        unfinished = sum(paid.state in UNFINISHED for paid in self.paid)
        row = self.either(
            UnableToTopUp,
            lambda: start_top_up(
                organization=self.organization, user=self.scene.user, amount_cents=cents, now=self.now
            ),
            may=unfinished < MOST_UNFINISHED and not self.is_contested,
        )
        if row is not None:
            self.hear(self.page_of(row, cents, "top_up"), heard)

    def page_of(self, row: Payment, cents: int, purpose: str, invoice: int | None = None) -> Paid:
        """Let a payment have its page at the provider, as whoever opens it notes."""
        Payment.objects.filter(pk=row.pk).update(stripe_session_id=f"cs_{row.pk}", state=Payment.State.PENDING)
        self.paid.append(Paid(row, cents, purpose, invoice))
        return self.paid[-1]

    @precondition(lambda self: self.paid)
    @rule(pick=PICK, heard=HEARD)
    def hear_of_payment(self, pick, heard):
        self.hear(self.paid[pick % len(self.paid)], heard)

    def hear(self, paid, heard):
        for word in heard:
            self.hear_word(paid, word)

    def hear_word(self, paid, word):
        intent = "" if word == "canceled" else {"failed": "canceled"}.get(word, word)
        seen = PaymentSeen(
            payment_id=paid.row.public_id,
            session_id=f"cs_{paid.row.pk}",
            status="expired" if word == "canceled" else "complete",
            intent_id=f"pi_{paid.row.pk}",
            intent_status=intent,
            received_cents=paid.cents if word == "succeeded" else 0,
            currency=CURRENCY,
        )
        arrives = word == "succeeded" and paid.state != "succeeded"
        if arrives or paid.state in UNFINISHED:
            paid.state = word
        assert settle_payment(payment_id=paid.row.pk, seen=seen, now=self.now) == paid.state
        if arrives:
            self.arrive(paid)
        self.remember(seen, lambda: settle_payment(payment_id=paid.row.pk, seen=seen, now=self.now))

    def arrive(self, paid):
        if paid.purpose == "top_up":
            row = CreditGrant.objects.get(source=f"payment:{paid.row.public_id}")
            assert row.amount_nano == paid.cents * NANO_PER_CENT
            paid.grant = self.note_grant(row)
            self.caps.add_credit(row.amount_nano)
            return
        self.money.move("cash_in_transit", "receivable", paid.cents)
        bill = next((bill for bill in self.money.bills if bill.pk == paid.invoice), None)
        if bill is not None and bill.status == "open" and bill.due == paid.cents:
            self.settle(bill)

    def settle(self, bill):
        bill.status = "paid"
        self.caps.add_credit((bill.owed - bill.noted_owed) * NANO_PER_CENT)

    def remember(self, seen, tell):
        """Keep what the provider said, once, to be told again."""
        if seen not in self.heard:
            self.heard.add(seen)
            self.told.append(tell)

    @property
    def debt(self) -> int:
        lost = sum(paid.disputed - paid.frozen for paid in self.paid if paid.dispute == "lost")
        return lost - sum(paid.cents for paid in self.paid if paid.purpose == "debt" and paid.state == "succeeded")

    @precondition(lambda self: any(paid.dispute == "lost" for paid in self.paid))
    @rule(heard=HEARD)
    def pay_debt(self, heard):
        under_way = any(paid.purpose == "debt" and paid.state in UNFINISHED for paid in self.paid)
        payment = self.either(
            UnableToPayDebt,
            lambda: start_debt_payment(organization=self.organization, user=self.scene.user, now=self.now),
            may=under_way or self.debt >= 50,
        )
        if payment is not None and not under_way:
            self.hear(self.page_of(payment, self.debt, "debt"), heard)

    # --- Money that goes back -----------------------------------------------------------------------

    @property
    def arrived(self) -> list[Paid]:
        return [paid for paid in self.paid if paid.state == "succeeded"]

    def one_that_arrived(self, pick):
        """Return a payment that has arrived, one that is made now where there is none; None while nothing can be."""
        if not self.arrived:
            self.buy(2_500, ["succeeded"])
        return self.arrived[pick % len(self.arrived)] if self.arrived else None

    @rule(pick=PICK, heard=st.lists(st.sampled_from(["pending", "succeeded", "failed"]), max_size=2), pause=PAUSES)
    def refund(self, pick, heard, pause):
        """Give back what is unspent of a payment, as its customer asks and somebody of finance approves."""
        self.wait(pause)
        paid = self.one_that_arrived(pick)
        if paid is None:
            return
        free, tolerance = (0, 0) if paid.grant is None else self.unspent(paid.grant)
        is_open = any(back.paid is paid and back.state in ("approved", "pending") for back in self.backs)
        may = None if abs(free - NANO_PER_CENT) <= tolerance else free > 0
        row = self.either(
            UnableToRefund,
            lambda: approve_refund(
                refund=ask_for_refund(payment=paid.row, by=self.scene.user, now=self.now),
                by=self.scene.approver,
                now=self.now,
            ),
            may=False if paid.grant is None or is_open or paid.is_withdrawn else may,
        )
        if row is None:
            return
        assert abs(row.amount_cents * NANO_PER_CENT - free) <= tolerance
        self.backs.append(Back(row, paid, row.amount_cents))
        self.take_back(self.backs[-1], 1)
        self.hear_back(self.backs[-1], heard)

    def take_back(self, back, sign):
        back.paid.refunded += sign * back.cents
        back.paid.grant.refunded += sign * back.cents * NANO_PER_CENT
        self.caps.add_credit(-sign * back.cents * NANO_PER_CENT)
        self.money.move("credit", "cash_in_transit", sign * back.cents)

    @precondition(lambda self: self.backs)
    @rule(pick=PICK, heard=st.lists(st.sampled_from(["pending", "succeeded", "failed"]), min_size=1, max_size=2))
    def hear_of_refund(self, pick, heard):
        self.hear_back(self.backs[pick % len(self.backs)], heard)

    def hear_back(self, back, heard):
        for word in heard:
            self.hear_word_back(back, word)

    def hear_word_back(self, back, word):
        seen = RefundSeen(back.row.public_id, f"re_{back.row.pk}", f"pi_{back.paid.row.pk}", word, back.cents, CURRENCY)
        # A bank may refuse what had succeeded.
        if back.state in ("approved", "pending") or (back.state, word) == ("succeeded", "failed"):
            back.state = word
            if word == "failed":
                self.take_back(back, -1)
        assert settle_refund(refund_id=back.row.pk, seen=seen, now=self.now) == back.state
        self.remember(seen, lambda: settle_refund(refund_id=back.row.pk, seen=seen, now=self.now))

    @rule(pick=PICK, heard=DISPUTED, pause=PAUSES)
    def dispute(self, pick, heard, pause):
        """The bank of a payment asks for it back, and says so in any order."""
        self.wait(pause)
        paid = self.one_that_arrived(pick)
        if paid is None:
            return
        cents = paid.disputed or paid.cents - paid.refunded
        if cents <= 0:
            return
        for status in heard:
            self.hear_dispute(paid, cents, status)

    def hear_dispute(self, paid, cents, status):
        word = {"warning_needs_response": "inquiry", "needs_response": "open", "under_review": "answered"}.get(
            status, status
        )
        before, moves = paid.dispute, self.follows(paid.dispute, word)
        seen = DisputeSeen(
            f"dp_{paid.row.pk}", f"pi_{paid.row.pk}", status, "fraudulent", cents, self.now + timedelta(days=7)
        )
        free, tolerance = (0, 0) if paid.grant is None else self.unspent(paid.grant)
        settle_dispute(seen=seen, now=self.now)
        row = Dispute.objects.get(stripe_dispute_id=seen.stripe_id)
        if moves:
            paid.dispute, paid.disputed = word, cents
            self.move_disputed(paid, before, row, free, tolerance)
        assert row.frozen_cents == paid.frozen
        if word in ("won", "lost"):
            # One that is not decided may freeze what has become unspent since.
            self.remember(replace(seen, due_by=None), lambda: settle_dispute(seen=seen, now=self.now))

    @staticmethod
    def follows(before: str, word: str) -> bool:
        order = ["", "inquiry", "open", "answered", "won"]
        if before in ("won", "lost"):
            return False
        return word == "lost" or order.index(word) >= order.index(before)

    def move_disputed(self, paid, before, row, free, tolerance):
        if paid.dispute == "inquiry":
            return
        nano = NANO_PER_CENT
        if before in ("", "inquiry"):
            self.money.move("disputes", "cash_in_transit", paid.disputed)
        if paid.dispute == "won":
            self.caps.add_credit(paid.frozen * nano)
            self.money.move("cash_in_transit", "disputes", paid.disputed)
            if paid.grant is not None:
                paid.grant.frozen -= paid.frozen * nano
            paid.frozen = 0
            return
        more = row.frozen_cents - paid.frozen
        wanted = min(max(free, 0), (paid.disputed - paid.frozen) * nano)
        assert abs(more * nano - wanted) <= tolerance
        paid.frozen += more
        self.caps.add_credit(-more * nano)
        if paid.grant is not None:
            paid.grant.frozen += more * nano
        if paid.dispute == "lost":
            if paid.grant is not None:
                paid.grant.frozen -= paid.frozen * nano
                paid.grant.lost += paid.frozen * nano
            self.money.move("credit", "disputes", paid.frozen)
            self.money.move("receivable", "disputes", paid.disputed - paid.frozen)
