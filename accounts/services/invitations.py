"""Invite people into an organization: send it again, revoke it, accept it.

Each function locks the organization first, as accounts/services/members.py does.
"""

from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import urljoin

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import (
    Invitation,
    InvitationState,
    Membership,
    Organization,
    Project,
    ProjectMembership,
    ProjectRole,
    Role,
    User,
)
from accounts.models.invitation import LIFE, invitation_digest, new_invitation_token
from accounts.selectors import is_invited, organization_id_of_invitation
from accounts.services.audit import person, record_event
from accounts.services.members import ONLY_OWNERS, lock_organization, manager
from portal.lib.context import remember_organization
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.tenancy import set_organization, set_user


class UnableToInvite(DomainError):
    code = "unable_to_invite"


class UnableToChangeInvitation(DomainError):
    code = "unable_to_change_invitation"


class InvitationNotFound(DomainError):
    status = HTTPStatus.NOT_FOUND
    code = "invitation_not_found"


class UnableToAcceptInvitation(DomainError):
    code = "unable_to_accept_invitation"


MAXIMUM_MEMBERS = 1_000
MAXIMUM_PENDING_INVITATIONS = 100
# Revoking and inviting anew must not make a mail cannon of us.
MAXIMUM_INVITATIONS_A_DAY = 200
MAXIMUM_MAILS = 5
MAIL_AGAIN_AFTER = timedelta(minutes=1)


@transaction.atomic
def invite_member(
    *,
    email: str,
    role: Role,
    by: Membership,
    now: datetime,
    project: Project | None = None,
    project_role: ProjectRole = ProjectRole.MEMBER,
) -> Invitation:
    """Invite whoever owns an address, and mail them the link; it works for 7 days.

    by: who invites. Raises UnableToInvite for a role that they may not give, an address that belongs to a member or
    is invited already, and too many members or invitations.
    """
    email = email.strip().lower()
    lock_organization(by.organization_id)
    asker = manager(by, UnableToInvite)
    if not asker.may_grant(role):
        raise UnableToInvite(ONLY_OWNERS)
    _check_room(asker.organization, email, now)
    invitation = Invitation.objects.create(
        organization=asker.organization,
        email=email,
        role=role,
        project=project,
        project_role=project_role,
        invited_by=asker.user,
        created_at=now,
        expires_at=now + LIFE,
    )
    enqueue("accounts.mail_invitation", invitation_id=invitation.pk)
    record_event(
        "member.invited",
        organization_id=invitation.organization_id,
        target=("invitation", invitation.public_id),
        changes={
            "role": (None, role.value),
            **({"project": (None, project.public_id)} if project else {}),
        },
        now=now,
    )
    return invitation


def _check_room(organization: Organization, email: str, now: datetime) -> None:
    members = Membership.objects.owned_by(organization)
    invitations = Invitation.objects.owned_by(organization)
    if members.filter(user__email__iexact=email).exists():
        raise UnableToInvite(f"{email} is a member already.")
    if invitations.pending().filter(email=email).exists():
        raise UnableToInvite(f"{email} is invited already: send that invitation again, or revoke it first.")
    if members.count() >= MAXIMUM_MEMBERS:
        raise UnableToInvite(f"An organization has at most {MAXIMUM_MEMBERS} members.")
    if invitations.pending().count() >= MAXIMUM_PENDING_INVITATIONS:
        raise UnableToInvite(f"{MAXIMUM_PENDING_INVITATIONS} invitations are waiting: revoke some that nobody needs.")
    if invitations.filter(created_at__gt=now - timedelta(days=1)).count() >= MAXIMUM_INVITATIONS_A_DAY:
        raise UnableToInvite(f"At most {MAXIMUM_INVITATIONS_A_DAY} people are invited a day: go on tomorrow.")


@transaction.atomic
def resend_invitation(*, invitation: Invitation, by: Membership, now: datetime) -> Invitation:
    """Mail a new link, which works for 7 days from now; the old one ends when the new one is mailed.

    Who sends it again answers for it from then on. Raises UnableToChangeInvitation if it was accepted or revoked, if
    its last mail is less than a minute old or its fifth, or for a role that `by` may not give.
    """
    lock_organization(by.organization_id)
    asker = manager(by, UnableToChangeInvitation)
    invitation = _pending(invitation, now)
    if not asker.may_grant(Role(invitation.role)):
        raise UnableToChangeInvitation(ONLY_OWNERS)
    if now - invitation.asked_at < MAIL_AGAIN_AFTER:
        raise UnableToChangeInvitation("It was sent less than a minute ago: wait for that mail first.")
    if invitation.mail_count >= MAXIMUM_MAILS:
        raise UnableToChangeInvitation(
            f"It was mailed {MAXIMUM_MAILS} times: revoke it, and invite the person at another address."
        )
    invitation.expires_at = now + LIFE
    invitation.mailed_at = None
    invitation.invited_by = asker.user
    invitation.save(update_fields=["expires_at", "mailed_at", "invited_by"])
    enqueue("accounts.mail_invitation", invitation_id=invitation.pk)
    record_event(
        "invitation.resent",
        organization_id=invitation.organization_id,
        target=("invitation", invitation.public_id),
        now=now,
    )
    return invitation


@transaction.atomic
def revoke_invitation(*, invitation: Invitation, by: Membership, now: datetime) -> Invitation:
    """End an invitation at once. Raises UnableToChangeInvitation if it was accepted or revoked before."""
    lock_organization(by.organization_id)
    manager(by, UnableToChangeInvitation)
    invitation = _pending(invitation, now)
    invitation.revoked_at = now
    invitation.save(update_fields=["revoked_at"])
    record_event(
        "invitation.revoked",
        organization_id=invitation.organization_id,
        target=("invitation", invitation.public_id),
        now=now,
    )
    return invitation


def _pending(invitation: Invitation, now: datetime) -> Invitation:
    """Return the invitation as it is under the lock."""
    invitation = Invitation.objects.get(pk=invitation.pk)
    state = invitation.state(now)
    if state is InvitationState.ACCEPTED:
        raise UnableToChangeInvitation(f"{invitation.email} has accepted it and is a member now.")
    if state is InvitationState.REVOKED:
        raise UnableToChangeInvitation("It was revoked already.")
    return invitation


@transaction.atomic
def mail_invitation(*, invitation_id: int, now: datetime) -> bool:
    """Mail an invitation's link unless that was done; return whether a mail went out. Safe to repeat.

    The token is made here, so that it is in the mail and nowhere else: not in a row, a job or a log.
    """
    rows = Invitation.objects.select_for_update(of=("self",)).select_related("organization", "project", "invited_by")
    invitation = rows.filter(pk=invitation_id, mailed_at=None).first()
    # Nobody invites any more when who did was erased since.
    if invitation is None or invitation.invited_by is None or invitation.state(now) is not InvitationState.OPEN:
        return False
    token = new_invitation_token()
    invitation.digest = invitation_digest(token)
    invitation.mailed_at = now
    invitation.mail_count += 1
    invitation.save(update_fields=["digest", "mailed_at", "mail_count"])
    context = {
        "invitation": invitation,
        "address": urljoin(settings.PORTAL_URL, reverse("accounts:invitation", args=[token])),
        "brand": settings.PORTAL_BRAND,
        "days": LIFE.days,
    }
    subject = " ".join(render_to_string("emails/invitation.subject.txt", context).split())
    EmailMessage(subject, render_to_string("emails/invitation.txt", context).strip(), to=[invitation.email]).send()
    return True


def enqueue_unmailed_invitations(*, now: datetime) -> int:
    """Name the job again for every invitation whose mail is overdue; return how many. For the platform role."""
    found = list(Invitation.objects.unmailed(now).order_by("pk").values_list("organization_id", "pk"))
    for organization_id, invitation_id in found:
        with transaction.atomic():
            set_organization(organization_id)
            enqueue("accounts.mail_invitation", invitation_id=invitation_id)
    remember_organization(None)
    return len(found)


@transaction.atomic
def accept_invitation(*, token: str, user: User, now: datetime) -> Membership:
    """Make a person a member by the link that was mailed to an address of theirs, and enter the organization.

    Raises InvitationNotFound, with the same words for a link that nobody was sent and for one sent to somebody else;
    UnableToAcceptInvitation if it expired or was revoked or used, if who invited may no longer do so, if the person
    is a member already, or if the organization is full.
    """
    set_user(user.pk)
    digest = invitation_digest(token)
    organization_id = organization_id_of_invitation(digest)
    if organization_id is None:
        raise InvitationNotFound(NOT_FOR_YOU)
    set_organization(organization_id)
    organization = lock_organization(organization_id)
    invitation = Invitation.objects.filter(digest=digest).select_related("project").first()
    if invitation is None or not is_invited(user, invitation):
        raise InvitationNotFound(NOT_FOR_YOU)
    _check_acceptable(invitation, organization, user, now)
    role = Role(invitation.role)
    membership = Membership.objects.create(organization=organization, user=user, role=role, created_at=now)
    if invitation.project is not None:
        ProjectMembership.objects.create(
            organization=organization,
            project=invitation.project,
            membership=membership,
            role=invitation.project_role,
            created_at=now,
        )
    invitation.accepted_at = now
    invitation.save(update_fields=["accepted_at"])
    record_event(
        "member.joined",
        organization_id=organization_id,
        target=("member", membership.public_id),
        changes={
            "person": (None, user.public_id),
            "role": (None, role.value),
            "invitation": (None, invitation.public_id),
            **({"project": (None, invitation.project.public_id)} if invitation.project else {}),
        },
        actor=person(user),
        now=now,
    )
    return membership


NOT_FOR_YOU = "There is no such invitation for you."
WHY_NOT = {
    InvitationState.ACCEPTED: "This invitation was used already.",
    InvitationState.REVOKED: "This invitation was revoked. Ask for a new one.",
    InvitationState.EXPIRED: "This invitation has expired. Ask for a new one.",
}


def _check_acceptable(invitation: Invitation, organization: Organization, user: User, now: datetime) -> None:
    state = invitation.state(now)
    if state is not InvitationState.OPEN:
        raise UnableToAcceptInvitation(WHY_NOT[state])
    members = Membership.objects.owned_by(organization)
    if members.of_user(user).exists():
        raise UnableToAcceptInvitation(f"You are a member of {organization.name} already.")
    inviter = members.filter(user=invitation.invited_by_id).first()
    if inviter is None or not inviter.may_grant(Role(invitation.role)):
        raise UnableToAcceptInvitation("Who invited you may no longer do so. Ask for a new invitation.")
    if members.count() >= MAXIMUM_MEMBERS:
        raise UnableToAcceptInvitation(f"{organization.name} has as many members as an organization may have.")
