"""What it costs the gateway's process to know who calls: checksum, digest, memory. Goal: 5 microseconds.

A known key, one that was mistyped (refused by its checksum), and one that is nobody's but well formed and remembered
as unknown. No database: what is asked of it once is remembered.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime
from time import monotonic

from bench import database
from bench.tables import percentile, print_table

KEYS, ROUNDS, CALLS = 10_000, 20, 20_000


def main() -> None:
    services = database.start()
    try:
        rows = asyncio.run(_rows())
    finally:
        database.stop(*services)
    print_table((f"key, with {KEYS:,} in memory", "median", "p99 of rounds", "goal"), rows)


async def _rows() -> list[tuple[object, ...]]:
    from inference.gateway.database import Database  # noqa: PLC0415  # Django is set up by now
    from inference.gateway.keys import Caller, KeyRing, _Known  # noqa: PLC0415
    from portal.lib.key_format import KeyKind, digest_of, new_secret  # noqa: PLC0415

    pepper = secrets.token_urlsafe(32)
    ring = KeyRing(Database(), brand="hr", pepper=pepper)
    known = [new_secret("hr", KeyKind.LIVE) for _ in range(KEYS)]
    unknown = [new_secret("hr", KeyKind.LIVE) for _ in range(KEYS)]
    for number, secret in enumerate(known):
        caller = Caller(organization_id=number, project_id=number, api_key_id=number, name=f"key_{number}")
        ring._known[digest_of(secret, pepper)] = _Known(caller, monotonic())
    for secret in unknown:
        ring._known[digest_of(secret, pepper)] = _Known(None, monotonic())
    mistyped = [secret[:-1] + ("a" if secret[-1] != "a" else "b") for secret in known]
    return [
        (name, *await _timed(ring, keys))
        for name, keys in (("known", known), ("unknown", unknown), ("mistyped", mistyped))
    ]


async def _timed(ring: object, keys: list[str]) -> tuple[str, str, str]:
    from accounts.services.api_keys import KeyUse  # noqa: PLC0415  # Django is set up by now
    from inference.gateway.errors import ApiError  # noqa: PLC0415  # Django is set up by now
    from inference.gateway.keys import KeyRing  # noqa: PLC0415

    assert isinstance(ring, KeyRing)  # noqa: S101  # for the type checker
    use = KeyUse("192.0.2.1", "bench")
    now, headers = datetime.now(UTC), [f"Bearer {key}" for key in keys]
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for number in range(CALLS):
            with suppress(ApiError):
                await ring.caller_of(headers[number % KEYS], use, now)
        taken.append((time.perf_counter() - started) / CALLS * 1_000_000)
    return f"{percentile(taken, 0.5):.2f} µs", f"{percentile(taken, 0.99):.2f} µs", "5 µs"
