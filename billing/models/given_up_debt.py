"""What lost disputes left owed and nobody will pay: one of staff proposes to give it up, another does."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from portal.lib.public_ids import new_adj_id


class GivenUpDebtQuerySet(models.QuerySet["GivenUpDebt"]):
    def owned_by(self, organization: Organization) -> GivenUpDebtQuerySet:
        return self.filter(organization=organization)

    def counting(self) -> GivenUpDebtQuerySet:
        """Those that are owed no more."""
        return self.filter(status=GivenUpDebt.Status.GIVEN_UP)


class GivenUpDebt(models.Model):
    """Bad debt: proposed -> given up or declined. What is given up is owed no more, and is our loss."""

    class Status(models.TextChoices):
        PROPOSED = "proposed", _("Proposed")
        GIVEN_UP = "given_up", _("Given up")
        DECLINED = "declined", _("Declined")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    public_id = models.CharField(max_length=32, unique=True, default=new_adj_id, editable=False)
    status = models.CharField(max_length=8, choices=Status, default=Status.PROPOSED)
    amount_cents = models.BigIntegerField()
    reason = models.CharField(max_length=300)
    proposed_by = models.CharField(max_length=32)  # public ids of members of staff
    decided_by = models.CharField(max_length=32, blank=True, default="")
    proposed_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    objects = GivenUpDebtQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("debt given up"), _("debts given up")
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="given_up_debt_organization_id"),
            models.UniqueConstraint(
                fields=["organization"], condition=Q(status="proposed"), name="given_up_debt_one_open"
            ),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="given_up_debt_positive"),
            models.CheckConstraint(
                condition=Q(status="proposed", decided_by="", decided_at=None)
                | ~Q(status="proposed") & ~Q(decided_by="") & Q(decided_at__isnull=False),
                name="given_up_debt_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(status="declined") | ~Q(proposed_by=F("decided_by")), name="given_up_debt_by_two_people"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
