"""An organization is deleted: asked for, announced for 30 days, taken back or closed, and then nothing of it works."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client

from accounts.models import ApiKey, AuditEvent, Membership, Organization, Role, Scope
from accounts.services.api_keys import UnableToIssueKey, issue_key
from accounts.services.closing import (
    GRACE,
    UnableToDeleteOrganization,
    UnableToKeepOrganization,
    close_due_organizations,
    keep_organization,
    request_deletion,
)
from accounts.services.erasure import erase_person
from billing.services.reservations import expire_reservations
from compute.reconcile import State, Want
from compute.services.instances import end_instances_of_closed_organizations
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_key, make_membership, make_organization, make_user
from tests.factories.compute import make_instance
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime.now(UTC).replace(microsecond=0)
SECOND = timedelta(seconds=1)


def closing_organization(name: str = "Acme") -> Organization:
    return request_deletion(organization=make_organization(name, owner=make_user()), now=NOW)


def closed_organization() -> Organization:
    organization = closing_organization()
    with as_platform():
        assert close_due_organizations(now=NOW + GRACE) == 1
    organization.refresh_from_db()
    return organization


def client_of(organization: Organization, role: Role = Role.OWNER) -> Client:
    user = Membership.objects.filter(organization=organization, role=role)[0].user
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = time.time()
    session.save()
    return client


def actions(organization: Organization) -> list[str]:
    return list(AuditEvent.objects.owned_by(organization).order_by("sequence").values_list("action", flat=True))


@pytest.mark.django_db
def test_an_owner_types_the_name_and_everybody_reads_it_on_every_page():
    organization = make_organization("Acme", owner=make_user())
    make_membership(organization, role=Role.VIEWER)
    client, viewer = client_of(organization), client_of(organization, Role.VIEWER)
    address = f"/o/{organization.slug}/data/delete/"
    assert "This organization is being deleted" not in client.get(f"/o/{organization.slug}/").content.decode()

    begun = datetime.now(UTC)
    assert client.post(address, {"name": "acme"}).status_code == 422
    assert client.post(address, {"name": "Acme"}).status_code == 302

    organization.refresh_from_db()
    assert organization.closes_at is not None
    assert timedelta(days=29) < organization.closes_at - begun <= GRACE + timedelta(minutes=5)
    for path in ("", "keys/", "instances/", "members/"):
        page = viewer.get(f"/o/{organization.slug}/{path}").content.decode()
        assert "This organization is being deleted" in page
        assert "Keep the organization" not in page
    assert "Keep the organization" in client.get(f"/o/{organization.slug}/").content.decode()
    assert "already" in client.post(address, {"name": "Acme"}).content.decode()
    assert actions(organization) == ["organization.deletion_requested"]


@pytest.mark.django_db
def test_deleting_takes_a_recent_sign_in():
    organization = make_organization("Acme", owner=make_user())
    client = client_of(organization)
    session = client.session
    session["signed_in_at"] = 0
    session.save()

    answer = client.post(f"/o/{organization.slug}/data/delete/", {"name": "Acme"})

    assert answer["Location"].startswith("/confirm-it-is-you/")
    organization.refresh_from_db()
    assert organization.closes_at is None


@pytest.mark.django_db
def test_an_owner_keeps_it_and_nothing_closes():
    organization = closing_organization()
    client = client_of(organization)

    assert client.post(f"/o/{organization.slug}/data/keep/").status_code == 302
    assert client.post(f"/o/{organization.slug}/data/keep/").status_code == 302

    assert "is being deleted" not in client.get(f"/o/{organization.slug}/").content.decode()
    with as_platform():
        assert close_due_organizations(now=NOW + 2 * GRACE) == 0
    assert actions(organization) == ["organization.deletion_requested", "organization.kept"]
    changes = [json.loads(event.changes)["closes_at"] for event in AuditEvent.objects.order_by("sequence")]
    assert changes[0] == list(reversed(changes[1]))


@pytest.mark.django_db
def test_it_closes_after_thirty_days_and_not_before():
    organization = closing_organization()
    other = closing_organization("Other")
    keep_organization(organization=other, now=NOW)

    with as_platform():
        assert close_due_organizations(now=NOW + GRACE - SECOND) == 0
        assert close_due_organizations(now=NOW + GRACE) == 1
        assert close_due_organizations(now=NOW + GRACE) == 0

    organization.refresh_from_db()
    other.refresh_from_db()
    assert (organization.closed_at, other.closed_at) == (NOW + GRACE, None)
    with pytest.raises(UnableToKeepOrganization):
        keep_organization(organization=organization, now=NOW + GRACE)
    with pytest.raises(UnableToDeleteOrganization):
        request_deletion(organization=organization, now=NOW + GRACE)


@pytest.mark.django_db
def test_keys_stop_and_nobody_enters():
    organization = closing_organization()
    other = make_organization("Still there", owner=Membership.objects.get(organization=organization).user)
    issued, own = make_key(organization.projects.get(), now=NOW), make_key(other.projects.get(), now=NOW)
    client = client_of(organization)
    bearer = {"Authorization": f"Bearer {issued.secret}"}
    assert client.get("/api/v1/instances", headers=bearer).status_code == 200

    with as_platform():
        close_due_organizations(now=NOW + GRACE)

    key = ApiKey.objects.get(pk=issued.api_key.pk)
    # The gateway polls for what changed, and hears of it as of any revoked key.
    assert (key.revoked_at, key.changed_at) == (NOW + GRACE, NOW + GRACE)
    assert client.get("/api/v1/instances", headers=bearer).status_code == 401
    assert ApiKey.objects.get(pk=own.api_key.pk).revoked_at is None
    assert client.get(f"/o/{organization.slug}/").status_code == 404
    assert client.post(f"/o/{organization.slug}/data/keep/").status_code == 404
    assert organization.slug not in client.get("/organizations/").content.decode()
    assert client.get(f"/o/{other.slug}/").status_code == 200
    assert actions(organization)[-2:] == ["key.revoked", "organization.closed"]
    with pytest.raises(UnableToIssueKey, match="closed"):
        issue_key(project=organization.projects.get(), name="late", scopes=[Scope.INFERENCE], created_by=None, now=NOW)


@pytest.mark.django_db
def test_its_instances_end_and_nobody_elses():
    organization = closing_organization()
    ours = [make_instance(NOW, organization.projects.get()) for _ in range(2)]
    theirs = make_instance(NOW)
    with as_platform():
        assert end_instances_of_closed_organizations(now=NOW) == 0
        close_due_organizations(now=NOW + GRACE)
        assert end_instances_of_closed_organizations(now=NOW + GRACE) == 2
        assert end_instances_of_closed_organizations(now=NOW + GRACE) == 0
        expire_reservations(now=NOW + GRACE)

    for instance in (*ours, theirs):
        instance.refresh_from_db()
    assert {(instance.state, instance.want) for instance in ours} == {(State.TERMINATING, Want.TERMINATED)}
    assert theirs.want == Want.RUNNING
    assert "organization is closed" in ours[0].events.order_by("-pk")[0].text


@pytest.mark.django_db
def test_the_only_owner_of_a_closed_organization_may_be_erased():
    organization = closed_organization()
    user = Membership.objects.get(organization=organization).user

    with as_platform():
        erase_person(user=user, now=NOW)

    assert not Membership.objects.filter(organization=organization).exists()
    assert actions(organization)[-1] == "member.erased"


@pytest.mark.django_db
def test_a_closed_organization_had_its_grace():
    organization = make_organization()

    with pytest.raises(IntegrityError, match="organization_closed_after_grace"), transaction.atomic():
        Organization.objects.filter(pk=organization.pk).update(closed_at=NOW)


def test_a_key_that_is_issued_while_it_closes_does_not_outlive_it(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = closing_organization()
        project = organization.projects.get()

        def work(number: int) -> int:
            if number == 0:
                with as_platform():
                    return close_due_organizations(now=NOW + GRACE)
            return make_key(project, now=NOW).api_key.pk

        own_database.in_threads(6, work)

        assert Organization.objects.get(pk=organization.pk).closed_at is not None
        assert not ApiKey.objects.filter(revoked_at=None).exists()
