"""Invitations: a link in a mail that makes whoever owns the address a member."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization, Project
from accounts.models.role import ProjectRole, Role
from accounts.models.user import User
from portal.lib.public_ids import new_invite_id

LIFE = timedelta(days=7)
# Whoever waits longer for their mail has it sent again by a person.
MAIL_TRIED_FOR = timedelta(days=1)
# By then the job that was named when somebody was invited has done it.
MAIL_DUE_AFTER = timedelta(minutes=1)


def new_invitation_token() -> str:
    """Return what the mailed link ends in: 256 random bits that stand in the mail and nowhere else."""
    return secrets.token_urlsafe(32)


def invitation_digest(token: str) -> bytes:
    """Return what is stored instead of the token: so many random bits need neither a slow hash nor a key."""
    return hashlib.sha256(token.encode()).digest()


class InvitationState(models.TextChoices):
    OPEN = "invited", _("Invited")
    EXPIRED = "expired", _("Expired")
    REVOKED = "revoked", _("Revoked")
    ACCEPTED = "accepted", _("Accepted")


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def owned_by(self, organization: Organization) -> InvitationQuerySet:
        return self.filter(organization=organization)

    def pending(self) -> InvitationQuerySet:
        """Those that nobody accepted or revoked; some may have expired."""
        return self.filter(accepted_at=None, revoked_at=None)

    def unmailed(self, now: datetime) -> InvitationQuerySet:
        """Those whose mail is overdue, of which the job was lost."""
        asked_from, asked_to = now - MAIL_TRIED_FOR, now - MAIL_DUE_AFTER
        return self.pending().filter(mailed_at=None, expires_at__gt=asked_from + LIFE, expires_at__lte=asked_to + LIFE)

    def newest_first(self) -> InvitationQuerySet:
        return self.order_by("-created_at", "-pk")


class Invitation(models.Model):
    """Somebody may become a member, whose address this is and who has the link that was mailed there."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    public_id = models.CharField(max_length=32, unique=True, default=new_invite_id, editable=False)
    email = models.EmailField(_("e-mail address"))  # in small letters
    role = models.CharField(_("role"), max_length=20, choices=Role)
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    project_role = models.CharField(max_length=24, choices=ProjectRole, default=ProjectRole.MEMBER)
    # Who answers for it: it ends when they may no longer give this role.
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    digest = models.BinaryField(null=True, unique=True)  # of the token in the newest mail
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True)  # None while a mail is to be sent
    mail_count = models.PositiveSmallIntegerField(default=0)
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="invitation_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=Q(accepted_at=None, revoked_at=None),
                name="invitation_one_open_per_address",
            ),
            models.CheckConstraint(
                condition=Q(accepted_at=None) | Q(revoked_at=None), name="invitation_accepted_or_revoked_not_both"
            ),
            models.CheckConstraint(condition=Q(email=Lower(F("email"))), name="invitation_address_in_small_letters"),
        ]
        # The sweep looks for mails that were not sent.
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=Q(mailed_at=None, accepted_at=None, revoked_at=None),
                name="invitation_unmailed",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} ({self.public_id})"

    @property
    def asked_at(self) -> datetime:
        """When somebody last asked for its mail."""
        return self.expires_at - LIFE

    def state(self, now: datetime) -> InvitationState:
        if self.accepted_at is not None:
            return InvitationState.ACCEPTED
        if self.revoked_at is not None:
            return InvitationState.REVOKED
        return InvitationState.EXPIRED if self.expires_at <= now else InvitationState.OPEN
