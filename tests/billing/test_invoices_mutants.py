"""The sequences of test_invoices_machine.py find each of these mistakes. One here, all of them in `make prove`."""

import inspect
import os
from importlib import import_module
from types import ModuleType

import pytest
from django.db import DatabaseError
from hypothesis import Phase

from billing.invoicing import credit, lines
from billing.selectors import tiers, unbilled
from billing.services import credit_expiry, invoice_posting, invoices, month_closing, tier_room
from portal.lib.errors import DomainError
from portal.lib.tiers import TierMode
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
        (unbilled, month_closing),
    ),
    "does not bill again what was void": (
        unbilled,
        "WHERE step.organization_id = %(organization)s AND i.status <> 'void'",
        "WHERE step.organization_id = %(organization)s",
        "unbilled_buckets",
        (unbilled, month_closing),
    ),
    "bills the month that runs": (
        unbilled,
        "b.hour < %(end)s AND b.quantity <> coalesce(billed",
        "b.hour <= %(end)s + interval '2 days' AND b.quantity <> coalesce(billed",
        "unbilled_buckets",
        (unbilled, month_closing),
    ),
    "posts what we pay as earned": (
        invoice_posting,
        "    if part.payer is Payer.HOUSE:\n        yield",
        "    if part.payer is Payer.SET_OFF:\n        yield",
        "post_invoice",
        (invoices,),
    ),
    "forgets what tiers took off before": (
        tiers,
        "now.get(key, 0) - former.get(key, 0)",
        "now.get(key, 0)",
        "tier_changes",
        (unbilled,),
    ),
    "computes tiers of what is new only": (
        tiers,
        "use.price, use.after)",
        "use.price, {name: use.after[name] - use.before.get(name, 0) for name in use.after})",
        "tier_changes",
        (unbilled,),
    ),
    "looks at the running month only": (
        tiers,
        "b.hour < %(end)s AND b.sku",
        "b.hour < %(end)s AND b.hour >= %(end)s - interval '31 days' AND b.sku",
        "tiered_uses",
        (unbilled,),
    ),
    "gives the room of tiers again": (
        tier_room,
        "total_nano - given_nano",
        "total_nano",
        "tier_room",
        (invoices,),
    ),
    "leaves the room of tiers": (
        tier_room,
        "    _change(cap, room.gives_nano, room.total_nano)",
        "    _change(cap, 0, room.total_nano)",
        "settle_tier_room",
        (invoices,),
    ),
    "leaves a gap": (invoices, "series.last_number += 1", "series.last_number += 2", "next_number", (invoices,)),
}
OF_TIERS = {
    "forgets what tiers took off before", "computes tiers of what is new only", "looks at the running month only",
    "gives the room of tiers again", "leaves the room of tiers",
}  # fmt: skip
RUNS, STEPS = 40, 25
TRIED = list(MISTAKES) if os.environ.get("PROVE") else ["leaves a gap", "forgets what tiers took off before"]


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
        run(Months, RUNS, STEPS, Phase.generate, mode=TierMode.VOLUME if mistake in OF_TIERS else TierMode.FLAT)
