"""Children of the supervisor: started in sessions of their own, remembered on disk, ended in order."""

import ctypes
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from dev.paths import LOGS, ROOT, RUN

REMEMBERED = RUN / "processes.json"
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    # A killed supervisor cannot tidy up: the kernel then ends its children for it.
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    """One running program and where it writes its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Children:
    """What a supervisor started, newest last."""

    def __init__(self) -> None:
        self.running: list[Child] = []

    def start(self, name: str, command: list[str], environment: dict[str, str]) -> Child:
        LOGS.mkdir(parents=True, exist_ok=True)
        log = LOGS / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Not in the terminal's group: Ctrl-C reaches the supervisor alone, which ends the others in order.
                start_new_session=True,
                # The supervisor has no threads, so this is safe here.
                preexec_fn=_die_with_parent,  # noqa: PLW1509
            )
        child = Child(name, process, log)
        self.running.append(child)
        self._remember()
        return child

    def exited(self) -> Child | None:
        """Return a child that has ended by itself, if any."""
        return next((child for child in self.running if child.process.poll() is not None), None)

    def stop(self, patience: float = 10) -> None:
        """Ask all to end, newest first, and end those that do not within `patience` seconds."""
        for child in reversed(self.running):
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + patience
        for child in reversed(self.running):
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill_family(child.process.pid)
                child.process.wait()
        self.running.clear()
        REMEMBERED.unlink(missing_ok=True)

    def _remember(self) -> None:
        RUN.mkdir(parents=True, exist_ok=True)
        known = [[child.process.pid, psutil.Process(child.process.pid).create_time()] for child in self.running]
        REMEMBERED.write_text(json.dumps(known))


def end_leftovers() -> int:
    """End what an earlier, killed supervisor of this checkout left running; return how many there were."""
    try:
        known: list[tuple[int, float]] = json.loads(REMEMBERED.read_text())
    except (FileNotFoundError, ValueError):
        return 0
    ended = 0
    for pid, created in known:
        try:
            # A process id alone may by now belong to somebody else.
            if abs(psutil.Process(pid).create_time() - created) < 1:
                _kill_family(pid)
                ended += 1
        except psutil.NoSuchProcess:
            continue
    REMEMBERED.unlink(missing_ok=True)
    return ended


def _kill_family(pid: int) -> None:
    try:
        parent = psutil.Process(pid)
        family = [*parent.children(recursive=True), parent]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(family, timeout=5)
