"""What became of usage that was not simply counted, or that somebody outside reported: one row for each event id."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization


class UsageFateQuerySet(models.QuerySet["UsageFate"]):
    def waiting(self) -> UsageFateQuerySet:
        """Those that a person has to decide about."""
        return self.filter(
            outcome=UsageFate.Outcome.REJECTED, reason__in=UsageFate.FOR_A_PERSON, decided_at__isnull=True
        )


class UsageFate(models.Model):
    """The fate of an event id. There is never a second one: only a person changes a rejected one to a counted one.

    Usage that the portal measures itself has a row only if it was late; what is in no row and in the events was
    counted. Usage that comes from outside always has one, because a reporter may give an id another instant and the
    key of events would not notice. Rules: docs/algorithms/metering.md.
    """

    class Outcome(models.TextChoices):
        COUNTED = "counted", _("Counted")
        LATE = "late", _("Counted late, for the next invoice")
        REJECTED = "rejected", _("Rejected")

    class Reason(models.TextChoices):
        TOO_OLD = "too_old", _("It is older than 35 days: a person decides about it.")
        FUTURE = "future", _("It lies more than 5 minutes ahead: check the clock of what reports it.")
        UNPRICED = "unpriced", _("Its SKU has no price in that hour.")
        UNKNOWN_ORGANIZATION = "unknown_organization", _("There is no such organization.")
        UNKNOWN_PROJECT = "unknown_project", _("The organization has no such project.")
        UNKNOWN_KEY = "unknown_key", _("The organization has no such API key.")
        NEGATIVE = "negative", _("It is negative and does not say what it corrects.")
        CORRECTS_NOTHING = "corrects_nothing", _("What it corrects was itself rejected.")
        CORRECTS_OTHERWISE = "corrects_otherwise", _("It is not the exact opposite of what it corrects.")

    # What is wrong with these may be wrong on our side; the others are wrong for ever.
    FOR_A_PERSON = (Reason.TOO_OLD, Reason.FUTURE, Reason.UNPRICED)

    event_id = models.UUIDField(primary_key=True)
    organization = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT, related_name="+")
    occurred_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, choices=Outcome)
    reason = models.CharField(max_length=24, choices=Reason, blank=True)
    # Of everything that was reported; NULL for what the portal measured itself.
    content_digest = models.BinaryField(null=True)
    # What was reported, of rejected events only: who decides about one has to see it, and counts it from here.
    content = models.JSONField(null=True)
    recorded_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=32, blank=True)  # public id of the staff member
    decision = models.CharField(max_length=500, blank=True)  # why, in their words

    objects = UsageFateQuerySet.as_manager()

    class Meta:
        constraints = [
            # What a person let in keeps the reason that it was rejected for.
            models.CheckConstraint(
                condition=Q(outcome="rejected") & ~Q(reason="")
                | ~Q(outcome="rejected") & (Q(reason="") | Q(decided_at__isnull=False)),
                name="usage_fate_rejected_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(outcome="rejected") | Q(organization__isnull=False),
                name="usage_fate_counted_for_an_organization",
            ),
            models.CheckConstraint(
                condition=Q(decided_at=None) | ~Q(decision=""), name="usage_fate_decided_for_a_reason"
            ),
        ]
        indexes = [
            # The manual queue, oldest first.
            models.Index(
                fields=["recorded_at", "event_id"],
                condition=Q(outcome="rejected", decided_at=None),
                name="usage_fate_undecided",
            ),
            # What of an organization goes to its next invoice.
            models.Index(fields=["organization", "recorded_at"], condition=Q(outcome="late"), name="usage_fate_late"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id}: {self.get_outcome_display()}"

    @property
    def is_waiting(self) -> bool:
        """Whether a person has to decide about it."""
        return self.outcome == self.Outcome.REJECTED and self.reason in self.FOR_A_PERSON and self.decided_at is None
