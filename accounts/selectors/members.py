"""Members and invitations as pages show them, and whose an invitation is before the organization is entered."""

from dataclasses import dataclass
from datetime import datetime

from allauth.account.models import EmailAddress
from django.db import connection
from django.db.models import Q

from accounts.models import Invitation, InvitationState, Membership, Organization, Permission, Role, User
from accounts.models.invitation import invitation_digest
from accounts.selectors.pages import PAGE_SIZE, is_text
from portal.lib.tenancy import set_organization


def grantable_roles(membership: Membership) -> list[Role]:
    """Return the roles that a member may give to others, the most powerful first."""
    return [role for role in Role if membership.may_grant(role)]


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member as a line of the list, for one reader."""

    public_id: str
    name: str
    email: str  # empty when the name says it
    role: str
    role_label: str
    since: datetime
    is_reader: bool
    may_change: bool  # the reader may give this member another role
    may_remove: bool


@dataclass(frozen=True, slots=True)
class MemberPage:
    rows: list[MemberRow]
    next_after: str  # the public id to continue after, empty on the last page


def member_page(organization: Organization, reader: Membership, after: str) -> MemberPage:
    """Return 50 members, oldest first, from the one after the public id `after` on; from the oldest if nothing is."""
    members = Membership.objects.owned_by(organization)
    last = members.filter(public_id=after).values_list("created_at", "pk").first() if is_text(after) else None
    if last is not None:
        members = members.filter(Q(created_at__gt=last[0]) | Q(created_at=last[0], pk__gt=last[1]))
    found = list(members.in_order()[: PAGE_SIZE + 1])
    rows = [_member_row(member, reader) for member in found[:PAGE_SIZE]]
    return MemberPage(rows, rows[-1].public_id if len(found) > PAGE_SIZE else "")


def _member_row(member: Membership, reader: Membership) -> MemberRow:
    may_change = reader.may_grant(Role(member.role))
    return MemberRow(
        public_id=member.public_id,
        name=member.user.get_full_name(),
        email=member.user.email if member.user.full_name else "",
        role=member.role,
        role_label=str(Role(member.role).label),
        since=member.created_at,
        is_reader=member.pk == reader.pk,
        may_change=may_change,
        may_remove=may_change and member.pk != reader.pk,
    )


def is_only_owner(membership: Membership) -> bool:
    """Whether the organization would have no owner without this member."""
    owners = Membership.objects.owned_by(membership.organization).filter(role=Role.OWNER)
    return membership.role == Role.OWNER and not owners.exclude(pk=membership.pk).exists()


def is_only_break_glass(membership: Membership) -> bool:
    """Whether single sign-on is required and nobody else could enter without it."""
    others = Membership.objects.owned_by(membership.organization).filter(is_break_glass=True, user__is_active=True)
    is_required = membership.organization.sso_required_at is not None
    return membership.is_break_glass and is_required and not others.exclude(pk=membership.pk).exists()


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """An invitation that waits for an answer, as a line of the list."""

    public_id: str
    email: str
    role: str
    project: str
    invited_by: str
    expires_at: datetime
    state: str
    state_label: str


def invitation_rows(organization: Organization, reader: Membership, now: datetime) -> list[InvitationRow]:
    """Return the invitations that nobody accepted or revoked, newest first; none for who may not manage members."""
    if not reader.may(Permission.MANAGE_MEMBERS):
        return []
    pending = Invitation.objects.owned_by(organization).pending().select_related("project", "invited_by")
    # No list page: services allow a hundred at a time.
    return [_invitation_row(invitation, invitation.state(now)) for invitation in pending.newest_first()]


def _invitation_row(invitation: Invitation, state: InvitationState) -> InvitationRow:
    return InvitationRow(
        public_id=invitation.public_id,
        email=invitation.email,
        role=str(Role(invitation.role).label),
        project=invitation.project.name if invitation.project else "",
        invited_by=invitation.invited_by.email if invitation.invited_by else "",
        expires_at=invitation.expires_at,
        state=state.value,
        state_label=str(state.label),
    )


def organization_id_of_invitation(digest: bytes) -> int | None:
    """Return whose invitation has a token of this digest, through a function that may look past row-level security."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_organization_of_invitation(%s)", [digest])
        row = cursor.fetchone()
    return None if row is None else row[0]


def is_invited(user: User, invitation: Invitation) -> bool:
    """Whether an invitation went to an address that this person has proved to be theirs."""
    addresses = EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    # Not asked of the database, to which some letters are the same that are not.
    return invitation.email.lower() in {address.lower() for address in addresses}


@dataclass(frozen=True, slots=True)
class InvitationView:
    """An invitation as the invited person sees it."""

    organization: str
    role: str
    project: str
    email: str
    invited_by: str
    expires_at: datetime
    state: InvitationState


def invitation_view(user: User, token: str, now: datetime) -> InvitationView | None:
    """Return the invitation that a link is for and enter its organization, or None unless it went to this person.

    Needs `set_user` before: until the organization is entered, people see invitations to their own addresses only.
    """
    digest = invitation_digest(token)
    organization_id = organization_id_of_invitation(digest)
    mine = None if organization_id is None else Invitation.objects.filter(digest=digest).first()
    if organization_id is None or mine is None or not is_invited(user, mine):
        return None
    set_organization(organization_id)
    invitation = Invitation.objects.select_related("organization", "project", "invited_by").get(pk=mine.pk)
    return InvitationView(
        organization=invitation.organization.name,
        role=str(Role(invitation.role).label),
        project=invitation.project.name if invitation.project else "",
        email=invitation.email,
        invited_by=invitation.invited_by.get_full_name() if invitation.invited_by else "",
        expires_at=invitation.expires_at,
        state=invitation.state(now),
    )
