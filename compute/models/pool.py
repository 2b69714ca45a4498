"""Capacity: what may be sold of one instance type in one region."""

from django.db import models
from django.db.models import F, Q

from catalog.models import InstanceType, Region


class Pool(models.Model):
    """Interchangeable capacity of one instance type in one region, on one engine.

    What may be sold now is the total less owner demand, margin and what is sold. A trigger refuses any change
    that sells beyond it; owner demand itself may rise above it at any time, which is what reclaims are for.
    """

    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="pools")
    instance_type = models.ForeignKey(InstanceType, on_delete=models.PROTECT, related_name="pools")
    backend = models.CharField(max_length=40)  # a name of settings.PROVISIONING_BACKENDS
    total_units = models.PositiveIntegerField()  # one unit is one instance
    owner_demand = models.PositiveIntegerField(default=0)
    safety_margin = models.PositiveIntegerField(default=0)
    sold_units = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["region", "instance_type"], name="pool_once_per_region_and_type"),
            models.CheckConstraint(condition=Q(sold_units__lte=F("total_units")), name="pool_sold_within_total"),
        ]

    def __str__(self) -> str:
        return f"{self.instance_type_id} in {self.region_id} ({self.pk})"

    @property
    def free_units(self) -> int:
        """Units that may be sold now; below zero while the owner needs more than is left."""
        return self.total_units - self.owner_demand - self.safety_margin - self.sold_units
