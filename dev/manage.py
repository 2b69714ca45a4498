"""manage.py against this checkout's embedded services, which are started for the call when nothing runs."""

import contextlib
import os
import sys
from collections.abc import Iterator

from dev.database import prepare_database
from dev.environment import DATABASE, development_environment
from dev.paths import RUN
from dev.services import Postgres, Valkey


@contextlib.contextmanager
def services() -> Iterator[tuple[Postgres, Valkey]]:
    """Yield running services: those of a running `make up`, else ones that end with the block."""
    postgres, valkey = Postgres(RUN / "postgres"), Valkey(RUN / "valkey")
    if running(postgres, valkey):
        yield postgres, valkey
        return
    postgres.start()
    valkey.start()
    try:
        prepare_database(postgres, DATABASE)
        yield postgres, valkey
    finally:
        valkey.stop()
        postgres.stop()


def running(postgres: Postgres, valkey: Valkey) -> bool:
    """Whether both services answer already; fills in their ports."""
    try:
        postgres.port = int((postgres.folder / "port").read_text())
        valkey.port = int((valkey.folder / "port").read_text())
        postgres.connect().close()
    except Exception:  # whatever the reason, it does not answer
        return False
    return valkey.answers()


def main() -> None:
    with services() as (postgres, valkey):
        os.environ.update(
            development_environment(
                postgres,
                valkey,
                url="http://127.0.0.1:8000",
                upstream_url="http://127.0.0.1:8001",
                stripe_url="http://127.0.0.1:8002",
            )
        )
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
        # Whoever runs single commands works on the portal: errors show their source.
        os.environ.setdefault("DEBUG", "true")
        from django.core.management import execute_from_command_line  # noqa: PLC0415  # needs the environment

        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
