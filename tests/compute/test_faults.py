"""Real processes, a real broker and real commits: what a launch survives."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import asyncssh
import pytest
from django.db import connections
from django.db.models import Sum
from django.test import override_settings

from accounts.models import Project
from billing.models import SpendCap, UsageByHour, UsageEvent
from compute.backends import MachineStatus, load_backend, local
from compute.models import HealthInterval, Instance, Pool, SshKey
from compute.reconcile import State
from compute.services.instances import stop_instance, terminate_instance
from compute.services.launching import launch_instances
from compute.services.reconciliation import reconcile_instance
from dev.paths import ROOT
from dev.services import Valkey
from portal.lib.money import round_bucket
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_organization
from tests.factories.compute import make_pool, make_request
from tests.own_database import SUPERUSER, OwnDatabase

pytestmark = pytest.mark.processes

# Where a worker is killed on its way from the claim to the written end; the rest runs with PROVE.
POINTS = ["reconcile_before_launch", "reconcile_after_launch", "reconcile_before_write"]
MORE_POINTS = [
    "reconcile_after_claim",
    "reconcile_after_write",
    "reconcile_before_nothing",
    "reconcile_after_nothing",
    "reconcile_before_stop",
    "reconcile_after_stop",
    "reconcile_before_terminate",
    "reconcile_after_terminate",
]
PATIENCE = 60.0


@dataclass
class Workshop:
    """A portal's rows, engine and workers, apart from every other test's."""

    own: OwnDatabase
    engine: local.LocalBackend
    project: Project
    folder: Path

    def launch(self, **changes: object) -> Instance:
        request = make_request(self.project, pool=Pool.objects.get(), **changes)
        return launch_instances(request=request, now=datetime.now(UTC)).instances[0]

    @contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a real worker with its beat until the block ends."""
        command = [sys.executable, "-m", "celery", "-A", "portal", "worker", "-B", "-c", "1", "--loglevel=warning"]
        command += ["-s", str(self.folder / "beat"), "--without-gossip", "--without-mingle"]
        settings = {**os.environ, **self.own.environment, "VAR_DIR": str(self.folder), **environment}
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True)
            try:
                yield process
            finally:
                os.killpg(process.pid, 9)
                process.wait()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.folder / "worker.log").read_text()[-3000:]
            time.sleep(0.2)

    def wait_for_state(self, instance: Instance, state: State) -> None:
        def is_there() -> bool:
            instance.refresh_from_db()
            return instance.state == state

        self.wait_for(is_there)


@pytest.fixture
def workshop(own_database: OwnDatabase, tmp_path: Path) -> Iterator[Workshop]:
    folder = tmp_path / "instances"
    with override_settings(LOCAL_ENGINE_DIR=folder), own_database.in_use(SUPERUSER):
        load_backend.cache_clear()
        make_pool(total_units=3)
        project = make_organization().projects.get()
        yield Workshop(own_database, local.LocalBackend(folder), project, tmp_path)
        local.end_all(folder)
        load_backend.cache_clear()


def billed(instance: Instance) -> int:
    return UsageEvent.objects.filter(resource_id=instance.public_id).aggregate(total=Sum("quantity"))["total"] or 0


def assert_nothing_is_double(workshop: Workshop, instance: Instance) -> None:
    """One machine, no orphan, no second billed twice, and the money follows from the seconds."""
    intervals = HealthInterval.objects.filter(instance=instance)
    healthy = sum(int((one.ended_at - one.started_at).total_seconds()) for one in intervals if one.ended_at)
    assert billed(instance) == healthy
    rated = [round_bucket(row.quantity, row.price_nano, row.unit_size) for row in UsageByHour.objects.all()]
    assert SpendCap.objects.get().settled_nano == sum(rated)
    assert SpendCap.objects.get().reserved_nano == 0
    assert workshop.engine.list_instances() == []
    assert Pool.objects.get().sold_units == 0


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client: apt-get install openssh-client")
def test_launches_logs_in_stops_and_bills_exactly_the_running_seconds(workshop):
    pair = asyncssh.generate_private_key("ssh-ed25519")
    identity = workshop.folder / "key"
    identity.touch(0o600)
    pair.write_private_key(identity)
    line = pair.export_public_key().decode()

    with workshop.worker():
        instance = workshop.launch(ssh_keys=[], new_public_key=line)
        workshop.wait_for_state(instance, State.ACTIVE)
        options = ["-F", "none", "-i", str(identity), "-p", str(instance.port), "-o", "StrictHostKeyChecking=no"]
        options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
        inside = subprocess.run(
            ["ssh", *options, f"ubuntu@{instance.host}", "echo $((6*7))"], capture_output=True, text=True, timeout=30
        )
        time.sleep(3)
        stopped_at = datetime.now(UTC)
        stop_instance(instance=instance, now=stopped_at)
        workshop.wait_for_state(instance, State.STOPPED)
        assert workshop.engine.list_instances()[0].status is MachineStatus.STOPPED
        terminate_instance(instance=instance, now=datetime.now(UTC))
        workshop.wait_for_state(instance, State.TERMINATED)

    assert inside.stdout == "42\n", inside.stderr
    running = (stopped_at - instance.usable_at).total_seconds()
    assert running - 2 < billed(instance) <= running
    assert_nothing_is_double(workshop, instance)


@pytest.mark.parametrize("point", POINTS + (MORE_POINTS if os.environ.get("PROVE") else []))
@pytest.mark.asvs("2.3.3")
def test_survives_the_death_of_a_worker(workshop, point):
    instance = workshop.launch()
    is_late = any(verb in point for verb in ("stop", "terminate"))

    if is_late:
        with workshop.worker():
            workshop.wait_for_state(instance, State.ACTIVE)
        (stop_instance if "stop" in point else terminate_instance)(instance=instance, now=datetime.now(UTC))
    with workshop.worker(CRASH_AT=point):
        # Killed with the claim in hand: the row says so.
        workshop.wait_for(
            lambda: Instance.objects.filter(pk=instance.pk, lease_until__isnull=False).exists() or is_late
        )
        time.sleep(3)
    # Waiting for the claim to end takes 90 s of real time; the clock of the row is turned instead.
    Instance.objects.filter(lease_until__isnull=False).update(lease_until=datetime.now(UTC))

    with workshop.worker():
        if not is_late:
            workshop.wait_for_state(instance, State.ACTIVE)
            assert len(workshop.engine.list_instances()) == 1
        terminate_instance(instance=Instance.objects.get(pk=instance.pk), now=datetime.now(UTC))
        workshop.wait_for_state(instance, State.TERMINATED)

    assert_nothing_is_double(workshop, instance)


# What a page does, in a process of its own whose broker may be gone: prints the id.
LAUNCH = """
import django
from datetime import UTC, datetime
from django.db import transaction
django.setup()
from accounts.models import Project
from portal.lib.tenancy import set_organization
from compute.models import Pool, SshKey
from catalog.models import Image, LeaseClass
from compute.services.launching import LaunchRequest, launch_instances
from portal.celery import app
app.loader.import_default_modules()
pool = Pool.objects.get()
with transaction.atomic():
    set_organization({organization})
    request = LaunchRequest(project=Project.objects.get(), instance_type=pool.instance_type, region=pool.region,
                            image=Image.objects.get(), lease_class=LeaseClass.ON_DEMAND,
                            ssh_keys=list(SshKey.objects.all()))
    instance = launch_instances(request=request, now=datetime.now(UTC)).instances[0]
print(instance.pk)
"""


@contextmanager
def hanging_up(port: int) -> Iterator[list[int]]:
    """Stand in for a broker that fails: yields how many instances there were at each attempt to reach it."""
    attempts: list[int] = []
    with socket.create_server(("127.0.0.1", port)) as server:

        def hang_up() -> None:
            while True:
                link, _ = server.accept()
                with link:
                    if is_over.is_set():
                        return
                    attempts.append(Instance.objects.count())

        is_over = Event()
        thread = Thread(target=closing_connections(hang_up))
        thread.start()
        try:
            yield attempts
        finally:
            is_over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


def closing_connections(work: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        try:
            work()
        finally:
            connections.close_all()

    return run


def test_launches_while_the_broker_is_down_without_waiting_for_it_and_boots_when_it_is_back(workshop):
    """The launch is committed before the broker is asked at all, and nobody goes on asking."""
    make_request(workshop.project, pool=Pool.objects.get())
    broker = Valkey(workshop.folder / "broker")
    broker.start()
    broker.stop()

    with hanging_up(broker.port) as attempts:
        launched = subprocess.run(
            [sys.executable, "-c", LAUNCH.format(organization=workshop.project.organization_id)],
            cwd=ROOT,
            env={
                **os.environ,
                **workshop.own.environment,
                "REDIS_URL": broker.url(),
                "DJANGO_SETTINGS_MODULE": "portal.settings",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert launched.returncode == 0, launched.stderr
    instance = Instance.objects.get(pk=launched.stdout.splitlines()[-1])

    # Once, and the one more try that the settings allow.
    assert attempts == [1, 1]
    assert "broker_unreachable" in launched.stdout + launched.stderr
    broker.start()
    try:
        with workshop.worker(REDIS_URL=broker.url()):
            workshop.wait_for_state(instance, State.ACTIVE)
            terminate_instance(instance=instance, now=datetime.now(UTC))
            workshop.wait_for_state(instance, State.TERMINATED)
    finally:
        broker.stop()
    assert_nothing_is_double(workshop, instance)


@pytest.mark.asvs("2.3.4")
def test_sells_the_last_unit_once_to_twenty_at_once(workshop):
    Pool.objects.update(total_units=1)
    requests = [make_request(workshop.project, pool=Pool.objects.get()) for _ in range(20)]

    results = workshop.own.in_threads(
        20, lambda number: launch_instances(request=requests[number], now=datetime.now(UTC))
    )

    sold = [result for result in results if not isinstance(result, Exception)]
    assert len(sold) == 1
    assert {getattr(result, "code", "") for result in results if isinstance(result, Exception)} == {
        "insufficient_capacity"
    }
    assert Instance.objects.count() == Pool.objects.get().sold_units == 1


def test_launches_once_for_twenty_requests_with_one_key(workshop):
    request = make_request(workshop.project, pool=Pool.objects.get(), idempotency_key="once")

    results = workshop.own.in_threads(20, lambda number: launch_instances(request=request, now=datetime.now(UTC)))

    assert len({result.instances[0].pk for result in results if not isinstance(result, Exception)}) == 1
    assert not [result for result in results if isinstance(result, Exception)]
    assert Pool.objects.get().sold_units == 1


def test_reconciles_as_the_platform_and_never_twice_at_once(workshop):
    instance = workshop.launch()

    def step(_: int) -> datetime | None:
        with as_platform():
            return reconcile_instance(instance_id=instance.pk, clock=lambda: datetime.now(UTC))

    results = workshop.own.in_threads(5, step)

    assert not [result for result in results if isinstance(result, Exception)]
    assert len(workshop.engine.list_instances()) == 1
    assert SshKey.objects.exists()
