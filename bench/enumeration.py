"""How much sooner a form answers for an address that has an account than for one that has none. Goal: 10 ms of medians.

Whole requests through middleware, with the real roles and the real hash of passwords, known and unknown in turn. What
is in the answers is compared by tests/accounts/test_guessing.py; what only a clock tells is not asserted anywhere.
"""

import logging
import time
from statistics import median

from bench import database
from bench.tables import print_table

PAIRS = 50
GOAL = 10
FORMS = ("account_login", "account_request_login_code", "account_signup", "account_reset_password")


def main() -> None:
    services = database.start()
    logging.disable(logging.INFO)
    try:
        rows = [_measure(form) for form in FORMS]
    finally:
        database.stop(*services)
    print_table((f"form, {PAIRS} pairs", "known", "unknown", "difference", "goal"), rows)


def _measure(form: str) -> tuple[object, ...]:
    from django.core.cache import cache  # noqa: PLC0415  # Django is set up by now
    from django.test import Client  # noqa: PLC0415
    from django.urls import reverse  # noqa: PLC0415

    taken: dict[bool, list[float]] = {True: [], False: []}
    for number in range(PAIRS):
        # Each first in turn.
        for is_known in (True, False) if number % 2 else (False, True):
            email = _known(form, number) if is_known else f"nobody-{form}-{number}@example.com"
            cache.clear()
            client = Client(headers={"host": "127.0.0.1"})
            sent = {"email": email, "login": email, "password": "not the password of anybody"}
            started = time.perf_counter()
            client.post(reverse(form), sent, secure=True)
            taken[is_known].append((time.perf_counter() - started) * 1000)
    known, unknown = median(taken[True]), median(taken[False])
    return form, f"{known:.1f} ms", f"{unknown:.1f} ms", f"{abs(known - unknown):.1f} ms", f"{GOAL} ms"


def _known(form: str, number: int) -> str:
    from allauth.account.models import EmailAddress  # noqa: PLC0415  # Django is set up by now

    from accounts.models import User  # noqa: PLC0415

    user = User.objects.create_user(f"known-{form}-{number}@example.com", "a long password of somebody")
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user.email
