"""Domains that an organization has proved to be its own, by a record in their DNS."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization
from accounts.models.role import Role
from portal.lib.domain_names import LONGEST_DOMAIN, shown_domain
from portal.lib.public_ids import new_dom_id

# Looked for there and not at the domain itself, whose own text records are many and long.
RECORD_LABEL = "_portal-verification"
RECORD_START = "portal-verification="
CHECK_EVERY = timedelta(days=1)
# For so long a domain stays verified after its record was last seen.
GRACE = timedelta(days=7)
JOINABLE_ROLES = (Role.VIEWER, Role.DEVELOPER)


def new_domain_token() -> str:
    """Return what the record must say: 160 random bits."""
    return secrets.token_hex(20)


class DomainState(models.TextChoices):
    PENDING = "pending", _("Not verified yet")
    VERIFIED = "verified", _("Verified")
    FAILING = "failing", _("Record missing")


class DomainQuerySet(models.QuerySet["Domain"]):
    def owned_by(self, organization: Organization) -> DomainQuerySet:
        return self.filter(organization=organization)

    def verified(self) -> DomainQuerySet:
        return self.exclude(verified_at=None)

    def due(self, now: datetime) -> DomainQuerySet:
        """Verified ones whose record was not looked for within a day."""
        return self.verified().filter(checked_at__lte=now - CHECK_EVERY)

    def in_order(self) -> DomainQuerySet:
        return self.order_by("name", "pk")


class Domain(models.Model):
    """A domain that an organization claims. While it is verified it is nobody else's, in the whole portal.

    pending -> verified (its record was seen) -> failing (the record was not there) -> verified again, or after the
    grace pending again.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="domains")
    public_id = models.CharField(max_length=32, unique=True, default=new_dom_id, editable=False)
    name = models.CharField(_("domain"), max_length=LONGEST_DOMAIN)  # as portal.lib.domain_names writes it
    token = models.CharField(max_length=64, default=new_domain_token, editable=False)
    # What people with a verified address of the domain may join as; empty: they are invited instead.
    join_role = models.CharField(max_length=20, choices=Role, blank=True, default="")
    created_at = models.DateTimeField()
    verified_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)  # when the nameservers last gave an answer
    failing_since = models.DateTimeField(null=True, blank=True)

    objects = DomainQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="domain_organization_id"),
            models.UniqueConstraint(fields=["organization", "name"], name="domain_once_in_organization"),
            models.UniqueConstraint(fields=["name"], condition=~Q(verified_at=None), name="domain_verified_by_one"),
            models.CheckConstraint(
                condition=~Q(verified_at=None) | Q(failing_since=None, join_role=""),
                name="domain_pending_opens_nothing",
            ),
            models.CheckConstraint(
                condition=Q(verified_at=None) | ~Q(checked_at=None), name="domain_verified_was_checked"
            ),
            models.CheckConstraint(
                condition=Q(join_role__in=["", *(role.value for role in JOINABLE_ROLES)]), name="domain_joins_as_little"
            ),
        ]
        # The sweep looks for verified ones that were not looked at for a day.
        indexes = [models.Index(fields=["checked_at"], condition=~Q(verified_at=None), name="domain_due")]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def shown(self) -> str:
        return shown_domain(self.name)

    @property
    def record_name(self) -> str:
        return f"{RECORD_LABEL}.{self.name}"

    @property
    def record_value(self) -> str:
        return f"{RECORD_START}{self.token}"

    @property
    def is_verified(self) -> bool:
        return self.verified_at is not None

    @property
    def lost_at(self) -> datetime | None:
        """When it stops being verified unless its record comes back."""
        return self.failing_since + GRACE if self.failing_since else None

    def state(self) -> DomainState:
        if self.verified_at is None:
            return DomainState.PENDING
        return DomainState.VERIFIED if self.failing_since is None else DomainState.FAILING
