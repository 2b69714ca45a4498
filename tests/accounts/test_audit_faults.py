"""Real workers, killed for real while they send the audit log: a repetition at the most, and no entry lost."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from accounts.models import AuditEndpoint
from dev.paths import ROOT
from tests.accounts.test_audit_delivery import is_from_headroom, sequences, write
from tests.doubles.receiver import Receiver, receiving, status
from tests.factories.accounts import SIGNING_SECRET, make_audit_endpoint, make_organization
from tests.own_database import SUPERUSER, OwnDatabase

pytestmark = pytest.mark.processes

PATIENCE = 60.0
# Where a worker is killed; before it sent anything too with PROVE.
POINTS = ["audit_delivery_after_send", *(["audit_delivery_after_claim"] if os.environ.get("PROVE") else [])]


@contextmanager
def worker(own: OwnDatabase, folder: Path, **environment: str) -> Iterator[None]:
    """Run a real worker with its beat until the block ends, then kill it."""
    command = [sys.executable, "-m", "celery", "-A", "portal", "worker", "-B", "-c", "1", "--loglevel=warning"]
    command += ["-s", str(folder / "beat"), "--without-gossip", "--without-mingle"]
    settings = {**os.environ, **own.environment, "VAR_DIR": str(folder), **environment}
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, 9)
            process.wait()


def wait_for_cursor(endpoint: AuditEndpoint, sequence: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while endpoint.delivered_sequence != sequence:
        assert time.monotonic() < deadline, endpoint.delivered_sequence
        time.sleep(0.1)
        endpoint.refresh_from_db()


def wait_for_claim(endpoint: AuditEndpoint) -> None:
    deadline = time.monotonic() + PATIENCE
    while endpoint.claim is None:
        assert time.monotonic() < deadline, "nobody claimed it"
        time.sleep(0.05)
        endpoint.refresh_from_db()


def let_the_claim_end(endpoint: AuditEndpoint) -> None:
    """As if the minute were over for which nobody else sends."""
    AuditEndpoint.objects.filter(pk=endpoint.pk).update(claimed_until=datetime.now(UTC))


@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_is_killed_loses_no_entry(point: str, own_database: OwnDatabase, tmp_path: Path):
    """Nobody hints at anything here: what this process names goes to another broker, so the sweep finds all of it."""
    with own_database.in_use(SUPERUSER), receiving() as receiver:
        organization = make_organization()
        endpoint = make_audit_endpoint(organization, receiver.url)
        write(organization, 3)

        with worker(own_database, tmp_path, CRASH_AT=point):
            wait_for_claim(endpoint)
            if point == "audit_delivery_after_send":
                receiver.wait_for(1, PATIENCE)
        let_the_claim_end(endpoint)
        write(organization, 2)
        assert endpoint.delivered_sequence == 0
        with worker(own_database, tmp_path):
            wait_for_cursor(endpoint, 5)

    assert_all_came(receiver, 5)
    repeated = [one.headers["webhook-id"] for one in receiver.received]
    assert len(repeated) - len(set(repeated)) == (1 if point == "audit_delivery_after_send" else 0)


def test_a_receiver_that_fails_and_comes_back_gets_all_of_it(own_database: OwnDatabase, tmp_path: Path):
    with own_database.in_use(SUPERUSER), receiving() as receiver:
        receiver.replies.append(status(500))
        organization = make_organization()
        endpoint = make_audit_endpoint(organization, receiver.url)
        write(organization, 2)

        with worker(own_database, tmp_path):
            wait_for_cursor(endpoint, 2)
            write(organization, 1)
            wait_for_cursor(endpoint, 3)

    assert_all_came(receiver, 3)
    assert receiver.received[0].body == receiver.received[1].body


def assert_all_came(receiver: Receiver, count: int) -> None:
    assert all(is_from_headroom(one.headers, one.body, SIGNING_SECRET) for one in receiver.received)
    first_seen = list(dict.fromkeys(sequences(receiver.received)))
    assert first_seen == list(range(1, count + 1))
