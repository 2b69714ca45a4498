"""Payments that their bank takes back, or asks about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from billing.models.payment import TRIED_FOR, Payment
from portal.lib.public_ids import new_dispute_id

if TYPE_CHECKING:
    from datetime import datetime


class DisputeQuerySet(models.QuerySet["Dispute"]):
    def owned_by(self, organization: Organization) -> DisputeQuerySet:
        return self.filter(organization=organization)

    def of_payment(self, payment: Payment) -> DisputeQuerySet:
        return self.filter(organization_id=payment.organization_id, payment=payment).order_by("-pk")

    def contested(self) -> DisputeQuerySet:
        """Those whose money the bank has taken, and of which nobody knows yet who keeps it."""
        return self.filter(state__in=Dispute.CONTESTED)

    def leaving_debts(self) -> DisputeQuerySet:
        """Those that were lost after some of the payment's credit was spent, or whose payment gave none."""
        return self.filter(state=Dispute.State.LOST, amount_cents__gt=F("frozen_cents"))

    def due(self, now: datetime) -> DisputeQuerySet:
        """Those of which the provider is asked now, whether or not a message came."""
        return self.filter(state__in=Dispute.UNDECIDED, look_at__lte=now).order_by("look_at", "pk")

    def unmailed(self, now: datetime) -> DisputeQuerySet:
        opened = Q(state__in=Dispute.CONTESTED, mailed_state="", opened_at__gt=now - TRIED_FOR)
        ended = Q(state__in=["won", "lost"], ended_at__gt=now - TRIED_FOR) & ~Q(mailed_state=F("state"))
        return self.filter(opened | ended).order_by("pk")


class Dispute(models.Model):
    """A bank's claim on a payment, as the provider tells of it when it is asked.

    inquiry -> closed, while the bank only asks; disputed -> answered -> won or lost, once it has taken the money. What
    is unspent of the payment's credit is frozen meanwhile: thawed when it is won, gone when it is lost.
    """

    class State(models.TextChoices):
        INQUIRY = "inquiry", _("The bank asks")
        OPEN = "disputed", _("Disputed")
        ANSWERED = "answered", _("Being decided")
        WON = "won", _("Won")
        LOST = "lost", _("Lost")
        CLOSED = "closed", _("Closed")

    CONTESTED = (State.OPEN, State.ANSWERED)
    UNDECIDED = (State.INQUIRY, *CONTESTED)

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="disputes")
    public_id = models.CharField(max_length=32, unique=True, default=new_dispute_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="disputes")
    stripe_dispute_id = models.CharField(max_length=64, unique=True)
    reason = models.CharField(max_length=64)  # the provider's word, such as fraudulent
    amount_cents = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=State)
    is_withdrawn = models.BooleanField(default=False)  # the bank has taken the money, and the ledger says so
    frozen_cents = models.BigIntegerField(default=0)  # of the credit; after a loss, what was taken of it
    due_by = models.DateTimeField(null=True)  # until when the bank takes an answer
    answered_at = models.DateTimeField(null=True)  # when one of staff let the evidence be sent
    answered_by = models.CharField(max_length=32, blank=True, default="")  # their public id
    opened_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    look_at = models.DateTimeField()  # when the sweep asks the provider, while it is undecided
    mailed_state = models.CharField(max_length=8, blank=True, default="")  # of the last mail

    objects = DisputeQuerySet.as_manager()

    class Meta:
        permissions = [("answer_dispute", "Can send evidence to the payment provider")]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="dispute_organization_id"),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="dispute_positive"),
            models.CheckConstraint(
                condition=Q(frozen_cents=0)
                | Q(is_withdrawn=True, frozen_cents__gt=0, frozen_cents__lte=F("amount_cents")),
                name="dispute_freezes_at_most_what_was_taken",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["inquiry", "disputed", "answered"], ended_at=None)
                | Q(state__in=["won", "lost", "closed"], ended_at__isnull=False),
                name="dispute_ends_once_it_is_decided",
            ),
            models.CheckConstraint(
                condition=Q(is_withdrawn=True) | Q(state__in=["inquiry", "closed"]), name="dispute_has_taken_money"
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="dispute_newest"),
            models.Index(
                fields=["look_at"], condition=Q(state__in=["inquiry", "disputed", "answered"]), name="dispute_due"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
