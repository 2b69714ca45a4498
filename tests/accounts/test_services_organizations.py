"""Organizations and projects: how they begin, what is refused."""

from datetime import UTC, datetime

import pytest

from accounts.models import Membership, Organization, Project, Role
from accounts.services.organizations import (
    MAXIMUM_ORGANIZATIONS,
    UnableToChangeOrganization,
    UnableToCreateOrganization,
    UnableToCreateProject,
    UnableToRenameProject,
    change_organization,
    create_first_organization,
    create_organization,
    create_project,
    rename_project,
    suggested_name,
)
from tests.factories.accounts import make_organization, make_project, make_user
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.django_db
def test_begins_with_a_project_and_its_owner():
    owner = make_user()

    organization = create_organization(owner=owner, name="  Acme   Labs ", kind=Organization.Kind.RESEARCH, now=NOW)

    assert (organization.name, organization.slug, organization.kind) == ("Acme Labs", "acme-labs", "research")
    assert [(m.user, m.role) for m in Membership.objects.owned_by(organization)] == [(owner, Role.OWNER)]
    assert [project.name for project in Project.objects.owned_by(organization)] == ["Default"]


@pytest.mark.django_db
def test_a_taken_address_gets_another_end():
    first = create_organization(owner=make_user(), name="Acme", kind=Organization.Kind.STARTUP, now=NOW)
    second = create_organization(owner=make_user(), name="Acme", kind=Organization.Kind.STARTUP, now=NOW)

    assert first.slug == "acme"
    assert second.slug.startswith("acme-")


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["", "   ", "\t\n"])
def test_refuses_an_organization_without_a_name(name: str):
    with pytest.raises(UnableToCreateOrganization, match="name"):
        create_organization(owner=make_user(), name=name, kind=Organization.Kind.STARTUP, now=NOW)

    assert not Organization.objects.exists()


def test_two_requests_at_once_do_not_pass_the_limit_together(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        owner = make_user()
        for _ in range(MAXIMUM_ORGANIZATIONS - 1):
            make_organization(owner=owner)

    def create(number: int) -> Organization:
        return create_organization(owner=owner, name=f"New {number}", kind=Organization.Kind.STARTUP, now=NOW)

    with own_database.in_use():
        results = own_database.in_threads(4, create)

    assert sum(isinstance(result, Organization) for result in results) == 1
    assert sum(isinstance(result, UnableToCreateOrganization) for result in results) == 3


@pytest.mark.django_db
def test_a_first_organization_is_made_once():
    owner = make_user("ada@acme-labs.com")

    first = create_first_organization(owner=owner, kind=Organization.Kind.STARTUP, now=NOW)
    second = create_first_organization(owner=owner, kind=Organization.Kind.STARTUP, now=NOW)

    assert first is not None
    assert first.name == "Acme Labs"
    assert second is None
    assert Organization.objects.count() == 1


@pytest.mark.parametrize(
    ("email", "name"),
    [
        ("ada@acme.com", "Acme"),
        ("ada@mail.acme-labs.com", "Acme Labs"),
        ("ada@acme.co.uk", "Acme"),
        ("ada@cs.tsinghua.edu.cn", "Tsinghua"),
        ("ada.king@gmail.com", "Ada King's organization"),
        ("ada+try@outlook.com", "Ada's organization"),
        ("ada@localhost", "Ada's organization"),
        ("a" * 64 + "@gmail.com", "A" + "a" * 63 + "'s organization"),
    ],
)
def test_suggests_a_name_from_the_address(email: str, name: str):
    assert suggested_name(email) == name


@pytest.mark.django_db
def test_renames_without_moving():
    organization = make_organization()

    changed = change_organization(
        organization=organization, name="Acme Two", kind=Organization.Kind.ENTERPRISE, now=NOW
    )

    assert (changed.name, changed.kind, changed.slug) == ("Acme Two", "enterprise", organization.slug)


@pytest.mark.django_db
def test_refuses_to_take_the_name_away():
    organization = make_organization("Acme")

    with pytest.raises(UnableToChangeOrganization):
        change_organization(organization=organization, name=" ", kind=Organization.Kind.ENTERPRISE, now=NOW)

    organization.refresh_from_db()
    assert (organization.name, organization.kind) == ("Acme", "startup")


@pytest.mark.django_db
def test_refuses_two_projects_of_one_name():
    organization = make_organization()
    create_project(organization=organization, name="Evaluation", now=NOW)

    with pytest.raises(UnableToCreateProject, match="already a project called evaluation"):
        create_project(organization=organization, name="evaluation", now=NOW)

    assert Project.objects.owned_by(organization).count() == 2


@pytest.mark.django_db
def test_names_that_differ_may_share_an_address_stem():
    organization = make_organization()

    first = create_project(organization=organization, name="R&D", now=NOW)
    second = create_project(organization=organization, name="RD", now=NOW)

    assert first.slug == "rd"
    assert second.slug.startswith("rd-")


@pytest.mark.django_db
def test_renames_a_project_unless_the_name_is_taken():
    organization = make_organization()
    project = make_project(organization, "Training")
    make_project(organization, "Evaluation")

    with pytest.raises(UnableToRenameProject):
        rename_project(project=project, name="EVALUATION", now=NOW)
    project.refresh_from_db()
    assert project.name == "Training"

    assert rename_project(project=project, name="Training 2", now=NOW).name == "Training 2"
