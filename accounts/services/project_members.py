"""Say who leads a project and who works in it."""

from datetime import datetime

from django.db import transaction

from accounts.models import Membership, Project, ProjectMembership, ProjectRole
from accounts.services.api_keys import revoke_keys_beyond_rights
from accounts.services.audit import changed, record_event
from accounts.services.members import lock_organization
from portal.lib.errors import DomainError


class UnableToChangeProjectMember(DomainError):
    code = "unable_to_change_project_member"


@transaction.atomic
def set_project_role(
    *, project: Project, membership: Membership, role: ProjectRole, now: datetime
) -> ProjectMembership:
    """Give a member a part in a project, or another one; the same part changes nothing.

    Raises UnableToChangeProjectMember for who is no member of the project's organization.
    """
    lock_organization(project.organization_id)
    members = Membership.objects.filter(organization=project.organization_id)
    if not members.filter(pk=membership.pk).exists():
        raise UnableToChangeProjectMember("That person has left the organization.")
    known = ProjectMembership.objects.filter(project=project, membership=membership).first()
    if known is not None and known.role == role:
        return known
    part = known or ProjectMembership(
        organization_id=project.organization_id, project=project, membership=membership, created_at=now
    )
    changes = changed(role=(part.role or None, role.value))
    part.role = role
    part.save()
    record_event(
        "project.role_set",
        organization_id=project.organization_id,
        target=("project", project.public_id),
        changes={"member": (None, membership.public_id), **changes},
        now=now,
    )
    return part


@transaction.atomic
def remove_from_project(*, project: Project, membership: Membership, now: datetime) -> None:
    """End a member's part in a project, and their own keys that only this part allowed; they stay in the organization.

    Raises UnableToChangeProjectMember for who has none.
    """
    lock_organization(project.organization_id)
    part = ProjectMembership.objects.filter(project=project, membership=membership).first()
    if part is None:
        raise UnableToChangeProjectMember("That person is not in this project any more.")
    part.delete()
    now_without = Membership.objects.select_related("user", "organization").get(pk=membership.pk)
    revoke_keys_beyond_rights(membership=now_without, now=now)
    record_event(
        "project.member_removed",
        organization_id=project.organization_id,
        target=("project", project.public_id),
        changes={"member": (membership.public_id, None), "role": (part.role, None)},
        now=now,
    )
