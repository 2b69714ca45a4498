"""Let a directory keep groups, and let their people have the roles that were chosen for them here.

Each function locks the organization first, as accounts/services/members.py does. Rules: docs/adr/0013-provisioning.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact

from accounts.models import DirectoryGroup, DirectoryGroupMember, DirectoryPerson, Membership, Organization, Role
from accounts.models.directory import DEFAULT_ROLE, GIVEN_ROLES
from accounts.selectors import roles_given
from accounts.services.api_keys import revoke_keys_beyond_rights_of
from accounts.services.audit import record_event
from accounts.services.directory_people import (
    NO_SUCH_RECORD,
    AlreadyTaken,
    NotInDirectory,
    UnableToProvision,
    UnusableValue,
    readable,
)
from accounts.services.members import ONLY_OWNERS, change_role_by_directory, lock_organization, manager
from portal.lib.errors import DomainError


class UnableToSetGroupRole(DomainError):
    code = "unable_to_set_group_role"


MAXIMUM_GROUPS = 500


@dataclass(frozen=True, slots=True)
class GroupGiven:
    """A group as the directory describes it. members: public ids of people."""

    display_name: str
    members: frozenset[str]
    external_id: str = ""


@transaction.atomic
def add_group(*, organization: Organization, given: GroupGiven, now: datetime) -> DirectoryGroup:
    """Take a group into the directory; it gives no role until one is chosen for it.

    Raises UnusableValue, AlreadyTaken, UnableToProvision for too many groups.
    """
    organization = lock_organization(organization.pk)
    group = DirectoryGroup(organization=organization, created_at=now, changed_at=now)
    _describe(group, given)
    if DirectoryGroup.objects.owned_by(organization).count() >= MAXIMUM_GROUPS:
        raise UnableToProvision(f"A directory holds at most {MAXIMUM_GROUPS} groups here.")
    group.save()
    added, _removed = _set_members(group, given.members)
    _record("added", group, now, members=(None, len(added)))
    return group


@transaction.atomic
def change_group(
    *, organization: Organization, public_id: str, change: Callable[[DirectoryGroup], GroupGiven], now: datetime
) -> DirectoryGroup:
    """Describe a group anew, and let the roles of who came or went follow.

    change: gets the record as it is under the lock and returns what it shall be; what it raises changes nothing.
    Raises NotInDirectory, UnusableValue, AlreadyTaken.
    """
    organization = lock_organization(organization.pk)
    group = _current(organization, public_id)
    given = change(group)
    fields = _describe(group, given)
    before = _people_of(group)
    roles = roles_given(before)
    added, removed = _set_members(group, given.members)
    if not (fields or added or removed):
        return group
    group.changed_at = now
    group.save()
    changed = _follow(organization, roles, added | removed, now)
    count = (len(before), len(before) + len(added) - len(removed))
    _record_roles(changed, group, now)
    _record("changed", group, now, fields=fields, members=count if added or removed else None)
    return group


@transaction.atomic
def remove_group(*, organization: Organization, public_id: str, now: datetime) -> None:
    """Forget a group, and take back what it gave. Raises NotInDirectory."""
    organization = lock_organization(organization.pk)
    group = _current(organization, public_id)
    people = _people_of(group)
    before = roles_given(people)
    group.delete()
    _record_roles(_follow(organization, before, people, now), group, now)
    _record("removed", group, now, members=(len(people), None))


@transaction.atomic
def set_group_role(*, group: DirectoryGroup, role: Role | None, by: Membership, now: datetime) -> DirectoryGroup:
    """Choose what the people of a group are here, or with None let it give nothing; it holds from their next request.

    Raises UnableToSetGroupRole if `by` may not give that role, and for a group that is gone.
    """
    organization = lock_organization(by.organization_id)
    asker = manager(by, UnableToSetGroupRole)
    if role is not None and (role not in GIVEN_ROLES or not asker.may_grant(role)):
        raise UnableToSetGroupRole(ONLY_OWNERS)
    current = DirectoryGroup.objects.owned_by(organization).filter(pk=group.pk).first()
    if current is None:
        raise UnableToSetGroupRole("The directory has removed this group meanwhile.")
    was, is_now = current.role, role.value if role else ""
    if was == is_now:
        return current
    people = _people_of(current)
    before = roles_given(people)
    current.role = is_now
    current.save(update_fields=["role"])
    _record_roles(_follow(organization, before, people, now), current, now)
    record_event(
        "directory_group.role_set",
        organization_id=organization.pk,
        target=("directory_group", current.public_id),
        changes={"role": (was, is_now)},
        now=now,
    )
    return current


def _current(organization: Organization, public_id: str) -> DirectoryGroup:
    group = DirectoryGroup.objects.owned_by(organization).filter(public_id=public_id).first()
    if group is None:
        raise NotInDirectory(NO_SUCH_RECORD)
    return group


def _describe(group: DirectoryGroup, given: GroupGiven) -> list[str]:
    """Write what was given onto the record, and return the names of what is new."""
    fields = []
    for field in ("display_name", "external_id"):
        value = readable(getattr(given, field), field)
        if getattr(group, field) != value:
            setattr(group, field, value)
            fields.append(field)
    if not group.display_name:
        raise UnusableValue("A group of a directory has a displayName.")
    others = DirectoryGroup.objects.owned_by(group.organization).exclude(pk=group.pk)
    if others.filter(Exact(Lower("display_name"), Lower(Value(group.display_name)))).exists():
        raise AlreadyTaken("A group of the directory has this displayName already.")
    return fields


def _people_of(group: DirectoryGroup) -> set[int]:
    return set(DirectoryGroupMember.objects.filter(group=group).values_list("person_id", flat=True))


def _set_members(group: DirectoryGroup, members: frozenset[str]) -> tuple[set[int], set[int]]:
    """Let exactly these people be in a group; return who came and who went."""
    people = DirectoryPerson.objects.owned_by(group.organization)
    # PostgreSQL refuses some of what is not printable, and nobody is called that.
    readable_ids = [public_id for public_id in members if public_id.isprintable()]
    found = set(people.filter(public_id__in=readable_ids).values_list("pk", flat=True))
    if len(found) < len(members):
        raise UnusableValue("A member of the group is not in the directory here: provision the person first.")
    before = _people_of(group)
    added, removed = found - before, before - found
    DirectoryGroupMember.objects.filter(group=group, person__in=removed).delete()
    DirectoryGroupMember.objects.bulk_create(
        DirectoryGroupMember(organization=group.organization, group=group, person_id=pk) for pk in sorted(added)
    )
    return added, removed


@dataclass(frozen=True, slots=True)
class _RoleChange:
    member: Membership
    before: Role


def _follow(
    organization: Organization, before: Mapping[int, Role], people: set[int], now: datetime
) -> list[_RoleChange]:
    """Give people the role of their groups as they are now; return whose role that changed. Before any entry of theirs.

    before: what their groups gave them until now. Who is left without any begins anew; who had none and gets none
    keeps what they were given by hand.
    """
    after = roles_given(people)
    roles = dict.fromkeys(people & before.keys(), DEFAULT_ROLE) | after
    members = Membership.objects.owned_by(organization).filter(directory_person__in=roles)
    changes = []
    for member in members.select_related("directory_person").order_by("pk"):
        was = change_role_by_directory(member=member, role=roles[member.directory_person.pk])
        if was is not None:
            changes.append(_RoleChange(member, was))
    revoke_keys_beyond_rights_of([change.member for change in changes], now=now)
    return changes


def _record_roles(changes: list[_RoleChange], group: DirectoryGroup, now: datetime) -> None:
    for change in changes:
        record_event(
            "member.role_changed",
            organization_id=change.member.organization_id,
            target=("member", change.member.public_id),
            changes={
                "role": (change.before.value, change.member.role),
                "directory_group": (None, group.public_id),
            },
            now=now,
        )


def _record(
    action: str,
    group: DirectoryGroup,
    now: datetime,
    *,
    members: tuple[int | None, int | None] | None = None,
    fields: list[str] | None = None,
) -> None:
    record_event(
        f"directory_group.{action}",
        organization_id=group.organization_id,
        target=("directory_group", group.public_id),
        changes={**({"fields": (None, fields)} if fields else {}), **({"members": members} if members else {})},
        now=now,
    )
