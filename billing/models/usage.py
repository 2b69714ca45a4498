"""What was used: immutable events, the hourly buckets that are billed, and the daily sums that explain them.

All of them are written by one statement, in billing.services.usage. Definitions: docs/algorithms/metering.md.
"""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Project
from portal.lib.periods import Period


class UsageEventQuerySet(models.QuerySet["UsageEvent"]):
    def owned_by(self, organization: Organization) -> UsageEventQuerySet:
        return self.filter(organization=organization)

    def within(self, period: Period) -> UsageEventQuerySet:
        return self.filter(occurred_at__gte=period.start, occurred_at__lt=period.end)


class UsageEvent(models.Model):
    """One measurement; never changed and never deleted while its day's partition exists.

    The table is partitioned by day of `occurred_at` (migration 0002), which Django cannot say, so it is not
    managed. No foreign key is checked per event: the hourly bucket that the same statement writes has them.
    """

    pk = models.CompositePrimaryKey("occurred_at", "event_id")
    event_id = models.UUIDField()  # uuid5 of the cause and the SKU, so that a retry is the same event
    occurred_at = models.DateTimeField()  # a function of the cause, never of when we heard
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    sku = models.CharField(max_length=160)
    quantity = models.BigIntegerField()  # in the SKU's smallest unit; negative only for a correction
    resource_id = models.CharField(max_length=160)  # what used it: inst_…, or the name of a served model
    api_key_id = models.BigIntegerField(null=True)
    user_id = models.BigIntegerField(null=True)
    request_id = models.CharField(max_length=64)
    corrects = models.UUIDField(null=True)
    recorded_at = models.DateTimeField()  # when we heard: for audits, never for amounts
    # In the order of commits within the organization (migration 0019); invoices say below which they counted.
    counted_order = models.BigIntegerField(null=True)

    objects = UsageEventQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "billing_usageevent"

    def __str__(self) -> str:
        return f"{self.event_id} at {self.occurred_at:%Y-%m-%dT%H:%M:%SZ}"


class UsageByHourQuerySet(models.QuerySet["UsageByHour"]):
    def owned_by(self, organization: Organization) -> UsageByHourQuerySet:
        return self.filter(organization=organization)

    def within(self, period: Period) -> UsageByHourQuerySet:
        return self.filter(hour__gte=period.start, hour__lt=period.end)


class UsageByHour(models.Model):
    """A bucket: what a project used of a SKU in one UTC hour, and its amount. This is what is billed.

    The price is the version in force in that hour, copied, so that a new price never reaches back.
    `amount_nano` is always the rounding of the whole quantity, never a sum of roundings. One foreign key over
    organization and project together takes the place of Django's two (migration 0003).
    """

    pk = models.CompositePrimaryKey("organization_id", "hour", "project_id", "sku")
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    hour = models.DateTimeField()
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    sku = models.CharField(max_length=160)
    quantity = models.BigIntegerField()
    event_count = models.BigIntegerField()
    amount_nano = models.BigIntegerField()
    price_id = models.CharField(max_length=32)  # public id of the price version
    price_nano = models.BigIntegerField()  # nano-dollars per unit_size units
    unit_size = models.BigIntegerField()
    # What the list said in that hour, per unit_size, where a contract said otherwise; else "" and NULL.
    list_price_id = models.CharField(max_length=32, blank=True, default="", db_default="")
    list_price_nano = models.BigIntegerField(null=True, blank=True)
    updated_at = models.DateTimeField()

    objects = UsageByHourQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(event_count__gt=0), name="usage_by_hour_has_events"),
            models.CheckConstraint(condition=Q(price_nano__gte=0, unit_size__gt=0), name="usage_by_hour_has_price"),
            models.CheckConstraint(
                condition=Q(hour__minute=0, hour__second=0), name="usage_by_hour_starts_on_the_hour"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sku} of project {self.project_id} at {self.hour:%Y-%m-%dT%HZ}"


class SpendByDayQuerySet(models.QuerySet["SpendByDay"]):
    def owned_by(self, organization: Organization) -> SpendByDayQuerySet:
        return self.filter(organization=organization)

    def within(self, period: Period) -> SpendByDayQuerySet:
        return self.filter(day__gte=period.start, day__lt=period.end)


class SpendByDay(models.Model):
    """The buckets of one UTC day added up over all projects, so that pages cost the same however many there are.

    Its amount is the sum of the buckets' amounts, to the nano-dollar.
    """

    pk = models.CompositePrimaryKey("organization_id", "day", "sku", "price_id")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    day = models.DateTimeField()
    sku = models.CharField(max_length=160)
    price_id = models.CharField(max_length=32)
    price_nano = models.BigIntegerField()
    unit_size = models.BigIntegerField()
    quantity = models.BigIntegerField()
    event_count = models.BigIntegerField()
    amount_nano = models.BigIntegerField()
    updated_at = models.DateTimeField()

    objects = SpendByDayQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.sku} on {self.day:%Y-%m-%d}"


class UsageByResourceQuerySet(models.QuerySet["UsageByResource"]):
    def owned_by(self, organization: Organization) -> UsageByResourceQuerySet:
        return self.filter(organization=organization)

    def within(self, period: Period) -> UsageByResourceQuerySet:
        return self.filter(day__gte=period.start, day__lt=period.end)


class UsageByResource(models.Model):
    """Who and what used a day's quantity: it explains the buckets of that day and is never billed itself.

    Foreign keys are as in UsageByHour.
    """

    # 0 says "no key" and "no member": a primary key cannot hold NULL, and a second index would cost a third
    # of the write.
    NOBODY = 0

    pk = models.CompositePrimaryKey(
        "organization_id", "day", "project_id", "sku", "resource_id", "api_key_id", "user_id"
    )
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    day = models.DateTimeField()
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    sku = models.CharField(max_length=160)
    resource_id = models.CharField(max_length=160)
    api_key_id = models.BigIntegerField(default=NOBODY)
    user_id = models.BigIntegerField(default=NOBODY)
    quantity = models.BigIntegerField()

    objects = UsageByResourceQuerySet.as_manager()

    class Meta:
        # What a key says of itself (GET /api/v1/key).
        indexes = [models.Index(fields=["organization", "api_key_id", "day"], name="usage_by_resource_of_key")]

    def __str__(self) -> str:
        return f"{self.sku} by {self.resource_id} on {self.day:%Y-%m-%d}"


class SpendByCauseQuerySet(models.QuerySet["SpendByCause"]):
    def owned_by(self, organization: Organization) -> SpendByCauseQuerySet:
        return self.filter(organization=organization)

    def by_day(self, period: Period) -> SpendByCauseQuerySet:
        """Return the rows of the single days that begin in the period."""
        return self.filter(span_days=1, day__gte=period.start, day__lt=period.end)


class SpendByCause(models.Model):
    """What one project, API key, resource or member has cost in one UTC day or week, so that breakdowns need no sums
    of usage.

    Weeks begin on Mondays. Each amount is in the row of its day and in the row of its week: a breakdown of a month
    adds up three or four weeks and a few days.

    The causes of one kind add up to the day's buckets, to the nano-dollar: every change of a bucket is spread over
    what caused it (docs/algorithms/rating.md). It explains amounts and is never billed itself.
    """

    class Cause(models.TextChoices):
        PROJECT = "project", _("Project")
        KEY = "key", _("API key")
        RESOURCE = "resource", _("Model or instance")
        MEMBER = "member", _("Member")

    pk = models.CompositePrimaryKey("organization_id", "cause", "span_days", "day", "cause_id")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    cause = models.CharField(max_length=8, choices=Cause)
    span_days = models.SmallIntegerField()  # 1 or 7
    day = models.DateTimeField()  # the first of the span
    # Primary key of the project, key or member, "0" for none, or a resource id: text, since one column holds all.
    cause_id = models.CharField(max_length=160)
    amount_nano = models.BigIntegerField()

    objects = SpendByCauseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(span_days=1) | Q(span_days=7, day__iso_week_day=1),
                name="spend_by_cause_is_of_a_day_or_a_week",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_cause_display()} {self.cause_id} from {self.day:%Y-%m-%d}, {self.span_days} days"
