"""`make up`: start the portal here, say where it is and what to try, run until Ctrl-C."""

import fcntl
import os
import signal
import socket
import sys
import time
from types import FrameType
from typing import TextIO

from dev.paths import LOGS, RUN, VAR
from dev.portal import DidNotStart, Portal, demo
from dev.services import ServiceFailed

DEFAULT_PORT = 8000
PORTS_TO_TRY = 50


class Interrupted(Exception):
    """Somebody asked us to stop."""


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise Interrupted


def choose_port() -> int:
    """Return PORT, which must be free, or else the first free port from 8000 on."""
    asked = os.environ.get("PORT", "")
    if asked:
        if not asked.isdigit() or not 1 <= int(asked) <= 65535:
            raise SystemExit(f"PORT must be a number between 1 and 65535, not {asked!r}.")
        if not _is_free(int(asked)):
            raise SystemExit(f"Port {asked} is taken on this machine: choose another with PORT=…")
        return int(asked)
    for port in range(DEFAULT_PORT, DEFAULT_PORT + PORTS_TO_TRY):
        if _is_free(port):
            return port
    raise SystemExit(f"No free port from {DEFAULT_PORT} on: choose one with PORT=…")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def only_one() -> TextIO:
    """Hold this checkout's lock until the process ends, however it ends."""
    RUN.mkdir(parents=True, exist_ok=True)
    lock = (RUN / "up.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SystemExit("The portal of this checkout is already running: stop it there with Ctrl-C first.") from None
    # Children must not inherit the lock, or a killed supervisor would leave it held.
    os.set_inheritable(lock.fileno(), False)
    return lock


def greeting(portal: Portal) -> str:
    known = demo()
    return f"""
  The portal runs at  {portal.url}

  Sign in             {known["email"]}
  Password            {known["password"]}

  Three things to try
    1. Call a model:   curl {portal.url}/v1/chat/completions -H "Authorization: Bearer {known["api_key"]}" \\
                         -H "Content-Type: application/json" \\
                         -d '{{"model": "{known["model"]}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    2. Launch an instance and log in to it: {portal.url}/o/{known["organization"]}/instances/launch/
    3. See what both cost:                  {portal.url}/o/{known["organization"]}/spend/

  Mail that the portal sends: {portal.url}/dev/mail/   Logs: {LOGS}
  Keys and staff sign-ins: {VAR / "demo.json"}   Stop everything with Ctrl-C.
"""


def main() -> int:
    started = time.monotonic()

    def say(doing: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {doing}", flush=True)

    lock = only_one()
    portal = Portal(port=choose_port(), say=say)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    status = 0
    try:
        portal.start()
        say("ready")
        print(greeting(portal), flush=True)
        while (child := portal.children.exited()) is None:
            time.sleep(0.5)
        print(f"{child.name} ended by itself ({child.log}):\n{child.tail()}", file=sys.stderr)
        status = 1
    except Interrupted:
        pass
    except (DidNotStart, ServiceFailed) as error:
        print(error, file=sys.stderr)
        status = 1
    finally:
        # A second Ctrl-C while stopping must not leave half of it running.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print("\nstopping", flush=True)
        portal.stop()
        lock.close()
    print("stopped; data stays in var/ (make reset empties it)", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
