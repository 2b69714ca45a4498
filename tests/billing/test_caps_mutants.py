"""The sequences of test_caps_machine.py find each of these mistakes in what holds and settles budget.

Four here, all of them in `make prove`.
"""

import os

import pytest
from django.db import IntegrityError
from hypothesis import Phase

from billing.services import limits, reservations, settling
from tests.billing.mistakes import make_mistake
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
# One of each kind; all of them are found within seconds.
SOON = [
    "goes on in a period that has ended",
    "looks at one cap only",
    "charges the credit alone",
    "charges every key's cap",
]
TRIED = list(MISTAKES) if os.environ.get("PROVE") else SOON
RUNS, STEPS = 150, 30


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", TRIED)
def test_every_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch):
    make_mistake(*MISTAKES[mistake], monkeypatch)

    with pytest.raises((AssertionError, IntegrityError, RuntimeError)):
        run(RUNS, STEPS, Phase.generate)
