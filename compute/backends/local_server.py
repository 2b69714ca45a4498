"""The SSH server of one local machine, run inside its sandbox: `python local_server.py STATE HOME`.

STATE holds authorized_keys, host_key, port and the start script; HOME is where shells start. Nothing of the
portal can be imported here.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import asyncssh

USER = "ubuntu"
SHELL = "/bin/bash"

type Process = asyncssh.SSHServerProcess[bytes]


class Door(asyncssh.SSHServer):
    """Lets in exactly the registered keys, as the one user."""

    def __init__(self, allowed: set[bytes]) -> None:
        self.allowed = allowed

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data in self.allowed


async def serve(state: Path, home: Path) -> None:
    """Answer logins until killed; the port is written once it listens."""
    lines = (state / "authorized_keys").read_text().splitlines()
    allowed = {asyncssh.import_public_key(line).public_data for line in lines}
    host_key = state / "host_key"
    if not host_key.exists():
        _write(host_key, asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())

    async def run_session(process: Process) -> None:
        run = _run_without_terminal if process.get_terminal_type() is None else _run_in_terminal
        await run(process, home)

    async def listen(port: int) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            port,
            server_factory=lambda: Door(allowed),
            server_host_keys=[str(host_key)],
            process_factory=run_session,
            encoding=None,
            keepalive_interval=30,
        )

    try:
        server = await listen(_last_port(state))
    except OSError:
        server = await listen(0)
    _write(state / "port", str(server.get_port()))
    _run_user_data(state, home)
    await server.wait_closed()


def _write(path: Path, text: str) -> None:
    """Write a file that is never seen half written."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    unfinished.replace(path)


def _last_port(state: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((state / "last_port").read_text())
    return 0


def _run_user_data(state: Path, home: Path) -> None:
    """Run the start script once in the machine's life, in the background."""
    script, done = state / "user_data", state / "user_data_ran"
    if not script.exists() or done.exists():
        return
    done.touch()
    with (home / "user-data.log").open("wb") as log:
        # The customer's own script on the customer's own machine.
        subprocess.Popen([SHELL, str(script)], cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603


async def _run_without_terminal(process: Process, home: Path) -> None:
    command = [SHELL, "-c", process.command] if process.command else [SHELL, "-l"]
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=home,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    code = await child.wait()
    await process.stdout.drain()
    process.exit(code if code >= 0 else 128 - code)


async def _run_in_terminal(process: Process, home: Path) -> None:
    ours, theirs = pty.openpty()
    _resize(ours, *process.get_terminal_size()[:2])
    command = [SHELL, "-c", process.command] if process.command else [SHELL, "-l"]
    child = await asyncio.create_subprocess_exec(
        *command,
        cwd=home,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": process.get_terminal_type() or "dumb"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    typing = asyncio.create_task(_type(process, ours))
    await _show(process, ours)
    code = await child.wait()
    typing.cancel()
    os.close(ours)
    process.exit(code if code >= 0 else 128 - code)


async def _type(process: Process, terminal: int) -> None:
    """Bring what the customer types, and the size of their window, to the shell."""
    while True:
        try:
            data = await process.stdin.read(65536)
        except asyncssh.TerminalSizeChanged:
            _resize(terminal, *process.get_terminal_size()[:2])
            continue
        if not data:
            return
        os.write(terminal, data)


async def _show(process: Process, terminal: int) -> None:
    """Bring what the shell prints to the customer, until it has closed its side."""
    while True:
        try:
            data = await asyncio.to_thread(os.read, terminal, 65536)
        except OSError:  # How Linux says that the last program of a terminal has ended.
            return
        if not data:
            return
        process.stdout.write(data)
        await process.stdout.drain()


def _resize(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
