"""A database per worker, the suite's services, and the people the tests are about."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from django.core.cache import cache
from django.db import connections
from django.test import override_settings

import dev.testing
from dev.services import Postgres, Valkey
from tests.browser import browser, chromium  # noqa: F401  # fixtures
from tests.doubles.nameserver import running_nameserver
from tests.own_database import OwnDatabase
from tests.plugin import SERVICES
from tests.support import undone
from tests.world import World, make_world


@pytest.fixture(scope="session")
def postgres() -> Postgres:
    """The suite's PostgreSQL server."""
    return SERVICES[0]


@pytest.fixture(scope="session")
def valkey() -> Valkey:
    """The suite's Valkey server."""
    return SERVICES[1]


@pytest.fixture(scope="session")
def django_db_setup(django_test_environment: None, django_db_blocker: Any) -> Iterator[None]:
    """Use the clone that tests/plugin.py made instead of creating and migrating a database."""
    yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture(scope="session", autouse=True)
def empty_nameserver(django_test_environment: None) -> Iterator[None]:
    """A name server that knows no name: no test asks those of the machine. One with records starts its own."""
    with running_nameserver() as server, override_settings(DNS_RESOLVERS=[server.address]):
        yield


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """allauth's rate limits live in the cache: no test inherits another's."""
    cache.clear()


@pytest.fixture
def own_database(
    postgres: Postgres, valkey: Valkey, django_test_environment: None, django_db_blocker: Any
) -> Iterator[OwnDatabase]:
    """A fresh clone of the migrated database, with real roles and real commits; see tests/own_database.py."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    # 0 to 7 are the workers' own, 14 is that of a run without workers, 15 of the template.
    number = 8 + int(worker.removeprefix("gw")) % 5 if worker != "main" else 13
    own = OwnDatabase(postgres, valkey, f"own_{worker}", number)
    dev.testing.clone_template(postgres, own.name)
    with redis.Redis.from_url(valkey.url(number)) as store:
        store.flushdb()
    with django_db_blocker.unblock():
        yield own
    dev.testing.drop_database(postgres, own.name)


@pytest.fixture(scope="module")
def world_of_module(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """Two organizations with one of everything (tests/world.py), made once for the tests of a module."""
    with django_db_blocker.unblock(), undone():
        yield make_world()


@pytest.fixture
def world(world_of_module: World, django_db_blocker: Any) -> Iterator[World]:
    """The module's world, as it was made: what a test does to it is undone. Not to be mixed with `db`."""
    with django_db_blocker.unblock(), undone():
        yield world_of_module
