"""Single sign-on: an organization's identity provider, and by which name it knows which member."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.domain import JOINABLE_ROLES
from accounts.models.organization import Membership, Organization
from accounts.models.role import Role
from portal.lib.outbound import LONGEST_URL
from portal.lib.public_ids import new_sso_id

LONGEST_CLIENT_ID = 200
LONGEST_SUBJECT = 255  # what OpenID Connect allows


class SsoConnectionQuerySet(models.QuerySet["SsoConnection"]):
    def owned_by(self, organization: Organization) -> SsoConnectionQuerySet:
        return self.filter(organization=organization)


class SsoConnection(models.Model):
    """How an organization's people sign in through its OpenID Connect provider. It has at most one."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="sso_connections")
    public_id = models.CharField(max_length=32, unique=True, default=new_sso_id, editable=False)
    issuer = models.CharField(_("issuer"), max_length=LONGEST_URL)
    client_id = models.CharField(_("client id"), max_length=LONGEST_CLIENT_ID)
    client_secret = models.BinaryField()  # sealed: accounts.sealed.SSO_CLIENT_SECRET
    default_role = models.CharField(_("role of new people"), max_length=20, choices=Role, default=Role.VIEWER)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    objects = SsoConnectionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="sso_connection_organization_id"),
            models.UniqueConstraint(fields=["organization"], name="sso_connection_one_per_organization"),
            models.CheckConstraint(
                condition=Q(default_role__in=[role.value for role in JOINABLE_ROLES]),
                name="sso_connection_admits_as_little",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.issuer} ({self.public_id})"


class SsoIdentity(models.Model):
    """A member as the identity provider knows them: never by e-mail address, which may be given to somebody else."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(SsoConnection, on_delete=models.CASCADE, related_name="identities")
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="sso_identities")
    subject = models.CharField(max_length=LONGEST_SUBJECT)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="sso_identity_organization_id"),
            models.UniqueConstraint(fields=["connection", "subject"], name="sso_identity_one_per_subject"),
            models.UniqueConstraint(fields=["connection", "membership"], name="sso_identity_one_per_member"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.connection_id}"
