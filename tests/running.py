"""A whole portal as `make up` starts it, in a folder of its own, for tests that use it as a person would."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev import testing
from dev.paths import ROOT
from dev.services import free_port

START_SECONDS = 90
STOP_SECONDS = 30


class DidNotStart(Exception):
    """`make up` ended or hung; the message is what it printed."""


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what the suite itself put there."""
    ours = {*testing.placeholders(), "TEST_SUPERUSER_URL", "VAR_DIR", "DJANGO_SETTINGS_MODULE", "PORT"}
    return {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("PYTEST_")}


@dataclass
class RunningPortal:
    """`make up` in `folder`: start, use, stop."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return (self.folder / "up.log").read_text(errors="replace")

    @property
    def demo(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return found

    def reset(self) -> None:
        """End what a killed run left in the folder, and empty it."""
        if self.folder.exists():
            environment = {**clean_environment(), "VAR_DIR": str(self.folder)}
            subprocess.run(
                [sys.executable, "-m", "dev.reset"], cwd=ROOT, env=environment, check=True, capture_output=True
            )

    def newest_mail(self, to: str) -> str:
        """Return the newest mail to an address, as the portal wrote it into its folder."""
        found = sorted((self.folder / "mail").glob("*"), key=lambda file: file.stat().st_mtime, reverse=True)
        return next(text for file in found if f"To: {to}" in (text := file.read_text()))

    def start(self, **settings: str) -> None:
        """Run dev.up until it says that it is ready. Raises DidNotStart with its output otherwise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**clean_environment(), "VAR_DIR": str(self.folder), "PORT": str(self.port)}
        # Collected once for all portals of the suite.
        environment |= {"STATIC_ROOT": str(testing.FOLDER / "static"), **settings}
        with (self.folder / "up.log").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dev.up"],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise DidNotStart(self.output)
            if "The portal runs at" in self.output:
                return
            time.sleep(0.1)
        self.stop()
        raise DidNotStart(self.output)

    def stop(self, with_signal: signal.Signals = signal.SIGINT) -> int:
        """Press Ctrl-C and return the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        return self.process.wait(STOP_SECONDS)
