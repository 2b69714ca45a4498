"""The directory as its page shows it, whose a token is, and which role somebody's groups give."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Count, Q

from accounts.models import DirectoryGroup, DirectoryGroupMember, DirectoryPerson, DirectoryToken, Organization, Role
from accounts.selectors.pages import PAGE_SIZE, is_text

_RANK = list(Role)


def organization_id_of_directory_token(digest: bytes) -> int | None:
    """Return whose token has this digest: one row through a function that may look past row-level security.

    None for a closed organization's too.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_organization_of_directory_token(%s)", [digest])
        row = cursor.fetchone()
    return None if row is None else row[0]


def roles_given(people: Iterable[int]) -> dict[int, Role]:
    """Return the most powerful role that the groups of each person give, by id; who gets none is left out."""
    of_people = DirectoryGroupMember.objects.filter(person__in=people).exclude(group__role="")
    roles: dict[int, Role] = {}
    for person, role in of_people.values_list("person_id", "group__role"):
        roles[person] = min(roles.get(person, Role(role)), Role(role), key=_RANK.index)
    return roles


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token as a line of the page."""

    public_id: str
    name: str
    label: str
    state: str
    state_label: str
    is_active: bool
    expires_at: datetime | None
    last_used_at: datetime | None


def directory_token_rows(organization: Organization, now: datetime) -> list[TokenRow]:
    """Return the organization's newest twenty tokens; services allow two that work."""
    tokens = DirectoryToken.objects.owned_by(organization).newest_first()[:20]
    return [
        TokenRow(
            public_id=token.public_id,
            name=token.name,
            label=token.label,
            state=(state := token.state(now)).value,
            state_label=str(state.label),
            is_active=token.is_usable(now),
            expires_at=token.expires_at,
            last_used_at=token.last_used_at,
        )
        for token in tokens
    ]


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group of the directory as a line of the page."""

    public_id: str
    name: str
    role: str  # empty: gives none
    members: int


def directory_group_rows(organization: Organization) -> list[GroupRow]:
    """Return the groups by name. No list page: services allow 500, and few are pushed."""
    groups = DirectoryGroup.objects.owned_by(organization).order_by("display_name", "pk")
    return [GroupRow(*row) for row in groups.values_list("public_id", "display_name", "role", Count("members"))]


@dataclass(frozen=True, slots=True)
class PersonRow:
    """Somebody in the directory as a line of the page."""

    public_id: str
    name: str
    email: str
    is_active: bool
    role_label: str  # empty when inactive
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class PersonPage:
    rows: list[PersonRow]
    next_after: str  # the public id to continue after, empty on the last page


def directory_person_page(organization: Organization, after: str) -> PersonPage:
    """Return 50 people, oldest first, from the one after the public id `after` on; from the oldest if nothing is."""
    people = DirectoryPerson.objects.owned_by(organization)
    last = people.filter(public_id=after).values_list("created_at", "pk").first() if is_text(after) else None
    if last is not None:
        people = people.filter(Q(created_at__gt=last[0]) | Q(created_at=last[0], pk__gt=last[1]))
    found = list(people.select_related("membership").in_order()[: PAGE_SIZE + 1])
    rows = [_person_row(person) for person in found[:PAGE_SIZE]]
    return PersonPage(rows, rows[-1].public_id if len(found) > PAGE_SIZE else "")


def _person_row(person: DirectoryPerson) -> PersonRow:
    return PersonRow(
        public_id=person.public_id,
        name=person.name() or person.user_name,
        email=person.email,
        is_active=person.is_active,
        role_label=str(Role(person.membership.role).label) if person.membership else "",
        changed_at=person.changed_at,
    )
