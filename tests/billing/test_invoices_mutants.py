"""The sequences of test_invoices_machine.py find each of these mistakes. One here, all of them in `make prove`."""

import inspect
import os
from importlib import import_module
from types import ModuleType

import pytest
from django.db import DatabaseError
from hypothesis import Phase

from billing.invoicing import credit, lines
from billing.selectors import unbilled
from billing.services import credit_expiry, invoice_posting, invoices, month_closing
from portal.lib.errors import DomainError
from tests.billing.test_invoices_machine import Months, run

# The package has a function of the same name.
bill_module = import_module("billing.invoicing.bill")

# Mistake -> where it is, what stands there, what somebody could have written; and who uses what of it.
MISTAKES: dict[str, tuple[ModuleType, str, str, str, tuple[ModuleType, ...]]] = {
    "rounds every line": (
        bill_module,
        "cents = to_cents([line.amount_nano for line in lines])",
        "cents = [to_cents([line.amount_nano])[0] for line in lines]",
        "bill",
        (invoices, credit_expiry),
    ),
    "burns a cent more": (
        credit,
        "credit.balance_nano, 0) // NANO_PER_CENT, credit.grant",
        "credit.balance_nano, 0) // NANO_PER_CENT + 1, credit.grant",
        "split",
        (bill_module,),
    ),
    "burns a cent less": (
        credit,
        "credit.balance_nano, 0) // NANO_PER_CENT, credit.grant",
        "credit.balance_nano, 0) // NANO_PER_CENT - 1, credit.grant",
        "split",
        (bill_module,),
    ),
    "lets anybody owe": (credit, "Payer.OWED if may_owe else Payer.HOUSE", "Payer.OWED", "split", (bill_module,)),
    "adds up rounded steps": (
        lines,
        "return now_nano - round_bucket(self.before, self.price_nano, self.unit_size)",
        "return round_bucket(self.after - self.before, self.price_nano, self.unit_size) + 0 * now_nano",
        "lines_of",
        (),
    ),
    "bills again what is billed": (
        unbilled,
        "coalesce(billed.quantity, 0),\n           b.quantity",
        "0,\n           b.quantity",
        "unbilled_buckets",
        (invoices, month_closing, credit_expiry),
    ),
    "does not bill again what was void": (
        unbilled,
        "WHERE step.organization_id = %(organization)s AND i.status <> 'void'",
        "WHERE step.organization_id = %(organization)s",
        "unbilled_buckets",
        (invoices, month_closing, credit_expiry),
    ),
    "bills the month that runs": (
        unbilled,
        "b.hour < %(end)s AND b.quantity <> coalesce(billed",
        "b.hour <= %(end)s + interval '2 days' AND b.quantity <> coalesce(billed",
        "unbilled_buckets",
        (invoices, month_closing, credit_expiry),
    ),
    "posts what we pay as earned": (
        invoice_posting,
        "    if part.payer is Payer.HOUSE:\n        yield",
        "    if part.payer is Payer.SET_OFF:\n        yield",
        "post_invoice",
        (invoices,),
    ),
    "leaves a gap": (invoices, "series.last_number += 1", "series.last_number += 2", "next_number", (invoices,)),
}
RUNS, STEPS = 40, 25
TRIED = list(MISTAKES) if os.environ.get("PROVE") else ["leaves a gap"]


def mutant(mistake: str) -> ModuleType:
    module, right, wrong, _name, _users = MISTAKES[mistake]
    source = inspect.getsource(module)
    assert source.count(right) == 1, mistake
    made = ModuleType("mutant")
    made.__dict__["__file__"] = module.__file__
    exec(compile(source.replace(right, wrong), f"mutant of {module.__name__}", "exec"), made.__dict__)  # noqa: S102
    return made


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", TRIED)
def test_every_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch):
    module, _right, _wrong, name, users = MISTAKES[mistake]
    made = mutant(mistake)
    if module is lines:
        # Its users hold the class: only what it computes is exchanged.
        monkeypatch.setattr(lines.Bucket, "amount_nano", made.Bucket.amount_nano)
    for user in users or (module,):
        monkeypatch.setattr(user, name, getattr(made, name))

    with pytest.raises((AssertionError, DomainError, DatabaseError, ValueError)):
        run(Months, RUNS, STEPS, Phase.generate)
