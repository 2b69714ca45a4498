"""Server time, statements and bytes of every console page, with 10,000 instances and 1,000,000 usage events.

Whole requests through middleware, row-level security with the real roles and templates, without a network. The
same pages of an organization with a hundredth of the rows are measured first: nothing may grow with rows.
BENCH_SHARE=0.01 measures a smaller large one. Goals: 12 statements and 60 ms at the 95th percentile for a page,
15 ms for a partial. A statement is whatever is sent to PostgreSQL besides BEGIN and COMMIT: telling it whose
rows to show counts, and so would a savepoint.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import brotli

from bench import database
from bench.tables import percentile, print_table

if TYPE_CHECKING:
    from django.test import Client

    from accounts.models import User

ROUNDS = 40
PAGE_GOAL, PARTIAL_GOAL, STATEMENT_GOAL = 60, 15, 12
SMALL = 0.01
NOT_COUNTED = ("BEGIN", "COMMIT")


@dataclass(frozen=True)
class Page:
    """What is measured. path: with {home} for the organization; partial: asked for by htmx; target: for which part."""

    path: str
    partial: bool = False
    target: str = ""

    @property
    def name(self) -> str:
        target = f" #{self.target}" if self.target else ""
        return f"{'partial ' if self.partial else ''}{self.path.removeprefix('{home}') or '/'}{target}"


@dataclass(frozen=True)
class Measured:
    statements: int
    milliseconds: Sequence[float]
    size: int


def main() -> None:
    services = database.start()
    logging.disable(logging.INFO)
    try:
        small = _measure("Small", SMALL)
        large = _measure("Benchmark", float(os.environ.get("BENCH_SHARE", "1")))
    finally:
        database.stop(*services)
    print_table(
        ("page", "statements small", "large", "goal", "p50 small", "p50 large", "p95 large", "goal", "HTML br"),
        [_row(page, small[page], large[page]) for page in small],
    )


def _row(page: Page, small: Measured, large: Measured) -> tuple[object, ...]:
    return (
        page.name,
        small.statements,
        large.statements,
        STATEMENT_GOAL,
        f"{percentile(small.milliseconds, 0.5):.1f} ms",
        f"{percentile(large.milliseconds, 0.5):.1f} ms",
        f"{percentile(large.milliseconds, 0.95):.1f} ms",
        f"{PARTIAL_GOAL if page.partial else PAGE_GOAL} ms",
        f"{large.size / 1000:.1f} kB",
    )


def _measure(name: str, share: float) -> dict[Page, Measured]:
    client, addresses = load(name, share)
    return {page: _measure_page(client, page, address) for page, address in addresses.items()}


def load(name: str, share: float) -> "tuple[Client, dict[Page, str]]":
    """Make a large organization; return its owner's browser and where each page is."""
    from django.conf import settings  # noqa: PLC0415  # Django is set up by now
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connections  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from accounts.models import Organization, User  # noqa: PLC0415
    from compute.models import Instance  # noqa: PLC0415
    from compute.services.pools import ensure_demo_pools  # noqa: PLC0415
    from portal.lib.tenancy import as_platform  # noqa: PLC0415

    settings.ALLOWED_HOSTS = ["*"]
    started = time.monotonic()
    call_command("load_catalog", verbosity=0)
    with as_platform():
        ensure_demo_pools()
    call_command(
        "load_benchmark_data",
        name=name,
        instances=int(10_000 * share),
        events=int(1_000_000 * share),
        projects=int(1_000 * share),
    )
    with connections["owner"].cursor() as cursor:
        # As after a night of autovacuum, which would do it while we measure: the planner knows nothing of rows that
        # came a moment ago, and pages of them are not known to be visible to all.
        cursor.execute("VACUUM (ANALYZE)")
    print(f"loaded in {time.monotonic() - started:.0f} s\n", flush=True)
    with as_platform():
        organization = Organization.objects.get(name=name)
        owner = User.objects.get(memberships__organization=organization)
        newest = list(Instance.objects.owned_by(organization).newest_first().values_list("public_id", flat=True)[:50])
    client = Client(headers={"accept-encoding": "gzip"})
    client.cookies[settings.SESSION_COOKIE_NAME] = _session_of(owner)
    fill = {
        "home": f"/o/{organization.slug}",
        "instance": newest[0],
        "ids": "&".join(f"id={public_id}" for public_id in newest),
    }
    return client, {page: page.path.format(**fill) for page in PAGES}


def _session_of(user: "User") -> str:
    """Return what the browser of somebody who signed in holds: Django's test client knows only the name of its row."""
    from django.conf import settings  # noqa: PLC0415  # Django is set up by now
    from django.contrib import auth  # noqa: PLC0415

    from portal.lib.sessions import SessionStore  # noqa: PLC0415

    session = SessionStore()
    session[auth.SESSION_KEY] = str(user.pk)
    session[auth.BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[auth.HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return session.cookie_key


def _measure_page(client: "Client", page: Page, address: str) -> Measured:
    from django.db import connections  # noqa: PLC0415  # Django is set up by now
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    headers = {"HX-Request": "true"} if page.partial else {}
    if page.target:
        headers["HX-Target"] = page.target

    def ask(**more: str) -> bytes:
        answer = client.get(address, headers=headers | more)
        if answer.status_code != 200:
            raise RuntimeError(f"{address} answered {answer.status_code}")
        return bytes(answer.content)

    content = ask(**{"accept-encoding": "identity"})
    with CaptureQueriesContext(connections["default"]) as captured:
        ask()
    sent = [query["sql"] for query in captured.captured_queries if not query["sql"].startswith(NOT_COUNTED)]
    milliseconds = [timed(ask) for _ in range(int(os.environ.get("BENCH_ROUNDS", ROUNDS)))]
    if os.environ.get("BENCH_STATEMENTS"):
        print(page.name, *sent, sep="\n    ")
    return Measured(len(sent), milliseconds, len(brotli.compress(content, quality=5)))


def timed(ask: Callable[[], object]) -> float:
    started = time.perf_counter()
    ask()
    return (time.perf_counter() - started) * 1000


PAGES = (
    Page("{home}/"),
    Page("{home}/spend/"),
    *(Page(f"{{home}}/spend/?range=30d&by={by}") for by in ("project", "key", "resource", "member")),
    *(Page(f"{{home}}/spend/?range=30d&by={by}", partial=True) for by in ("project", "resource")),
    Page("{home}/spend/?range=30d", partial=True, target="spend-lines"),
    Page("{home}/instances/"),
    Page("{home}/instances/status/?{ids}", partial=True),
    Page("{home}/instances/{instance}/"),
    Page("{home}/instances/launch/"),
    Page("{home}/ssh-keys/"),
    Page("{home}/keys/"),
    Page("{home}/projects/"),
    Page("{home}/members/"),
    Page("{home}/requests/"),
    Page("{home}/requests/", partial=True),
    Page("{home}/quickstart/"),
    Page("/models/"),
    Page("/instance-types/"),
    Page("/pricing/"),
    Page("/"),
)
