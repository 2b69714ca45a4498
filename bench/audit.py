"""Entries of the audit log per second, over 200 organizations, and what the chain costs of it.

The same rows go into a table without a trigger first: the ceiling of this machine in this run. Four writers, each with
a connection of its own; `each alone` is one entry per transaction as a request writes it, through the service.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg

from bench import database
from bench.tables import print_table

if TYPE_CHECKING:
    from dev.services import Postgres

ORGANIZATIONS, WRITERS, SECONDS, ROWS = 200, 4, 5.0, 50
GOAL = "5000/s"

INSERT = """
    INSERT INTO {table} (organization_id, sequence, at, actor_kind, actor_id, via, impersonator_id, action, target_kind,
        target_id, changes, origin_id, request_id, previous, digest)
    SELECT %s, n, now(), 'user', 'user_00000000000000000000', 'session', '', 'project.renamed', 'project',
        'proj_00000000000000000000', '{{"name": ["before", "after"]}}', 'orig_00000000000000000000',
        'req_00000000000000000000', ''::bytea, ''::bytea
    FROM generate_series(%s::bigint, %s::bigint) AS n
"""


def main() -> None:
    services = database.start()
    try:
        print_table(("entries", "per second", "goal", "of the ceiling"), _rows(services[0]))
    finally:
        database.stop(*services)


def _rows(postgres: "Postgres") -> list[tuple[object, ...]]:
    organizations = _organizations()
    with psycopg.connect(postgres.dsn(database.NAME), autocommit=True) as admin:
        admin.execute("CREATE TABLE bare (LIKE accounts_auditevent INCLUDING ALL)")
    bare = _per_second(lambda writer: _insert(postgres, "bare", organizations, writer), ROWS)
    chained = _per_second(lambda writer: _insert(postgres, "accounts_auditevent", organizations, writer), ROWS)
    alone = _per_second(lambda writer: _record(organizations, writer), 1)
    return [
        (f"{ROWS} to a transaction, without the chain", f"{bare:.0f}", "", "1.00"),
        (f"{ROWS} to a transaction", f"{chained:.0f}", GOAL, f"{chained / bare:.2f}"),
        ("each alone, through the service", f"{alone:.0f}", "", f"{alone / bare:.2f}"),
    ]


def _organizations() -> list[int]:
    from django.utils import timezone  # noqa: PLC0415  # Django is set up by now

    from accounts.models import Organization, User  # noqa: PLC0415
    from accounts.services.organizations import MAXIMUM_ORGANIZATIONS, create_organization  # noqa: PLC0415

    made = []
    for number in range(ORGANIZATIONS):
        if number % MAXIMUM_ORGANIZATIONS == 0:
            owner = User.objects.create_user(f"owner{number}@headroom.example")
        kind, now = Organization.Kind.STARTUP, timezone.now()
        made.append(create_organization(owner=owner, name=f"Audit {number}", kind=kind, now=now).pk)
    return made


def _per_second(write: "Callable[[int], int]", rows: int) -> float:
    """Let the writers write for a while; `write` returns how many transactions it did."""
    started = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as pool:
        transactions = sum(pool.map(write, range(WRITERS)))
    return transactions * rows / (time.perf_counter() - started)


def _insert(postgres: "Postgres", table: str, organizations: list[int], writer: int) -> int:
    """Write as the platform's role, organization by organization, each writer from another place in the list."""
    done, until = 0, time.perf_counter() + SECONDS
    statement = INSERT.format(table=table)
    with psycopg.connect(postgres.dsn(database.NAME)) as link:
        while time.perf_counter() < until:
            place = done * WRITERS + writer
            first = place * ROWS
            link.execute(statement, [organizations[place % ORGANIZATIONS], first, first + ROWS - 1])
            link.commit()
            done += 1
    return done


def _record(organizations: list[int], writer: int) -> int:
    from django.db import connection, transaction  # noqa: PLC0415  # Django is set up by now
    from django.utils import timezone  # noqa: PLC0415

    from accounts.services.audit import record_event  # noqa: PLC0415
    from portal.lib.context import Actor, Origin, remember_actor, remember_origin  # noqa: PLC0415
    from portal.lib.tenancy import set_organization  # noqa: PLC0415

    remember_actor(Actor("user", f"user_{writer}", "session"))
    remember_origin(Origin("req_00000000000000000000", "192.0.2.1", "bench"))
    done, until = 0, time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        organization_id = organizations[(done * WRITERS + writer) % ORGANIZATIONS]
        with transaction.atomic():
            set_organization(organization_id)
            record_event(
                "project.renamed",
                organization_id=organization_id,
                target=("project", "proj_00000000000000000000"),
                changes={"name": ("before", "after")},
                now=timezone.now(),
            )
        done += 1
    connection.close()
    return done
