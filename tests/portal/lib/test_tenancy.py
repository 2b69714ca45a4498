"""Row-level security: what a transaction may see as each role."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from accounts.models import Organization, Project
from portal.lib.tenancy import _role, as_platform, set_organization
from tests.factories.accounts import make_organization


@pytest.mark.django_db
def test_the_app_role_sees_nothing_before_an_organization_is_set():
    make_organization()

    with _role("headroom_app"):
        assert not Organization.objects.exists()
        assert not Project.objects.exists()


@pytest.mark.django_db
def test_the_app_role_sees_one_organization_and_no_other():
    ours, theirs = make_organization(), make_organization()

    with _role("headroom_app"):
        set_organization(ours.pk)
        assert list(Organization.objects.all()) == [ours]
        assert not Project.objects.filter(organization=theirs).exists()
        assert not Organization.objects.filter(pk=theirs.pk).update(name="Taken over")


@pytest.mark.django_db
def test_the_platform_role_sees_every_organization():
    make_organization()
    make_organization()

    with _role("headroom_app"), as_platform():
        assert Organization.objects.count() == 2


@pytest.mark.django_db
def test_setting_an_organization_outside_a_transaction_is_refused():
    def outside() -> None:
        # A thread has a connection of its own, which no test transaction wraps.
        try:
            set_organization(1)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, pytest.raises(transaction.TransactionManagementError, match="there is none"):
        pool.submit(outside).result()
