"""`make bench`: run every benchmark, or those named, and keep each table in var/bench/."""

import importlib
import io
import pkgutil
import sys
from contextlib import redirect_stdout
from datetime import UTC, datetime
from typing import TextIO

import bench
from bench.tables import machine
from dev.paths import VAR

HELPERS = {"__main__", "database", "tables"}


class _Both(io.TextIOBase):
    """Write to the terminal and to a copy."""

    def __init__(self, terminal: TextIO, copy: io.StringIO) -> None:
        self.terminal, self.copy = terminal, copy

    def write(self, text: str) -> int:
        self.copy.write(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        self.terminal.flush()


def main() -> int:
    known = [module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in HELPERS]
    wanted = sys.argv[1:] or known
    if unknown := set(wanted) - set(known):
        print(f"No benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(known)}.", file=sys.stderr)
        return 2
    folder = VAR / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        copy = io.StringIO()
        with redirect_stdout(_Both(sys.stdout, copy)):
            print(f"\n## {name}    {datetime.now(UTC):%Y-%m-%d %H:%M} UTC    {machine()}\n", flush=True)
            importlib.import_module(f"bench.{name}").main()
        with (folder / f"{name}.txt").open("a") as kept:
            kept.write(copy.getvalue())
    return 0


if __name__ == "__main__":
    sys.exit(main())
