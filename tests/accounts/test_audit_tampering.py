"""Whoever rewrites an audit log past every right and trigger is found, whatever they change (security A2).

Seeded: each try changes a log of fifty entries, whose end was anchored, in one of the ways below and is taken back.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from accounts.chain import Link, digest_of, genesis
from accounts.models import Organization
from accounts.selectors import links
from accounts.services.audit import record_event
from accounts.services.audit_anchors import anchor_audit_logs, verify_audit_log
from portal.lib.context import forget
from tests.factories.accounts import make_organization
from tests.support import undone

PROVE = bool(os.environ.get("PROVE"))
SEED = int(os.environ.get("SEED", "20261122"))
TRIES = 1_000 if PROVE else 60
ENTRIES = 50
NOW = datetime.now(UTC)
COLUMNS = [field.name for field in fields(Link)]

type Tampering = Callable[[list[Link], random.Random], list[Link]]


def other(value: object, chance: random.Random) -> Any:
    """Return another value of that kind, as little different as may be."""
    match value:
        case int():
            return value + chance.choice([-1, 1]) * chance.randrange(1000, 2000)
        case datetime():
            return value + timedelta(microseconds=chance.choice([-1, 1, 1_000_000]))
        case str() if len(value) == 64:  # a digest
            place = chance.randrange(64)
            return value[:place] + f"{int(value[place], 16) ^ 1:x}" + value[place + 1 :]
        case str() if value and chance.random() < 0.5:
            place = chance.randrange(len(value))
            return value[:place] + value[place + 1 :]
        case str():
            return value + chance.choice(["x", " ", "0"])
    raise AssertionError(f"no other value of {value!r}")


def edit(log: list[Link], chance: random.Random) -> list[Link]:
    place, column = chance.randrange(len(log)), chance.choice(COLUMNS)
    entry = log[place]
    return [*log[:place], replace(entry, **{column: other(getattr(entry, column), chance)}), *log[place + 1 :]]


def edit_with_its_digest(log: list[Link], chance: random.Random) -> list[Link]:
    place = chance.randrange(len(log))
    entry = replace(log[place], target_id="proj_planted")
    return [*log[:place], replace(entry, digest=digest_of(entry)), *log[place + 1 :]]


def delete(log: list[Link], chance: random.Random) -> list[Link]:
    place = chance.randrange(len(log))
    return [*log[:place], *log[place + 1 :]]


def delete_and_close_up(log: list[Link], chance: random.Random) -> list[Link]:
    return [replace(entry, sequence=number) for number, entry in enumerate(delete(log, chance), start=1)]


def swap(log: list[Link], chance: random.Random) -> list[Link]:
    """Exchange what two entries say, in their places."""
    first, second = sorted(chance.sample(range(len(log)), 2))
    moved = list(log)
    moved[first] = replace(log[second], sequence=log[first].sequence)
    moved[second] = replace(log[first], sequence=log[second].sequence)
    return moved


def insert(log: list[Link], chance: random.Random) -> list[Link]:
    place = chance.randrange(len(log) + 1)
    planted = replace(log[place - 1], action="key.revoked", previous=log[place - 1].digest)
    planted = replace(planted, digest=digest_of(planted))
    return [replace(entry, sequence=number) for number, entry in enumerate([*log[:place], planted, *log[place:]], 1)]


def cut(log: list[Link], chance: random.Random) -> list[Link]:
    return log[: chance.randrange(len(log))]


def rewrite(log: list[Link], chance: random.Random) -> list[Link]:
    """Change an entry and compute everything behind it anew, as somebody would who has read our documentation."""
    place = chance.randrange(len(log))
    changed = list(log)
    changed[place] = replace(log[place], changes="{}", actor_id="user_planted")
    for number in range(place, len(log)):
        entry = replace(changed[number], previous=changed[number - 1].digest if number else log[0].previous)
        changed[number] = replace(entry, digest=digest_of(entry))
    return changed


WAYS: list[Tampering] = [edit, edit_with_its_digest, delete, delete_and_close_up, swap, insert, cut, rewrite]


def put(organization: Organization, log: list[Link]) -> None:
    """Make the table say this of the organization, past triggers and rights."""
    columns = ", ".join(["organization_id", *COLUMNS])
    digests = {"previous", "digest"}
    rows = [
        [organization.pk, *(bytes.fromhex(value) if name in digests else value for name, value in asdict(link).items())]
        for link in log
    ]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("DELETE FROM accounts_auditevent WHERE organization_id = %s", [organization.pk])
        marks = ", ".join(["%s"] * (len(COLUMNS) + 1))
        cursor.executemany(f"INSERT INTO accounts_auditevent ({columns}) VALUES ({marks})", rows)
        cursor.execute("SET LOCAL session_replication_role = origin")


def write(organization: Organization, count: int) -> None:
    for number in range(count):
        record_event(
            "project.renamed",
            organization_id=organization.pk,
            target=("project", f"proj_{number}"),
            changes={"name": (f"Größe {number}", "=a:1,b")},
            now=NOW + timedelta(seconds=number),
        )


@pytest.fixture
def organization(db: None, settings: Any, tmp_path: Path) -> Iterator[Organization]:
    """One with fifty entries, and the digest of the last kept elsewhere."""
    settings.AUDIT_ANCHOR_DIR = tmp_path / "audit"
    organization = make_organization()
    write(organization, ENTRIES)
    anchor_audit_logs(now=NOW)
    yield organization
    forget()


def flaw_count(organization: Organization) -> int:
    return len(verify_audit_log(organization=organization, now=NOW).flaws)


def test_every_way_to_rewrite_a_log_is_found(organization: Organization):
    log = list(links(organization))
    assert log[0].previous == genesis(organization.public_id)
    with undone():
        # What is put back as it was has no flaw, so what is found below is the change.
        put(organization, log)
        assert flaw_count(organization) == 0

    chance, tried, missed = random.Random(SEED), Counter[str](), list[str]()
    for number in range(TRIES):
        way = WAYS[number % len(WAYS)]
        changed = way(log, chance)
        assert changed != log
        with undone():
            put(organization, changed)
            if chance.random() < 0.5:
                # The portal goes on writing, on top of what it finds.
                write(organization, chance.randrange(1, 4))
            if not flaw_count(organization):
                missed.append(f"{number}: {way.__name__}")
        tried[way.__name__] += 1

    assert missed == [], f"SEED={SEED}"
    assert set(tried) == {way.__name__ for way in WAYS}
