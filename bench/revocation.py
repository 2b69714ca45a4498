"""How long a revoked key opens anything on four gateway processes. Goal: 1 second.

Each process is asked with a key of the round's own, without a pause, while the key is revoked; counted is from before
the revocation's transaction began to the last answer that was not a refusal, so that nothing is missed.
"""

import logging
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx2 as httpx

from bench import database
from bench.gateway import gateway_command, served
from bench.tables import percentile, print_table

if TYPE_CHECKING:
    from accounts.services.api_keys import IssuedKey

PROCESSES, ROUNDS = 4, 20
# What ends a round that the revocation never reached.
LONGEST_SECONDS = 10.0


def main() -> None:
    services = database.start()
    # Of every request that is made here.
    logging.disable(logging.INFO)
    try:
        keys = _load()
        with ExitStack() as processes:
            urls = [processes.enter_context(served(gateway_command(), set()))[0] for _ in range(PROCESSES)]
            # How long the processes were late in each round, in seconds.
            rounds = [_revoked(urls, key) for key in keys]
    finally:
        database.stop(*services)
    every = [seconds for late in rounds for seconds in late]
    slowest = [max(late) for late in rounds]
    rows = [
        ("each process", len(every), *_shown(every), "1 s"),
        (f"the last of {PROCESSES}", len(slowest), *_shown(slowest), "1 s"),
    ]
    print_table(("until refused on", "measured", "median", "worst", "goal"), rows)


@dataclass
class _Asker:
    """Asks one process over and over; knows when it was let in the last time."""

    url: str
    secret: str
    let_in: threading.Event = field(default_factory=threading.Event)
    last_at: float = 0.0

    def run(self) -> None:
        headers = {"authorization": f"Bearer {self.secret}"}
        deadline = time.monotonic() + LONGEST_SECONDS
        with httpx.Client(base_url=self.url, headers=headers) as client:
            while client.get("/v1/models").status_code == 200:
                self.last_at = time.monotonic()
                self.let_in.set()
                if self.last_at > deadline:
                    return


def _revoked(urls: list[str], key: "IssuedKey") -> list[float]:
    from accounts.services.api_keys import revoke_key  # noqa: PLC0415  # Django is set up by now
    from portal.lib.tenancy import as_platform  # noqa: PLC0415

    askers = [_Asker(url, key.secret) for url in urls]
    threads = [threading.Thread(target=asker.run) for asker in askers]
    for thread in threads:
        thread.start()
    for asker in askers:
        asker.let_in.wait()
    began = time.monotonic()
    with as_platform():
        revoke_key(api_key=key.api_key, now=datetime.now(UTC))
    for thread in threads:
        thread.join()
    return [max(asker.last_at - began, 0.0) for asker in askers]


def _load() -> list["IssuedKey"]:
    from portal.lib.tenancy import as_platform  # noqa: PLC0415  # Django is set up by now
    from tests.factories.accounts import make_key, make_organization  # noqa: PLC0415

    with as_platform():
        project = make_organization().projects.in_order()[0]
        return [make_key(project, now=datetime.now(UTC)) for _ in range(ROUNDS)]


def _shown(seconds: list[float]) -> tuple[str, str]:
    return f"{percentile(seconds, 0.5):.2f} s", f"{max(seconds):.2f} s"
