"""What an organization has agreed to pay: contracts in versions, each with a discount and prices of its own.

Rules: docs/algorithms/rating.md. Nothing of a published one changes but its end (migration 0030).
"""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from billing.rating import BASIS_POINTS
from catalog.models import Sku
from portal.lib.public_ids import new_ctr_id, new_price_id
from portal.lib.tiers import TierMode


class _ActiveRange(Func):
    function = "TSTZRANGE"
    output_field = DateTimeRangeField()


class ContractQuerySet(models.QuerySet["Contract"]):
    def owned_by(self, organization: Organization) -> ContractQuerySet:
        return self.filter(organization=organization)

    def published(self) -> ContractQuerySet:
        return self.filter(status=Contract.Status.PUBLISHED)

    def committed(self) -> ContractQuerySet:
        """Return those that something is to be used by: also ones whose prices were replaced since."""
        return self.published().filter(committed_cents__gt=0)

    def in_force_within(self, first: datetime, last: datetime) -> ContractQuerySet:
        """Return those that are in force at some instant of [first, last]."""
        return self.published().filter(Q(active_to=None) | Q(active_to__gt=first), active_from__lte=last)


class Contract(models.Model):
    """A version of an organization's terms, in force during [active_from, active_to) once it is published.

    draft → approved (by another person) → published; draft, approved → discarded. What is to change becomes a
    new version: publishing it ends the one before where it begins.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        APPROVED = "approved", _("Approved")
        PUBLISHED = "published", _("Published")
        DISCARDED = "discarded", _("Discarded")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="contracts")
    public_id = models.CharField(max_length=32, unique=True, default=new_ctr_id, editable=False)
    version = models.PositiveIntegerField()
    name = models.CharField(max_length=120)
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    # Off the list price of every SKU that has no price of its own below, in hundredths of a percent.
    discount_basis_points = models.PositiveIntegerField(default=0)
    # What is to be used in whole UTC months, at these prices; what was not is billed when they are over.
    committed_cents = models.BigIntegerField(default=0, db_default=0)
    committed_from = models.DateTimeField(null=True, blank=True)
    committed_until = models.DateTimeField(null=True, blank=True)
    active_from = models.DateTimeField()
    active_to = models.DateTimeField(null=True, blank=True)
    drafted_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    drafted_at = models.DateTimeField()
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)

    objects = ContractQuerySet.as_manager()

    TRANSITIONS = {
        Status.DRAFT: {Status.APPROVED, Status.DISCARDED},
        Status.APPROVED: {Status.PUBLISHED, Status.DISCARDED},
        Status.PUBLISHED: set(),
        Status.DISCARDED: set(),
    }

    class Meta:
        permissions = [
            ("draft_contract", "Can draft contracts"),
            ("approve_contract", "Can approve, publish and end contracts"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="contract_organization_id"),
            models.UniqueConstraint(fields=["organization", "version"], name="contract_version_once"),
            models.CheckConstraint(
                condition=Q(discount_basis_points__lte=BASIS_POINTS), name="contract_discount_is_a_part"
            ),
            models.CheckConstraint(
                condition=Q(active_to=None) | Q(active_to__gt=F("active_from")), name="contract_period_not_empty"
            ),
            models.CheckConstraint(
                condition=Q(active_from__minute=0, active_from__second=0)
                & (Q(active_to=None) | Q(active_to__minute=0, active_to__second=0)),
                name="contract_changes_on_the_hour",
            ),
            models.CheckConstraint(
                condition=Q(approved_by=None) | ~Q(approved_by=F("drafted_by")), name="contract_has_two_persons"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["approved", "published"])
                | Q(approved_by__isnull=False, approved_at__isnull=False),
                name="contract_in_force_is_approved",
            ),
            models.CheckConstraint(
                condition=Q(status="published", published_at__isnull=False)
                | (~Q(status="published") & Q(published_at=None)),
                name="contract_published_at_once_published",
            ),
            models.CheckConstraint(
                condition=Q(committed_cents=0, committed_from=None, committed_until=None)
                | Q(committed_cents__gt=0, committed_until__gt=F("committed_from"), committed_from__isnull=False),
                name="contract_commitment_has_its_term",
            ),
            ExclusionConstraint(
                name="contract_one_commitment_at_a_time",
                expressions=[
                    (_ActiveRange("committed_from", "committed_until", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("organization", RangeOperators.EQUAL),
                ],
                condition=Q(status="published", committed_cents__gt=0),
            ),
            ExclusionConstraint(
                name="contract_one_in_force",
                expressions=[
                    (_ActiveRange("active_from", "active_to", RangeBoundary()), RangeOperators.OVERLAPS),
                    ("organization", RangeOperators.EQUAL),
                ],
                condition=Q(status="published"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}, version {self.version} of organization {self.organization_id}"

    def can_become(self, status: Status) -> bool:
        return status in self.TRANSITIONS[self.Status(self.status)]


class ContractPrice(models.Model):
    """A price that a contract sets for a SKU, in place of the list's; in force as long as its contract."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="prices")
    public_id = models.CharField(max_length=32, unique=True, default=new_price_id, editable=False)
    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="+")
    price_nano = models.BigIntegerField()  # nano-dollars per unit_size units; the dearest, before any tier
    unit_size = models.BigIntegerField()
    tier_mode = models.CharField(
        max_length=10, choices=[(mode.value, mode.value) for mode in TierMode], default=TierMode.FLAT.value
    )
    tiers = models.JSONField(default=list, blank=True)  # pairs [above, price_nano]: portal.lib.tiers

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="contract_price_organization_id"),
            models.UniqueConstraint(fields=["contract", "sku"], name="contract_price_once_per_sku"),
            models.CheckConstraint(condition=Q(price_nano__gte=0, unit_size__gt=0), name="contract_price_not_negative"),
            models.CheckConstraint(
                condition=Q(tier_mode="flat", tiers=[]) | (~Q(tier_mode="flat") & ~Q(tiers=[])),
                name="contract_price_has_tiers_unless_flat",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} of SKU {self.sku_id}"
