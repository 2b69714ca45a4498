"""Credit: money that an organization may use up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from portal.lib.public_ids import new_grant_id

if TYPE_CHECKING:
    from datetime import datetime


class CreditGrantQuerySet(models.QuerySet["CreditGrant"]):
    def owned_by(self, organization: Organization) -> CreditGrantQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> CreditGrantQuerySet:
        return self.filter(organization_id=organization_id)

    def past(self, now: datetime) -> CreditGrantQuerySet:
        return self.filter(expires_at__lte=now)


class CreditGrant(models.Model):
    """Credit given once; the sum of an organization's grants is the limit of its cap.

    Which grant pays for what, and in which order: docs/algorithms/invoicing.md.
    """

    class Kind(models.TextChoices):
        STARTER = "starter", _("Starter credit")
        PREPAID = "prepaid", _("Bought credit")
        PROMOTIONAL = "promotional", _("Promotional credit")
        RESEARCH = "research", _("Research grant")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="credit_grants")
    public_id = models.CharField(max_length=32, unique=True, default=new_grant_id, editable=False)
    kind = models.CharField(max_length=12, choices=Kind)
    amount_nano = models.BigIntegerField()
    # Neither written nor read any more: disputes say it (Dispute.frozen_cents). It goes with a later migration.
    frozen_nano = models.BigIntegerField(default=0, db_default=0)
    source = models.CharField(max_length=80)  # what it was given for, so that no cause gives twice
    granted_at = models.DateTimeField()
    priority = models.PositiveSmallIntegerField(default=50, db_default=50)  # lower pays first
    # Usage from the hour of the one until the other; without limit where empty.
    effective_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    # The only products and projects (primary keys) that it pays for; all where empty.
    products = ArrayField(models.CharField(max_length=24), default=list, db_default=[], blank=True)
    project_ids = ArrayField(models.BigIntegerField(), default=list, db_default=[], blank=True)

    objects = CreditGrantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="credit_grant_organization_id"),
            models.UniqueConstraint(fields=["source"], name="credit_grant_once_per_source"),
            models.CheckConstraint(condition=Q(amount_nano__gt=0), name="credit_grant_positive"),
            models.CheckConstraint(
                condition=Q(frozen_nano__gte=0, frozen_nano__lte=F("amount_nano")), name="credit_grant_frozen_within_it"
            ),
            models.CheckConstraint(
                condition=Q(effective_at=None) | Q(expires_at=None) | Q(expires_at__gt=F("effective_at")),
                name="credit_grant_ends_after_it_begins",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.public_id}"
