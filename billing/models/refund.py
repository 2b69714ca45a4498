"""Money that goes back to the card that it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from billing.models.payment import TRIED_FOR, Payment
from portal.lib.public_ids import new_refund_id

if TYPE_CHECKING:
    from datetime import datetime


class RefundQuerySet(models.QuerySet["Refund"]):
    def owned_by(self, organization: Organization) -> RefundQuerySet:
        return self.filter(organization=organization)

    def of_payment(self, payment: Payment) -> RefundQuerySet:
        return self.filter(organization_id=payment.organization_id, payment=payment).order_by("-pk")

    def undecided(self) -> RefundQuerySet:
        return self.filter(state=Refund.State.ASKED)

    def due(self, now: datetime) -> RefundQuerySet:
        """Those of which the provider is asked now, whether or not a message came."""
        return self.filter(state__in=Refund.ON_THE_WAY, look_at__lte=now).order_by("look_at", "pk")

    def unmailed(self, now: datetime) -> RefundQuerySet:
        over = self.filter(state__in=Refund.AT_THE_END, mailed_at=None, ended_at__gt=now - TRIED_FOR)
        return over.order_by("ended_at", "pk")


class Refund(models.Model):
    """Part of a payment on its way back: asked -> approved -> pending -> succeeded or failed; or declined.

    Who asks and who approves are two people. The credit is taken back when it is approved, before the provider is
    asked, and comes back when the refund fails, which a bank may say days after the provider said that it succeeded.
    """

    class State(models.TextChoices):
        ASKED = "asked", _("Asked for")
        APPROVED = "approved", _("Approved")
        PENDING = "pending", _("On its way")
        SUCCEEDED = "succeeded", _("Paid back")
        FAILED = "failed", _("Failed")
        DECLINED = "declined", _("Declined")

    ON_THE_WAY = (State.APPROVED, State.PENDING)
    AT_THE_END = (State.SUCCEEDED, State.FAILED)

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="refunds")
    public_id = models.CharField(max_length=32, unique=True, default=new_refund_id, editable=False)
    payment = models.ForeignKey(Payment, on_delete=models.PROTECT, related_name="refunds")
    amount_cents = models.BigIntegerField()
    state = models.CharField(max_length=12, choices=State, default=State.ASKED)
    reason = models.CharField(max_length=300)
    is_of_customer = models.BooleanField()  # a member of the organization asked, else one of staff
    asked_by = models.CharField(max_length=32)  # public ids of people
    decided_by = models.CharField(max_length=32, blank=True, default="")
    stripe_refund_id = models.CharField(max_length=64, null=True, unique=True)
    generation = models.PositiveSmallIntegerField(default=0)  # of the key under which the provider is asked
    sent_at = models.DateTimeField(null=True)  # when it was first asked for: from then on it may be there
    asked_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    look_at = models.DateTimeField()  # when the sweep asks the provider, while it is on its way
    mailed_at = models.DateTimeField(null=True)

    objects = RefundQuerySet.as_manager()

    class Meta:
        permissions = [("propose_refund", "Can propose refunds"), ("approve_refund", "Can approve refunds")]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="refund_organization_id"),
            # The next one is judged by what this one leaves.
            models.UniqueConstraint(
                fields=["payment"],
                condition=Q(state__in=["asked", "approved", "pending"]),
                name="refund_one_open_per_payment",
            ),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="refund_positive"),
            models.CheckConstraint(
                condition=Q(state="asked", decided_by="", decided_at=None)
                | (~Q(state="asked") & ~Q(decided_by="") & Q(decided_at__isnull=False)),
                name="refund_decided_once_it_is_not_asked_for",
            ),
            models.CheckConstraint(
                condition=Q(state="declined") | ~Q(asked_by=F("decided_by")), name="refund_by_two_people"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["asked", "approved", "pending"], ended_at=None)
                | Q(state__in=["succeeded", "failed", "declined"], ended_at__isnull=False),
                name="refund_ends_once_it_is_final",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="refund_newest"),
            models.Index(fields=["look_at"], condition=Q(state__in=["approved", "pending"]), name="refund_due"),
            models.Index(
                fields=["ended_at"],
                condition=Q(state__in=["succeeded", "failed"], mailed_at=None),
                name="refund_unmailed",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id
