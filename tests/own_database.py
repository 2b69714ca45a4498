"""A database of one test's own, reached with the real roles: for tests with threads, processes and commits.

The shared test database lives in one transaction that is rolled back, so that nothing has to be emptied;
append-only tables could not be. Whatever must really commit happens in a fresh clone that is dropped after.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier
from urllib.parse import urlsplit

import psycopg
from django.db import connections
from django.test import override_settings

import dev.testing
from dev.database import addresses
from dev.services import Postgres, Valkey

SUPERUSER = "postgres"
APP = "headroom_app"
# Alias -> the role that it connects as in production.
ROLE_OF_ALIAS = {
    "default": APP,
    "owner": "headroom_owner",
    "platform": "headroom_platform",
    "gateway": "headroom_gateway",
}


@dataclass(frozen=True)
class OwnDatabase:
    """A migrated, empty database and how to get into it."""

    postgres: Postgres
    valkey: Valkey
    name: str
    redis_database: int

    @property
    def addresses(self) -> dict[str, str]:
        """DATABASE_URL and its three siblings, one per role."""
        return addresses(self.postgres, self.name)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process of the portal that works on this database."""
        return dev.testing.environment(self.postgres, self.valkey, self.name, self.redis_database)

    def connect(self, role: str = APP) -> psycopg.Connection:
        """Open a plain connection; the superuser sees every row, headroom_app what row-level security lets it."""
        return psycopg.connect(self.postgres.dsn(self.name, role))

    @contextmanager
    def in_use(self, role: str = APP) -> Iterator[None]:
        """Point Django's connections at this database, in this thread and in every thread started inside.

        role: whom the default connection signs in as. SUPERUSER is for making and checking rows, as the suite's
        own code does elsewhere; the other aliases keep their production roles. Not inside a `django_db` test.
        """
        aliases = list(connections.settings)
        settings_before = {alias: connections.settings[alias] for alias in aliases}
        # Objects of this thread that may hold an open transaction: put aside, not closed.
        connections_before = {alias: connections[alias] for alias in aliases}
        for alias in aliases:
            login = urlsplit(self.postgres.dsn(self.name, role if alias == "default" else ROLE_OF_ALIAS[alias]))
            connections.settings[alias] = settings_before[alias] | {
                "NAME": self.name,
                "USER": login.username,
                "PASSWORD": login.password,
            }
            del connections[alias]
        try:
            with override_settings(ONE_DATABASE_CONNECTION=False):
                yield
        finally:
            for alias in aliases:
                connections[alias].close()
                connections.settings[alias] = settings_before[alias]
                connections[alias] = connections_before[alias]

    @contextmanager
    def pooled(self, size: int) -> Iterator[None]:
        """Let all threads share `size` connections, each of which serves one request after the other.

        Inside `in_use()`, before the threads start; the default connection only.
        """
        before = connections.settings["default"]
        pool = {"min_size": size, "max_size": size}
        connections.settings["default"] = before | {
            "OPTIONS": {**before.get("OPTIONS", {}), "pool": pool},
            "CONN_MAX_AGE": 0,
            "CONN_HEALTH_CHECKS": True,
        }
        connections["default"].close()
        del connections["default"]
        try:
            yield
        finally:
            connections["default"].close()
            connections["default"].close_pool()  # type: ignore[attr-defined]  # PostgreSQL's has one
            del connections["default"]
            connections.settings["default"] = before

    def in_threads[T](self, count: int, work: Callable[[int], T]) -> list[T | Exception]:
        """Run `work(number)` in `count` threads that start together; return results or what each raised, in order.

        Inside `in_use()`; every thread has connections of its own, which are closed when it ends.
        """
        together = Barrier(count)

        def run(number: int) -> T | Exception:
            together.wait()
            try:
                return work(number)
            except Exception as error:
                return error
            finally:
                connections.close_all()

        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))
