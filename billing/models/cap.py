"""Spend caps, the reservations that make them hold, and what we paid ourselves. Rules: docs/algorithms/caps.md."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Organization, Project
from portal.lib.public_ids import new_cap_id, new_hold_id

# A warning whose mail cannot be sent for so long is given up; the page of caps shows it all the while.
TRIED_FOR = timedelta(days=3)
# Of the limit, in percent, at which people are warned.
WARNINGS = (50, 80, 100)


def passed_warning(settled_nano: int, limit_nano: int) -> int:
    """Return the highest percentage of the limit to warn at that is reached, 0 for none."""
    return max((percent for percent in WARNINGS if settled_nano * 100 >= limit_nano * percent), default=0)


class SpendCapQuerySet(models.QuerySet["SpendCap"]):
    def owned_by(self, organization: Organization) -> SpendCapQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> SpendCapQuerySet:
        """The one cap that every organization has: its room is its credit."""
        return self.filter(
            organization_id=organization_id,
            scope=SpendCap.Scope.ORGANIZATION,
            period=SpendCap.Period.LIFETIME,
        )

    def limits(self) -> SpendCapQuerySet:
        """Those that people set, without the credit."""
        return self.exclude(scope=SpendCap.Scope.ORGANIZATION, period=SpendCap.Period.LIFETIME)

    def over(self, *, organization_id: int, project_ids: Collection[int], key_ids: Collection[int]) -> SpendCapQuerySet:
        """The caps that limit work of any of these projects and API keys; all those of the organization are."""
        return self.filter(
            Q(scope=SpendCap.Scope.ORGANIZATION) | Q(project_id__in=project_ids) | Q(api_key_id__in=key_ids),
            organization_id=organization_id,
        )

    def current(self) -> SpendCapQuerySet:
        """The last row of each: that of the running period, or of one that has ended and nobody has followed up."""
        return self.filter(is_current=True)

    def in_order(self) -> SpendCapQuerySet:
        return self.order_by("scope", "pk")


class SpendCap(models.Model):
    """A limit that spend never passes in a period: what is settled plus what is reserved stays within it.

    One row for each period; the row of the next one is made when it is first needed. The organization's own lifetime
    cap is its credit; all others are set by people.
    """

    class Scope(models.TextChoices):
        ORGANIZATION = "organization", _("Organization")
        PROJECT = "project", _("Project")
        KEY = "key", _("API key")

    class Period(models.TextChoices):
        DAY = "day", _("Each day")
        WEEK = "week", _("Each week")
        MONTH = "month", _("Each month")
        LIFETIME = "lifetime", _("Once, for all time")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="spend_caps")
    public_id = models.CharField(max_length=32, unique=True, default=new_cap_id, editable=False)
    scope = models.CharField(max_length=12, choices=Scope)
    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="spend_caps")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="spend_caps")
    period = models.CharField(max_length=8, choices=Period, default=Period.LIFETIME, db_default="lifetime")
    # Half-open; both empty for a cap over all time.
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    is_current = models.BooleanField(default=True, db_default=True)
    # Whether it refuses; one that does not only warns.
    stops = models.BooleanField(default=True, db_default=True)
    limit_nano = models.BigIntegerField()
    # Whether nothing is reserved under it, for a debt; only ever of its credit.
    is_suspended = models.BooleanField(default=False, db_default=False)
    # How much of the limit is what terms let the organization owe; only ever in its credit.
    terms_nano = models.BigIntegerField(default=0, db_default=0)
    settled_nano = models.BigIntegerField(default=0)  # what usage has cost, what it found at its start included
    reserved_nano = models.BigIntegerField(default=0)  # the sum of the reservations held
    # What the period had cost already when the cap was made in the middle of it.
    found_nano = models.BigIntegerField(default=0, db_default=0)
    # Of the credit: the part of its limit that tiers gave, since usage is settled at first prices.
    tier_room_nano = models.BigIntegerField(default=0, db_default=0)
    # The highest of the warnings of this period, in percent of the limit, and whether its forecast was warned of.
    warned_percent = models.PositiveSmallIntegerField(default=0, db_default=0)
    is_forecast_warned = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField()

    objects = SpendCapQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="spend_cap_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "scope", "project", "api_key", "period"],
                condition=Q(is_current=True),
                nulls_distinct=False,
                name="spend_cap_one_current",
            ),
            # The second net under the conditional update in billing.services.reservations.
            models.CheckConstraint(
                condition=Q(stops=False) | Q(settled_nano__lte=F("limit_nano") - F("reserved_nano")),
                name="spend_cap_holds",
            ),
            models.CheckConstraint(
                condition=Q(settled_nano__gte=0, reserved_nano__gte=0), name="spend_cap_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(terms_nano=0) | Q(scope="organization", period="lifetime", terms_nano__gt=0),
                name="spend_cap_terms_only_in_credit",
            ),
            models.CheckConstraint(
                condition=Q(period="lifetime", period_start=None, period_end=None)
                | ~Q(period="lifetime") & Q(period_end__gt=F("period_start")),
                name="spend_cap_has_its_period",
            ),
            models.CheckConstraint(
                condition=Q(scope="organization", project=None, api_key=None)
                | Q(scope="project", project__isnull=False, api_key=None)
                | Q(scope="key", project=None, api_key__isnull=False),
                name="spend_cap_names_its_scope",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_scope_display()} cap {self.public_id}"

    @property
    def remaining_nano(self) -> int:
        return self.limit_nano - self.settled_nano - self.reserved_nano

    def has_ended(self, now: datetime) -> bool:
        return self.period_end is not None and self.period_end <= now

    def covers(self, instant: datetime) -> bool:
        if self.period_start is None or self.period_end is None:
            return True
        return self.period_start <= instant < self.period_end


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
    # The organization's credit, and ids of the other caps that hold it: of periods, of its project and of its key.
    cap = models.ForeignKey(SpendCap, on_delete=models.PROTECT, related_name="reservations")
    limit_ids = ArrayField(models.BigIntegerField(), default=list, db_default=[])
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="reservations")
    # Whose cap it counts against; empty where its project's keys share it.
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
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
        TIERS = "tiers", _("What tiers had taken off and no room was left to charge")

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
                condition=Q(reason__in=["overrun_write_off", "tiers"], amount_nano__gt=0)
                | Q(reason="correction", amount_nano__lt=0),
                name="write_off_sign_follows_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_reason_display()} {self.pk}"


class CapWarningQuerySet(models.QuerySet["CapWarning"]):
    def owned_by(self, organization: Organization) -> CapWarningQuerySet:
        return self.filter(organization=organization)

    def unmailed(self, now: datetime) -> CapWarningQuerySet:
        return self.filter(mailed_at=None, warned_at__gt=now - TRIED_FOR).order_by("warned_at", "pk")


class CapWarning(models.Model):
    """People were warned that a cap's period has used up so much of it, or will have more than it by its end."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    cap = models.ForeignKey(SpendCap, on_delete=models.PROTECT, related_name="warnings")
    # Of the limit; 0: nothing is passed yet, but would be by the end of the period at the pace so far.
    percent = models.PositiveSmallIntegerField()
    # As it was then.
    limit_nano = models.BigIntegerField()
    settled_nano = models.BigIntegerField()
    warned_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)

    objects = CapWarningQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="cap_warning_organization_id"),
            models.CheckConstraint(condition=Q(percent__in=[0, 50, 80, 100]), name="cap_warning_known_percent"),
        ]
        indexes = [
            models.Index(fields=["warned_at"], condition=Q(mailed_at=None), name="cap_warning_unmailed"),
            models.Index(fields=["organization", "-warned_at"], name="cap_warning_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.cap_id}"
