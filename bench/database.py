"""A database for benchmarks: the real roles, the price list, and one very large organization."""

import os

import dev.testing
from dev.services import Postgres, Valkey

NAME = "bench"


def start() -> tuple[Postgres, Valkey]:
    """Start services, make the database anew, and set Django up on it. Call `stop` with the result."""
    postgres, valkey = dev.testing.start()
    dev.testing.clone_template(postgres, NAME)
    os.environ.update(dev.testing.environment(postgres, valkey, NAME, 12))
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    import django  # noqa: PLC0415  # only now is there an environment for its settings
    from django.core.management import call_command  # noqa: PLC0415

    django.setup()
    call_command("collectstatic", interactive=False, clear=True, verbosity=0)
    return postgres, valkey


def stop(postgres: Postgres, valkey: Valkey) -> None:
    from django.db import connections  # noqa: PLC0415  # Django is set up by start()

    connections.close_all()
    dev.testing.drop_database(postgres, NAME)
    valkey.stop()
    postgres.stop()
