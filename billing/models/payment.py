"""Money that comes in by the payment provider: who pays, each payment, and what the provider tells us of.

Rules: docs/algorithms/payments.md.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from billing.models.invoice import Invoice
from billing.models.payment_method import PaymentMethod
from portal.lib.public_ids import new_pay_id

# A mail that cannot be sent for so long is given up; the page of credit shows the payment all the while.
TRIED_FOR = timedelta(days=3)


class BillingAccountQuerySet(models.QuerySet["BillingAccount"]):
    def owned_by(self, organization: Organization) -> BillingAccountQuerySet:
        return self.filter(organization=organization)


class BillingAccount(models.Model):
    """The billing side of an organization: who it is at the payment provider."""

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="billing_account")
    stripe_customer_id = models.CharField(max_length=64, null=True, unique=True)  # none before the first payment
    generation = models.PositiveSmallIntegerField(default=0)  # of the key under which the provider is asked
    setup_number = models.PositiveIntegerField(default=0, db_default=0)  # how often somebody began to add a card
    created_at = models.DateTimeField()

    objects = BillingAccountQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="billing_account_organization_id")]

    def __str__(self) -> str:
        return self.stripe_customer_id or f"account of organization {self.organization_id}"


class PaymentQuerySet(models.QuerySet["Payment"]):
    def owned_by(self, organization: Organization) -> PaymentQuerySet:
        return self.filter(organization=organization)

    def unfinished(self) -> PaymentQuerySet:
        """Those of which the provider may still tell us something else."""
        return self.filter(state__in=Payment.UNFINISHED)

    def paying_debts(self) -> PaymentQuerySet:
        """Those that have paid what lost disputes leave owed."""
        return self.filter(purpose=Payment.Purpose.DEBT, state=Payment.State.SUCCEEDED)

    def due(self, now: datetime) -> PaymentQuerySet:
        """Those that the sweep looks at now, whether or not a webhook came."""
        return self.unfinished().filter(look_at__lte=now).order_by("look_at", "pk")

    def warned_of(self) -> PaymentQuerySet:
        """Those whose bank warned of fraud, of which nothing went back or is disputed."""
        warned = self.filter(fraud_warned_at__isnull=False, state=Payment.State.SUCCEEDED, refunded_cents=0)
        return warned.filter(disputes=None).order_by("fraud_warned_at", "pk")

    def unmailed(self, now: datetime) -> PaymentQuerySet:
        """Those that arrived, and those without the customer that failed."""
        told = Q(state=Payment.State.SUCCEEDED) | Q(state=Payment.State.FAILED, card__isnull=False)
        return self.filter(told, mailed_at=None, ended_at__gt=now - TRIED_FOR).order_by("ended_at", "pk")


class Payment(models.Model):
    """A customer's money on its way to us: created -> pending -> processing -> succeeded, failed or canceled.

    The row is committed before the provider is asked, and the key under which it is asked follows from it, so that
    asking twice is asking once. What the provider says of it never goes back, and a payment that it calls paid is paid,
    whatever we thought before.
    """

    class Purpose(models.TextChoices):
        TOP_UP = "top_up", _("Credit")
        RELOAD = "reload", _("Credit, bought automatically")
        INVOICE = "invoice", _("Invoice")
        DEBT = "debt", _("What a payment that was taken back left owed")

    class State(models.TextChoices):
        CREATED = "created", _("Started")
        PENDING = "pending", _("Waiting for you")
        PROCESSING = "processing", _("Being processed")
        SUCCEEDED = "succeeded", _("Paid")
        FAILED = "failed", _("Failed")
        CANCELED = "canceled", _("Not paid")

    UNFINISHED = (State.CREATED, State.PENDING, State.PROCESSING)

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="payments")
    public_id = models.CharField(max_length=32, unique=True, default=new_pay_id, editable=False)
    purpose = models.CharField(max_length=8, choices=Purpose)
    # What is paid by it, for one of an invoice; and the card that is charged without the customer, else none.
    invoice = models.ForeignKey(Invoice, null=True, on_delete=models.PROTECT, related_name="payments")
    card = models.ForeignKey(PaymentMethod, null=True, on_delete=models.PROTECT, related_name="payments")
    failure = models.CharField(max_length=64, blank=True, default="")  # the provider's word for why it failed
    amount_cents = models.BigIntegerField()
    refunded_cents = models.BigIntegerField(default=0, db_default=0)  # gone back, or approved to
    state = models.CharField(max_length=12, choices=State, default=State.CREATED)
    # The provider's names of it; empty until it has given them.
    stripe_session_id = models.CharField(max_length=96, null=True, unique=True)
    stripe_payment_intent_id = models.CharField(max_length=64, null=True, unique=True)
    generation = models.PositiveSmallIntegerField(default=0)  # of the key under which the provider is asked
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    look_at = models.DateTimeField()  # when the sweep asks the provider again, while it is unfinished
    mailed_at = models.DateTimeField(null=True)
    # When its bank warned of fraud, and how the provider names the warning.
    fraud_warned_at = models.DateTimeField(null=True)
    fraud_warning = models.CharField(max_length=64, blank=True, default="", db_default="")

    objects = PaymentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="payment_organization_id"),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="payment_positive"),
            models.CheckConstraint(
                condition=Q(purpose="invoice", invoice__isnull=False) | ~Q(purpose="invoice") & Q(invoice=None),
                name="payment_of_an_invoice_has_it",
            ),
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(purpose="reload", state__in=["created", "pending", "processing"]),
                name="payment_one_reload_in_flight",
            ),
            models.UniqueConstraint(
                fields=["organization"],
                condition=Q(purpose="debt", state__in=["created", "pending", "processing"]),
                name="payment_one_for_debts_in_flight",
            ),
            models.UniqueConstraint(
                fields=["invoice"],
                condition=Q(state__in=["created", "pending", "processing"]),
                name="payment_one_in_flight_per_invoice",
            ),
            models.CheckConstraint(
                condition=Q(refunded_cents=0)
                | Q(state="succeeded", refunded_cents__gt=0, refunded_cents__lte=F("amount_cents")),
                name="payment_refunded_at_most_what_is_paid",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["created", "pending", "processing"], ended_at=None)
                | Q(state__in=["succeeded", "failed", "canceled"], ended_at__isnull=False),
                name="payment_ends_once_it_is_final",
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-id"], name="payment_newest"),
            models.Index(
                fields=["look_at"], condition=Q(state__in=["created", "pending", "processing"]), name="payment_due"
            ),
            models.Index(
                fields=["ended_at"],
                condition=Q(state__in=["succeeded", "failed"], mailed_at=None),
                name="payment_unmailed",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_finished(self) -> bool:
        return self.state not in self.UNFINISHED


class StripeEventQuerySet(models.QuerySet["StripeEvent"]):
    def due(self, now: datetime) -> StripeEventQuerySet:
        return self.filter(state=StripeEvent.State.RECEIVED, try_at__lte=now).order_by("try_at", "id")


class StripeEvent(models.Model):
    """The provider told us that something happened to one of its objects: a hint to read that object again.

    Nothing else of the message is kept: amounts and states are read from the provider, never from a message.
    """

    class State(models.TextChoices):
        RECEIVED = "received", _("To be looked at")
        DONE = "done", _("Done")
        IGNORED = "ignored", _("Of no concern to us")
        PARKED = "parked", _("Of another version or mode")
        DEAD = "dead", _("Given up")

    id = models.CharField(max_length=96, primary_key=True)
    type = models.CharField(max_length=80)
    object_id = models.CharField(max_length=96)
    api_version = models.CharField(max_length=40)
    is_live = models.BooleanField()
    created_at = models.DateTimeField()  # at the provider
    received_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State, default=State.RECEIVED)
    attempts = models.PositiveSmallIntegerField(default=0)
    try_at = models.DateTimeField()
    problem = models.CharField(max_length=300, blank=True, default="")

    objects = StripeEventQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["try_at"], condition=Q(state="received"), name="stripe_event_due")]

    def __str__(self) -> str:
        return self.id
