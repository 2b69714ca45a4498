"""Run the suite: `make test`, and with --prove the full counts. Other arguments go to pytest."""

import os
import shutil
import subprocess
import sys

from dev.paths import ROOT

WORKERS = "2"
APT = ["apt-get", "install", "-y", "-qq"]
# Program the tests look for -> the Debian package that has it.
PROGRAMS = {"chromium": "chromium", "bwrap": "bubblewrap", "ssh": "openssh-client"}
# The SAML provider that the tests sign in through brings the program that it signs by.
PROGRAMS |= {"xmlsec1": "python3-pysaml2"}


def install_programs() -> None:
    """As root on a Debian machine, install what the browser and sandbox tests need and is not there."""
    missing = [package for program, package in PROGRAMS.items() if not shutil.which(program)]
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print(f"· installing {', '.join(missing)}", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = {"stdout": subprocess.DEVNULL, "env": environment}
    subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)  # type: ignore[call-overload]  # shared keywords
    subprocess.run([*APT, *missing], check=False, **quiet)  # type: ignore[call-overload]  # shared keywords


def main() -> int:
    install_programs()
    arguments = sys.argv[1:]
    environment = dict(os.environ)
    if "--prove" in arguments:
        arguments.remove("--prove")
        environment["PROVE"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
