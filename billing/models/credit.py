"""Credit: money that an organization may use up."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from portal.lib.public_ids import new_grant_id


class CreditGrantQuerySet(models.QuerySet["CreditGrant"]):
    def owned_by(self, organization: Organization) -> CreditGrantQuerySet:
        return self.filter(organization=organization)


class CreditGrant(models.Model):
    """Credit given once; the sum of an organization's grants is the limit of its cap."""

    class Kind(models.TextChoices):
        STARTER = "starter", _("Starter credit")
        PREPAID = "prepaid", _("Bought credit")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="credit_grants")
    public_id = models.CharField(max_length=32, unique=True, default=new_grant_id, editable=False)
    kind = models.CharField(max_length=12, choices=Kind)
    amount_nano = models.BigIntegerField()
    source = models.CharField(max_length=80)  # what it was given for, so that no cause gives twice
    granted_at = models.DateTimeField()

    objects = CreditGrantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="credit_grant_organization_id"),
            models.UniqueConstraint(fields=["source"], name="credit_grant_once_per_source"),
            models.CheckConstraint(condition=Q(amount_nano__gt=0), name="credit_grant_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.public_id}"
