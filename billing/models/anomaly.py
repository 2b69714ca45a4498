"""Days on which an organization spent far more than usual. The law: docs/algorithms/anomalies.md."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models

from accounts.models import Organization

# Whoever was not reached within so long knows it from the page.
TRIED_FOR = timedelta(days=3)


class SpendAnomalyQuerySet(models.QuerySet["SpendAnomaly"]):
    def owned_by(self, organization: Organization) -> SpendAnomalyQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> SpendAnomalyQuerySet:
        return self.filter(organization_id=organization_id)

    def unmailed(self, now: datetime) -> SpendAnomalyQuerySet:
        """Return those that are to be mailed: whose organization has not turned it off."""
        waiting = self.filter(mailed_at=None, found_at__gt=now - TRIED_FOR)
        return waiting.exclude(organization__anomaly_mails__is_on=False).order_by("found_at", "pk")


class SpendAnomaly(models.Model):
    """A UTC day that was unusual, as it was found; once for each day, however the day went on."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateTimeField()  # where it begins
    # Products that are unusual: product ("" for all together), amount_nano and usual_nano.
    findings = models.JSONField()
    found_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)

    objects = SpendAnomalyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="spend_anomaly_organization_id"),
            models.UniqueConstraint(fields=["organization", "day"], name="spend_anomaly_once_per_day"),
        ]
        indexes = [models.Index(fields=["found_at"], condition=models.Q(mailed_at=None), name="spend_anomaly_unmailed")]

    def __str__(self) -> str:
        return f"{self.day:%Y-%m-%d} of organization {self.organization_id}"


class AnomalyMailsQuerySet(models.QuerySet["AnomalyMails"]):
    def owned_by(self, organization: Organization) -> AnomalyMailsQuerySet:
        return self.filter(organization=organization)


class AnomalyMails(models.Model):
    """Whether an organization wants mails of unusual days; without a row it does."""

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="anomaly_mails")
    is_on = models.BooleanField()
    changed_at = models.DateTimeField()

    objects = AnomalyMailsQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="anomaly_mails_organization_id")]

    def __str__(self) -> str:
        return f"mails of unusual days of organization {self.organization_id}"
