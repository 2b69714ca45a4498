"""The sequences of test_money_machine.py find each of these mistakes. None here, all of them in `make prove`."""

import os
from types import ModuleType

import pytest
from django.db import DatabaseError
from hypothesis import Phase

from billing.selectors import debts as owed
from billing.selectors import disputes as disputed
from billing.services import (
    charges,
    credit_expiry,
    debts,
    dispute_money,
    disputes,
    payments,
    refunding,
    refunds,
    standing,
    top_ups,
)
from portal.lib.errors import DomainError
from tests.billing.mistakes import make_mistakes
from tests.billing.payments.test_faults import impatient
from tests.billing.payments.test_money_machine import run

__all__ = ["impatient"]

ANOTHER_KEY = '__import__("uuid").uuid4().hex'
# Mistake -> each place of it: where it is, what stands there, and what somebody could have written. What is used by
# another of them comes before it.
MISTAKES: dict[str, tuple[tuple[ModuleType, str, str], ...]] = {
    "opens another page when it is asked again": (
        (top_ups, 'f"open:{payment.public_id}:{payment.generation}"', ANOTHER_KEY),
    ),
    "prepares another charge when it is asked again": (
        (charges, 'f"charge:{payment.public_id}:{payment.generation}"', ANOTHER_KEY),
    ),
    "forgets that a payment gave already": (
        (payments, "State.SUCCEEDED: set(State) - {State.SUCCEEDED}", "State.SUCCEEDED: set(State)"),
        (payments, 'f"payment:{payment.public_id}"),', 'f"payment:{payment.public_id}:{now.timestamp()}"),'),
    ),
    "takes what is canceled for paid no more": (
        (payments, "set(State) - {State.SUCCEEDED}", "set(State) - {State.SUCCEEDED, State.CANCELED, State.PENDING}"),
    ),
    "gives another amount than was paid": (
        (payments, "payment.amount_cents * NANO_PER_CENT, f", "(payment.amount_cents + 1) * NANO_PER_CENT, f"),
    ),
    "leaves the limit as it is": ((refunds, 'limit_nano=F("limit_nano") - amount_nano', 'limit_nano=F("limit_nano")'),),
    "counts a cent as refunded": (
        (refunds, 'refunded_cents=F("refunded_cents") + refund.amount_cents', 'refunded_cents=F("refunded_cents") + 1'),
    ),
    "refunds more than is unspent": ((refunds, "amount_cents > left_cents", "amount_cents > payment.amount_cents"),),
    "refunds more than was paid": (
        (refunds, "amount_cents > left_cents", "amount_cents < 0"),
        (refunds, "credit=Route(AccountKind.CASH_IN_TRANSIT)", "credit=Route(AccountKind.CASH)"),
    ),
    "refunds what a bank has taken": (
        (refunds, "is_withdrawn=True", "is_withdrawn=False"),
        (disputed, "frozen_cents__gt=0", "frozen_cents__lt=0"),
    ),
    "gives nothing back when a refund fails": (
        (refunding, 'limit_nano=F("limit_nano") + amount_nano', 'limit_nano=F("limit_nano")'),
    ),
    "leaves refunded what a bank sent back later": (
        (refunding, "State.FAILED: {*Refund.ON_THE_WAY, State.SUCCEEDED}", "State.FAILED: {*Refund.ON_THE_WAY}"),
    ),
    "gives a failed refund back twice": (
        (
            refunding,
            "State.FAILED: {*Refund.ON_THE_WAY, State.SUCCEEDED}",
            "State.FAILED: {*Refund.ON_THE_WAY, State.SUCCEEDED, State.FAILED}",
        ),
    ),
    "applies a dispute twice": ((dispute_money, "cents * NANO_PER_CENT)", "2 * cents * NANO_PER_CENT)"),),
    "freezes again what is frozen": (
        (disputed, "frozen_cents__gt=0", "frozen_cents__lt=0"),
        (dispute_money, "dispute.amount_cents - dispute.frozen_cents)\n    if", "dispute.amount_cents)\n    if"),
    ),
    "posts a lost dispute twice": (
        (dispute_money, 'f"dispute-lost:{dispute.public_id}"', ANOTHER_KEY),
        (disputes, 'State.LOST: {"", *Dispute.UNDECIDED}', 'State.LOST: {"", *Dispute.UNDECIDED, State.LOST}'),
    ),
    "lets everything be owed": (
        (
            dispute_money,
            "owed_nano = (dispute.amount_cents - dispute.frozen_cents)",
            "owed_nano = dispute.amount_cents",
        ),
    ),
    "thaws a cent": ((dispute_money, "_move(dispute, cap, -dispute.frozen_cents)", "_move(dispute, cap, -1)"),),
    "thaws what is lost": ((disputes, "if dispute.state == State.WON:", "if dispute.state != State.OPEN:"),),
    "takes money for a question of the bank": (
        (disputes, "if dispute.state in (State.INQUIRY, State.CLOSED):", "if dispute.state == State.CLOSED:"),
    ),
    "ends all that was bought": (
        (
            credit_expiry,
            "min(balance_nano - needed_nano(grant.organization, grant.public_id, now), cap.remaining_nano)",
            "grant.amount_nano",
        ),
    ),
    "leaves the limit when credit ends": (
        (credit_expiry, 'limit_nano=F("limit_nano") - ending_nano', 'limit_nano=F("limit_nano")'),
    ),
    "ends what is frozen": ((disputed, "contested()", "none()"),),
    "pays each debt with itself": ((owed, "paid_cents -= taken_cents", "paid_cents -= debt.cents"),),
    "leaves who has paid past due": (
        (debts, "relieve(organization_id=payment.organization_id, now=now)", "payment.refresh_from_db()"),
    ),
    "posts a paid debt as cash": ((debts, "Route(AccountKind.RECEIVABLE)", "Route(AccountKind.CASH)"),),
    "gives credit for a paid debt": (
        (payments, "if payment.purpose == Payment.Purpose.DEBT:", 'if payment.purpose == "nothing":'),
    ),
    "lets who pays nothing stand good": (
        (standing, "state is not State.GOOD and not overdue", "state is State.GOOD and not overdue"),
    ),
}


@pytest.mark.skipif("PROVE" not in os.environ, reason="takes seconds for each: in the full proof")
@pytest.mark.django_db
@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_found(double, impatient, monkeypatch, mistake):
    for module in dict.fromkeys(module for module, _right, _wrong in MISTAKES[mistake]):
        places = {right: wrong for where, right, wrong in MISTAKES[mistake] if where is module}
        make_mistakes(module, places, monkeypatch)

    with pytest.raises((AssertionError, DomainError, DatabaseError)):
        run(double, 60, 25, Phase.generate)
