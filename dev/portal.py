"""A whole portal on this machine: services, database, processes. `make up` and the journey tests run this."""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dev import processes
from dev.database import prepare_database
from dev.environment import DATABASE, development_environment, own_database
from dev.paths import ROOT, RUN, VAR
from dev.services import Postgres, Valkey, free_port, remembered_port

START_SECONDS = 60


class DidNotStart(Exception):
    """A part of the portal did not come up; the message carries the end of its log."""


@dataclass
class Portal:
    """Everything that `make up` starts. `say` is told, in words, what is being done."""

    port: int
    say: Callable[[str], None]
    children: processes.Children = field(default_factory=processes.Children)
    postgres: Postgres = field(default_factory=lambda: Postgres(RUN / "postgres"))
    valkey: Valkey = field(default_factory=lambda: Valkey(RUN / "valkey"))
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Bring everything up and return when a page can be served. Raises DidNotStart or ServiceFailed."""
        # Mails with sign-in codes, logs, customers' disks: not for other users of this machine.
        VAR.mkdir(parents=True, exist_ok=True)
        VAR.chmod(0o700)
        RUN.mkdir(parents=True, exist_ok=True)
        if left := processes.end_leftovers():
            self.say(f"ended {left} processes of an earlier run that was killed")
        self._start_services()
        upstream_port = free_port()
        # The same in every run, as its pages' addresses are kept.
        stripe_port = remembered_port(RUN / "stripe-port")
        self.environment = development_environment(
            self.postgres,
            self.valkey,
            url=self.url,
            upstream_url=f"http://127.0.0.1:{upstream_port}",
            stripe_url=f"http://127.0.0.1:{stripe_port}",
        )
        self.environment["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        self.say("static files, migrations, price list, demonstration data")
        with self._static_files():
            self._manage("prepare_development", "--demo-file", str(VAR / "demo.json"))
        self.say("web and gateway, worker, beat, demonstration models and payments")
        self._start_processes(upstream_port, stripe_port)
        self._wait_until_ready()

    def stop(self) -> None:
        """End every process, the machines of the local engine and the services; safe to call at any point."""
        self.children.stop()
        self._end_local_machines()
        self.valkey.stop()
        self.postgres.stop()

    def _start_services(self) -> None:
        if not os.environ.get("REDIS_URL"):
            self.say("Valkey")
            self.valkey.start()
        if own_database():
            return
        self.say("PostgreSQL")
        self.postgres.start()
        prepare_database(self.postgres, DATABASE)

    def _start_processes(self, upstream_port: int, stripe_port: int) -> None:
        python = sys.executable
        celery = [python, "-m", "celery", "-A", "portal", "-q"]
        if not os.environ.get("MODEL_UPSTREAM_URL"):
            self._start("models", [python, "-m", "inference.demo_upstream", "--port", str(upstream_port)])
        if not os.environ.get("STRIPE_SECRET_KEY"):
            stripe = [python, "-m", "billing.demo_stripe", "--port", str(stripe_port)]
            stripe += ["--state", str(VAR / "stripe.json"), "--webhook-url", f"{self.url}/webhooks/stripe"]
            self._start("stripe", stripe)
        web = [python, "-m", "uvicorn", "portal.asgi:application", "--host", "127.0.0.1", "--port", str(self.port)]
        # Who is to be believed about X-Forwarded-For says TRUSTED_PROXY_COUNT, not the server.
        self._start("web", [*web, "--no-proxy-headers", "--no-access-log", "--timeout-graceful-shutdown", "3"])
        # Beat is forked from the worker: a process of its own would import everything once more, seconds of the start.
        worker = [*celery, "worker", "--concurrency", "2", "--loglevel", "WARNING", "--without-mingle"]
        self._start("worker", [*worker, "--beat", "--schedule", str(RUN / "beat")])

    def _start(self, name: str, command: list[str]) -> None:
        self.children.start(name, command, self.environment)

    def _manage(self, *arguments: str) -> None:
        self._finish(self._manage_in_background(*arguments))

    def _manage_in_background(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def _finish(self, process: subprocess.Popen[str]) -> None:
        output, _ = process.communicate()
        if process.returncode != 0:
            raise DidNotStart(f"{process.args!r} failed:\n{output}")

    @contextmanager
    def _static_files(self) -> Iterator[None]:
        """Collect static files beside what the block does, unless nothing changed since the last time.

        Portals that share a folder (STATIC_ROOT) take turns: collecting empties it first.
        """
        folder = Path(self.environment.get("STATIC_ROOT", str(VAR / "static")))
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, which collecting empties.
        stamp, digest = folder.with_suffix(".stamp"), _static_digest()
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if stamp.exists() and stamp.read_text() == digest and folder.exists():
                collecting = None
            else:
                stamp.unlink(missing_ok=True)
                collecting = self._manage_in_background("collectstatic", "--no-input", "--clear", "--verbosity", "0")
            yield
            if collecting is not None:
                self._finish(collecting)
                # Only now: a start that is cut short collects again.
                stamp.write_text(digest)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if child := self.children.exited():
                raise DidNotStart(f"{child.name} ended while starting ({child.log}):\n{child.tail()}")
            if self._answers(f"{self.url}/readyz"):
                return
            time.sleep(0.1)
        raise DidNotStart(f"the portal did not answer within {START_SECONDS} s; look into {VAR / 'log'}")

    def _answers(self, url: str) -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own address
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _end_local_machines(self) -> None:
        if self.environment:
            command = [sys.executable, "-m", "compute.backends.local_cleanup", str(VAR / "instances")]
            subprocess.run(command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL)


def _static_digest() -> str:
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for file in sorted((ROOT / "static").rglob("*")):
        if file.is_file():
            digest.update(str(file).encode() + file.read_bytes())
    return digest.hexdigest()


def demo() -> dict[str, object]:
    """Return what var/demo.json says."""
    found: dict[str, object] = json.loads(Path(VAR / "demo.json").read_text())
    return found
