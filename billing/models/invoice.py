"""Invoices, what they billed, and credit notes. Rules: docs/algorithms/invoicing.md.

Once issued nothing of them changes but how they stand: a trigger and the roles' privileges see to it (migration 0019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Project
from portal.lib.public_ids import new_cnote_id, new_inv_id

if TYPE_CHECKING:
    from portal.lib.periods import Period


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    def owned_by(self, organization: Organization) -> InvoiceQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> InvoiceQuerySet:
        return self.filter(organization_id=organization_id)

    def issued(self) -> InvoiceQuerySet:
        return self.filter(issued_at__isnull=False)

    def live(self) -> InvoiceQuerySet:
        return self.exclude(status=Invoice.Status.VOID)

    def of_period(self, period: Period) -> InvoiceQuerySet:
        return self.filter(period_start=period.start)

    def newest_first(self) -> InvoiceQuerySet:
        return self.order_by("-period_start", "-pk")


class Invoice(models.Model):
    """What an organization used in a UTC month, for how much, and who pays it.

    draft -> closing -> open -> paid, void or uncollectible (-> paid); closing -> draft; draft -> void when a later
    invoice takes what it would have billed; paid -> open when the payment was none. Amounts in cents are whole;
    due = owed + tax.
    """

    class Status(models.TextChoices):
        DRAFT = "draft", _("Being prepared")
        CLOSING = "closing", _("Closing")
        OPEN = "open", _("Open")
        PAID = "paid", _("Paid")
        VOID = "void", _("Void")
        UNCOLLECTIBLE = "uncollectible", _("Uncollectible")

    TRANSITIONS = {
        Status.DRAFT: {Status.CLOSING, Status.VOID},
        Status.CLOSING: {Status.DRAFT, Status.OPEN, Status.PAID},
        Status.OPEN: {Status.PAID, Status.VOID, Status.UNCOLLECTIBLE},
        Status.UNCOLLECTIBLE: {Status.PAID},
        Status.PAID: {Status.OPEN},
        Status.VOID: set[Status](),
    }

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="invoices")
    public_id = models.CharField(max_length=32, unique=True, default=new_inv_id, editable=False)
    number = models.CharField(max_length=40, null=True, unique=True)
    status = models.CharField(max_length=14, choices=Status, default=Status.DRAFT)
    period_start = models.DateTimeField()
    period_end = models.DateTimeField()
    revision = models.PositiveSmallIntegerField(default=1)
    # The void one of the same month that it stands for.
    supersedes = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    exact_nano = models.BigIntegerField(default=0)
    total_cents = models.BigIntegerField(default=0)  # of the lines
    credit_cents = models.BigIntegerField(default=0)
    house_cents = models.BigIntegerField(default=0)  # what we pay ourselves
    owed_cents = models.BigIntegerField(default=0)
    tax_cents = models.BigIntegerField(default=0)
    due_cents = models.BigIntegerField(default=0)
    tax_treatment = models.CharField(max_length=16, default="none")
    tax_rate_millionths = models.IntegerField(default=0)
    tax_legend = models.CharField(max_length=200, blank=True, default="")
    # Frozen as they were: seller, buyer, purchase order, days to pay; grants with their balances.
    terms = models.JSONField(default=dict)
    grants = models.JSONField(default=list)
    overrun_nano = models.BigIntegerField(default=0)  # what caps had no room for, and no invoice had taken yet
    # Of every month and SKU with tiers that it bills: what was used in the month, billed before and with this.
    tiered = models.JSONField(default=list, db_default=[])
    # What was committed to in terms that are over, and what earlier invoices had billed of it.
    commitments = models.JSONField(default=list, db_default=[])
    # Events numbered below it were counted when this was issued.
    counted_below = models.BigIntegerField(null=True)
    drafted_at = models.DateTimeField()
    issued_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True)
    paid_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)
    # The last attempt to keep its file; those that fail give way to the others.
    file_tried_at = models.DateTimeField(null=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="invoice_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "period_start"], condition=~Q(status="void"), name="invoice_one_live_per_month"
            ),
            models.CheckConstraint(condition=Q(period_end__gt=F("period_start")), name="invoice_period_not_empty"),
            models.CheckConstraint(
                condition=Q(number=None, issued_at=None, status__in=["draft", "closing", "void"])
                | Q(number__isnull=False, issued_at__isnull=False, due_at__isnull=False, counted_below__isnull=False)
                & ~Q(status__in=["draft", "closing"]),
                name="invoice_numbered_once_issued",
            ),
            models.CheckConstraint(
                condition=Q(total_cents=F("credit_cents") + F("house_cents") + F("owed_cents"))
                & Q(due_cents=F("owed_cents") + F("tax_cents")),
                name="invoice_adds_up",
            ),
            models.CheckConstraint(
                condition=Q(total_cents__gte=0, credit_cents__gte=0, house_cents__gte=0, owed_cents__gte=0)
                & Q(tax_cents__gte=0),
                name="invoice_not_negative",
            ),
            models.CheckConstraint(
                condition=Q(status="paid", paid_at__isnull=False) | ~Q(status="paid") & Q(paid_at=None),
                name="invoice_paid_at_an_instant",
            ),
        ]
        # Mails that are still to be sent.
        indexes = [
            models.Index(
                fields=["issued_at"], condition=Q(issued_at__isnull=False, mailed_at=None), name="invoice_unmailed"
            )
        ]

    def __str__(self) -> str:
        return self.number or self.public_id

    def can_become(self, status: Invoice.Status) -> bool:
        return status in self.TRANSITIONS[self.Status(self.status)]


class InvoiceLineQuerySet(models.QuerySet["InvoiceLine"]):
    def of_invoice(self, invoice: Invoice) -> InvoiceLineQuerySet:
        return self.filter(organization_id=invoice.organization_id, invoice=invoice).order_by("position")

    def of_organization(self, organization_id: int) -> InvoiceLineQuerySet:
        return self.filter(organization_id=organization_id)

    def live(self) -> InvoiceLineQuerySet:
        """Return those of invoices that are issued and not void."""
        return self.filter(invoice__issued_at__isnull=False).exclude(invoice__status=Invoice.Status.VOID)


class InvoiceLine(models.Model):
    """What one project used of one SKU at one price version in one month. parts: who pays, in cents that sum to it.

    Or what was not used of a contract's commitment: then it has a contract, and no project, SKU, price and quantity.
    """

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="lines")
    position = models.PositiveIntegerField()  # 1, 2, 3 …
    is_adjustment = models.BooleanField()
    month = models.DateTimeField()  # the UTC month of the usage
    project = models.ForeignKey(Project, null=True, on_delete=models.PROTECT, related_name="+")
    contract = models.ForeignKey("Contract", null=True, on_delete=models.PROTECT, related_name="+")
    product = models.CharField(max_length=24)
    sku = models.CharField(max_length=160, blank=True)
    price_id = models.CharField(max_length=32, blank=True)
    price_nano = models.BigIntegerField()  # nano-dollars per unit_size units
    unit_size = models.BigIntegerField()
    quantity = models.BigIntegerField()
    # What tiers change, within amount_nano; the rest is the quantity at the price.
    tier_nano = models.BigIntegerField(default=0, db_default=0)
    amount_nano = models.BigIntegerField()
    amount_cents = models.BigIntegerField()
    parts = models.JSONField()

    objects = InvoiceLineQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="invoice_line_organization_id"),
            models.UniqueConstraint(fields=["invoice", "position"], name="invoice_line_once_per_position"),
            models.CheckConstraint(
                condition=Q(amount_nano__gt=F("amount_cents") * 10_000_000 - 10_000_000)
                & Q(amount_nano__lt=F("amount_cents") * 10_000_000 + 10_000_000),
                name="invoice_line_within_a_cent",
            ),
            models.CheckConstraint(
                condition=Q(contract=None, project__isnull=False)
                | Q(contract__isnull=False, project=None, sku="", price_id="", quantity=0, tier_nano=0),
                name="invoice_line_of_usage_or_of_a_commitment",
            ),
        ]

    def __str__(self) -> str:
        return f"line {self.position} of {self.invoice_id}"


class InvoicedBucketQuerySet(models.QuerySet["InvoicedBucket"]):
    def of_invoice(self, invoice: Invoice) -> InvoicedBucketQuerySet:
        mine = self.filter(organization_id=invoice.organization_id, invoice=invoice)
        return mine.order_by("hour", "project_id", "sku")


class InvoicedBucket(models.Model):
    """The step of a bucket that an invoice billed: so that later usage of that hour is what is beyond it."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="buckets")
    hour = models.DateTimeField()
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    sku = models.CharField(max_length=160)
    quantity_before = models.BigIntegerField()
    quantity_after = models.BigIntegerField()

    objects = InvoicedBucketQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="invoiced_bucket_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "hour", "project", "sku", "invoice"], name="invoiced_bucket_once_per_invoice"
            ),
            models.CheckConstraint(condition=~Q(quantity_before=F("quantity_after")), name="invoiced_bucket_is_a_step"),
        ]

    def __str__(self) -> str:
        return f"{self.sku} at {self.hour:%Y-%m-%dT%HZ}"


class CreditNoteQuerySet(models.QuerySet["CreditNote"]):
    def of_invoice(self, invoice: Invoice) -> CreditNoteQuerySet:
        return self.filter(organization_id=invoice.organization_id, invoice=invoice).order_by("pk")


class CreditNote(models.Model):
    """Takes whole lines of an issued invoice back. One member of staff proposes, another issues."""

    class Status(models.TextChoices):
        PROPOSED = "proposed", _("Proposed")
        ISSUED = "issued", _("Issued")
        DECLINED = "declined", _("Declined")

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="credit_notes")
    public_id = models.CharField(max_length=32, unique=True, default=new_cnote_id, editable=False)
    number = models.CharField(max_length=40, null=True, unique=True)
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    status = models.CharField(max_length=8, choices=Status, default=Status.PROPOSED)
    positions = models.JSONField()  # of the lines that it takes back
    reason = models.CharField(max_length=300)
    # What goes back to whoever paid: to grants and to the customer; and how much of it the customer had owed.
    amount_cents = models.BigIntegerField(default=0)
    owed_cents = models.BigIntegerField(default=0)
    tax_cents = models.BigIntegerField(default=0)
    proposed_by = models.CharField(max_length=32)  # public ids of members of staff
    decided_by = models.CharField(max_length=32, blank=True, default="")
    proposed_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)

    objects = CreditNoteQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="credit_note_organization_id"),
            models.CheckConstraint(
                condition=Q(status="proposed", number=None, decided_by="", decided_at=None)
                | Q(status="declined", number=None, decided_at__isnull=False)
                | Q(status="issued", number__isnull=False, decided_at__isnull=False),
                name="credit_note_numbered_once_issued",
            ),
            models.CheckConstraint(
                condition=Q(status="declined") | ~Q(proposed_by=F("decided_by")), name="credit_note_by_two_people"
            ),
        ]

    def __str__(self) -> str:
        return self.number or self.public_id


class InvoiceSeries(models.Model):
    """Where the next number of a series comes from; locked by whoever issues, so that there are no gaps."""

    prefix = models.CharField(max_length=24, primary_key=True)
    last_number = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.prefix
