"""The sequences of test_caps_machine.py find each of these mistakes in what holds and settles budget.

Two here, all of them in `make prove`.
"""

import inspect
import os
import sys
from types import FunctionType, ModuleType

import pytest
from django.db import IntegrityError
from hypothesis import Phase

from billing.services import limits, reservations, settling
from tests.billing.test_caps_machine import run

# Mistake -> where, what stands there, and what somebody could have written.
MISTAKES = {
    "forgets the caps of keys": (reservations, " OR api_key_id = %(api_key)s)", ")"),
    "forgets to look for room": (reservations, "AND NOT EXISTS (SELECT FROM mine WHERE NOT has_room)", ""),
    "goes on in a period that has ended": (reservations, "AND (period_end IS NULL OR period_end > %(now)s)", ""),
    "refuses only where nothing is left": (reservations, "if room_nano < amount_nano:", "if room_nano <= 0:"),
    "looks at one cap only": (reservations, "in needs if cap.stops]", "in needs[:1] if cap.stops]"),
    "moves only what is more into new caps": (
        reservations,
        "add_reserved(after - before, whole_nano)",
        "add_reserved(after - before, additional_nano)",
    ),
    "leaves the hold in the old caps": (reservations, "add_reserved(before - after, -reservation.amount_nano)", "pass"),
    "forgets which caps hold": (
        reservations,
        '["amount_nano", "limit_ids", "expires_at"]',
        '["amount_nano", "expires_at"]',
    ),
    "gives back to the credit alone": (
        reservations,
        "add_reserved([reservation.cap_id, *reservation.limit_ids], -amount_nano)",
        "add_reserved([reservation.cap_id], -amount_nano)",
    ),
    "charges the credit alone": (settling, "in_force = [credit, *part.limits]", "in_force = [credit]"),
    "settles a hold in the credit alone": (
        settling,
        "{reservation.cap_id, *reservation.limit_ids}",
        "{reservation.cap_id}",
    ),
    "charges what is written off": (
        settling,
        "settlement.charged_nano - settlement.from_reservation_nano",
        "part.amount_nano - settlement.from_reservation_nano",
    ),
    "takes the credit for the tightest": (
        settling,
        "for cap in in_force if cap.stops)",
        "for cap in in_force[:1] if cap.stops)",
    ),
    "takes corrections back from the credit alone": (
        settling,
        "    for cap in part.limits:",
        "    for cap in part.limits[:0]:",
    ),
    "charges every key's cap": (limits, "return cap.api_key_id == api_key_id", "return True"),
    "charges every project's cap": (limits, "return cap.project_id == project_id", "return True"),
    "carries what was spent into the next period": (
        limits,
        "        limit_nano=cap.limit_nano,\n",
        "        limit_nano=cap.limit_nano,\n        settled_nano=cap.settled_nano,\n",
    ),
}
# Those that are found soon; the others take up to a minute each.
SOON = ["looks at one cap only", "charges the credit alone"]
TRIED = list(MISTAKES) if os.environ.get("PROVE") else SOON
RUNS, STEPS = 150, 30


def make_the_mistake(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put functions with the mistake in the place of the right ones, wherever they were imported to."""
    module, right, wrong = MISTAKES[mistake]
    source = inspect.getsource(module)
    assert source.count(right) == 1, right
    mutant = ModuleType(module.__name__)
    mutant.__dict__["__file__"] = module.__file__
    # Dataclasses look up the module that they are made in.
    exec(compile(source.replace(right, wrong), f"mutant of {module.__name__}", "exec"), mutant.__dict__)  # noqa: S102
    mine = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    wrongs = {}
    for name, value in mine.items():
        if isinstance(value, FunctionType):
            wrongs[value] = mutant.__dict__[name]
        else:
            # One class, so that who catches or compares it still does.
            mutant.__dict__[name] = value
    for name, value in vars(module).items():
        if isinstance(value, str) and name.startswith("_") and not name.startswith("__"):
            monkeypatch.setattr(module, name, mutant.__dict__[name])
    for place in [
        place for name, place in list(sys.modules.items()) if name.startswith(("billing.", "tests.billing."))
    ]:
        for name, value in list(vars(place).items()):
            if isinstance(value, FunctionType) and value in wrongs:
                monkeypatch.setattr(place, name, wrongs[value])


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", TRIED)
def test_every_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch):
    make_the_mistake(mistake, monkeypatch)

    with pytest.raises((AssertionError, IntegrityError, RuntimeError)):
        run(RUNS, STEPS, Phase.generate)
