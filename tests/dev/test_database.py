"""A database of the operator's own, instead of the embedded one."""

import psycopg
import pytest

from dev import testing
from dev.environment import own_database

ADDRESSES = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_PLATFORM_URL", "DATABASE_GATEWAY_URL")


@pytest.fixture
def bare_database(postgres, monkeypatch, worker_id):
    """A database without anything of ours, and an environment without addresses."""
    for name in ADDRESSES:
        monkeypatch.delenv(name)
    name = f"bare_{worker_id}"
    with postgres.connect() as admin:
        admin.execute(f"CREATE DATABASE {name}")
    yield postgres.dsn(name)
    testing.drop_database(postgres, name)


def test_an_administrators_address_is_enough(bare_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", bare_database)

    found = own_database()

    assert set(found) == set(ADDRESSES)
    with psycopg.connect(found["DATABASE_OWNER_URL"], autocommit=True) as owner:
        owner.execute("CREATE TABLE thing (id bigint)")
    with psycopg.connect(found["DATABASE_URL"], autocommit=True) as app:
        assert app.execute("SELECT current_user, count(*) FROM thing").fetchone() == ("headroom_app", 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DROP TABLE thing")


def test_four_addresses_are_taken_as_they_are(bare_database, monkeypatch):
    for name in ADDRESSES:
        monkeypatch.setenv(name, f"postgres://somebody@127.0.0.1/{name}")

    assert own_database() == {name: f"postgres://somebody@127.0.0.1/{name}" for name in ADDRESSES}


def test_some_addresses_are_refused_with_what_is_missing(bare_database, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", bare_database)
    monkeypatch.setenv("DATABASE_OWNER_URL", bare_database)

    with pytest.raises(SystemExit, match="Set DATABASE_GATEWAY_URL, DATABASE_PLATFORM_URL too"):
        own_database()


def test_a_login_that_may_not_make_roles_is_refused_in_words(bare_database, postgres, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", postgres.dsn("postgres", "headroom_app"))

    with pytest.raises(SystemExit, match="the portal's roles cannot be made there"):
        own_database()


def test_the_embedded_database_serves_without_any_address(bare_database):
    assert own_database() == {}
