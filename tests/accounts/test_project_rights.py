"""What a part in a project lets a member do, in that project and nowhere else (T8).

Every page that takes the right of a project is tried by everybody who may come along, on an object of each of two
projects; docs/permissions.md is made from the same tables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.models import (
    PERMISSIONS_OF_PROJECT_ROLE,
    PERMISSIONS_OF_ROLE,
    ApiKey,
    Membership,
    Organization,
    Permission,
    Project,
    ProjectMembership,
    ProjectRole,
    Role,
    Scope,
    ServiceAccount,
)
from accounts.services.api_keys import UnableToIssueKey, issue_key
from accounts.services.members import change_role
from accounts.services.project_members import remove_from_project
from compute.models import Instance
from tests.factories.accounts import (
    make_key,
    make_membership,
    make_organization,
    make_project,
    make_project_membership,
    make_service_account,
    make_user,
)
from tests.factories.compute import make_instance
from tests.policy import POLICY
from tests.routes import ROUTES, Route, name_of

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
LEADER, WORKER = ProjectRole.PRINCIPAL_INVESTIGATOR, ProjectRole.MEMBER
IN_PROJECTS = [
    route
    for route in ROUTES
    if route.is_of_organization
    and getattr(get_resolver().resolve(route.address("nowhere", {})).func, "in_projects", False)
]


@dataclass(frozen=True)
class Place:
    """A project with one of everything in it."""

    project: Project
    objects: dict[str, str]


@pytest.fixture
def organization() -> Organization:
    return make_organization(owner=make_user())


def furnished(project: Project) -> Place:
    member = make_membership(project.organization, role=Role.VIEWER)
    make_project_membership(member, project)
    scopes = (Scope.INFERENCE,)
    return Place(
        project,
        {
            "project": project.public_id,
            "member": member.public_id,
            "key": make_key(project, scopes=scopes, now=NOW).api_key.public_id,
            "service_account": make_service_account(project, scopes=scopes).public_id,
            "instance": make_instance(NOW, project).public_id,
        },
    )


@pytest.fixture
def here(organization: Organization) -> Place:
    return furnished(organization.projects.get())


@pytest.fixture
def elsewhere(organization: Organization) -> Place:
    return furnished(make_project(organization, "Elsewhere"))


def enter(client: Client, membership: Membership) -> Client:
    client.force_login(membership.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp()
    session.save()
    return client


def taking_part(place: Place, part: ProjectRole, role: Role = Role.VIEWER) -> Membership:
    member = make_membership(place.project.organization, role=role)
    make_project_membership(member, place.project, part)
    return member


def statuses(client: Client, route: Route, place: Place) -> set[int]:
    address = route.address(place.project.organization.slug, place.objects)
    # Whether a page takes the method says nothing of who may use it.
    return {client.get(address).status_code, client.post(address).status_code} - {405}


def at(name: str, organization: Organization, *names: str) -> str:
    return reverse(name, args=[organization.slug, *names])


def test_there_are_pages_for_every_right_of_a_project():
    assert {POLICY[route.name].who for route in IN_PROJECTS} == {
        permission for permissions in PERMISSIONS_OF_PROJECT_ROLE.values() for permission in permissions
    }


@pytest.mark.parametrize("part", ProjectRole)
@pytest.mark.parametrize("route", IN_PROJECTS, ids=name_of)
@pytest.mark.asvs("8.2.2")
def test_a_part_opens_its_own_project_and_no_other(
    client: Client, here: Place, elsewhere: Place, route: Route, part: ProjectRole
):
    enter(client, taking_part(here, part))
    is_given = route.rule.who in PERMISSIONS_OF_PROJECT_ROLE[part]

    assert (403 not in statuses(client, route, here)) is is_given
    if route.rule.objects:
        assert statuses(client, route, elsewhere) == {403}


@pytest.mark.parametrize("role", [role for role in Role if Permission.MANAGE_KEYS not in PERMISSIONS_OF_ROLE[role]])
@pytest.mark.parametrize("route", IN_PROJECTS, ids=name_of)
def test_without_a_part_the_role_decides(client: Client, here: Place, route: Route, role: Role):
    enter(client, make_membership(here.project.organization, role=role))

    assert statuses(client, route, here) == {403}


@pytest.mark.parametrize("route", IN_PROJECTS, ids=name_of)
def test_a_part_in_another_organization_opens_nothing_here(client: Client, here: Place, route: Route):
    other = furnished(make_organization().projects.get())
    member = taking_part(other, LEADER)
    Membership.objects.create(
        organization=here.project.organization, user=member.user, role=Role.VIEWER, created_at=NOW
    )
    enter(client, member)

    assert statuses(client, route, here) == {403}


# --- Keys ----------------------------------------------------------------------------------------


def key_form(place: Place, *scopes: str) -> dict[str, object]:
    return {"name": "mine", "project": place.project.public_id, "scopes": list(scopes), "expires_in": "30"}


def test_a_member_makes_keys_of_their_project_only(client: Client, here: Place, elsewhere: Place):
    organization = here.project.organization
    enter(client, taking_part(here, WORKER))
    address = at("accounts:key-create", organization)
    before = set(ApiKey.objects.all())

    page = client.get(address).content.decode()
    assert here.project.public_id in page
    assert elsewhere.project.public_id not in page

    assert client.post(address, key_form(elsewhere, "inference")).status_code == 422
    assert client.post(address, key_form(here, "inference", "instances:read")).status_code == 200
    [made] = set(ApiKey.objects.all()) - before
    assert (made.project, made.scopes) == (here.project, ["inference", "instances:read"])


@pytest.mark.parametrize("scope", ["instances:write", "usage:read", "billing:read", "keys:write", "audit:read"])
def test_a_part_gives_no_scope_that_reaches_beyond_the_project(client: Client, here: Place, scope: str):
    enter(client, taking_part(here, LEADER))
    organization = here.project.organization
    before = set(ApiKey.objects.all())

    answers = [
        client.post(at("accounts:key-create", organization), key_form(here, scope)),
        client.post(at("accounts:service-account-create", organization), key_form(here, scope)),
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert set(ApiKey.objects.all()) == before
    assert ServiceAccount.objects.count() == 1


def test_a_scope_of_another_project_is_refused_in_this_one(client: Client, here: Place, elsewhere: Place):
    """Who works in one project and bills the organization gives each key what may be given there."""
    enter(client, taking_part(here, WORKER, Role.BILLING))
    address = at("accounts:key-create", here.project.organization)

    assert client.post(address, key_form(here, "inference", "billing:read")).status_code == 200
    assert client.post(address, key_form(elsewhere, "billing:read")).status_code == 422


@pytest.mark.parametrize("name", ["accounts:key-rotate", "accounts:key-change"])
def test_a_key_that_may_more_than_the_member_is_out_of_reach(client: Client, here: Place, name: str):
    wide = make_key(here.project, scopes=(Scope.INFERENCE, Scope.INSTANCES_WRITE), now=NOW).api_key
    enter(client, taking_part(here, LEADER))
    address = at(name, here.project.organization, wide.public_id)

    assert client.get(address).status_code == client.post(address, {"overlap": "0", "name": "x"}).status_code == 403

    page = client.get(at("accounts:key-detail", here.project.organization, wide.public_id)).content.decode()
    assert address not in page
    assert at("accounts:key-revoke", here.project.organization, wide.public_id) in page


def test_pages_offer_what_the_part_opens_and_nothing_else(client: Client, here: Place, elsewhere: Place):
    organization = here.project.organization
    enter(client, taking_part(here, WORKER))

    keys = client.get(at("accounts:key-list", organization)).content.decode()
    assert at("accounts:key-create", organization) in keys
    assert at("accounts:key-revoke", organization, here.objects["key"]) in keys
    assert at("accounts:key-revoke", organization, elsewhere.objects["key"]) not in keys
    assert at("compute:instance-launch", organization) in keys
    mine, theirs = (
        client.get(at("compute:instance-detail", organization, place.objects["instance"])).content.decode()
        for place in (here, elsewhere)
    )
    assert at("compute:instance-terminate", organization, here.objects["instance"]) in mine
    assert at("compute:instance-terminate", organization, elsewhere.objects["instance"]) not in theirs


def own_key(member: Membership, project: Project, *scopes: Scope) -> ApiKey:
    return issue_key(
        project=project, name="own", scopes=scopes, created_by=member.user, now=NOW, is_personal=True
    ).api_key


def is_alive(key: ApiKey) -> bool:
    return ApiKey.objects.get(pk=key.pk).is_usable(NOW)


def test_whoever_leaves_the_project_loses_the_keys_that_only_it_allowed(here: Place):
    worker, developer = taking_part(here, WORKER), taking_part(here, WORKER, Role.DEVELOPER)
    lost, harmless = own_key(worker, here.project, Scope.INFERENCE), own_key(worker, here.project, Scope.INSTANCES_READ)
    kept = own_key(developer, here.project, Scope.INFERENCE)
    shared = issue_key(
        project=here.project, name="ours", scopes=[Scope.INFERENCE], created_by=worker.user, now=NOW
    ).api_key

    for member in (worker, developer):
        remove_from_project(project=here.project, membership=member, now=NOW)

    assert [is_alive(key) for key in (lost, harmless, kept, shared)] == [False, True, True, True]


@pytest.mark.asvs("8.3.3")
def test_whoever_is_demoted_loses_the_keys_that_only_the_role_allowed(here: Place, elsewhere: Place):
    owner = here.project.organization.memberships.filter(role=Role.OWNER).get()
    member = taking_part(here, WORKER, Role.DEVELOPER)
    kept, lost = own_key(member, here.project, Scope.INFERENCE), own_key(member, elsewhere.project, Scope.INFERENCE)
    wide = own_key(member, here.project, Scope.INFERENCE, Scope.INSTANCES_WRITE)

    change_role(membership=member, role=Role.VIEWER, by=owner, now=NOW)

    assert [is_alive(key) for key in (kept, lost, wide)] == [True, False, False]


@pytest.mark.asvs("8.3.3")
def test_nobody_has_a_key_of_their_own_that_may_more_than_they(here: Place):
    worker = taking_part(here, WORKER)

    with pytest.raises(UnableToIssueKey, match="may do no more than you"):
        own_key(worker, here.project, Scope.INFERENCE, Scope.USAGE_READ)


# --- Instances -----------------------------------------------------------------------------------


def test_a_member_launches_in_their_project_only(client: Client, here: Place, elsewhere: Place):
    enter(client, taking_part(here, WORKER))
    address = at("compute:instance-launch", here.project.organization)
    form = client.get(address).context["form"]
    instance = Instance.objects.get(public_id=here.objects["instance"])
    data = {
        "instance_type": instance.instance_type.name,
        "region": instance.region.name,
        "lease_class": "on_demand",
        "image": next(iter(form.images)),
        "ssh_keys": list(form.keys),
        "name": "mine",
        "auto_stop": "never",
        "request_key": "x" * 20,
    }
    before = Instance.objects.count()

    assert list(form.projects) == [here.project.public_id]
    refused = client.post(address, data | {"project": elsewhere.project.public_id})
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["project"])
    launched = client.post(address, data | {"project": here.project.public_id})

    assert launched.status_code in (302, 303), launched.context["form"].errors
    assert Instance.objects.count() == before + 1
    assert Instance.objects.get(name="mine").project == here.project


# --- Members -------------------------------------------------------------------------------------


def parts_of(place: Place) -> dict[str, str]:
    parts = ProjectMembership.objects.filter(project=place.project)
    return {part.membership.public_id: part.role for part in parts.select_related("membership")}


def test_a_leader_says_who_works_in_their_project(client: Client, here: Place):
    organization = here.project.organization
    enter(client, taking_part(here, LEADER))
    newcomer = make_membership(organization, role=Role.VIEWER)
    address = at("accounts:project-member-set", organization, here.project.public_id)

    client.post(address, {"member": newcomer.public_id, "project_role": LEADER})
    assert parts_of(here)[newcomer.public_id] == LEADER
    client.post(at("accounts:project-member-remove", organization, here.project.public_id, newcomer.public_id))

    assert newcomer.public_id not in parts_of(here)


@pytest.mark.parametrize("part", ProjectRole)
def test_a_part_opens_nothing_of_the_organization(client: Client, here: Place, part: ProjectRole):
    organization = here.project.organization
    enter(client, taking_part(here, part))
    closed: list[Callable[[], int]] = [
        lambda: client.get(at("accounts:project-create", organization)).status_code,
        lambda: client.post(at("accounts:project-rename", organization, here.project.public_id)).status_code,
        lambda: client.get(at("accounts:member-invite", organization)).status_code,
        lambda: client.post(at("accounts:member-remove", organization, here.objects["member"])).status_code,
        lambda: client.get(at("accounts:audit-log", organization)).status_code,
        lambda: client.get(at("billing:spend", organization)).status_code,
        lambda: client.get(at("accounts:organization-settings", organization)).status_code,
    ]

    assert [ask() for ask in closed] == [403] * len(closed)
