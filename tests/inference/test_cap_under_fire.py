"""A $10.00 cap under requests of three kinds at once, from processes that are killed at random (P1).

Gateways answer requests to models, workers live with leases as instances do, and others report usage from outside; any
of them is killed as by kill -9 in whatever it does, and another takes its place. Settled and reserved never pass the
cap, no refusal is wrong, and when all is over nothing is held. 50 requests here, 500 in `make prove`; others with
`SEED=N`.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from queue import Queue
from random import Random
from threading import Lock, Thread
from typing import Any

import httpx2 as httpx
from django.db.models import Sum

from billing.models import Reservation, SpendCap, UsageByHour, UsageEvent, WriteOff
from billing.services.reservations import expire_reservations
from dev.paths import ROOT
from dev.services import free_port
from inference.models import Receipt
from portal.lib.money import NANO_PER_USD, round_bucket
from tests.factories.catalog import make_price, make_served_model
from tests.inference.conftest import ServedGateway, wait_until
from tests.inference.fire_prices import NANO_PER_SECOND, NANO_PER_TOKEN, SECONDS_SKU, TOKENS_SKU
from tests.own_database import OwnDatabase

PROVE = bool(os.environ.get("PROVE"))
SEED = int(os.environ.get("SEED", "20261126"))
REQUESTS, CALLS = (500, 30) if PROVE else (50, 4)
# A worker is killed after so many answers of all.
BETWEEN_KILLS = 8
CAP_NANO = 10 * NANO_PER_USD
# A tenth of a cent: a request costs some cents, and its worst case forty.
DEAR_NANO = 1_000_000
WORST_NANO = 400 * DEAR_NANO
PATIENCE = 120


@dataclass
class Nursery:
    """The process that forks workers, what they said, and who of them lives."""

    process: subprocess.Popen[str]
    told: Queue[dict[str, Any]] = field(default_factory=Queue)
    begun: Queue[int] = field(default_factory=Queue)
    alive: dict[int, tuple[str, int]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if told["kind"] == "begun":
                self.begun.put(told["pid"])
            else:
                self.told.put(told)

    def begin(self, kind: str, number: int) -> None:
        assert self.process.stdin is not None
        with self.lock:
            self.process.stdin.write(f"{kind} {number}\n")
            self.process.stdin.flush()
            self.alive[self.begun.get(timeout=PATIENCE)] = kind, number

    def end(self, pid: int, how: signal.Signals = signal.SIGKILL) -> tuple[str, int]:
        # A reporter may have finished by itself.
        with suppress(ProcessLookupError):
            os.kill(pid, how)
        return self.alive.pop(pid)

    def of_kind(self, *kinds: str) -> list[int]:
        return [pid for pid, (kind, _) in self.alive.items() if kind in kinds]


@contextmanager
def nursery(own: OwnDatabase, log: Path, **values: str) -> Iterator[Nursery]:
    environment = {**os.environ, **own.environment, **values, "DJANGO_SETTINGS_MODULE": "tests.process_settings"}
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.inference.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    made = Nursery(process)
    listener = Thread(target=made.listen)
    listener.start()
    try:
        yield made
    finally:
        for pid in list(made.alive):
            made.end(pid)
        process.kill()
        process.wait()
        listener.join()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
            return True
    except OSError:
        return False


def is_silent(port: int) -> bool:
    return not answers(port)


def ask(gateway: ServedGateway, port: int) -> int | None:
    """Ask for an answer of a model; None where the gateway is dead or dies."""
    body = {"model": "dear", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 10}
    headers = {"authorization": f"Bearer {gateway.key.secret}"}
    # Where it was killed, another begins at the same place.
    wait_until(lambda: answers(port), seconds=PATIENCE)
    try:
        return httpx.post(
            f"http://127.0.0.1:{port}/v1/chat/completions", json=body, headers=headers, timeout=PATIENCE
        ).status_code
    except httpx.TransportError:
        return None


def test_a_cap_holds_while_workers_are_killed_and_refuses_nobody_wrongly(
    gateway: ServedGateway, own_database: OwnDatabase, tmp_path: Path
):
    random = Random(SEED)
    gateway.set_cap(CAP_NANO)
    gateway.deploy(make_served_model("dear", price_nano=DEAR_NANO * 1_000_000), gateway.deployment.base_url)
    make_price(SECONDS_SKU, NANO_PER_SECOND, 1)
    make_price(TOKENS_SKU, NANO_PER_TOKEN, 1)
    ports = [free_port(), free_port()]
    values = {
        "ORGANIZATION": str(gateway.organization.pk),
        "PROJECT": str(gateway.project.pk),
        "BEGAN_AT": datetime.now(UTC).isoformat(),
        "CALLS": str(CALLS),
    }
    heard: Counter[str] = Counter()

    with nursery(own_database, tmp_path / "workers.log", **values) as workers, ThreadPoolExecutor(8) as pool:
        for port in ports:
            workers.begin("gateway", port)
        for number in range(2):
            workers.begin("lease", number)
            workers.begin("report", number)
        for port in ports:
            wait_until(partial(answers, port), seconds=PATIENCE)
        asked = [pool.submit(ask, gateway, random.choice(ports)) for _ in range(REQUESTS // 2)]
        finished: set[int] = set()
        while heard.total() < REQUESTS // 2 or len(finished) < 2 or not all(one.done() for one in asked):
            told = workers.told.get(timeout=PATIENCE)
            heard[told["kind"]] += 1
            assert told.get("rightly", True), told
            if told["kind"] == "finished":
                finished.add(told["number"])
            cap = gateway.cap
            assert cap.settled_nano + cap.reserved_nano <= cap.limit_nano == CAP_NANO
            if heard.total() <= REQUESTS // 2 and heard.total() % BETWEEN_KILLS == 0:
                kind, number = workers.end(random.choice(list(workers.alive)))
                heard["killed"] += 1
                finished.discard(number if kind == "report" else None)
                workers.begin(kind, number)
                expire_reservations(now=datetime.now(UTC))
        for pid in workers.of_kind("lease", "report"):
            workers.end(pid)
        assert_nothing_is_lost(gateway, [one.result() for one in asked])
        assert_who_has_room_is_served(gateway, workers, ports[0])

    assert min(heard[kind] for kind in ("held", "used", "released", "reported", "killed")) > 0


def assert_nothing_is_lost(gateway: ServedGateway, statuses: list[int | None]) -> None:
    """Each report is counted once, however often it was sent, and some requests were answered."""
    assert set(statuses) <= {200, 402, 503, None}
    assert 200 in statuses
    reported = UsageEvent.objects.filter(sku=TOKENS_SKU)
    quantities = [10 * (1 + call + event) for call in range(CALLS) for event in range(3)]
    assert reported.count() == 2 * len(quantities)
    assert reported.aggregate(Sum("quantity"))["quantity__sum"] == 2 * sum(quantities)


def assert_who_has_room_is_served(gateway: ServedGateway, workers: Nursery, port: int) -> None:
    """All that is held is given back or swept; then who does not fit is refused, and who fits is served."""
    for pid in workers.of_kind("gateway"):
        kind, number = workers.end(pid, signal.SIGTERM)
        wait_until(partial(is_silent, number), seconds=PATIENCE)
        if number == port:
            workers.begin(kind, number)
    wait_until(lambda: answers(port), seconds=PATIENCE)
    expire_reservations(now=datetime.now(UTC) + timedelta(seconds=60))
    cap = gateway.cap
    assert (cap.reserved_nano, Reservation.objects.held().exists()) == (0, False)
    rated = sum(round_bucket(row.quantity, row.price_nano, row.unit_size) for row in UsageByHour.objects.all())
    written_off = WriteOff.objects.aggregate(Sum("amount_nano", default=0))["amount_nano__sum"]
    assert cap.settled_nano + written_off == rated
    assert 0 < cap.settled_nano <= CAP_NANO

    credit = SpendCap.objects.filter(pk=cap.pk)
    credit.update(limit_nano=cap.settled_nano + WORST_NANO // 4)
    assert ask(gateway, port) == 402
    credit.update(limit_nano=cap.settled_nano + 2 * WORST_NANO)
    served = Receipt.objects.count()
    assert ask(gateway, port) == 200
    wait_until(lambda: Receipt.objects.count() > served, seconds=PATIENCE)
