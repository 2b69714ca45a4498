"""The suite's own way to real roles and real commits."""

from datetime import UTC, datetime

from django.db import connection, transaction

from accounts.models import Organization, Project
from accounts.services.organizations import create_organization
from portal.lib.tenancy import as_platform, set_organization
from tests.factories.accounts import make_organization, make_user
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_commits_as_the_app_role_and_sees_own_rows_only(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        owner = make_user()
        make_organization()

    with own_database.in_use():
        created = create_organization(owner=owner, name="Acme", kind=Organization.Kind.STARTUP, now=NOW)
        assert Project.objects.count() == 0
        with transaction.atomic():
            set_organization(created.pk)
            assert [project.organization_id for project in Project.objects.all()] == [created.pk]
        with as_platform():
            assert Project.objects.count() == 2
        assert Project.objects.count() == 0

    with own_database.connect(SUPERUSER) as admin:
        assert admin.execute("SELECT count(*) FROM accounts_project").fetchone() == (2,)


def test_threads_have_connections_of_their_own(own_database: OwnDatabase):
    def backend(number: int) -> tuple[str, int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, pg_backend_pid()")
            row = cursor.fetchone()
            return row[0], row[1]

    with own_database.in_use():
        found = own_database.in_threads(4, backend)

    assert {user for user, _ in found} == {"headroom_app"}  # type: ignore[misc]  # an exception would fail here
    assert len(set(found)) == 4
