"""The suite's own services and databases, apart from those of `make up`.

One cluster without durability under var/test/, one migrated template database whose name carries a digest of
the migrations, and a cheap copy of it for every xdist worker and for every test that starts real processes.
"""

import hashlib
import os
import subprocess
import sys
from urllib.parse import urlsplit

from psycopg import sql

from dev.database import ROLES, addresses, prepare_database
from dev.environment import secrets_environment
from dev.paths import ROOT, VAR
from dev.services import FAST, Postgres, Valkey

FOLDER = VAR / "test"
# Every provider is there, so that the sweeps see its buttons and addresses.
SOCIAL_CLIENTS = {
    f"{name}_CLIENT_{part}": f"{name}-{part}".lower() for name in ("GITHUB", "GOOGLE") for part in ("ID", "SECRET")
}


def placeholders() -> dict[str, str]:
    """Return an environment in which settings can be imported without any service, for the type checker."""
    address = "postgres://nobody:nothing@127.0.0.1:1/none"
    secrets = dict.fromkeys(("SECRET_KEY", "MODEL_UPSTREAM_KEY"), "placeholder")
    return {
        "DEVELOPMENT": "true",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "API_KEY_PEPPER": "another placeholder",
        "KEY_ENCRYPTION_KEYS": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "MFA_ENCRYPTION_KEYS": "",
        **SOCIAL_CLIENTS,
        **secrets,
        **dict.fromkeys(ROLES.values(), address),
    }


def superuser() -> dict[str, str]:
    """Return the login that tests use on the default connection."""
    address = urlsplit(os.environ.get("TEST_SUPERUSER_URL", "postgres://nobody:nothing@127.0.0.1:1/none"))
    return {"USER": address.username or "", "PASSWORD": address.password or ""}


def start() -> tuple[Postgres, Valkey]:
    """Start the suite's services and return them; the template database is migrated when migrations changed."""
    postgres, valkey = Postgres(FOLDER / "postgres", FAST), Valkey(FOLDER / "valkey")
    postgres.start()
    valkey.start()
    _make_template(postgres, valkey)
    return postgres, valkey


def environment(postgres: Postgres, valkey: Valkey, database: str, redis_database: int) -> dict[str, str]:
    """Return the variables of a portal on one of the suite's databases."""
    return {
        "DEVELOPMENT": "true",
        "VAR_DIR": str(FOLDER / database),
        "REDIS_URL": valkey.url(redis_database),
        "TEST_SUPERUSER_URL": postgres.dsn(database),
        **SOCIAL_CLIENTS,
        **secrets_environment(),
        **addresses(postgres, database),
    }


def clone_template(postgres: Postgres, database: str) -> None:
    """Make `database` a fresh copy of the migrated template (about 0.1 s)."""
    with postgres.connect() as admin:
        name = sql.Identifier(database)
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER headroom_owner").format(name, sql.Identifier(template_name()))
        )


def drop_database(postgres: Postgres, database: str) -> None:
    with postgres.connect() as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


def template_name() -> str:
    digest = hashlib.sha256()
    files = sorted(
        [
            *ROOT.glob("*/migrations/*.py"),
            *ROOT.glob("deploy/*.sql"),
            ROOT / "portal/lib/tenancy.py",
            # Which libraries bring tables of their own.
            ROOT / "portal/settings.py",
            ROOT / "requirements.lock",
        ]
    )
    for file in files:
        digest.update(file.read_bytes())
    return f"template_{digest.hexdigest()[:12]}"


def _make_template(postgres: Postgres, valkey: Valkey) -> None:
    template = template_name()
    with postgres.connect() as admin:
        rows = admin.execute("SELECT datname FROM pg_database WHERE datname LIKE 'template\\_%'").fetchall()
    if (template,) in rows:
        return
    for (old,) in rows:
        drop_database(postgres, old)
    building = "building_template"
    drop_database(postgres, building)
    prepare_database(postgres, building)
    variables = {
        **os.environ,
        **environment(postgres, valkey, building, 15),
        "DJANGO_SETTINGS_MODULE": "portal.settings",
    }
    command = [sys.executable, "manage.py", "migrate", "--database", "owner", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=variables, check=True)
    with postgres.connect() as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(building), sql.Identifier(template))
        )
