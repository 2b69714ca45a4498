"""`make up`, used as its README says: start, Ctrl-C, hard kill, start again."""

import os
import signal
import socket
import time
import urllib.request

import psutil
import pytest

from tests.running import DidNotStart, RunningPortal

pytestmark = pytest.mark.processes


def processes_of(portal: RunningPortal) -> list[psutil.Process]:
    """Return every process whose environment or command names this portal's folder."""
    marker, found = str(portal.folder), []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                marker in " ".join(process.cmdline()) or process.environ().get("VAR_DIR") == marker
            ):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_starts_stops_and_comes_back_after_a_hard_kill(tmp_path):
    portal = RunningPortal(tmp_path / "var")
    portal.start()
    try:
        first = portal.demo
        with urllib.request.urlopen(f"{portal.url}/readyz") as answer:
            assert answer.status == 200
        assert (portal.folder / "demo.json").stat().st_mode & 0o777 == 0o600
        assert portal.folder.stat().st_mode & 0o777 == 0o700
        assert {
            "url",
            "email",
            "password",
            "organization",
            "project",
            "api_key",
            "management_key",
            "operator_key",
            "staff",
        } <= set(first)

        # Ctrl-C leaves nothing behind.
        assert portal.stop() == 0
        assert processes_of(portal) == []

        # Data stays, and after a kill -9 of everything the next start recovers by itself.
        portal.start()
        assert portal.demo["api_key"] == first["api_key"]
        for process in processes_of(portal):
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.2)
        assert portal.process is not None
        portal.process.wait(10)
        portal.start()
        with urllib.request.urlopen(f"{portal.url}/readyz") as answer:
            assert answer.status == 200
    finally:
        portal.stop()
    assert processes_of(portal) == []


def test_refuses_a_taken_port_in_words(tmp_path):
    blocker = socket.socket()
    blocker.bind(("127.0.0.1", 0))
    blocker.listen()
    portal = RunningPortal(tmp_path / "var", port=blocker.getsockname()[1])

    with pytest.raises(DidNotStart, match="is taken on this machine"):
        portal.start()

    blocker.close()
    assert processes_of(portal) == []
