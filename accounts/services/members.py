"""Change who belongs to an organization as what.

Each function locks the organization first and then reads again who asks and who is meant. Of two changes at once the
second sees what the first left: that is why an organization never loses its last owner.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from accounts.models import ApiKey, Membership, Organization, Permission, Role, ServiceAccount
from accounts.selectors import is_only_break_glass, is_only_owner
from accounts.services.api_keys import revoke_keys_beyond_rights, revoke_personal_keys
from accounts.services.audit import record_event
from accounts.services.service_accounts import hand_over_keys
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
ONLY_BREAK_GLASS = (
    "Single sign-on is required, and this is the only owner who may enter without it: name another one first."
)
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

    Keys that they made for themselves end when they may do what the member may no longer. Raises UnableToChangeRole
    if `by` may not, if the member is gone, or if no owner would be left.
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
    if is_only_break_glass(member):
        raise UnableToChangeRole(ONLY_BREAK_GLASS)
    member.role = role
    member.is_break_glass = False
    member.save(update_fields=["role", "is_break_glass"])
    revoke_keys_beyond_rights(membership=member, now=now)
    record_event(
        "member.role_changed",
        organization_id=organization.pk,
        target=("member", member.public_id),
        changes={"role": (before.value, role.value)},
        now=now,
    )
    return member


@transaction.atomic
def remove_member(
    *, membership: Membership, by: Membership, now: datetime, heirs: Sequence[ServiceAccount] = ()
) -> None:
    """End somebody's membership, their access from their next request on, and the keys that they made for themselves.

    heirs: service accounts, each of which gets the other keys that the person made in its project; the rest stay as
    they are. Raises UnableToRemoveMember if `by` may not or means themselves, or if the person is gone already;
    UnableToHandOverKeys.
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
    if is_only_break_glass(member):
        raise UnableToRemoveMember(ONLY_BREAK_GLASS)
    _lock_all_that_ends(member, heirs)
    for account in heirs:
        hand_over_keys(made_by=member.user, account=account, now=now)
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
    if is_only_break_glass(member):
        raise UnableToLeave(ONLY_BREAK_GLASS)
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
    if is_only_break_glass(asker):
        raise UnableToTransferOwnership(ONLY_BREAK_GLASS)
    heir.role = Role.OWNER
    heir.save(update_fields=["role"])
    asker.role = Role.ADMIN
    asker.is_break_glass = False
    asker.save(update_fields=["role", "is_break_glass"])
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


def _lock_all_that_ends(member: Membership, heirs: Sequence[ServiceAccount] = ()) -> None:
    """Lock the membership, the heirs and every key of the person before the first entry in the audit log.

    The membership first, against a key that they are making for themselves right now.
    """
    list(Membership.objects.select_for_update().filter(pk=member.pk).values_list("pk", flat=True))
    accounts = ServiceAccount.objects.filter(pk__in=[account.pk for account in heirs])
    list(accounts.select_for_update(no_key=True).order_by("pk"))
    keys = ApiKey.objects.owned_by(member.organization).unrevoked().filter(created_by=member.user)
    list(keys.select_for_update().order_by("pk").values_list("pk", flat=True))


def _end(member: Membership, now: datetime) -> None:
    _lock_all_that_ends(member)
    mine = Membership.objects.filter(pk=member.pk)
    revoke_personal_keys(organization=member.organization, user=member.user, now=now)
    mine.delete()


def change_role_by_directory(*, member: Membership, role: Role) -> Role | None:
    """Give a member the role that their directory says, and return the one before, or None if nothing changed.

    The caller has locked the organization, ends keys that may do more than the member now, and writes it down. Owners
    stay what they are: a directory makes and unmakes none.
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
