"""Usage events per second: the one statement, the service, and the operator's API with batches and single events.

The ceiling is the statement of `record_usage` with nothing around it, in batches of 1,000 of one organization. The API
is asked inside a process, through Django with all of its middleware, as a worker of the web server would be; each
writer is a process with organizations of its own. Goals: batches at 0.6 of the ceiling or better, single events at half
of 3,700 a second (`billing.md` 4).
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING
from uuid import uuid4

from bench import database
from bench.tables import print_table

if TYPE_CHECKING:
    from django.test import Client

    from billing.services.usage import UsageRecord

SECONDS, BATCH = 5.0, 1_000
WRITERS = (1, 2)
SKU = "bench.tokens"
ADDRESS = "/api/operator/v1/usage"

# Of an organization: its id and its project's, inside and outside.
type Place = tuple[int, int, str, str]
type Work = Callable[[Place, str], int]


def main() -> None:
    services = database.start()
    try:
        secret, places = _prepare()
        work: dict[str, Work] = {
            "the statement alone": _statement,
            "record_usage": _service,
            "API, batches": _batches,
            "API, single events": _singles,
        }
        rows = []
        for writers in WRITERS:
            rates = {name: _per_second(writers, one, places, secret) for name, one in work.items()}
            ceiling = rates["the statement alone"]
            rows += [(name, writers, f"{rate:.0f}", f"{rate / ceiling:.2f}") for name, rate in rates.items()]
        print_table(("events by", "writers", "per second", "of the statement"), rows)
    finally:
        database.stop(*services)


def _prepare() -> tuple[str, list[Place]]:
    """Make a price, an operator key, and an organization for each writer."""
    from django.core.management import call_command  # noqa: PLC0415

    from accounts.models import OperatorScope, Organization, Project  # noqa: PLC0415  # Django is set up by now
    from accounts.services.operator_keys import issue_operator_key  # noqa: PLC0415
    from billing.models import SpendCap  # noqa: PLC0415
    from billing.services.credits import lock_cap  # noqa: PLC0415
    from catalog.models import Sku  # noqa: PLC0415
    from catalog.services.prices import publish_price  # noqa: PLC0415
    from portal.lib.periods import hour_of  # noqa: PLC0415
    from portal.lib.tenancy import as_platform  # noqa: PLC0415

    now = datetime.now(UTC)
    places: list[Place] = []
    call_command("load_catalog")
    with as_platform():
        like = Sku.objects.order_by("pk")[0]
        sku = Sku.objects.create(code=SKU, name="Tokens", meter=like.meter, product=like.product)
        publish_price(sku=sku, price_nano=150, unit_size=1, active_from=hour_of(now), now=hour_of(now))
        for number in range(max(WRITERS)):
            organization = Organization.objects.create(name=f"Usage {number}", slug=f"usage-{number}", created_at=now)
            project = Project.objects.create(organization=organization, name="One", slug="one", created_at=now)
            lock_cap(organization_id=organization.pk, now=now)
            places.append((organization.pk, project.pk, organization.public_id, project.public_id))
        SpendCap.objects.update(limit_nano=10**17)
        scopes = [OperatorScope.USAGE_WRITE]
        return issue_operator_key(name="bench", scopes=scopes, by=None, now=now).secret, places


def _per_second(writers: int, work: Work, places: list[Place], secret: str) -> float:
    with ProcessPoolExecutor(writers) as pool:
        # Settings are read and connections are opened before the clock runs.
        list(pool.map(_get_ready, range(writers)))
        started = time.perf_counter()
        done = [pool.submit(work, places[writer], secret) for writer in range(writers)]
        events = sum(one.result() for one in done)
        return events / (time.perf_counter() - started)


def _get_ready(_: int) -> None:
    from django.db import connection, connections  # noqa: PLC0415

    # What a process inherits is its parent's connection.
    for alias in connections:
        connections[alias].connection = None
    connection.ensure_connection()
    _ask("", b"[]")


def _in_time() -> Iterator[None]:
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        yield


def _records(place: Place) -> list["UsageRecord"]:
    from billing.services.usage import UsageRecord  # noqa: PLC0415

    now = datetime.now(UTC)
    return [UsageRecord(uuid4(), now, place[0], place[1], SKU, 100, "bench", None, None) for _ in range(BATCH)]


@contextmanager
def _inside() -> Iterator[None]:
    from django.db import transaction  # noqa: PLC0415

    from portal.lib.tenancy import as_platform  # noqa: PLC0415

    with as_platform(), transaction.atomic():
        yield


def _statement(place: Place, _: str) -> int:
    from billing.services import usage  # noqa: PLC0415

    count = 0
    for _round in _in_time():
        records = _records(place)
        with _inside():
            usage._write(records, usage._prices_of(records), datetime.now(UTC))
        count += BATCH
    return count


def _service(place: Place, _: str) -> int:
    from billing.services.usage import record_usage  # noqa: PLC0415

    count = 0
    for _round in _in_time():
        records = _records(place)
        with _inside():
            record_usage(records, reservation_id=None, now=datetime.now(UTC))
        count += BATCH
    return count


def _batches(place: Place, secret: str) -> int:
    count = 0
    for _round in _in_time():
        _ask(secret, json.dumps([_event(place) for _ in range(BATCH)]).encode(), BATCH)
        count += BATCH
    return count


def _singles(place: Place, secret: str) -> int:
    count = 0
    for _round in _in_time():
        _ask(secret, json.dumps([_event(place)]).encode(), 1)
        count += 1
    return count


def _event(place: Place) -> dict[str, object]:
    data = {"organization": place[2], "project": place[3], "sku": SKU, "quantity": 100, "resource": "bench"}
    return {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "https://bench.example/",
        "type": "usage.measured",
        "time": datetime.now(UTC).isoformat(),
        "data": data,
    }


@cache
def _client() -> "Client":
    """Return the process's one client: making one loads every middleware anew."""
    import logging  # noqa: PLC0415

    from django.test import Client  # noqa: PLC0415

    # A line for every request is written elsewhere, by the web server's own process.
    logging.disable(logging.CRITICAL)
    return Client()


def _ask(secret: str, body: bytes, counted: int = 0) -> None:
    answer = _client().post(
        ADDRESS,
        body,
        content_type="application/cloudevents-batch+json",
        headers={"Authorization": f"Bearer {secret}", "host": "127.0.0.1"},
    )
    if counted and json.loads(answer.content).get("outcomes") != {"counted": counted}:
        raise SystemExit(f"not all were counted: {answer.status_code} {answer.content[:300]!r}")
