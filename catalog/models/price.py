"""The price list: what is measured, what is sold, and what it costs from when."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q, Value
from django.utils.translation import gettext_lazy as _

from portal.lib.public_ids import new_price_id
from portal.lib.tiers import TierMode


class Product(models.TextChoices):
    """How spend is grouped for people."""

    MODELS = "models", _("Model APIs")
    INSTANCES = "instances", _("Instances")
    STORAGE = "storage", _("Storage")


class Meter(models.Model):
    """What is measured, in its smallest unit."""

    code = models.CharField(max_length=60, unique=True)
    unit = models.CharField(max_length=20)  # token, second
    description = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.code


class Sku(models.Model):
    """One thing on the price list."""

    code = models.CharField(max_length=160, unique=True)
    meter = models.ForeignKey(Meter, on_delete=models.PROTECT, related_name="skus")
    product = models.CharField(max_length=20, choices=Product)
    name = models.CharField(max_length=160)
    # The version of another SKU's price that this one keeps, for runs that began at it: docs/algorithms/rating.md.
    keeps = models.OneToOneField("Price", null=True, blank=True, on_delete=models.PROTECT, related_name="kept_by")

    def __str__(self) -> str:
        return self.code


def kept_sku_code(sku: str, price_id: str) -> str:
    """Return the code of the SKU that keeps a version of another one's price."""
    return f"{sku}~{price_id}"


class _ActiveRange(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class PriceQuerySet(models.QuerySet["Price"]):
    def in_force(self, at: datetime) -> PriceQuerySet:
        return self.filter(Q(active_to=None) | Q(active_to__gt=at), active_from__lte=at)


class Price(models.Model):
    """A version of a SKU's list price, in force during [active_from, active_to); never edited, only ended.

    Both bounds lie on a full UTC hour, so that an hourly bucket of usage never spans two prices.
    """

    public_id = models.CharField(max_length=32, unique=True, default=new_price_id, editable=False)
    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="prices")
    version = models.PositiveIntegerField()
    price_nano = models.BigIntegerField()  # nano-dollars per unit_size units; the dearest, before any tier
    unit_size = models.BigIntegerField()  # 1,000,000 tokens; 3,600 seconds
    active_from = models.DateTimeField()
    active_to = models.DateTimeField(null=True, blank=True)
    tier_mode = models.CharField(
        max_length=10,
        choices=[(mode.value, mode.value) for mode in TierMode],
        default=TierMode.FLAT.value,
        db_default=TierMode.FLAT.value,
    )
    # Pairs [above, price_nano]: portal.lib.tiers.
    tiers = models.JSONField(default=list, db_default=Value([], models.JSONField()), blank=True)

    objects = PriceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sku", "version"], name="price_version_once_per_sku"),
            models.CheckConstraint(condition=Q(price_nano__gte=0, unit_size__gt=0), name="price_not_negative"),
            models.CheckConstraint(
                condition=Q(active_to=None) | Q(active_to__gt=F("active_from")), name="price_period_not_empty"
            ),
            models.CheckConstraint(
                condition=Q(active_from__minute=0, active_from__second=0)
                & (Q(active_to=None) | Q(active_to__minute=0, active_to__second=0)),
                name="price_changes_on_the_hour",
            ),
            models.CheckConstraint(
                condition=Q(tier_mode="flat", tiers=[]) | (~Q(tier_mode="flat") & ~Q(tiers=[])),
                name="price_has_tiers_unless_flat",
            ),
            ExclusionConstraint(
                name="price_one_in_force_per_sku",
                expressions=[
                    (_ActiveRange("active_from", "active_to", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("sku", RangeOperators.EQUAL),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku_id} version {self.version}"
