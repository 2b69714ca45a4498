"""The database itself keeps organizations apart: read from its own catalog, for every table there is or will be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.db.models import ForeignKey

from accounts.models import Project
from portal.lib.tenancy import set_organization
from tests.factories.accounts import make_organization
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RULE = "(organization_id = (NULLIF(current_setting('app.organization_id'::text, true), ''::text))::bigint)"
OWN_ROW_RULE = RULE.replace("organization_id =", "id =", 1)

# The table of single events checks no foreign key: the hourly bucket that the same statement writes does.
UNCHECKED = {("billing_usageevent", "project_id")}


def ask(query: str, *values: str | int) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


def ask_nothing(query: str, *values: str | int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, values)


def tenant_tables() -> list[str]:
    """Every table with a column `organization_id`, from the catalog and not from our models; partitions apart."""
    rows = ask(
        """
        SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND a.attname = 'organization_id' AND NOT a.attisdropped ORDER BY 1
        """
    )
    return [name for (name,) in rows]


def partitions() -> list[str]:
    rows = ask("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' ORDER BY 1")
    return [name for (name,) in rows]


def columns_of(table: str) -> set[str]:
    rows = ask("SELECT column_name FROM information_schema.columns WHERE table_name = %s", table)
    return {name for (name,) in rows}


@pytest.mark.django_db
@pytest.mark.asvs("8.4.1")
def test_every_table_of_an_organization_forces_row_level_security():
    assert "accounts_apikey" in tenant_tables()
    for table in [*tenant_tables(), "accounts_organization"]:
        [(enabled, forced)] = ask(
            "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", table
        )
        assert (enabled, forced) == (True, True), table


@pytest.mark.django_db
def test_every_table_of_an_organization_compares_with_the_current_one_in_reads_and_writes():
    for table in [*tenant_tables(), "accounts_organization"]:
        policies = ask(
            """
            SELECT polcmd, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid), polpermissive
            FROM pg_policy WHERE polrelid = %s::regclass AND polcmd = '*'
            """,
            table,
        )
        rule = OWN_ROW_RULE if table == "accounts_organization" else RULE
        assert policies == [("*", rule, rule, True)], table


@pytest.mark.django_db
def test_no_other_policy_lets_the_app_write():
    others = ask(
        """
        SELECT polrelid::regclass::text, polname, polcmd::text FROM pg_policy WHERE polcmd <> '*' ORDER BY 1, 2
        """
    )

    # What must be readable before an organization is known: docs/adr/0005-row-level-security.md.
    assert all(command == "r" for _, _, command in others), others
    assert {(table, name) for table, name, _ in others} == {
        ("accounts_apikey", "accounts_apikey_lookup"),
        ("accounts_directorytoken", "accounts_directorytoken_lookup"),
        ("accounts_domain", "accounts_domain_lookup"),
        ("accounts_invitation", "accounts_invitation_lookup"),
        ("accounts_invitation", "accounts_invitation_of_user"),
        ("accounts_membership", "accounts_membership_of_user"),
        ("accounts_organization", "accounts_organization_lookup"),
        ("accounts_organization", "accounts_organization_of_user"),
        ("accounts_ssoconnection", "accounts_ssoconnection_lookup"),
        ("accounts_retiredsecret", "accounts_retiredsecret_lookup"),
    }


@pytest.mark.django_db
def test_partitions_are_out_of_reach_of_the_app_except_through_their_table():
    for table in partitions():
        [(may,)] = ask("SELECT has_table_privilege('headroom_app', %s, 'SELECT, INSERT, UPDATE, DELETE')", table)
        [(forced,)] = ask("SELECT relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", table)
        assert forced or not may, table


@pytest.mark.django_db
def test_the_roles_of_the_app_and_of_migrations_cannot_look_past_it():
    roles = dict(
        ask("SELECT rolname, (rolbypassrls OR rolsuper) FROM pg_roles WHERE rolname LIKE 'headroom\\_%%' ORDER BY 1")
    )
    owners = {owner for (owner,) in ask("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")}

    assert roles == {
        "headroom_app": False,
        "headroom_gateway": True,
        "headroom_owner": False,
        "headroom_platform": True,
    }
    assert owners == {"headroom_owner"}
    assert (
        ask("SELECT 1 FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = 'headroom_app'")
        == []
    )


@pytest.mark.django_db
def test_functions_that_run_as_the_owner_look_into_temporary_tables_last():
    found = ask(
        "SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1"
    )
    assert found
    assert {name: settings for name, settings in found if settings != ["search_path=public, pg_temp"]} == {}


@pytest.mark.django_db
def test_views_run_with_the_rights_of_who_asks():
    views = ask(
        "SELECT relname, reloptions FROM pg_class WHERE relkind = 'v' AND relnamespace = 'public'::regnamespace"
    )

    assert [name for name, options in views if "security_invoker=true" not in (options or [])] == []


@pytest.mark.django_db
def test_every_parent_can_be_named_together_with_its_organization():
    for table in tenant_tables():
        if "id" not in columns_of(table):
            continue
        unique = ask(
            """
            SELECT array_agg(a.attname ORDER BY a.attname) FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indpred IS NULL GROUP BY i.indexrelid
            """,
            table,
        )
        # A partitioned table can only be unique together with what it is partitioned by, and has no children.
        if ask("SELECT 1 FROM pg_partitioned_table WHERE partrelid = %s::regclass", table):
            continue
        assert (["id", "organization_id"],) in unique, table


def tenant_foreign_keys() -> list[tuple[str, str, str]]:
    """Every (child table, column, parent table) between tenant tables, from the models."""
    tables = set(tenant_tables())
    return sorted(
        (model._meta.db_table, field.column, field.related_model._meta.db_table)
        for model in apps.get_models()
        for field in model._meta.get_fields()
        if isinstance(field, ForeignKey)
        and model._meta.db_table in tables
        and field.related_model._meta.db_table in tables
    )


@pytest.mark.django_db
def test_every_foreign_key_between_tables_of_an_organization_carries_it():
    assert ("accounts_apikey", "project_id", "accounts_project") in tenant_foreign_keys()
    for child, column, parent in tenant_foreign_keys():
        if (child, column) in UNCHECKED:
            continue
        found = ask(
            """
            SELECT (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k(num, n)
                    JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num)
            FROM pg_constraint c WHERE c.contype = 'f' AND c.conrelid = %s::regclass AND c.confrelid = %s::regclass
            """,
            child,
            parent,
        )
        assert (["organization_id", column],) in found, f"{child}.{column} needs tenant_foreign_key"


def test_a_write_for_another_organization_is_refused(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        ours, theirs = make_organization(), make_organization()

    def write() -> None:
        with transaction.atomic():
            set_organization(ours.pk)
            Project.objects.create(organization=theirs, name="Planted", slug="planted", created_at=NOW)

    with own_database.in_use():
        with pytest.raises(Exception, match="violates row-level security policy"):
            write()
        with transaction.atomic():
            set_organization(ours.pk)
            assert Project.objects.filter(organization=theirs).update(name="Taken") == 0
            assert Project.objects.filter(organization=theirs).delete() == (0, {})
    with own_database.connect(SUPERUSER) as admin:
        assert admin.execute("SELECT DISTINCT name FROM accounts_project").fetchall() == [("Default",)]
