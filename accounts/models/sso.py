"""Single sign-on: an organization's identity provider, and by which name it knows which member."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
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
MOST_CERTIFICATES = 2  # the one in use and the next


class SsoConnectionQuerySet(models.QuerySet["SsoConnection"]):
    def owned_by(self, organization: Organization) -> SsoConnectionQuerySet:
        return self.filter(organization=organization)


class SsoConnection(models.Model):
    """How an organization's people sign in through its identity provider. It has at most one.

    issuer: what the provider calls itself; in SAML, its entity id. The client is for OpenID Connect; SAML has where
    people are sent and, as PEM, the certificates that answers are signed with.
    """

    class Protocol(models.TextChoices):
        OIDC = "oidc", _("OpenID Connect")
        SAML = "saml", _("SAML 2.0")

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="sso_connections")
    public_id = models.CharField(max_length=32, unique=True, default=new_sso_id, editable=False)
    issuer = models.CharField(_("issuer"), max_length=LONGEST_URL)
    protocol = models.CharField(
        _("protocol"), max_length=10, choices=Protocol, default=Protocol.OIDC, db_default=Protocol.OIDC.value
    )
    client_id = models.CharField(_("client id"), max_length=LONGEST_CLIENT_ID, blank=True)
    client_secret = models.BinaryField(null=True)  # sealed: accounts.sealed.SSO_CLIENT_SECRET
    sign_in_url = models.CharField(_("sign-in address"), max_length=LONGEST_URL, blank=True, default="", db_default="")
    certificates = ArrayField(models.TextField(), blank=True, default=list, db_default=[])
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
            models.CheckConstraint(
                condition=Q(protocol="oidc", client_secret__isnull=False, sign_in_url="", certificates=[])
                & ~Q(client_id="")
                | Q(
                    protocol="saml",
                    client_id="",
                    client_secret__isnull=True,
                    certificates__len__gte=1,
                    certificates__len__lte=MOST_CERTIFICATES,
                )
                & ~Q(sign_in_url=""),
                name="sso_connection_of_one_protocol",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.issuer} ({self.public_id})"

    @property
    def host(self) -> str:
        """Where people are sent, for them to recognize it. An entity id need be no address."""
        return urlsplit(self.sign_in_url if self.protocol == self.Protocol.SAML else self.issuer).netloc


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
