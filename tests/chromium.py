"""Where Chromium is and how it is started, for tests, journeys and benchmarks."""

import os
import shutil
from pathlib import Path

import pytest

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "Chromium was not found: run `apt-get install chromium`, or set CHROMIUM to its path."


def chromium_path() -> str:
    """Return where Chromium is; without it the test is skipped, and with CI=true it fails."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if path and Path(path).exists():
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    pytest.skip(MISSING)
