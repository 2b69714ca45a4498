"""Entries of the ledger per second, over 1,000 organizations, and what the service costs of it.

The ceiling is the same rows inserted into a table without triggers, foreign keys and policies, with nothing else in the
transaction. Each writer is a process with a connection of its own; journals go through the service as the app's role.
"""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import psycopg

from bench import database
from bench.tables import print_table

if TYPE_CHECKING:
    from dev.services import Postgres

ORGANIZATIONS, SECONDS = 1_000, 5.0
WRITERS = (1, 4)
LINES = (1, 50)

INSERT = """
    INSERT INTO bare (organization_id, journal_id, source, line, code, debit_id, credit_id, amount_nano, effective_at,
        recorded_at)
    SELECT %s, %s, %s, line, 'usage', 1, 2, 1000000, now(), now() FROM generate_series(1, %s) AS line
"""


def main() -> None:
    services = database.start()
    try:
        rows = _rows(services[0])
        print_table(("entries", "writers", "per second", "ceiling", "of the ceiling"), rows)
    finally:
        database.stop(*services)


def _rows(postgres: "Postgres") -> list[tuple[object, ...]]:
    organizations = _organizations()
    dsn = postgres.dsn(database.NAME)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("CREATE TABLE bare (LIKE billing_ledgerentry INCLUDING ALL)")
    rows: list[tuple[object, ...]] = []
    for lines in LINES:
        for writers in WRITERS:
            ceiling = _per_second(writers, lines, _insert, dsn, organizations)
            posted = _per_second(writers, lines, _post, dsn, organizations)
            what = f"{lines} to a journal" if lines > 1 else "one to a journal"
            rows.append((what, writers, f"{posted:.0f}", f"{ceiling:.0f}", f"{posted / ceiling:.2f}"))
    _prove()
    return rows


def _prove() -> None:
    from billing.selectors import prove_ledger  # noqa: PLC0415  # Django is set up by now
    from portal.lib.tenancy import as_platform  # noqa: PLC0415

    started = time.perf_counter()
    with as_platform():
        proof = prove_ledger()
    took = time.perf_counter() - started
    if not proof.is_whole:
        raise SystemExit("the ledger is not whole")
    print(f"{proof.entry_count:,} entries of {proof.account_count:,} accounts proved in {took:.1f} s\n", flush=True)


def _organizations() -> list[int]:
    """Make them as rows only: nobody signs in to them."""
    from django.utils import timezone  # noqa: PLC0415  # Django is set up by now

    from accounts.models import Organization  # noqa: PLC0415
    from portal.lib.tenancy import as_platform  # noqa: PLC0415

    with as_platform():
        made = Organization.objects.bulk_create(
            [
                Organization(name=f"Ledger {number}", slug=f"ledger-{number}", created_at=timezone.now())
                for number in range(ORGANIZATIONS)
            ]
        )
    return [organization.pk for organization in made]


type Work = Callable[[str, list[int], int, int, int], int]


def _per_second(writers: int, lines: int, work: Work, dsn: str, organizations: list[int]) -> float:
    """Let the writers work for a while, each a process; `work` returns how many transactions it did."""
    with ProcessPoolExecutor(writers) as pool:
        # Settings are read and connections are opened before the clock runs.
        list(pool.map(_get_ready, range(writers)))
        started = time.perf_counter()
        done = [pool.submit(work, dsn, organizations, lines, writer, writers) for writer in range(writers)]
        transactions = sum(one.result() for one in done)
        return transactions * lines / (time.perf_counter() - started)


def _get_ready(_: int) -> None:
    from django.db import connection, connections  # noqa: PLC0415

    # What a process inherits is its parent's connection.
    for alias in connections:
        connections[alias].connection = None
    connection.ensure_connection()


def _insert(dsn: str, organizations: list[int], lines: int, writer: int, writers: int) -> int:
    from portal.lib.public_ids import new_txn_id  # noqa: PLC0415

    done, until = 0, time.perf_counter() + SECONDS
    with psycopg.connect(dsn) as link:
        while time.perf_counter() < until:
            organization = organizations[(done * writers + writer) % ORGANIZATIONS]
            link.execute(INSERT, [organization, new_txn_id(), f"bench:{lines}:{writers}:{writer}:{done}", lines])
            link.commit()
            done += 1
    return done


def _post(_: str, organizations: list[int], lines: int, writer: int, writers: int) -> int:
    from django.db import transaction  # noqa: PLC0415  # Django is set up by now
    from django.utils import timezone  # noqa: PLC0415

    from billing.models import AccountKind, LedgerEntry, Route  # noqa: PLC0415
    from billing.services.ledger import Journal, Line, post  # noqa: PLC0415
    from portal.lib.tenancy import set_organization  # noqa: PLC0415

    revenue = [Route(AccountKind.REVENUE, product=product) for product in ("model", "instance")]
    wanted = tuple(
        Line(LedgerEntry.Code.USAGE, Route(AccountKind.RECEIVABLE), revenue[number % 2], 1_000_000)
        for number in range(lines)
    )
    done, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        organization, now = organizations[(done * writers + writer) % ORGANIZATIONS], timezone.now()
        with transaction.atomic():
            set_organization(organization)
            post(Journal(organization, f"bench:{lines}:{writers}:{writer}:{done}", now, wanted), now=now)
        done += 1
    return done
