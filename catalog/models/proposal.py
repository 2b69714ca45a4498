"""A change of the price list that one person of staff proposes and another decides on."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from catalog.models.price import Sku
from portal.lib.public_ids import new_prop_id
from portal.lib.tiers import TierMode


class PriceProposalQuerySet(models.QuerySet["PriceProposal"]):
    def open(self) -> PriceProposalQuerySet:
        return self.filter(status=PriceProposal.Status.OPEN)

    def published(self) -> PriceProposalQuerySet:
        return self.filter(status=PriceProposal.Status.PUBLISHED)


class PriceProposal(models.Model):
    """A new version of a SKU's price, or the end of it; open → published (by another person) or declined."""

    class Status(models.TextChoices):
        OPEN = "open", _("Open")
        PUBLISHED = "published", _("Published")
        DECLINED = "declined", _("Declined")

    public_id = models.CharField(max_length=32, unique=True, default=new_prop_id, editable=False)
    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="proposals")
    # Nano-dollars per the unit_size that the SKU is sold by; NULL: it is no longer sold.
    price_nano = models.BigIntegerField(null=True, blank=True)
    tier_mode = models.CharField(
        max_length=10, choices=[(mode.value, mode.value) for mode in TierMode], default=TierMode.FLAT.value
    )
    tiers = models.JSONField(default=list, blank=True)
    active_from = models.DateTimeField()
    reason = models.CharField(max_length=500)
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)

    objects = PriceProposalQuerySet.as_manager()

    class Meta:
        permissions = [
            ("propose_price", "Can propose prices"),
            ("approve_price", "Can publish proposed prices"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status="declined") | Q(decided_by=None) | ~Q(decided_by=F("proposed_by")),
                name="price_proposal_has_two_persons",
            ),
            models.CheckConstraint(
                condition=Q(status="open", decided_by=None, decided_at=None)
                | (~Q(status="open") & Q(decided_by__isnull=False, decided_at__isnull=False)),
                name="price_proposal_is_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(price_nano=None) | Q(price_nano__gte=0), name="price_proposal_not_negative"
            ),
            models.UniqueConstraint(fields=["sku"], condition=Q(status="open"), name="price_proposal_one_open_per_sku"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} for SKU {self.sku_id}"
