"""Who is told that something they use becomes dearer."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models

from accounts.models import Organization

# A mail that cannot be sent for so long is given up; the price history has said it all the while.
TRIED_FOR = timedelta(days=14)


class PriceNoticeQuerySet(models.QuerySet["PriceNotice"]):
    def owned_by(self, organization: Organization) -> PriceNoticeQuerySet:
        return self.filter(organization=organization)

    def unmailed(self, now: datetime) -> PriceNoticeQuerySet:
        return self.filter(mailed_at=None, noted_at__gt=now - TRIED_FOR).order_by("noted_at", "pk")


class PriceNotice(models.Model):
    """An organization that used a SKU lately is told of a higher price, once for each version of the list."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    sku = models.CharField(max_length=160)
    list_price_id = models.CharField(max_length=32)  # public id of the version of the list
    # What the organization pays until then and from then on, per unit_size.
    before_nano = models.BigIntegerField()
    price_nano = models.BigIntegerField()
    unit_size = models.BigIntegerField()
    active_from = models.DateTimeField()
    noted_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)

    objects = PriceNoticeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="price_notice_organization_id"),
            models.UniqueConstraint(fields=["organization", "list_price_id"], name="price_notice_once_per_version"),
        ]
        indexes = [
            models.Index(fields=["noted_at"], condition=models.Q(mailed_at=None), name="price_notice_unmailed"),
        ]

    def __str__(self) -> str:
        return f"{self.sku} from {self.active_from:%Y-%m-%dT%HZ}"
