"""What one organization has counts for nothing in another: decisions of services, asked beside a neighbour.

Each holds twice: the service asks for rows of its organization, and to the app role no others exist. Without the
first, tests/test_tenant_mutants.py sees these fail where row-level security is off, and pass where it is on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import asyncssh
import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.test import Client

from accounts.gateways import Person
from accounts.models import AuditEndpoint, DirectoryGroup, DirectoryPerson, Membership, Organization, Role, Scope
from accounts.selectors import must_come_through, sso_slug_of_address
from accounts.services.api_keys import UnableToIssueKey, issue_key
from accounts.services.audit import record_event
from accounts.services.audit_endpoints import add_endpoint, change_endpoint_address
from accounts.services.directory_groups import MAXIMUM_GROUPS, GroupGiven, add_group
from accounts.services.directory_people import MAXIMUM_PEOPLE, PersonGiven, add_person
from accounts.services.domain_join import admit
from accounts.services.domains import UnableToChangeDomain, add_domain, remove_domain
from accounts.services.sso_connections import UnableToNameBreakGlass, UnableToRequireSso, name_break_glass, require_sso
from accounts.services.sso_sign_in import admit_person
from compute.models import SshKey
from compute.services.launching import launch_instances
from portal.lib.tenancy import set_organization
from tests.factories.accounts import (
    make_audit_endpoint,
    make_directory_group,
    make_directory_person,
    make_directory_token,
    make_domain,
    make_membership,
    make_organization,
    make_sso_connection,
    make_sso_identity,
    make_user,
)
from tests.factories.compute import make_request, make_ssh_key
from tests.support import as_served

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
URL = "https://hooks.example.com/audit"


@contextmanager
def entered(organization: Organization) -> Iterator[None]:
    with as_served():
        set_organization(organization.pk)
        yield


def named(organization: Organization) -> Membership:
    """An owner who may enter without single sign-on."""
    owner = make_membership(organization, make_user())
    Membership.objects.filter(pk=owner.pk).update(is_break_glass=True)
    owner.refresh_from_db()
    return owner


def test_both_may_claim_a_domain_and_send_their_logs_to_one_address():
    ours, neighbour = make_organization(), make_organization()
    make_domain(neighbour, "acme.example", verified_at=None)
    make_audit_endpoint(neighbour, URL)
    owner, endpoint = make_membership(ours), make_audit_endpoint(ours)

    with entered(ours):
        assert add_domain(name="acme.example", by=owner, now=NOW).organization_id == ours.pk
        assert change_endpoint_address(endpoint=endpoint, url=URL, now=NOW).url == URL


def test_an_endpoint_begins_at_the_end_of_its_own_log():
    ours, neighbour = make_organization(), make_organization()
    for organization, count in ((ours, 1), (neighbour, 3)):
        for _ in range(count):
            record_event("project.renamed", organization_id=organization.pk, target=("project", "proj_1"), now=NOW)

    with entered(ours):
        added = add_endpoint(organization=ours, url=URL, from_start=False, now=NOW)

    assert AuditEndpoint.objects.get(pk=added.endpoint.pk).delivered_sequence == 1


def test_an_entry_names_no_delivery_of_another_log():
    ours, neighbour = make_organization(), make_organization()
    make_audit_endpoint(neighbour)
    waiting = len(connection.run_on_commit)

    with entered(ours):
        record_event("project.renamed", organization_id=ours.pk, target=("project", "proj_1"), now=NOW)

    # There is nowhere to send ours, and the neighbour's has nothing new.
    assert len(connection.run_on_commit) == waiting


def test_only_members_of_the_organization_have_a_key_of_their_own_there():
    ours, neighbour = make_organization(), make_organization()
    person, project = make_membership(neighbour).user, ours.projects.get()

    with entered(ours), pytest.raises(UnableToIssueKey, match="Only a member"):
        issue_key(project=project, name="own", scopes=[Scope.INFERENCE], created_by=person, now=NOW, is_personal=True)


def test_who_is_a_member_of_a_neighbour_is_admitted():
    ours, person = make_organization(), make_membership(make_organization()).user

    with entered(ours):
        assert admit(organization=ours, user=person, role=Role.VIEWER, now=NOW).organization_id == ours.pk


def test_a_pasted_key_keeps_the_name_that_a_neighbours_has():
    ours, neighbour = make_organization(), make_organization()
    make_ssh_key(neighbour, "laptop")
    line = asyncssh.generate_private_key("ssh-ed25519", comment="laptop").export_public_key().decode()
    request = make_request(ours.projects.get(), ssh_keys=[], new_public_key=line)

    with entered(ours):
        launch_instances(request=request, now=NOW)

    assert SshKey.objects.owned_by(ours).filter(name="laptop").exists()


@pytest.mark.parametrize("lacking", ["domain", "glass"])
def test_single_sign_on_is_not_required_for_what_a_neighbour_has(lacking: str):
    ours, neighbour = make_organization(), make_organization()
    make_domain(neighbour, "neighbour.example")
    named(neighbour)
    owner = make_membership(ours) if lacking == "glass" else named(ours)
    if lacking != "domain":
        make_domain(ours, "acme.example")
    make_sso_identity(make_sso_connection(ours), owner)

    with entered(ours), pytest.raises(UnableToRequireSso, match="domain" if lacking == "domain" else "Name an owner"):
        require_sso(by=owner, now=NOW)


def test_the_last_domain_and_the_last_way_in_stay_whatever_a_neighbour_has():
    ours, neighbour = make_organization(), make_organization()
    make_domain(neighbour, "neighbour.example")
    named(neighbour)
    owner, domain = named(ours), make_domain(ours, "acme.example")
    Organization.objects.filter(pk=ours.pk).update(sso_required_at=NOW)

    with entered(ours):
        with pytest.raises(UnableToChangeDomain, match="Stop requiring"):
            remove_domain(domain=domain, by=owner, now=NOW)
        with pytest.raises(UnableToNameBreakGlass, match="only owner"):
            name_break_glass(membership=owner, may_enter=False, by=owner, now=NOW)


def test_an_address_leads_to_the_provider_of_the_organization_whose_domain_it_is():
    neighbour, ours = make_organization(), make_organization()
    make_sso_connection(neighbour)
    make_sso_connection(ours)
    make_domain(ours, "acme.example")

    with as_served():
        assert sso_slug_of_address("ada@acme.example") == ours.slug


def test_single_sign_on_binds_nobody_by_a_domain_of_a_neighbour():
    ours, neighbour = make_organization(), make_organization()
    make_sso_connection(ours)
    make_domain(neighbour, "neighbour.example")
    Organization.objects.filter(pk=ours.pk).update(sso_required_at=NOW)
    ours.refresh_from_db()
    guest = make_membership(ours, make_user("guest@neighbour.example"), Role.VIEWER)

    with entered(ours):
        assert must_come_through(guest) is None


def test_two_directories_may_list_one_person_and_groups_of_one_name():
    ours, neighbour = make_organization(), make_organization()
    person = make_user("ada@acme.example")
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    make_domain(ours, "acme.example")
    make_directory_person(neighbour, person.email, membership=make_membership(neighbour, person))
    make_directory_group(neighbour, "Everybody")

    with entered(ours):
        given = PersonGiven(user_name=person.email, email=person.email, is_active=True)
        added = add_person(organization=ours, given=given, now=NOW)
        add_group(organization=ours, given=GroupGiven("Everybody", frozenset()), now=NOW)

    membership = Membership.objects.get(organization=ours, user=person)
    assert DirectoryPerson.objects.get(pk=added.pk).membership == membership


def test_a_full_directory_of_a_neighbour_leaves_room_here():
    ours, neighbour = make_organization(), make_organization()
    at = {"organization": neighbour, "created_at": NOW, "changed_at": NOW}
    DirectoryGroup.objects.bulk_create(DirectoryGroup(display_name=f"g{n}", **at) for n in range(MAXIMUM_GROUPS))
    DirectoryPerson.objects.bulk_create(
        DirectoryPerson(user_name=f"p{n}", email=f"p{n}@neighbour.example", **at) for n in range(MAXIMUM_PEOPLE)
    )
    domain = make_domain(ours, "ours.example")

    with entered(ours):
        email = f"ada@{domain.name}"
        add_person(organization=ours, given=PersonGiven(user_name=email, email=email, is_active=True), now=NOW)
        add_group(organization=ours, given=GroupGiven("Everybody", frozenset()), now=NOW)

    assert (ours.directory_people.count(), ours.directory_groups.count()) == (1, 1)


def test_a_member_elsewhere_comes_in_for_the_first_time():
    ours, neighbour = make_organization(), make_organization()
    domain, connection = make_domain(ours, "ours.example"), make_sso_connection(ours)
    person = make_user(f"ada@{domain.name}")
    EmailAddress.objects.create(user=person, email=person.email, verified=True, primary=True)
    make_membership(neighbour, person)

    with entered(ours):
        entered_as = admit_person(connection=connection, said=Person(subject="ada", email=person.email), now=NOW)

    assert (entered_as.organization_id, entered_as.user_id) == (ours.pk, person.pk)


def test_a_group_of_a_neighbour_is_missing_before_the_body_is_read(client: Client):
    ours, neighbour = make_organization(), make_organization()
    token = make_directory_token(make_membership(ours, role=Role.OWNER), now=datetime.now(UTC))
    group = make_directory_group(neighbour, "Night shift")

    def patch(public_id: str) -> int:
        answer = client.patch(
            f"/scim/v2/Groups/{public_id}",
            "no patch",
            content_type="application/scim+json",
            headers={"Authorization": f"Bearer {token.secret}"},
        )
        return int(answer.status_code)

    assert patch(group.public_id) == patch("scimgroup_nobody") == 404
