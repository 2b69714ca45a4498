"""The sequences of test_whole_machine.py find each of the mistakes that the design of billing names, and some more.

Two here, all of them in `make prove`. Those of one part are found by the machine of that part: test_caps_mutants.py,
test_invoices_mutants.py, test_ledger_mutants.py, test_metering_mutants.py.
"""

import os
from importlib import import_module

import pytest
from django.db import DatabaseError
from hypothesis import Phase

from billing.invoicing import credit
from billing.services import (
    credit_expiry,
    dispute_money,
    invoice_settling,
    payments,
    refunding,
    reservations,
    settling,
    usage,
)
from portal.lib.errors import DomainError
from tests.billing.mistakes import make_mistake
from tests.billing.test_whole_machine import Whole, run

# The package has a function of the same name.
bill = import_module("billing.invoicing.bill")

# Mistake -> where, what stands there, and what somebody could have written. The first nine are the design's.
MISTAKES = {
    "settles a hold twice": (settling, "reservation.amount_nano -= settlement.from_reservation_nano", "pass"),
    "counts a bucket twice": (
        usage,
        "quantity = b.quantity + EXCLUDED.quantity,\n            event_count",
        "quantity = b.quantity + 2 * EXCLUDED.quantity,\n            event_count",
    ),
    "forgets to look for room": (reservations, "AND NOT EXISTS (SELECT FROM mine WHERE NOT has_room)", ""),
    "rounds every line": (
        bill,
        "cents = to_cents([line.amount_nano for line in lines])",
        "cents = [to_cents([line.amount_nano])[0] for line in lines]",
    ),
    "takes a payment as often as it is told": (payments, "if payment.state not in _FROM[became]:", "if False:"),
    "ends credit that usage needs": (
        credit_expiry,
        "min(balance_nano - needed_nano(grant.organization, grant.public_id, now), cap.remaining_nano)",
        "min(balance_nano, cap.remaining_nano)",
    ),
    "forgets what an overdue hold reserved": (
        reservations,
        "        _end(reservation, Reservation.State.EXPIRED, now)\n",
        "        reservation.amount_nano, reservation.state = 0, Reservation.State.EXPIRED\n"
        "        reservation.ended_at = now\n        reservation.save()\n",
    ),
    "burns a cent more": (
        credit,
        "credit.balance_nano, 0) // NANO_PER_CENT, credit.grant",
        "credit.balance_nano, 0) // NANO_PER_CENT + 1, credit.grant",
    ),
    "counts what is repeated": (
        usage,
        "        ON CONFLICT DO NOTHING\n        RETURNING date_trunc",
        "        RETURNING date_trunc",
    ),
    "takes credit for good that comes back": (
        refunding,
        'payments.update(refunded_cents=F("refunded_cents") - refund.amount_cents)',
        "return",
    ),
    "freezes credit that usage needs": (
        dispute_money,
        "min(unspent.cents, dispute.amount_cents - dispute.frozen_cents)",
        "dispute.amount_cents - dispute.frozen_cents",
    ),
    "lets nobody owe what a bank took": (dispute_money, "    if owed_nano:\n", "    if owed_nano and frozen_nano:\n"),
    "gives no room back for what is paid": (
        invoice_settling,
        'limit_nano=F("limit_nano") + room_nano_of(invoice)',
        'limit_nano=F("limit_nano")',
    ),
}
# Of two different parts; both are found within seconds.
SOON = ["counts what is repeated"]
TRIED = list(MISTAKES) if os.environ.get("PROVE") else SOON
RUNS, STEPS = 120, 30


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", TRIED)
def test_every_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch):
    make_mistake(*MISTAKES[mistake], monkeypatch)

    with pytest.raises((AssertionError, DomainError, DatabaseError, RuntimeError, ValueError)):
        run(Whole, RUNS, STEPS, Phase.generate, from_seed=1)
