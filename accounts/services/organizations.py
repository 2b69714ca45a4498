"""Create and change organizations and projects."""

from datetime import datetime

from django.db import connection, transaction
from django.utils.text import slugify

from accounts.models import ApiKey, Membership, Organization, Project, Role, User
from accounts.services.audit import changed, person, record_event
from portal.lib.errors import DomainError
from portal.lib.public_ids import random_base62
from portal.lib.tenancy import set_organization, set_user


class UnableToCreateOrganization(DomainError):
    code = "unable_to_create_organization"


class UnableToChangeOrganization(DomainError):
    code = "unable_to_change_organization"


class UnableToCreateProject(DomainError):
    code = "unable_to_create_project"


class UnableToRenameProject(DomainError):
    code = "unable_to_rename_project"


MAXIMUM_ORGANIZATIONS = 10
MAXIMUM_PROJECTS = 500
# Addresses there say nothing about where a person works.
PUBLIC_MAIL = frozenset(
    (
        *("gmail", "googlemail", "outlook", "hotmail", "live", "msn", "yahoo", "ymail", "icloud", "me", "mac", "aol"),
        *("proton", "protonmail", "gmx", "web", "mail", "qq", "163", "126", "yandex", "zoho", "fastmail", "tuta"),
    )
)


@transaction.atomic
def create_organization(*, owner: User, name: str, kind: Organization.Kind, now: datetime) -> Organization:
    """Create an organization with its first project and `owner` as its owner, and enter it.

    Raises UnableToCreateOrganization for an empty name, or when the user already owns too many.
    """
    name = " ".join(name.split())
    if not name:
        raise UnableToCreateOrganization("Give the organization a name.")
    set_user(owner.pk)
    # Lock the person, so that two requests at once cannot pass the limit together.
    User.objects.select_for_update(no_key=True).get(pk=owner.pk)
    if Membership.objects.of_user(owner).in_open().filter(role=Role.OWNER).count() >= MAXIMUM_ORGANIZATIONS:
        raise UnableToCreateOrganization(
            f"You already own {MAXIMUM_ORGANIZATIONS} organizations; leave or delete one first."
        )

    # Row-level security compares with the id, so the id comes first.
    organization_id = _next_organization_id()
    set_organization(organization_id)
    organization = Organization(id=organization_id, name=name, kind=kind, slug=_free_slug(name), created_at=now)
    organization.save(force_insert=True)
    Membership.objects.create(organization=organization, user=owner, role=Role.OWNER, created_at=now)
    Project.objects.create(organization=organization, name="Default", slug="default", created_at=now)
    record_event(
        "organization.created",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes={"name": (None, name), "kind": (None, kind.value)},
        actor=person(owner),
        now=now,
    )
    return organization


@transaction.atomic
def create_first_organization(*, owner: User, kind: Organization.Kind, now: datetime) -> Organization | None:
    """Create the organization of a person who just signed up, named after their address.

    Returns None, and changes nothing, for somebody who already belongs to one.
    """
    set_user(owner.pk)
    if Membership.objects.of_user(owner).exists():
        return None
    return create_organization(owner=owner, name=suggested_name(owner.email), kind=kind, now=now)


def suggested_name(email: str) -> str:
    """Return what an organization may be called: Acme Labs for ada@mail.acme-labs.com, Ada's lab for ada@gmail.com."""
    person, _, domain = email.partition("@")
    labels = domain.lower().split(".")
    # The name is the last label that is neither a country nor what comes before one: co.uk, ac.jp, edu.au.
    endings = 2 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 1  # noqa: PLR2004
    company = labels[-1 - endings] if len(labels) > endings else ""
    if not company or company in PUBLIC_MAIL:
        return f"{_title(person.partition('+')[0])}'s organization"[:120]
    return _title(company)[:120]


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.replace("-", " ").replace(".", " ").split())


@transaction.atomic
def change_organization(
    *, organization: Organization, name: str, kind: Organization.Kind, now: datetime
) -> Organization:
    """Rename an organization and say what kind it is; its address stays, since programs and links use it.

    Raises UnableToChangeOrganization for an empty name.
    """
    name = " ".join(name.split())
    if not name:
        raise UnableToChangeOrganization("Give the organization a name.")
    organization = Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    changes = changed(name=(organization.name, name), kind=(organization.kind, kind.value))
    organization.name = name
    organization.kind = kind
    organization.save(update_fields=["name", "kind"])
    record_event(
        "organization.changed",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes=changes,
        now=now,
    )
    return organization


@transaction.atomic
def record_export(*, organization: Organization, now: datetime) -> None:
    """Write down that somebody takes along everything that the organization has."""
    target = ("organization", organization.public_id)
    record_event("organization.exported", organization_id=organization.pk, target=target, now=now)


@transaction.atomic
def create_project(*, organization: Organization, name: str, now: datetime) -> Project:
    """Create a project. Raises UnableToCreateProject for an empty or taken name, or too many projects."""
    name = " ".join(name.split())
    if not name:
        raise UnableToCreateProject("Give the project a name.")
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    projects = Project.objects.owned_by(organization)
    if projects.count() >= MAXIMUM_PROJECTS:
        raise UnableToCreateProject(f"An organization has at most {MAXIMUM_PROJECTS} projects.")
    if projects.filter(name__iexact=name).exists():
        raise UnableToCreateProject(f"There is already a project called {name}.")
    slug = slugify(name)[:40] or "project"
    if projects.filter(slug=slug).exists():
        slug = f"{slug}-{random_base62(5).lower()}"
    project = Project.objects.create(organization=organization, name=name, slug=slug, created_at=now)
    record_event(
        "project.created",
        organization_id=organization.pk,
        target=("project", project.public_id),
        changes={"name": (None, name)},
        now=now,
    )
    return project


@transaction.atomic
def rename_project(*, project: Project, name: str, now: datetime) -> Project:
    """Rename a project; keys, instances and its address stay. Raises UnableToRenameProject like create_project."""
    name = " ".join(name.split())
    if not name:
        raise UnableToRenameProject("Give the project a name.")
    Organization.objects.select_for_update(no_key=True).get(pk=project.organization_id)
    siblings = Project.objects.filter(organization=project.organization_id).exclude(pk=project.pk)
    if siblings.filter(name__iexact=name).exists():
        raise UnableToRenameProject(f"There is already a project called {name}.")
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    changes = changed(name=(project.name, name))
    project.name = name
    project.save(update_fields=["name"])
    record_event(
        "project.renamed",
        organization_id=project.organization_id,
        target=("project", project.public_id),
        changes=changes,
        now=now,
    )
    return project


@transaction.atomic
def pin_project(*, project: Project, region_name: str, now: datetime) -> Project:
    """Let a project's requests to models be served in one region only, or with "" anywhere; within a second.

    region_name: of a region that is there, which the caller has looked up.
    """
    Organization.objects.select_for_update(no_key=True).get(pk=project.organization_id)
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    changes = changed(region=(project.region_name, region_name))
    if not changes:
        return project
    project.region_name = region_name
    project.save(update_fields=["region_name"])
    ApiKey.objects.filter(organization=project.organization_id, project=project).unrevoked().update(changed_at=now)
    record_event(
        "project.pinned",
        organization_id=project.organization_id,
        target=("project", project.public_id),
        changes=changes,
        now=now,
    )
    return project


def _next_organization_id() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('accounts_organization', 'id'))")
        return int(cursor.fetchone()[0])


def _free_slug(name: str) -> str:
    """Return an address made from the name; a taken one gets a random end, since we cannot see who has it."""
    base = slugify(name)[:40] or "organization"
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_slug_is_taken(%s)", [base])
        taken = cursor.fetchone()[0]
    return f"{base}-{random_base62(5).lower()}" if taken else base
