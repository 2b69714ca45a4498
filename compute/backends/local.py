"""The development engine: this machine runs the instances, each a sandboxed process with a real SSH server.

All state is files under one folder per machine, so that it outlives workers: `machine.json` (our tag, the boot's
generation), `alive` (a lock held by the machine's process tree and nobody else), `process.json` (its id), and
`state/` and `home/`, the only folders that the machine itself sees. Never for production: machines share the
host's network.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from compute.backends import Machine, MachineSpec, MachineStatus, Refused, TryAgain
from compute.backends.local_machine import USER, write_atomically

TAG = "headroom"
LOOPBACK = "127.0.0.1"
REPOSITORY = Path(__file__).resolve().parent.parent.parent
BOOT_SECONDS = 15.0
PROBE_SECONDS = 2.0
UNPRIVILEGED, HIGHEST_PORT = 1024, 65_535


def make_backend() -> "LocalBackend":
    """Make the engine of this checkout. Raises ImproperlyConfigured outside development."""
    return LocalBackend(settings.LOCAL_ENGINE_DIR)


class LocalBackend:
    """compute.backends.ProvisioningBackend on this machine; see there for what each call promises."""

    def __init__(self, folder: Path) -> None:
        if not settings.DEVELOPMENT:
            raise ImproperlyConfigured("The local engine runs in development only: its machines share the host.")
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def launch(self, spec: MachineSpec) -> Machine:
        if not spec.authorized_keys:
            raise Refused("The instance has no SSH key, so nobody could log in.")
        with self._locked(spec.name):
            folder = self.folder / spec.name
            if _record(folder) is None:
                _lay_out(folder, spec)
            # A worker that died after laying out left a machine that never booted: boot it now.
            if not (folder / "process.json").exists():
                _boot(folder)
            return _machine(folder)

    def describe(self, name: str) -> Machine | None:
        folder = self.folder / name
        return None if _record(folder) is None else _machine(folder)

    def list_instances(self) -> list[Machine]:
        folders = sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [_machine(folder) for folder in folders]

    def start(self, name: str, *, generation: int) -> None:
        with self._locked(name):
            folder = self.folder / name
            record = _record(folder)
            if record is None:
                raise Refused("The instance is gone.")
            if is_alive(folder) or _generation(record) > generation:
                return
            write_atomically(folder / "machine.json", json.dumps({**record, "generation": generation}))
            _boot(folder)

    def stop(self, name: str, *, generation: int) -> None:
        with self._locked(name):
            folder = self.folder / name
            record = _record(folder)
            if record is not None and _generation(record) <= generation:
                end_process_of(folder)

    def terminate(self, name: str) -> None:
        with self._locked(name):
            folder = self.folder / name
            if _record(folder) is None:
                return
            end_process_of(folder)
            # Renamed first: a folder that is half removed must not look like a machine.
            grave = self.folder / f".removed-{name}"
            shutil.rmtree(grave, ignore_errors=True)
            folder.rename(grave)
            shutil.rmtree(grave, ignore_errors=True)

    def probe(self, machine: Machine) -> bool:
        if machine.port is None:
            return False
        try:
            with socket.create_connection((LOOPBACK, machine.port), timeout=PROBE_SECONDS) as link:
                return link.recv(16).startswith(b"SSH-2.0-")
        except OSError:
            return False

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Let one process at a time change a machine: two workers may hold the same job."""
        locks = self.folder / ".locks"
        locks.mkdir(exist_ok=True)
        with (locks / name).open("w") as lock:
            deadline = time.monotonic() + BOOT_SECONDS
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TryAgain(f"{name} is being changed by another worker") from None
                    time.sleep(0.02)
            yield


def _record(folder: Path) -> dict[str, object] | None:
    """Return what machine.json says, or None for a folder that is not a machine of ours."""
    try:
        record: dict[str, object] = json.loads((folder / "machine.json").read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return record if record.get("tag") == TAG else None


def _generation(record: dict[str, object]) -> int:
    return int(str(record["generation"]))


def _lay_out(folder: Path, spec: MachineSpec) -> None:
    for name in ("state", "home", "etc"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "authorized_keys").write_text("\n".join(spec.authorized_keys))
    if spec.user_data:
        (folder / "state" / "user_data").write_text(spec.user_data)
    (folder / "etc" / "passwd").write_text(f"{USER}:x:1000:1000::/home/{USER}:/bin/bash\n")
    (folder / "etc" / "group").write_text(f"{USER}:x:1000:\n")
    record = {"tag": TAG, "name": spec.name, "generation": spec.generation, "image": spec.image}
    # Last, since it is what makes the folder a machine.
    write_atomically(folder / "machine.json", json.dumps({**record, "sandboxed": can_sandbox()}))


@cache
def can_sandbox() -> bool:
    """Whether bubblewrap is here and allowed to work."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        return False
    trial = [bubblewrap, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    return subprocess.run(trial, capture_output=True).returncode == 0  # noqa: S603 - our own words


def _boot(folder: Path) -> None:
    """Start the machine's process and wait until it listens or has died; the caller reads which from its files."""
    port = folder / "state" / "port"
    last_port = _port_of(folder)
    for name in ("port", "last_port"):
        _remove(folder / "state" / name)
    if last_port is not None:
        (folder / "state" / "last_port").write_text(str(last_port))
    (folder / "process.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "compute.backends.local_machine", str(folder)]
    with (folder / "machine.log").open("ab") as log:
        subprocess.run(  # noqa: S603 - our own program
            command, cwd=REPOSITORY, env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline and not port.exists():
        if (folder / "process.json").exists() and not is_alive(folder):
            return
        time.sleep(0.02)


def _machine(folder: Path) -> Machine:
    record = _record(folder)
    if record is None:
        return Machine(name=folder.name, status=MachineStatus.STOPPED, is_ours=False)
    port = _port_of(folder)
    alive = is_alive(folder)
    if alive:
        status = MachineStatus.STARTING if port is None else MachineStatus.RUNNING
    elif (folder / "process.json").exists() and port is None:
        status = MachineStatus.FAILED
    else:
        status = MachineStatus.STOPPED
    return Machine(
        name=folder.name,
        status=status,
        generation=_generation(record),
        host=LOOPBACK,
        port=port if alive else None,
        reason="The instance's SSH server did not start." if status is MachineStatus.FAILED else "",
    )


def _port_of(folder: Path) -> int | None:
    """Return the port that the machine wrote down, or None until it has.

    Its customer may put anything there, so what is no port says nothing and is never followed or waited for.
    """
    try:
        # Neither a link out of the folder, nor a pipe that nobody writes to.
        handle = os.open(folder / "state" / "port", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            text = os.read(handle, 6)
        finally:
            os.close(handle)
    except OSError:
        return None
    port = int(text) if re.fullmatch(rb"[0-9]{4,5}", text) else 0
    return port if UNPRIVILEGED <= port <= HIGHEST_PORT else None


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def is_alive(folder: Path) -> bool:
    """Whether any process of the machine is left: its lock says so, whatever became of process ids."""
    try:
        with (folder / "alive").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def end_process_of(folder: Path, patience: float = 10.0) -> bool:
    """Kill the machine's process tree and wait until its lock is free; return whether there was one.

    Raises TryAgain when it would not die.
    """
    if not is_alive(folder):
        return False
    deadline = time.monotonic() + patience
    while is_alive(folder):
        # Missing for a moment after the lock is taken.
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, psutil.NoSuchProcess):
            process = psutil.Process(int(json.loads((folder / "process.json").read_text())["pid"]))
            # bubblewrap takes its whole process namespace along; without it we go through the family.
            for member in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.send_signal(signal.SIGKILL)
        if time.monotonic() > deadline:
            raise TryAgain(f"the process of {folder.name} did not end")
        time.sleep(0.02)
    return True


def end_all(folder: Path) -> int:
    """Stop every machine under an engine's folder, keeping their disks; return how many ran."""
    if not folder.exists():
        return 0
    machines = [path for path in folder.iterdir() if _record(path) is not None]
    return sum(end_process_of(machine) for machine in machines)
