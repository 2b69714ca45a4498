"""`make reset`: end what is left of an earlier run and empty its data (the installed tools stay)."""

import shutil

from dev import processes
from dev.paths import RUN, VAR
from dev.services import Postgres, Valkey
from dev.up import only_one

# Everything else goes together: the services' passwords are in there too.
KEPT = {"tools"}


def main() -> None:
    lock = only_one()
    processes.end_leftovers()
    for folder in (RUN, VAR / "test"):
        Valkey(folder / "valkey").stop()
        Postgres(folder / "postgres").stop()
    for entry in VAR.iterdir():
        if entry.name in KEPT:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    lock.close()
    print("var/ is empty; the next `make up` starts anew.")


if __name__ == "__main__":
    main()
