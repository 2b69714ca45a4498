"""The portal's database and its four roles, made on any PostgreSQL server that lets us."""

from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from dev.paths import ROOT
from dev.services import Postgres, secret_named

# Name of the login role -> the variable that carries its address.
ROLES = {
    "headroom_app": "DATABASE_URL",
    "headroom_owner": "DATABASE_OWNER_URL",
    "headroom_platform": "DATABASE_PLATFORM_URL",
    "headroom_gateway": "DATABASE_GATEWAY_URL",
}
ROLES_SQL = ROOT / "deploy" / "database-roles.sql"


def create_roles(admin: psycopg.Connection) -> None:
    """Run deploy/database-roles.sql and give each role this checkout's own password; safe to repeat."""
    # The file is ours and constant; psycopg wants to be told so.
    admin.execute(sql.SQL(ROLES_SQL.read_text()))
    for role in ROLES:
        admin.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(secret_named(f"postgres-{role}"))
            )
        )


def create_database(admin: psycopg.Connection, name: str) -> bool:
    """Create database `name` owned by the owner role; return whether it is new."""
    if admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        return False
    admin.execute(sql.SQL("CREATE DATABASE {} OWNER headroom_owner").format(sql.Identifier(name)))
    return True


def prepare_database(postgres: Postgres, name: str) -> bool:
    """Make roles, database and default privileges; return whether the database is new."""
    with postgres.connect() as admin:
        create_roles(admin)
        is_new = create_database(admin, name)
    with postgres.connect(name) as admin:
        grant_defaults(admin)
    return is_new


def grant_defaults(admin: psycopg.Connection) -> None:
    """Say what the roles may do with every table that the owner will create in this database."""
    admin.execute(sql.SQL((ROOT / "deploy" / "database-privileges.sql").read_text()))


def addresses(postgres: Postgres, name: str) -> dict[str, str]:
    """Return the environment variables by which the portal reaches database `name`, one per role."""
    return {variable: postgres.dsn(name, role) for role, variable in ROLES.items()}


def adopt_database(address: str) -> dict[str, str]:
    """Make roles and privileges in the database at an administrator's address; return one address per role.

    Stops with a sentence when the server does not answer or the login may not do that.
    """
    try:
        with psycopg.connect(address, autocommit=True) as admin:
            create_roles(admin)
            grant_defaults(admin)
    except psycopg.Error as error:
        raise SystemExit(
            f"DATABASE_URL: the portal's roles cannot be made there ({str(error).strip()}). Give an administrator's"
            " address, or run deploy/database-roles.sql and deploy/database-privileges.sql and set all four addresses."
        ) from error
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    return {
        variable: parts._replace(netloc=f"{role}:{secret_named(f'postgres-{role}')}@{place}").geturl()
        for role, variable in ROLES.items()
    }
