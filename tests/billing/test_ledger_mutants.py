"""The sequences of test_ledger_machine.py find each of these mistakes in the service.

Every third here, all of them in `make prove`.
"""

import inspect
import os
from types import ModuleType

import pytest
from django.db import IntegrityError
from hypothesis import Phase

from billing.services import ledger
from portal.lib.errors import DomainError
from tests.billing.test_ledger_machine import Books, run

# Mistake -> what stands in the service, and what somebody could have written.
MISTAKES = {
    "posts a cause twice": ('"source": journal.source,', '"source": journal.source + new_txn_id(),'),
    "accepts other contents": ("if entries and there != list(values):", "if not there and entries:"),
    "looks at how many lines only": ("there != list(values)", "len(there) != len(values)"),
    "exchanges the sides": ("a.debits_nano + sums.debits", "a.debits_nano + sums.credits"),
    "moves one side only": ("a.credits_nano + sums.credits", "a.credits_nano"),
    "forgets the overdraft": ("account.no_overdraft and left_nano < 0", "account is None"),
    "allows an overdraft of one": ("left_nano < 0:", "left_nano < -1:"),
    "refuses the last of the credit": ("left_nano < 0:", "left_nano <= 0:"),
    "does not count what comes in": ("growth[credit] += amount_nano", "growth[credit] += 0"),
    "judges one account only": ("for account in accounts:", "for account in accounts[:1]:"),
    "reverses half": (
        "entry.pk) for entry in entries\n",
        "entry.pk) for entry in entries[: -(-len(entries) // 2)]\n",
    ),
    "repeats instead of reversing": ("entry.credit_id, entry.debit_id,", "entry.debit_id, entry.credit_id,"),
    "forgets what it reverses": ("entry.amount_nano, entry.pk)", "entry.amount_nano, None)"),
    "reverses twice": ("_REVERSAL + entries[0].journal_id", "_REVERSAL + new_txn_id()"),
    "reverses reversals": ("if entries[0].reverses_id is not None:", "if entries[0].reverses_id == 0:"),
    "counts lines that are alike once": ("UNION ALL SELECT credit_id, 0", "UNION SELECT credit_id, 0"),
}
RUNS, STEPS = 60, 25


def mutant(mistake: str) -> ModuleType:
    right, wrong = MISTAKES[mistake]
    source = inspect.getsource(ledger)
    assert source.count(right) == 1, right
    module = ModuleType("mutant")
    module.__dict__["__file__"] = ledger.__file__
    exec(compile(source.replace(right, wrong), "mutant of the ledger", "exec"), module.__dict__)  # noqa: S102
    return module


TRIED = list(MISTAKES) if os.environ.get("PROVE") else list(MISTAKES)[::3]


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", TRIED)
def test_every_mistake_is_found(mistake: str):
    machine = type("Mutated", (Books,), {"service": mutant(mistake)})

    with pytest.raises((AssertionError, DomainError, IntegrityError)):
        run(machine, RUNS, STEPS, Phase.generate)
