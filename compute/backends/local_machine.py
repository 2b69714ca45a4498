"""Start one machine of the local engine: `python -m compute.backends.local_machine FOLDER`.

It leaves its caller behind, takes the machine's `alive` lock, writes its process id and becomes bubblewrap around
local_server.py (or, where there is none, the server itself). The lock goes with the process: whoever finds it
free knows that nothing of the machine is left, whatever process ids say.
"""

import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

USER = "ubuntu"
SERVER = str(Path(__file__).with_name("local_server.py"))


def boot(folder: Path) -> None:
    """Leave the caller behind, take the lock and become the machine; return if another already has it."""
    _leave_caller()
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    os.set_inheritable(alive, True)
    write_atomically(folder / "process.json", json.dumps({"pid": os.getpid()}))
    settings = json.loads((folder / "machine.json").read_text())
    command = sandbox(folder) if settings["sandboxed"] else plain(folder)
    os.execve(command[0], command, environment(folder, settings["sandboxed"]))  # noqa: S606 - no shell is the point


def _leave_caller() -> None:
    """Continue as a grandchild in a session of its own, so that nobody waits for us and no Ctrl-C reaches us."""
    caller = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    # bubblewrap ties its life to its parent's: wait until that is init and no longer the caller.
    while os.getppid() == caller:
        time.sleep(0.001)


def environment(folder: Path, sandboxed: bool) -> dict[str, str]:
    """Return all that the machine may know of the environment it was started in: nothing of the portal's."""
    home = f"/home/{USER}" if sandboxed else str(folder / "home")
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": home, "USER": USER, "LANG": "C.UTF-8", "SHELL": "/bin/bash"}


def plain(folder: Path) -> list[str]:
    return [sys.executable, SERVER, str(folder / "state"), str(folder / "home")]


def sandbox(folder: Path) -> list[str]:
    """Return the command that shows the server its own folders, the system's programs and nothing else."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        return plain(folder)
    command = [bubblewrap, "--die-with-parent", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    command += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", folder.name, "--cap-drop", "ALL"]
    command += ["--ro-bind", "/usr", "/usr"]
    for path in ("/bin", "/sbin", "/lib", "/lib64"):
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            command += ["--ro-bind", path, path]
    for path in ("/etc/alternatives", "/etc/ld.so.cache", "/etc/terminfo", "/etc/ssl/certs", "/etc/localtime"):
        command += ["--ro-bind-try", path, path]
    # Before what follows, which may itself lie in a checkout below the host's /tmp.
    command += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - the machine's own /tmp
    # The interpreter and its packages, wherever they were installed, to read only.
    for path in dict.fromkeys((sys.base_prefix, sys.prefix)):
        command += ["--ro-bind", path, path]
    command += ["--ro-bind", SERVER, "/run/machine.py"]
    command += ["--ro-bind", str(folder / "etc" / "passwd"), "/etc/passwd"]
    command += ["--ro-bind", str(folder / "etc" / "group"), "/etc/group"]
    command += ["--bind", str(folder / "state"), "/run/machine", "--bind", str(folder / "home"), f"/home/{USER}"]
    command += ["--chdir", f"/home/{USER}"]
    return [*command, sys.executable, "/run/machine.py", "/run/machine", f"/home/{USER}"]


def write_atomically(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(name, path)


if __name__ == "__main__":
    boot(Path(sys.argv[1]).resolve())
