"""Whether the time of a refusal says how near a guess was: five kinds of keys, in shuffled order, each wrong one new.

At the gateway's door, in its process, and where the API asks whose key it is; both with the database. Goal: the
medians of the three wrong kinds that are well formed lie within 5 % of each other. "Longer than random" is the share of
pairs in which a key took longer than a random one, 0.50 when nobody could tell them apart.
"""

import asyncio
import random
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from bench import database
from bench.tables import percentile, print_table

EACH = 20_000
VALID = 100
VALID_KIND, RANDOM_KIND = "valid", "random"
WRONG = ("near miss", "same prefix", RANDOM_KIND)
SHARED = 24  # letters that a key of the same prefix shares with a valid one, its kind included
GOAL = 0.05

type Taken = dict[str, list[float]]


def main() -> None:
    services = database.start()
    try:
        valid = _load()
        taken = {
            "gateway": asyncio.run(_at_the_gateway(_guesses(valid))),
            "API": _at_the_api(_guesses(valid)),
        }
    finally:
        database.stop(*services)
    header = ("door", "key", "keys", "median", "against random", "longer than random", "goal")
    print_table(header, [row for door, times in taken.items() for row in _rows(door, times)])
    for door, times in taken.items():
        medians = [percentile(times[kind], 0.5) for kind in WRONG]
        spread = max(medians) / min(medians) - 1
        print(f"\n{door}: wrong and well formed within {spread:.1%} of each other (goal {GOAL:.0%})")


def _rows(door: str, times: Taken) -> list[tuple[object, ...]]:
    by_chance = sorted(times[RANDOM_KIND])
    middle = percentile(by_chance, 0.5)
    return [
        (
            door,
            kind,
            len(taken),
            f"{percentile(taken, 0.5):.1f} µs",
            f"{percentile(taken, 0.5) / middle - 1:+.1%}",
            f"{_longer(taken, by_chance):.2f}",
            f"{GOAL:.0%}" if kind in WRONG else "",
        )
        for kind, taken in sorted(times.items())
    ]


def _longer(taken: list[float], ordered: list[float]) -> float:
    """Return the share of pairs in which one of `taken` is longer than one of `ordered`; a tie counts half."""
    ranks = (bisect_left(ordered, one) + bisect_right(ordered, one) for one in taken)
    return sum(ranks) / 2 / len(taken) / len(ordered)


def _guesses(valid: list[str]) -> list[tuple[str, str]]:
    """Return kinds and keys in shuffled order."""
    from portal.lib.key_format import CHECKSUM_LENGTH, KeyKind, _checksum, new_secret  # noqa: PLC0415  # Django is set up

    chance = random.Random(20261125)

    def mended(body: str) -> str:
        return body + _checksum(body)

    def near(secret: str) -> str:
        # Digits and letters of another key, so that every guess is a new one: two letters are off at most.
        body = list(secret[:-CHECKSUM_LENGTH])
        other = new_secret("hr", KeyKind.LIVE)
        for at in chance.sample(range(len("hr_live_"), len(body)), 2):
            body[at] = other[at]
        return mended("".join(body))

    def same_prefix(secret: str) -> str:
        return mended(secret[:SHARED] + new_secret("hr", KeyKind.LIVE)[SHARED:-CHECKSUM_LENGTH])

    def malformed(secret: str) -> str:
        return secret[:-1] + ("a" if secret[-1] != "a" else "b")

    makers: dict[str, Callable[[str], str]] = {
        VALID_KIND: lambda secret: secret,
        "near miss": near,
        "same prefix": same_prefix,
        RANDOM_KIND: lambda _secret: new_secret("hr", KeyKind.LIVE),
        "malformed": malformed,
    }
    guesses = [(kind, make(valid[number % VALID])) for kind, make in makers.items() for number in range(EACH)]
    chance.shuffle(guesses)
    return guesses


async def _at_the_gateway(guesses: list[tuple[str, str]]) -> Taken:
    from django.conf import settings  # noqa: PLC0415  # Django is set up by now

    from accounts.services.api_keys import KeyUse  # noqa: PLC0415
    from inference.gateway.database import Database  # noqa: PLC0415
    from inference.gateway.keys import KeyRing  # noqa: PLC0415

    gateway = Database()
    ring = KeyRing(gateway, brand=settings.KEY_BRAND, pepper=settings.API_KEY_PEPPER)
    use, now = KeyUse("192.0.2.1", "bench"), datetime.now(UTC)
    try:
        return await _timed(guesses, lambda secret: ring.caller_of(f"Bearer {secret}", use, now))
    finally:
        gateway.close()


async def _timed(guesses: list[tuple[str, str]], ask: Callable[[str], Awaitable[object]]) -> Taken:
    from inference.gateway.errors import ApiError  # noqa: PLC0415  # Django is set up by now

    taken: Taken = defaultdict(list)
    for kind, secret in guesses:
        started = time.perf_counter()
        with suppress(ApiError):
            await ask(secret)
        taken[kind].append((time.perf_counter() - started) * 1_000_000)
    return taken


def _at_the_api(guesses: list[tuple[str, str]]) -> Taken:
    from django.db import transaction  # noqa: PLC0415  # Django is set up by now

    from accounts.access import InvalidApiKey, authenticate_key  # noqa: PLC0415

    taken: Taken = defaultdict(list)
    for kind, secret in guesses:
        # As in a request, whose transaction is open by then.
        with transaction.atomic():
            started = time.perf_counter()
            with suppress(InvalidApiKey):
                authenticate_key(secret)
            taken[kind].append((time.perf_counter() - started) * 1_000_000)
    return taken


def _load() -> list[str]:
    from portal.lib.tenancy import as_platform  # noqa: PLC0415  # Django is set up by now
    from tests.factories.accounts import make_key, make_organization  # noqa: PLC0415

    with as_platform():
        project = make_organization().projects.in_order()[0]
        return [make_key(project, now=datetime.now(UTC)).secret for _ in range(VALID)]
