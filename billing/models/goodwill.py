"""Credit that staff give to an organization by their own decision: one proposes it, another gives it."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from portal.lib.public_ids import new_adj_id


class GoodwillQuerySet(models.QuerySet["Goodwill"]):
    def owned_by(self, organization: Organization) -> GoodwillQuerySet:
        return self.filter(organization=organization)


class Goodwill(models.Model):
    """An adjustment in a customer's favor: proposed -> given or declined. What is given is a promotional grant."""

    class Status(models.TextChoices):
        PROPOSED = "proposed", _("Proposed")
        GIVEN = "given", _("Given")
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

    objects = GoodwillQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("goodwill"), _("goodwill")
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="goodwill_organization_id"),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="goodwill_positive"),
            models.CheckConstraint(
                condition=Q(status="proposed", decided_by="", decided_at=None)
                | ~Q(status="proposed") & ~Q(decided_by="") & Q(decided_at__isnull=False),
                name="goodwill_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(status="declined") | ~Q(proposed_by=F("decided_by")), name="goodwill_by_two_people"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
