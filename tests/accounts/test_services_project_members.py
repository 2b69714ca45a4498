"""Who leads a project and who works in it."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Membership, Organization, Project, ProjectMembership, ProjectRole, Role
from accounts.services.members import leave_organization
from accounts.services.project_members import UnableToChangeProjectMember, remove_from_project, set_project_role
from tests.factories.accounts import make_membership, make_organization, make_project_membership

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEADER, WORKER = ProjectRole.PRINCIPAL_INVESTIGATOR, ProjectRole.MEMBER


@pytest.fixture
def organization() -> Organization:
    return make_organization()


@pytest.fixture
def project(organization: Organization) -> Project:
    return organization.projects.get()


def parts(project: Project) -> list[tuple[Membership, str]]:
    return [(part.membership, part.role) for part in ProjectMembership.objects.filter(project=project).in_order()]


def changes(project: Project) -> list[tuple[str, str]]:
    entries = AuditEvent.objects.filter(target_id=project.public_id).order_by("sequence")
    return [(entry.action, entry.changes) for entry in entries]


def test_gives_a_part_then_another_and_takes_it_away(organization: Organization, project: Project):
    member = make_membership(organization, role=Role.DEVELOPER)

    set_project_role(project=project, membership=member, role=WORKER, now=NOW)
    set_project_role(project=project, membership=member, role=LEADER, now=NOW)
    set_project_role(project=project, membership=member, role=LEADER, now=NOW)
    assert parts(project) == [(member, LEADER)]
    remove_from_project(project=project, membership=member, now=NOW)

    assert parts(project) == []
    assert changes(project) == [
        ("project.role_set", f'{{"member": [null, "{member.public_id}"], "role": [null, "member"]}}'),
        (
            "project.role_set",
            f'{{"member": [null, "{member.public_id}"], "role": ["member", "principal_investigator"]}}',
        ),
        (
            "project.member_removed",
            f'{{"member": ["{member.public_id}", null], "role": ["principal_investigator", null]}}',
        ),
    ]
    assert Membership.objects.get(pk=member.pk).role == Role.DEVELOPER


def test_refuses_outsiders_who_left_and_who_is_not_in_it(organization: Organization, project: Project):
    make_membership(organization)
    gone = make_membership(organization)
    leave_organization(membership=gone, now=NOW)
    outsider = make_membership(make_organization())

    for membership in (gone, outsider):
        with pytest.raises(UnableToChangeProjectMember, match="has left"):
            set_project_role(project=project, membership=membership, role=WORKER, now=NOW)
        with pytest.raises(UnableToChangeProjectMember, match="not in this project"):
            remove_from_project(project=project, membership=membership, now=NOW)

    assert parts(project) == []
    assert changes(project) == []


def sign_in(client: Client, member: Membership) -> Client:
    client.force_login(member.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    return client


def address(name: str, project: Project, *args: str) -> str:
    return reverse(f"accounts:{name}", args=[project.organization.slug, project.public_id, *args])


def test_an_admin_says_on_the_projects_page_who_leads_it(client: Client, organization: Organization, project: Project):
    admin, member = make_membership(organization, role=Role.ADMIN), make_membership(organization, role=Role.VIEWER)
    sign_in(client, admin)
    assert "Nobody is in this project yet" in client.get(address("project-detail", project)).content.decode()

    form = {"member": member.public_id, "project_role": "principal_investigator"}
    page = client.post(address("project-member-set", project), form, follow=True).content.decode()

    assert f"{member.user.email} is in this project as Principal investigator." in page
    remove = address("project-member-remove", project, member.public_id)
    assert remove in page
    assert f"{member.user.email} is no longer in this project." in client.post(remove, follow=True).content.decode()
    assert "That person is not in this project any more." in client.post(remove, follow=True).content.decode()


def test_refuses_a_member_of_another_organization(client: Client, organization: Organization, project: Project):
    sign_in(client, make_membership(organization))
    outsider = make_membership(make_organization())

    answer = client.post(
        address("project-member-set", project), {"member": outsider.public_id, "project_role": "member"}
    )

    assert answer.status_code == 422
    assert "not one of the available choices" in answer.content.decode()
    assert parts(project) == []


def test_a_viewer_sees_who_is_in_it_and_changes_nothing(client: Client, organization: Organization, project: Project):
    viewer = make_membership(organization, role=Role.VIEWER)
    make_project_membership(viewer, project, WORKER)

    page = sign_in(client, viewer).get(address("project-detail", project)).content.decode()

    assert "Member" in page
    assert address("project-member-set", project) not in page
    assert address("project-member-remove", project, viewer.public_id) not in page
    form = {"member": viewer.public_id, "project_role": "member"}
    assert client.post(address("project-member-set", project), form).status_code == 403
    assert parts(project) == [(viewer, WORKER)]
