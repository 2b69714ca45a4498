"""Credit that is bought by itself when it runs low."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User

if TYPE_CHECKING:
    from datetime import datetime


class AutoReloadQuerySet(models.QuerySet["AutoReload"]):
    def owned_by(self, organization: Organization) -> AutoReloadQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> AutoReloadQuerySet:
        return self.filter(organization_id=organization_id)

    def rested(self, since: datetime) -> AutoReloadQuerySet:
        """Those that are on and began no payment since then."""
        return self.filter(Q(tried_at=None) | Q(tried_at__lte=since), is_on=True)


class AutoReload(models.Model):
    """When less than the threshold is left, the default card pays for more; within a ceiling for each UTC month."""

    class Why(models.TextChoices):
        """Why it is off."""

        PERSON = "person", _("turned off by a member")
        FAILURES = "failures", _("turned off because payments failed")

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="auto_reload")
    is_on = models.BooleanField(default=False)
    threshold_cents = models.BigIntegerField()
    amount_cents = models.BigIntegerField()
    ceiling_cents = models.BigIntegerField()  # of all that it buys in a UTC month
    failure_count = models.PositiveSmallIntegerField(default=0)  # in a row
    off_because = models.CharField(max_length=8, choices=Why, blank=True, default="")
    changed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    changed_at = models.DateTimeField()
    tried_at = models.DateTimeField(null=True)  # when it began its last payment

    objects = AutoReloadQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="auto_reload_organization_id"),
            models.CheckConstraint(
                condition=Q(threshold_cents__gt=0, amount_cents__gt=0, ceiling_cents__gte=F("amount_cents")),
                name="auto_reload_amounts_make_sense",
            ),
            models.CheckConstraint(
                condition=Q(is_on=True, off_because="") | Q(is_on=False) & ~Q(off_because=""),
                name="auto_reload_off_for_a_reason",
            ),
        ]
        indexes = [models.Index(fields=["tried_at"], condition=Q(is_on=True), name="auto_reload_on")]

    def __str__(self) -> str:
        return f"auto-reload of organization {self.organization_id}"
