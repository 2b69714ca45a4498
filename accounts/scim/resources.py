"""People and groups as SCIM resources: what of the standard's schemas we keep, and the way from rows and back."""

from typing import Annotated, Any

from django.conf import settings
from scim2_models import (
    AuthenticationScheme,
    Bulk,
    ChangePassword,
    ComplexAttribute,
    ETag,
    Filter,
    GroupMember,
    GroupMembership,
    Meta,
    Mutability,
    Pagination,
    Patch,
    Reference,
    Required,
    Resource,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
    Sort,
    Uniqueness,
)
from scim2_models.urn import URN

from accounts.models import DirectoryGroup, DirectoryPerson
from accounts.services.directory_groups import GroupGiven
from accounts.services.directory_people import PersonGiven

BASE = "/scim/v2"
MAXIMUM_RESULTS = 200


class ScimName(ComplexAttribute):
    """What somebody is called."""

    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None


class ScimEmail(ComplexAttribute):
    """An e-mail address; we keep one, the primary."""

    value: str | None = None
    type: str | None = None
    primary: bool | None = None


class ScimUser(Resource[Any]):
    """Somebody in the directory: those attributes of the core schema that we keep."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    name: ScimName | None = None
    display_name: str | None = None
    active: bool | None = None
    emails: list[ScimEmail] | None = None
    groups: Annotated[list[GroupMembership] | None, Mutability.read_only] = None


class ScimGroup(Resource[Any]):
    """A group of the directory."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str | None, Required.true, Uniqueness.server] = None
    members: list[GroupMember] | None = None


# What large identity providers send beside the standard: attributes that nobody declared, a value in a removal, and a
# path to an address that is not there yet.
POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)
PROVIDER = ScimProvider(
    models=[ScimUser, ScimGroup],
    config=ServiceProviderConfig(
        patch=Patch(supported=True),
        bulk=Bulk(supported=False, max_operations=0, max_payload_size=0),
        filter=Filter(supported=True, max_results=MAXIMUM_RESULTS),
        change_password=ChangePassword(supported=False),
        sort=Sort(supported=False),
        etag=ETag(supported=False),
        pagination=Pagination(
            cursor=False,
            index=True,
            default_pagination_method=Pagination.DefaultPaginationMethod.index,
            default_page_size=MAXIMUM_RESULTS,
            max_page_size=MAXIMUM_RESULTS,
        ),
        authentication_schemes=[
            AuthenticationScheme(
                type=AuthenticationScheme.Type.oauthbearertoken,
                name="Directory token",
                description="A token of the Directory page of the organization, as a bearer token",
                primary=True,
            )
        ],
    ),
    policy=POLICY,
)


def address_of(kind: str, public_id: str = "") -> str:
    """Return where a resource is, or with no id where its kind is. kind: Users, Groups, Schemas and so on."""
    return f"{settings.PORTAL_URL}{BASE}/{kind}" + (f"/{public_id}" if public_id else "")


def user_of(person: DirectoryPerson) -> ScimUser:
    """Return a person as a resource; groups come along if the rows were fetched with them."""
    name = ScimName(
        formatted=person.formatted_name or None,
        family_name=person.family_name or None,
        given_name=person.given_name or None,
    )
    is_named = name.formatted or name.family_name or name.given_name
    return ScimUser(
        id=person.public_id,
        external_id=person.external_id or None,
        user_name=person.user_name,
        name=name if is_named else None,
        display_name=person.display_name or None,
        active=person.is_active,
        emails=[ScimEmail(value=person.email, type="work", primary=True)],
        groups=[
            GroupMembership(
                value=member.group.public_id,
                display=member.group.display_name,
                ref=Reference(address_of("Groups", member.group.public_id)),
                type="direct",
            )
            for member in person.groups.all()
        ]
        or None,
        meta=_meta("User", "Users", person),
    )


def person_of(user: ScimUser, *, was_active: bool) -> PersonGiven:
    """Return what a resource says of a person. was_active: what it means not to say."""
    name = user.name or ScimName()
    return PersonGiven(
        user_name=user.user_name or "",
        email=_email_of(user),
        is_active=was_active if user.active is None else user.active,
        external_id=user.external_id or "",
        given_name=name.given_name or "",
        family_name=name.family_name or "",
        formatted_name=name.formatted or "",
        display_name=user.display_name or "",
    )


def _email_of(user: ScimUser) -> str:
    """Return the primary address, else the one for work, else the first, else the userName."""
    emails = sorted(
        (email for email in user.emails or [] if email.value),
        key=lambda email: (not email.primary, email.type != "work"),
    )
    return (emails[0].value if emails else user.user_name) or ""


def group_of(group: DirectoryGroup) -> ScimGroup:
    """Return a group as a resource."""
    members = [
        GroupMember(
            value=member.person.public_id,
            display=member.person.name() or member.person.user_name,
            ref=Reference(address_of("Users", member.person.public_id)),
            type="User",
        )
        for member in group.members.all()
    ]
    return _group(group, members)


def group_without_members(group: DirectoryGroup) -> ScimGroup:
    """Return a group as a resource for an answer that leaves its members out."""
    return _group(group, [])


def bare_group_of(group: DirectoryGroup) -> ScimGroup:
    """Return a group as patches find it: its members by id alone."""
    public_ids = group.members.values_list("person__public_id", flat=True)
    return _group(group, [GroupMember(value=public_id, ref=None, type=None) for public_id in public_ids])


def _group(group: DirectoryGroup, members: list[GroupMember]) -> ScimGroup:
    return ScimGroup(
        id=group.public_id,
        external_id=group.external_id or None,
        display_name=group.display_name,
        members=members or None,
        meta=_meta("Group", "Groups", group),
    )


def group_given(group: ScimGroup) -> GroupGiven:
    """Return what a resource says of a group."""
    return GroupGiven(
        display_name=group.display_name or "",
        members=frozenset(member.value or "" for member in group.members or []),
        external_id=group.external_id or "",
    )


def _meta(resource_type: str, kind: str, row: DirectoryPerson | DirectoryGroup) -> Meta:
    return Meta(
        resource_type=resource_type,
        created=row.created_at,
        last_modified=row.changed_at,
        location=address_of(kind, row.public_id),
    )
