"""Change who belongs to an organization as what.

Each function locks the organization first and then reads again who asks and who is meant. Of two changes at once the
second sees what the first left: that is why an organization never loses its last owner.
"""

from datetime import datetime

from django.db import transaction

from accounts.models import Membership, Organization, Permission, Role
from accounts.selectors import is_only_owner
from accounts.services.api_keys import revoke_personal_keys
from accounts.services.audit import record_event
from portal.lib.errors import DomainError


class UnableToChangeRole(DomainError):
    code = "unable_to_change_role"


class UnableToRemoveMember(DomainError):
    code = "unable_to_remove_member"


class UnableToLeave(DomainError):
    code = "unable_to_leave"


class UnableToTransferOwnership(DomainError):
    code = "unable_to_transfer_ownership"


ROLE_LOST = "Your own role has changed: you may no longer do this."
ONLY_OWNERS = "Only an owner can make or unmake owners."
OWNERS_STAY = "An owner is removed by another owner, in the portal: no directory does it."


def lock_organization(organization_id: int) -> Organization:
    """Return the organization, whose members nobody else changes until the transaction ends."""
    # Not against rows that refer to the organization: whoever wrote one may hold the audit log that we lock last.
    return Organization.objects.select_for_update(no_key=True).get(pk=organization_id)


def manager(by: Membership, refusal: type[DomainError]) -> Membership:
    """Return who asks as they are under the lock. Raises `refusal` if they may no longer manage members."""
    return allowed(by, Permission.MANAGE_MEMBERS, refusal)


def allowed(by: Membership, permission: Permission, refusal: type[DomainError]) -> Membership:
    """Return who asks as they are under the lock. Raises `refusal` if they have lost the permission."""
    asker = _current(by)
    if asker is None or not asker.may(permission):
        raise refusal(ROLE_LOST)
    return asker


@transaction.atomic
def change_role(*, membership: Membership, role: Role, by: Membership, now: datetime) -> Membership:
    """Give a member another role, from their next request on; the same role changes nothing.

    Raises UnableToChangeRole if `by` may not, if the member is gone, or if no owner would be left.
    """
    organization = lock_organization(membership.organization_id)
    asker = manager(by, UnableToChangeRole)
    member = _current(membership)
    if member is None:
        raise UnableToChangeRole("That person has left the organization.")
    before = Role(member.role)
    if before is role:
        return member
    if not (asker.may_grant(before) and asker.may_grant(role)):
        raise UnableToChangeRole(ONLY_OWNERS)
    if is_only_owner(member):
        raise UnableToChangeRole("An organization needs an owner: make somebody else an owner first.")
    member.role = role
    member.save(update_fields=["role"])
    record_event(
        "member.role_changed",
        organization_id=organization.pk,
        target=("member", member.public_id),
        changes={"role": (before.value, role.value)},
        now=now,
    )
    return member


@transaction.atomic
def remove_member(*, membership: Membership, by: Membership, now: datetime) -> None:
    """End somebody's membership, their access from their next request on, and the keys that they made for themselves.

    Raises UnableToRemoveMember if `by` may not or means themselves, or if the person is gone already.
    """
    organization = lock_organization(membership.organization_id)
    asker = manager(by, UnableToRemoveMember)
    member = _current(membership)
    if member is None:
        raise UnableToRemoveMember("That person has left the organization already.")
    if member == asker:
        raise UnableToRemoveMember("To go yourself, leave the organization.")
    if not asker.may_grant(Role(member.role)):
        raise UnableToRemoveMember("Only an owner can remove an owner.")
    _end(member, now)
    record_event(
        "member.removed",
        organization_id=organization.pk,
        target=("member", membership.public_id),
        changes={"person": (member.user.public_id, None), "role": (member.role, None)},
        now=now,
    )


@transaction.atomic
def leave_organization(*, membership: Membership, now: datetime) -> None:
    """End one's own membership, and the keys that one made for oneself.

    Raises UnableToLeave for the only owner, and for who is gone already.
    """
    organization = lock_organization(membership.organization_id)
    member = _current(membership)
    if member is None:
        raise UnableToLeave("You have left the organization already.")
    if is_only_owner(member):
        raise UnableToLeave("You are the only owner: make somebody else an owner first.")
    _end(member, now)
    record_event(
        "member.left",
        organization_id=organization.pk,
        target=("member", membership.public_id),
        changes={"person": (member.user.public_id, None), "role": (member.role, None)},
        now=now,
    )


@transaction.atomic
def transfer_ownership(*, to: Membership, by: Membership, now: datetime) -> Membership:
    """Make another member an owner and oneself an admin, in one step; return the new owner.

    Raises UnableToTransferOwnership unless `by` is an owner, or if the other is gone or the same person.
    """
    organization = lock_organization(by.organization_id)
    asker, heir = _current(by), _current(to)
    if asker is None or not asker.may(Permission.OWN):
        raise UnableToTransferOwnership(ROLE_LOST)
    if heir is None or heir.organization_id != organization.pk:
        raise UnableToTransferOwnership("That person has left the organization.")
    if heir == asker:
        raise UnableToTransferOwnership("You are the owner already: choose somebody else.")
    heir.role = Role.OWNER
    heir.save(update_fields=["role"])
    asker.role = Role.ADMIN
    asker.save(update_fields=["role"])
    record_event(
        "organization.ownership_transferred",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes={"owner": (asker.user.public_id, heir.user.public_id)},
        now=now,
    )
    return heir


def _current(membership: Membership) -> Membership | None:
    """Return the membership as it is under the lock, or None when it has ended."""
    return Membership.objects.select_related("user", "organization").filter(pk=membership.pk).first()


def _end(member: Membership, now: datetime) -> None:
    # Locked first, against a key that they are making for themselves right now.
    mine = Membership.objects.select_for_update().filter(pk=member.pk)
    list(mine.values_list("pk", flat=True))
    revoke_personal_keys(organization=member.organization, user=member.user, now=now)
    mine.delete()


def change_role_by_directory(*, member: Membership, role: Role) -> Role | None:
    """Give a member the role that their directory says, and return the one before, or None if nothing changed.

    The caller has locked the organization and writes it down. Owners stay what they are: a directory makes and unmakes
    none.
    """
    before = Role(member.role)
    if Role.OWNER in (before, role) or before is role:
        return None
    member.role = role
    member.save(update_fields=["role"])
    return before


def end_membership_by_directory(*, member: Membership, now: datetime) -> None:
    """End a membership as `remove_member` does, because the directory says so. The caller has locked the organization.

    Raises UnableToRemoveMember for an owner.
    """
    if member.role == Role.OWNER:
        raise UnableToRemoveMember(OWNERS_STAY)
    _end(member, now)
    record_event(
        "member.removed",
        organization_id=member.organization_id,
        target=("member", member.public_id),
        changes={"person": (member.user.public_id, None), "role": (member.role, None)},
        now=now,
    )
