"""How an organization stands that did not pay, and what it was told. Rules: docs/algorithms/dunning.md."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q

from accounts.models import Organization
from billing.invoicing.dunning import Letter, State

# A letter that cannot be sent for so long is given up; the pages say it all the while.
TRIED_FOR = timedelta(days=7)


class StandingQuerySet(models.QuerySet["Standing"]):
    def of_organization(self, organization_id: int) -> StandingQuerySet:
        return self.filter(organization_id=organization_id)

    def due(self, now: datetime) -> StandingQuerySet:
        return self.filter(next_action_at__lte=now).order_by("next_action_at", "pk")

    def waiting(self) -> StandingQuerySet:
        """Those that are suspended once a person agrees."""
        return self.filter(waits_since__isnull=False).order_by("waits_since", "pk")


class Standing(models.Model):
    """Where an organization is between good and terminated, and what is done when.

    good → past_due → grace → suspended → terminated by time; → good from everywhere once nothing is overdue;
    disputed beside them. `accounts.Organization.payment_state` and the credit cap's `is_suspended` are copies, written
    in the same transaction, for pages and for whoever holds budget.
    """

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="billing_standing")
    state = models.CharField(max_length=12, choices=[(state.value, state.value) for state in State])
    since = models.DateTimeField()
    # How many of the state's actions are done, and when the next one is; empty where none is or a person is waited for.
    done = models.PositiveSmallIntegerField(default=0)
    next_action_at = models.DateTimeField(null=True)
    # Where a dispute found it.
    before_dispute = models.CharField(max_length=12, default=State.GOOD.value)
    # An organization on terms is suspended by a person: since when one is waited for, and who agreed.
    waits_since = models.DateTimeField(null=True)
    approved_by = models.CharField(max_length=32, blank=True, default="")  # public id of a member of staff
    # Since when it has not been good.
    began_at = models.DateTimeField(null=True)

    objects = StandingQuerySet.as_manager()

    class Meta:
        permissions = [("approve_suspension", "Can approve suspensions for debt")]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="standing_organization_id"),
            models.CheckConstraint(
                condition=Q(state="good", next_action_at=None, began_at=None)
                | ~Q(state="good") & Q(began_at__isnull=False),
                name="standing_good_waits_for_nothing",
            ),
            models.CheckConstraint(
                condition=Q(waits_since=None) | Q(state="grace", next_action_at=None), name="standing_waits_in_grace"
            ),
        ]
        # The look at what is due.
        indexes = [
            models.Index(
                fields=["next_action_at"], condition=Q(next_action_at__isnull=False), name="standing_next_action"
            )
        ]

    def __str__(self) -> str:
        return f"organization {self.organization_id} is {self.state}"


class StandingLetterQuerySet(models.QuerySet["StandingLetter"]):
    def unmailed(self, now: datetime) -> StandingLetterQuerySet:
        return self.filter(mailed_at=None, noted_at__gt=now - TRIED_FOR).order_by("noted_at", "pk")

    def of_episode(self, standing: Standing) -> StandingLetterQuerySet:
        """Those since it was last good."""
        mine = self.filter(organization_id=standing.organization_id, standing=standing)
        return mine.filter(noted_at__gte=standing.began_at)


class StandingLetter(models.Model):
    """That people are to be mailed how their organization stands."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    standing = models.ForeignKey(Standing, on_delete=models.PROTECT, related_name="letters")
    letter = models.CharField(max_length=16, choices=[(letter.value, letter.value) for letter in Letter])
    owed_cents = models.BigIntegerField()  # what was overdue then
    noted_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True)

    objects = StandingLetterQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="standing_letter_organization_id"),
            models.CheckConstraint(
                condition=Q(mailed_at=None) | Q(mailed_at__gte=F("noted_at")), name="standing_letter_noted_first"
            ),
        ]
        indexes = [
            models.Index(fields=["noted_at"], condition=Q(mailed_at=None), name="standing_letter_unmailed"),
        ]

    def __str__(self) -> str:
        return f"{self.letter} to organization {self.organization_id}"
