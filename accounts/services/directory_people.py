"""Let a directory add, change and remove people: who is active there is a member here.

Each function locks the organization first, as accounts/services/members.py does. Rules: docs/adr/0013-provisioning.md.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Lower
from django.db.models.lookups import Exact

from accounts.models import DirectoryPerson, Membership, Organization, Role
from accounts.models.directory import DEFAULT_ROLE, LONGEST_NAME
from accounts.selectors import roles_given
from accounts.services.account_of_address import AddressRefused, account_of_address, check_address, owner_of_address
from accounts.services.api_keys import revoke_keys_beyond_rights
from accounts.services.audit import record_event
from accounts.services.domain_join import UnableToJoin, admit
from accounts.services.members import (
    OWNERS_STAY,
    UnableToRemoveMember,
    change_role_by_directory,
    end_membership_by_directory,
    lock_organization,
)
from portal.lib.errors import DomainError


class UnusableValue(DomainError):
    status = HTTPStatus.BAD_REQUEST
    code = "unusable_value"


class AlreadyTaken(DomainError):
    code = "already_taken"


class UnableToProvision(DomainError):
    code = "unable_to_provision"


class NotInDirectory(DomainError):
    status = HTTPStatus.NOT_FOUND
    code = "not_in_directory"


MAXIMUM_PEOPLE = 5_000
NO_SUCH_RECORD = "There is no such resource."


@dataclass(frozen=True, slots=True)
class PersonGiven:
    """Somebody as the directory describes them. user_name: unique there whatever its case, as is the e-mail address."""

    user_name: str
    email: str
    is_active: bool
    external_id: str = ""
    given_name: str = ""
    family_name: str = ""
    formatted_name: str = ""
    display_name: str = ""


_WORDS = ("user_name", "email", "external_id", "given_name", "family_name", "formatted_name", "display_name")


@transaction.atomic
def add_person(*, organization: Organization, given: PersonGiven, now: datetime) -> DirectoryPerson:
    """Take somebody into the directory, and if they are active make them a member or find that they are one.

    Raises UnusableValue, above all for an address of no verified domain; AlreadyTaken, UnableToProvision and
    AccountUnusable.
    """
    organization = lock_organization(organization.pk)
    person = DirectoryPerson(organization=organization, created_at=now, changed_at=now)
    _describe(person, given)
    _check_address(organization, person.email)
    _check_unique(person)
    if DirectoryPerson.objects.owned_by(organization).count() >= MAXIMUM_PEOPLE:
        raise UnableToProvision(f"A directory holds at most {MAXIMUM_PEOPLE} people here: delete some that have left.")
    person.save()
    entry = _enter(person, organization, now) if given.is_active else None
    _record("added", person, now, is_active=(None, person.is_active))
    if entry is not None:
        _record_entry(entry, person, now)
    return person


@transaction.atomic
def change_person(
    *, organization: Organization, public_id: str, change: Callable[[DirectoryPerson], PersonGiven], now: datetime
) -> DirectoryPerson:
    """Describe somebody anew, and let a membership begin or end with it.

    change: gets the record as it is under the lock and returns what it shall be; what it raises changes nothing.
    Raises NotInDirectory, UnableToRemoveMember for an owner who would be inactive, and as `add_person` does.
    """
    organization = lock_organization(organization.pk)
    person = _current(organization, public_id)
    was_active, email = person.is_active, person.email
    given = change(person)
    fields = _describe(person, given)
    begins, ends = given.is_active and not was_active, was_active and not given.is_active
    if begins or person.email != email:
        _check_address(organization, person.email)
    if fields:
        _check_unique(person)
    if not (fields or begins or ends):
        return person
    member = person.membership
    if ends:
        _refuse_owner(member)
        person.membership = None
    elif not begins and person.email != email:
        _check_same_account(person)
    person.changed_at = now
    person.save()
    entry = _enter(person, organization, now) if begins else None
    if ends and member is not None:
        end_membership_by_directory(member=member, now=now)
    _record("changed", person, now, fields=fields, is_active=(was_active, person.is_active))
    if entry is not None:
        _record_entry(entry, person, now)
    return person


@transaction.atomic
def remove_person(*, organization: Organization, public_id: str, now: datetime) -> None:
    """Forget somebody, and end their membership. Raises NotInDirectory, UnableToRemoveMember for an owner."""
    organization = lock_organization(organization.pk)
    person = _current(organization, public_id)
    member = person.membership
    _refuse_owner(member)
    was_active = person.is_active
    person.delete()
    if member is not None:
        end_membership_by_directory(member=member, now=now)
    _record("removed", person, now, is_active=(was_active, None))


def _current(organization: Organization, public_id: str) -> DirectoryPerson:
    people = DirectoryPerson.objects.owned_by(organization).select_related("membership__user")
    person = people.filter(public_id=public_id).first()
    if person is None:
        raise NotInDirectory(NO_SUCH_RECORD)
    return person


def _describe(person: DirectoryPerson, given: PersonGiven) -> list[str]:
    """Write what was given onto the record, and return the names of what is new."""
    fields = []
    for field in _WORDS:
        value = readable(getattr(given, field), field)
        if field == "email":
            value = value.lower()
        if getattr(person, field) != value:
            setattr(person, field, value)
            fields.append(field)
    if not person.user_name:
        raise UnusableValue("Somebody in a directory has a userName.")
    return fields


def readable(value: str, field: str) -> str:
    """Return a word of a directory without what is around it. Raises UnusableValue for what no page could show."""
    value = value.strip()
    if len(value) > LONGEST_NAME or not value.isprintable():
        raise UnusableValue(f"The {field.replace('_', ' ')} is one line of at most {LONGEST_NAME} characters.")
    return value


def _check_address(organization: Organization, email: str) -> None:
    try:
        check_address(organization, email)
    except AddressRefused as error:
        raise UnusableValue(f"{error} Somebody in a directory has an address, in emails or as userName.") from error


def _check_unique(person: DirectoryPerson) -> None:
    others = DirectoryPerson.objects.owned_by(person.organization).exclude(pk=person.pk)
    if others.filter(Exact(Lower("user_name"), Lower(Value(person.user_name)))).exists():
        raise AlreadyTaken("Somebody in the directory has this userName already.")
    if others.filter(email=person.email).exists():
        raise AlreadyTaken("Somebody in the directory has this e-mail address already.")


def _check_same_account(person: DirectoryPerson) -> None:
    """Refuse an address that another account has; ours keeps those by which its person signs in."""
    owner = owner_of_address(person.email)
    if owner is not None and person.membership is not None and owner != person.membership.user:
        raise AlreadyTaken("Somebody else's account has this e-mail address.")


def _refuse_owner(member: Membership | None) -> None:
    if member is not None and member.role == Role.OWNER:
        raise UnableToRemoveMember(OWNERS_STAY)


@dataclass(frozen=True, slots=True)
class _Entry:
    """How somebody came to be a member: made one, or found to be one, with the role that this changed if it did."""

    membership: Membership
    is_new: bool
    role_before: Role | None


def _enter(person: DirectoryPerson, organization: Organization, now: datetime) -> _Entry:
    """Tie the record to a membership, which is made unless the address belongs to a member."""
    if organization.closes_at is not None:
        raise UnableToProvision(f"{organization.name} is being deleted and takes nobody in.")
    user = account_of_address(person.email, full_name=person.name()[:150])
    role = roles_given([person.pk]).get(person.pk)
    members = Membership.objects.owned_by(organization).of_user(user).select_related("user", "organization")
    membership, before = members.first(), None
    is_new = membership is None
    if membership is None:
        try:
            membership = admit(organization=organization, user=user, role=role or DEFAULT_ROLE, now=now)
        except UnableToJoin as error:
            raise UnableToProvision(str(error)) from error
    elif DirectoryPerson.objects.owned_by(organization).filter(membership=membership).exists():
        raise AlreadyTaken("The account with this address is somebody else's in the directory already.")
    elif role is not None:
        before = change_role_by_directory(member=membership, role=role)
    person.membership = membership
    person.save(update_fields=["membership"])
    if before is not None:
        revoke_keys_beyond_rights(membership=membership, now=now)
    return _Entry(membership, is_new, before)


def _record(
    action: str,
    person: DirectoryPerson,
    now: datetime,
    *,
    is_active: tuple[bool | None, bool | None],
    fields: list[str] | None = None,
) -> None:
    """Write down what was done to a record: which fields, never what they say of the person."""
    record_event(
        f"directory_person.{action}",
        organization_id=person.organization_id,
        target=("directory_person", person.public_id),
        changes={
            **({"fields": (None, fields)} if fields else {}),
            **({"active": is_active} if is_active[0] != is_active[1] else {}),
        },
        now=now,
    )


def _record_entry(entry: _Entry, person: DirectoryPerson, now: datetime) -> None:
    member = entry.membership
    role = (None if entry.is_new else (entry.role_before or Role(member.role)).value, member.role)
    record_event(
        "member.joined" if entry.is_new else "member.adopted",
        organization_id=member.organization_id,
        target=("member", member.public_id),
        changes={
            "person": (None, member.user.public_id),
            "directory_person": (None, person.public_id),
            **({"role": role} if role[0] != role[1] else {}),
        },
        now=now,
    )
