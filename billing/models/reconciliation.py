"""What was compared each night, and where two sides did not agree. Rules: docs/algorithms/agreement.md."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portal.lib.public_ids import new_diff_id


class ReconciliationJob(models.TextChoices):
    """What is held against what: our books on the left, their source on the right."""

    USAGE = "usage", _("Sums of usage and single events")
    INSTANCES = "instances", _("Usage and hours in which instances were healthy")
    LEDGER = "ledger", _("Accounts of the ledger and their entries")
    CAPS = "caps", _("Spend caps, holds and usage")
    INVOICES = "invoices", _("Invoices and what they are computed from")
    PAYMENTS = "payments", _("Payments and what the payment provider moved")


class Reconciliation(models.Model):
    """What one job found for one UTC day. Run again, it says what the last run found."""

    job = models.CharField(max_length=12, choices=ReconciliationJob)
    day = models.DateField()
    checked_count = models.BigIntegerField(default=0)
    difference_count = models.BigIntegerField(default=0)
    amount_nano = models.BigIntegerField(default=0)  # of all differences together, without their signs
    run_count = models.PositiveIntegerField(default=0)
    ran_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "day"], name="reconciliation_once_per_day"),
            models.CheckConstraint(
                condition=Q(checked_count__gte=0, difference_count__gte=0, amount_nano__gte=0),
                name="reconciliation_counts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_job_display()} on {self.day}"


class DifferenceQuerySet(models.QuerySet["Difference"]):
    def open(self) -> DifferenceQuerySet:
        """Those that the last run still found and nobody has explained."""
        return self.filter(gone_at=None, explained_at=None)


class Difference(models.Model):
    """One thing of which two sides say different things, until a run finds them agreed or a person explains it."""

    reconciliation = models.ForeignKey(Reconciliation, on_delete=models.PROTECT, related_name="differences")
    public_id = models.CharField(max_length=32, unique=True, default=new_diff_id, editable=False)
    # Public id of the organization that it is about, empty for none. No key: the books of the house outlive it.
    organization_public_id = models.CharField(max_length=32, blank=True, default="")
    what = models.CharField(max_length=300)
    ours = models.CharField(max_length=300)
    theirs = models.CharField(max_length=300)
    amount_nano = models.BigIntegerField()
    found_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)
    explanation = models.CharField(max_length=500, blank=True, default="")
    explained_by = models.CharField(max_length=32, blank=True, default="")  # public id of a member of staff
    explained_at = models.DateTimeField(null=True)

    objects = DifferenceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["reconciliation", "what"], name="difference_once_per_thing"),
            models.CheckConstraint(condition=Q(amount_nano__gte=0), name="difference_without_sign"),
            models.CheckConstraint(
                condition=Q(explained_at=None, explanation="", explained_by="")
                | Q(explained_at__isnull=False) & ~Q(explanation="") & ~Q(explained_by=""),
                name="difference_explained_by_somebody",
            ),
        ]
        # What is still open, oldest first: the page of finance.
        indexes = [
            models.Index(fields=["found_at"], condition=Q(gone_at=None, explained_at=None), name="difference_open")
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.what}"
