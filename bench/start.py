"""How long `make up` takes: the first time with warm package caches, and after."""

import shutil
import time

from bench.tables import print_table
from dev.paths import VAR
from tests.running import RunningPortal


def main() -> None:
    folder = VAR / "bench" / "portal"
    shutil.rmtree(folder, ignore_errors=True)
    rows = []
    for what, goal in (("first start, empty data", "60 s with installation"), ("second start, data kept", "10 s")):
        portal = RunningPortal(folder)
        started = time.monotonic()
        portal.start()
        rows.append((what, f"{time.monotonic() - started:.1f} s", goal))
        portal.stop()
    shutil.rmtree(folder, ignore_errors=True)
    print_table(("start", "took", "goal"), rows)
