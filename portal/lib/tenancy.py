"""Row-level security: whose rows a transaction may touch, and as which database role.

The primitives are here, at the bottom, because tasks, migrations and every app need them; the only door that
people and keys come through is `accounts.access`. Rules: docs/adr/0005-row-level-security.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, migrations, transaction

from portal.lib.context import remember_organization

PLATFORM_ALIAS = "platform"
GATEWAY_ALIAS = "gateway"
ROLE_OF_ALIAS = {PLATFORM_ALIAS: "headroom_platform", GATEWAY_ALIAS: "headroom_gateway"}


def set_organization(organization_id: int) -> None:
    """Let the current transaction see and change this organization's rows, and no other's, until it ends.

    Raises TransactionManagementError outside a transaction, where the setting would be lost at once.
    """
    _set_locally("app.organization_id", organization_id)
    remember_organization(organization_id)


def leave_organization() -> None:
    """Let the current transaction see no organization's rows any more, after a look into one or several."""
    _set_locally("app.organization_id", "")
    remember_organization(None)


def set_user(user_id: int) -> None:
    """Let the current transaction see the memberships of this user, before an organization is known."""
    _set_locally("app.user_id", user_id)


def _set_locally(name: str, value: int | str) -> None:
    connection = transaction.get_connection()
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError(f"{name} is set for a transaction, and there is none")
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [name, str(value)])


@contextmanager
def connected_as(alias: str) -> Iterator[None]:
    """Make every query of this thread go through another role's connection until the block ends.

    alias: PLATFORM_ALIAS or GATEWAY_ALIAS, whose roles pass row-level security. For work across organizations
    only: reconcilers, roll-ups, admin, the gateway. Open transactions inside the block, not around it: what an
    outer transaction wrote and did not commit is not visible in here.
    """
    if settings.ONE_DATABASE_CONNECTION:
        with _role(ROLE_OF_ALIAS[alias]):
            yield
        return
    own = connections[DEFAULT_DB_ALIAS]
    other = connections[alias]
    connections[DEFAULT_DB_ALIAS] = other
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = own


@contextmanager
def as_platform() -> Iterator[None]:
    """Work across organizations, as the role that passes row-level security."""
    with connected_as(PLATFORM_ALIAS):
        yield


@contextmanager
def _role(role: str) -> Iterator[None]:
    # Inside one test transaction a second connection would see nothing, so the role changes instead.
    connection = transaction.get_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        before = cursor.fetchone()[0]
        cursor.execute(f'SET ROLE "{role}"')
    try:
        yield
    finally:
        if not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute(f'SET ROLE "{before}"')


CURRENT_ORGANIZATION = "nullif(current_setting('app.organization_id', true), '')::bigint"
CURRENT_USER = "nullif(current_setting('app.user_id', true), '')::bigint"


def tenant_table(table: str, *, column: str = "organization_id") -> migrations.RunSQL:
    """Return the operation that lets the app role see and write only rows of the current organization."""
    rule = f"{column} = {CURRENT_ORGANIZATION}"
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY {table}_of_organization ON {table} USING ({rule}) WITH CHECK ({rule});
        """,
        f"""
        DROP POLICY {table}_of_organization ON {table};
        ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;
        ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;
        """,
    )


def tenant_foreign_key(table: str, column: str, parent: str) -> migrations.RunSQL:
    """Return the operation that ties `column` to a parent row of the same organization.

    Row-level security does not look at foreign keys, so this is what refuses a child of another
    organization's parent. The parent needs UNIQUE (organization_id, id).
    """
    name = f"{table}_{column}_same_organization"
    return migrations.RunSQL(
        f"""
        ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY (organization_id, {column})
        REFERENCES {parent} (organization_id, id) DEFERRABLE INITIALLY DEFERRED;
        """,
        f"ALTER TABLE {table} DROP CONSTRAINT {name};",
    )


def append_only(table: str) -> migrations.RunSQL:
    """Return the operation that makes a table insert-only for every role that the portal uses."""
    return migrations.RunSQL(
        f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM headroom_app, headroom_platform, headroom_gateway;",
        f"GRANT UPDATE, DELETE ON {table} TO headroom_app, headroom_platform;",
    )


def grant_to_gateway(table: str, privileges: str) -> migrations.RunSQL:
    """Return the operation that gives the gateway's role its few rights, e.g. "SELECT, INSERT", on one table."""
    return migrations.RunSQL(
        f"GRANT {privileges} ON {table} TO headroom_gateway;", f"REVOKE ALL ON {table} FROM headroom_gateway;"
    )
