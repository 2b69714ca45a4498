"""Spend caps, the reservations that make them hold, and what we paid ourselves. Rules: docs/algorithms/caps.md."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Project
from portal.lib.public_ids import new_cap_id, new_hold_id


class SpendCapQuerySet(models.QuerySet["SpendCap"]):
    def owned_by(self, organization: Organization) -> SpendCapQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> SpendCapQuerySet:
        """The one cap that every organization has: its room is its credit."""
        return self.filter(organization_id=organization_id, scope=SpendCap.Scope.ORGANIZATION)

    def in_order(self) -> SpendCapQuerySet:
        return self.order_by("scope", "pk")


class SpendCap(models.Model):
    """A limit that spend never passes: what is settled plus what is reserved stays within it."""

    class Scope(models.TextChoices):
        ORGANIZATION = "organization", _("Organization")
        PROJECT = "project", _("Project")
        KEY = "key", _("API key")
        GRANT = "grant", _("Credit grant")
        INSTANCE = "instance", _("Instance")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="spend_caps")
    public_id = models.CharField(max_length=32, unique=True, default=new_cap_id, editable=False)
    scope = models.CharField(max_length=12, choices=Scope)
    # Public id of the project, key, grant or instance; empty for the organization's own.
    scope_id = models.CharField(max_length=32, blank=True, default="")
    # Half-open; both empty for a cap over all time.
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    limit_nano = models.BigIntegerField()
    settled_nano = models.BigIntegerField(default=0)  # what usage has cost
    reserved_nano = models.BigIntegerField(default=0)  # the sum of the reservations held
    created_at = models.DateTimeField()

    objects = SpendCapQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="spend_cap_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "scope", "scope_id", "period_start"],
                nulls_distinct=False,
                name="spend_cap_once_per_scope_and_period",
            ),
            # The second net under the conditional update in billing.services.reservations.
            models.CheckConstraint(
                condition=Q(settled_nano__lte=F("limit_nano") - F("reserved_nano")), name="spend_cap_holds"
            ),
            models.CheckConstraint(
                condition=Q(settled_nano__gte=0, reserved_nano__gte=0), name="spend_cap_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(period_start=None, period_end=None) | Q(period_end__gt=F("period_start")),
                name="spend_cap_period_not_empty",
            ),
            models.CheckConstraint(
                condition=Q(scope="organization", scope_id="") | ~Q(scope="organization") & ~Q(scope_id=""),
                name="spend_cap_names_its_scope",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} cap {self.public_id}"

    @property
    def remaining_nano(self) -> int:
        return self.limit_nano - self.settled_nano - self.reserved_nano


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def owned_by(self, organization: Organization) -> ReservationQuerySet:
        return self.filter(organization=organization)

    def held(self) -> ReservationQuerySet:
        return self.filter(state=Reservation.State.HELD)

    def overdue(self, now: datetime) -> ReservationQuerySet:
        return self.held().filter(expires_at__lte=now)


class Reservation(models.Model):
    """A hold of budget by the gateway or an instance: held -> closed (released) or expired."""

    class Purpose(models.TextChoices):
        GATEWAY_LEASE = "gateway_lease", _("Model calls")
        INSTANCE_LEASE = "instance_lease", _("Instance")

    class State(models.TextChoices):
        HELD = "held", _("Held")
        CLOSED = "closed", _("Closed")
        EXPIRED = "expired", _("Expired")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="reservations")
    public_id = models.CharField(max_length=32, unique=True, default=new_hold_id, editable=False)
    cap = models.ForeignKey(SpendCap, on_delete=models.PROTECT, related_name="reservations")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="reservations")
    purpose = models.CharField(max_length=16, choices=Purpose)
    holder = models.CharField(max_length=120)  # inst_…, or the gateway process and project
    amount_nano = models.BigIntegerField()  # what is still held: settlements and the end take from it
    state = models.CharField(max_length=8, choices=State, default=State.HELD)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    objects = ReservationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="reservation_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "purpose", "holder"],
                condition=Q(state="held"),
                name="reservation_one_held_per_holder",
            ),
            models.CheckConstraint(
                condition=Q(state="held", amount_nano__gte=0, ended_at=None)
                | ~Q(state="held") & Q(amount_nano=0, ended_at__isnull=False),
                name="reservation_holds_nothing_once_ended",
            ),
        ]
        # The sweep of what has expired.
        indexes = [models.Index(fields=["expires_at"], condition=Q(state="held"), name="reservation_held_until")]

    def __str__(self) -> str:
        return f"{self.public_id} of {self.holder}"


class WriteOff(models.Model):
    """Usage that the cap had no room for when it was settled: we paid. A correction may take some back."""

    class Reason(models.TextChoices):
        OVERRUN = "overrun_write_off", _("Usage settled beyond the cap")
        CORRECTION = "correction", _("Correction of written-off usage")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="write_offs")
    cap = models.ForeignKey(SpendCap, on_delete=models.PROTECT, related_name="write_offs")
    reservation = models.ForeignKey(Reservation, null=True, on_delete=models.PROTECT, related_name="write_offs")
    amount_nano = models.BigIntegerField()
    reason = models.CharField(max_length=20, choices=Reason)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="write_off_organization_id"),
            models.CheckConstraint(
                condition=Q(reason="overrun_write_off", amount_nano__gt=0) | Q(reason="correction", amount_nano__lt=0),
                name="write_off_sign_follows_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_reason_display()} {self.pk}"
