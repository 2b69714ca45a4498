"""Money that comes in by bank transfer, and what it pays. Rules: docs/algorithms/transfers.md."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from billing.models.credit import CreditGrant
from billing.models.invoice import Invoice
from portal.lib.public_ids import new_transfer_id

# A mail that cannot be sent for so long is given up; the page of the invoice shows the transfer all the while.
TRIED_FOR = timedelta(days=7)


class BankTransferQuerySet(models.QuerySet["BankTransfer"]):
    def owned_by(self, organization: Organization) -> BankTransferQuerySet:
        return self.filter(organization=organization)

    def unmailed(self, now: datetime) -> BankTransferQuerySet:
        confirmed = self.filter(status=BankTransfer.Status.CONFIRMED, mailed_at=None, confirmed_at__gt=now - TRIED_FOR)
        return confirmed.order_by("confirmed_at", "pk")

    def paying_debts(self) -> BankTransferQuerySet:
        """Those that have paid some of what lost disputes leave owed."""
        return self.filter(status=BankTransfer.Status.CONFIRMED, debt_cents__gt=0)


class BankTransfer(models.Model):
    """One line of a bank statement: what arrived, from whom, and what it pays. What is beyond is credit.

    recorded → confirmed (by another person) → taken_back (asked by one, done by another); recorded → discarded. A
    wrong match is taken back whole and recorded anew.
    """

    class Status(models.TextChoices):
        RECORDED = "recorded", _("Waits for a second person")
        CONFIRMED = "confirmed", _("Confirmed")
        TAKEN_BACK = "taken_back", _("Taken back")
        DISCARDED = "discarded", _("Discarded")

    TRANSITIONS = {
        Status.RECORDED: {Status.CONFIRMED, Status.DISCARDED},
        Status.CONFIRMED: {Status.TAKEN_BACK},
        Status.TAKEN_BACK: set[Status](),
        Status.DISCARDED: set[Status](),
    }

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="bank_transfers")
    public_id = models.CharField(max_length=32, unique=True, default=new_transfer_id, editable=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.RECORDED)
    # How the bank names the line of its statement: recorded once, unless it was wrong.
    statement_line = models.CharField(max_length=80)
    amount_cents = models.BigIntegerField()
    value_date = models.DateField()
    payer = models.CharField(max_length=160)
    reference = models.CharField(max_length=200, blank=True)
    # How much of it pays what lost disputes leave owed; matches say how much pays which invoice.
    debt_cents = models.BigIntegerField(default=0, db_default=0)
    # What was beyond the invoices and debts that it pays.
    credit_grant = models.ForeignKey(CreditGrant, null=True, on_delete=models.PROTECT, related_name="+")
    recorded_by = models.CharField(max_length=32)  # public ids of members of staff
    recorded_at = models.DateTimeField()
    confirmed_by = models.CharField(max_length=32, blank=True, default="")
    confirmed_at = models.DateTimeField(null=True)
    # Who said that it was matched wrongly, and why; another person takes it back.
    disputed_by = models.CharField(max_length=32, blank=True, default="")
    disputed_because = models.CharField(max_length=300, blank=True, default="")
    taken_back_by = models.CharField(max_length=32, blank=True, default="")
    taken_back_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)

    objects = BankTransferQuerySet.as_manager()

    class Meta:
        permissions = [("record_transfer", "Can record, confirm and take back bank transfers")]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="transfer_organization_id"),
            models.UniqueConstraint(
                fields=["statement_line"],
                condition=Q(status__in=["recorded", "confirmed"]),
                name="transfer_statement_line_once",
            ),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="transfer_amount_positive"),
            models.CheckConstraint(
                condition=Q(debt_cents__gte=0, debt_cents__lte=models.F("amount_cents")), name="transfer_debt_within_it"
            ),
            models.CheckConstraint(
                condition=Q(confirmed_by="", confirmed_at=None, status__in=["recorded", "discarded"])
                | ~Q(confirmed_by="") & Q(confirmed_at__isnull=False, status__in=["confirmed", "taken_back"]),
                name="transfer_confirmed_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(confirmed_by="") | ~Q(confirmed_by=models.F("recorded_by")), name="transfer_by_two_people"
            ),
            models.CheckConstraint(
                condition=Q(taken_back_by="", taken_back_at=None) & ~Q(status="taken_back")
                | Q(status="taken_back", taken_back_at__isnull=False)
                & ~Q(taken_back_by="")
                & ~Q(taken_back_by=models.F("disputed_by")),
                name="transfer_taken_back_by_two_people",
            ),
        ]
        # Mails that are still to be sent.
        indexes = [
            models.Index(
                fields=["confirmed_at"], condition=Q(status="confirmed", mailed_at=None), name="transfer_unmailed"
            )
        ]

    def __str__(self) -> str:
        return self.public_id

    def can_become(self, status: Status) -> bool:
        return status in self.TRANSITIONS[self.Status(self.status)]


class TransferMatchQuerySet(models.QuerySet["TransferMatch"]):
    def of_transfer(self, transfer: BankTransfer) -> TransferMatchQuerySet:
        mine = self.filter(organization_id=transfer.organization_id, transfer=transfer)
        return mine.select_related("invoice").order_by("invoice_id")

    def paying(self, invoice: Invoice) -> TransferMatchQuerySet:
        """Those that count: of transfers that are confirmed and not taken back."""
        mine = self.filter(organization_id=invoice.organization_id, invoice=invoice)
        confirmed = mine.filter(transfer__status=BankTransfer.Status.CONFIRMED)
        return confirmed.select_related("transfer").order_by("transfer__value_date", "pk")


class TransferMatch(models.Model):
    """How much of a transfer pays which invoice. Written with the transfer, and never changed."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    transfer = models.ForeignKey(BankTransfer, on_delete=models.PROTECT, related_name="matches")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="transfer_matches")
    amount_cents = models.BigIntegerField()

    objects = TransferMatchQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="transfer_match_organization_id"),
            models.UniqueConstraint(fields=["transfer", "invoice"], name="transfer_match_once_per_invoice"),
            models.CheckConstraint(condition=Q(amount_cents__gt=0), name="transfer_match_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.transfer_id} pays {self.invoice_id}"
