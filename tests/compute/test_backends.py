"""What every provisioning backend must do, run against each that is here; and what only the local one must."""

import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncssh
import pytest
from django.core.exceptions import ImproperlyConfigured

from compute.backends import Machine, MachineSpec, MachineStatus, ProvisioningBackend, Refused, local
from compute.backends.local_machine import sandbox

pytestmark = pytest.mark.processes

needs_ssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh client: apt-get install openssh-client")
needs_sandbox = pytest.mark.skipif(not local.can_sandbox(), reason="no bubblewrap: apt-get install bubblewrap")


@pytest.fixture(params=["engine", "double"])
def backend(request) -> ProvisioningBackend:
    backend: ProvisioningBackend = request.getfixturevalue(request.param)
    return backend


@pytest.fixture
def key(tmp_path: Path) -> asyncssh.SSHKey:
    key = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "key").touch(0o600)
    key.write_private_key(tmp_path / "key")
    return key


def spec_for(key: asyncssh.SSHKey, name: str = "inst-a", **changes) -> MachineSpec:
    line = " ".join(key.export_public_key().decode().split()[:2])
    values = {
        "name": name,
        "generation": 1,
        "instance_type": "cpu_1x_small",
        "image": "ubuntu",
        "authorized_keys": (line,),
    }
    return MachineSpec(**{**values, **changes})


def ssh(machine: Machine, identity: Path, command: str, *, user: str = "ubuntu", typed: str = "", terminal=False):
    options = ["-F", "none", "-i", str(identity), "-p", str(machine.port), "-o", "StrictHostKeyChecking=no"]
    options += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]
    options += ["-o", "IdentitiesOnly=yes", *(["-tt"] if terminal else [])]
    return subprocess.run(
        ["ssh", *options, f"{user}@{machine.host}", command], input=typed, capture_output=True, text=True, timeout=30
    )


def test_launches_once_however_often_it_is_asked(backend, key):
    first = backend.launch(spec_for(key))
    second = backend.launch(spec_for(key))

    assert first.status is MachineStatus.RUNNING
    assert (first.host, first.port, first.generation) == (second.host, second.port, second.generation)
    assert [machine.name for machine in backend.list_instances()] == ["inst-a"]
    assert backend.probe(first)


def test_launches_once_when_workers_race(backend, key):
    with ThreadPoolExecutor(4) as pool:
        machines = list(pool.map(lambda _: backend.launch(spec_for(key)), range(4)))

    assert len({machine.port for machine in machines}) == 1
    assert len(backend.list_instances()) == 1


def test_stops_starts_and_keeps_the_boot_it_was_asked_for(backend, key):
    backend.launch(spec_for(key))

    backend.stop("inst-a", generation=1)
    backend.stop("inst-a", generation=1)
    stopped = backend.describe("inst-a")
    backend.start("inst-a", generation=2)
    backend.start("inst-a", generation=2)
    started = backend.describe("inst-a")

    assert stopped.status is MachineStatus.STOPPED
    assert not backend.probe(stopped)
    assert started.status is MachineStatus.RUNNING
    assert started.generation == 2


def test_ignores_the_stop_and_start_of_a_worker_that_comes_too_late(backend, key):
    backend.launch(spec_for(key, generation=3))

    backend.stop("inst-a", generation=2)
    assert backend.describe("inst-a").status is MachineStatus.RUNNING

    backend.stop("inst-a", generation=4)
    backend.start("inst-a", generation=2)
    assert backend.describe("inst-a").status is MachineStatus.STOPPED


def test_terminates_and_forgets_and_says_nothing_when_asked_again(backend, key):
    backend.launch(spec_for(key))

    backend.terminate("inst-a")
    backend.terminate("inst-a")
    backend.stop("inst-a", generation=9)

    assert backend.describe("inst-a") is None
    assert backend.list_instances() == []
    with pytest.raises(Refused):
        backend.start("inst-a", generation=9)


def test_refuses_a_machine_nobody_could_log_in_to(backend, key):
    with pytest.raises(Refused, match="no SSH key"):
        backend.launch(spec_for(key, authorized_keys=()))

    assert backend.list_instances() == []


@needs_ssh
def test_lets_in_the_registered_key_and_nobody_else(engine, key, tmp_path):
    machine = engine.launch(spec_for(key))
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "stranger").touch(0o600)
    stranger.write_private_key(tmp_path / "stranger")

    ours = ssh(machine, tmp_path / "key", "cat; exit 3", typed="hello")

    assert (ours.returncode, ours.stdout) == (3, "hello")
    assert "Permission denied" in ssh(machine, tmp_path / "stranger", "true").stderr
    assert "Permission denied" in ssh(machine, tmp_path / "key", "true", user="root").stderr


@needs_ssh
def test_gives_a_terminal(engine, key, tmp_path):
    machine = engine.launch(spec_for(key))

    inside = ssh(machine, tmp_path / "key", "tty && exit 7", terminal=True)

    assert inside.returncode == 7
    assert inside.stdout.startswith("/dev/pts/")


@needs_ssh
def test_keeps_the_disk_over_a_stop_and_runs_the_start_script_once(engine, key, tmp_path):
    machine = engine.launch(spec_for(key, user_data="#!/bin/sh\necho ran >> ran\n"))
    ssh(machine, tmp_path / "key", "echo kept > file")

    engine.stop("inst-a", generation=1)
    engine.start("inst-a", generation=2)
    after = ssh(engine.describe("inst-a"), tmp_path / "key", "cat file ran")

    assert after.stdout == "kept\nran\n"


# --- The local engine alone -----------------------------------------------------------------------


@needs_ssh
@needs_sandbox
def test_hides_the_host_from_the_machine(engine, key, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_PORTAL", "planted")
    machine = engine.launch(spec_for(key))
    repository = Path(local.__file__).parents[2]
    command = f"ls {repository}; ls {tmp_path}; env; cat /proc/*/environ; ps ax | wc -l; touch /usr/x; cat /etc/shadow"

    seen = ssh(machine, tmp_path / "key", command)

    assert "planted" not in seen.stdout
    assert "manage.py" not in seen.stdout
    assert "instances" not in seen.stdout
    assert "Read-only file system" in seen.stderr
    assert "/etc/shadow" in seen.stderr


def test_survives_the_death_of_the_worker_that_launched_it(engine, key, settings):
    program = (
        "import os, sys; from tests import settings as _; import django; django.setup();"
        "from compute.backends import MachineSpec, local;"
        f"spec = {spec_for(key)!r};"
        f"from pathlib import Path; local.LocalBackend(Path({str(settings.LOCAL_ENGINE_DIR)!r})).launch(spec);"
        "os.kill(os.getpid(), 9)"
    )
    worker = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(local.__file__).parents[2], capture_output=True, text=True
    )

    machine = engine.describe("inst-a")

    assert worker.returncode == -9, worker.stderr
    assert machine.status is MachineStatus.RUNNING
    assert engine.probe(machine)


def test_boots_a_machine_whose_launcher_died_before_starting_it(engine, key, settings):
    local._lay_out(settings.LOCAL_ENGINE_DIR / "inst-a", spec_for(key))

    assert engine.launch(spec_for(key)).status is MachineStatus.RUNNING


def test_says_stopped_when_the_process_was_killed(engine, key, settings):
    engine.launch(spec_for(key))

    local.end_process_of(settings.LOCAL_ENGINE_DIR / "inst-a")

    assert engine.describe("inst-a").status is MachineStatus.STOPPED


def test_says_why_a_boot_failed(engine, key, settings):
    machine = engine.launch(spec_for(key, authorized_keys=("ssh-ed25519 nonsense",)))

    assert machine.status is MachineStatus.FAILED
    assert "did not start" in machine.reason


def test_lists_foreign_folders_as_not_ours_and_never_touches_them(engine, key, settings):
    foreign = settings.LOCAL_ENGINE_DIR / "somebody-elses"
    foreign.mkdir()
    (foreign / "machine.json").write_text(json.dumps({"tag": "another", "generation": 1}))

    engine.terminate("somebody-elses")

    assert [(machine.name, machine.is_ours) for machine in engine.list_instances()] == [("somebody-elses", False)]
    assert (foreign / "machine.json").exists()


@pytest.mark.parametrize("trick", ["words", "link", "pipe", "folder", "foreign port"])
def test_believes_no_port_that_the_customer_made_up(engine, key, settings, trick):
    engine.launch(spec_for(key))
    other = engine.launch(spec_for(key, "inst-b"))
    port = settings.LOCAL_ENGINE_DIR / "inst-a" / "state" / "port"
    port.unlink()
    match trick:
        case "words":
            port.write_text("no port")
        case "link":
            port.symlink_to(settings.LOCAL_ENGINE_DIR / "inst-b" / "state" / "port")
        case "pipe":
            os.mkfifo(port)
        case "folder":
            (port / "more").mkdir(parents=True)
        case "foreign port":
            port.write_text("22")

    assert [(one.name, one.port) for one in engine.list_instances()] == [("inst-a", None), ("inst-b", other.port)]
    engine.stop("inst-a", generation=2)
    engine.start("inst-a", generation=3)
    assert engine.probe(engine.describe("inst-a"))
    engine.terminate("inst-a")
    assert engine.describe("inst-a") is None


def test_ends_every_machine_of_a_folder_and_keeps_the_disks(engine, key, settings):
    ports = [engine.launch(spec_for(key, name=name)).port for name in ("inst-a", "inst-b")]

    assert local.end_all(settings.LOCAL_ENGINE_DIR) == 2
    assert local.end_all(settings.LOCAL_ENGINE_DIR) == 0

    for port in ports:
        with socket.socket() as link:
            assert link.connect_ex(("127.0.0.1", port)) != 0
    assert len(engine.list_instances()) == 2


def test_runs_without_a_sandbox_where_there_is_none(engine, key, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "can_sandbox", lambda: False)

    machine = engine.launch(spec_for(key))

    assert engine.probe(machine)
    engine.terminate("inst-a")
    assert not engine.probe(machine)


def test_falls_back_to_a_plain_process_when_bubblewrap_went_away(tmp_path, monkeypatch):
    monkeypatch.setattr("compute.backends.local_machine.shutil.which", lambda _: None)

    assert sandbox(tmp_path)[0] == sys.executable


def test_refuses_to_start_outside_development(settings, tmp_path):
    settings.DEVELOPMENT = False

    with pytest.raises(ImproperlyConfigured, match="development only"):
        local.LocalBackend(tmp_path)
