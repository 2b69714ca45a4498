"""Draft, issue, void and settle invoices. Rules: docs/algorithms/invoicing.md.

Locks: the organization's credit, its invoice, ledger accounts, the series of numbers, the audit log. The credit's lock
is what two closers wait at, and what keeps usage from being counted while it is billed.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Sum
from django.utils.translation import gettext as _

from accounts.models import Organization, Project
from accounts.services.audit import record_event
from billing.invoicing import Bill, Credit, Payer, Terms, bill
from billing.models import (
    AccountKind,
    CreditNote,
    Invoice,
    InvoicedBucket,
    InvoiceLine,
    InvoiceSeries,
    LedgerEntry,
    Route,
    SpendCap,
)
from billing.selectors.unbilled import Grants, grants_of, overrun_nano_of, terms_of, unbilled_buckets
from billing.services.credits import lock_cap
from billing.services.invoice_posting import invoice_source, post_invoice
from billing.services.ledger import Journal, Line, post, reverse
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import Period, month_of

Status = Invoice.Status


class UnableToInvoice(DomainError):
    """The invoice is not in a state, or the month not over, for what was asked."""

    code: ClassVar[str] = "unable_to_invoice"


@transaction.atomic
def draft_invoice(
    *, organization: Organization, period: Period, now: datetime, terms: Terms | None = None
) -> Invoice | None:
    """Return the live invoice of a month, a new draft where there is none; None while there is nothing to bill.

    Safe to call twice at once. Raises UnableToInvoice unless the period is a whole UTC month that is over.
    """
    if period != month_of(period.start) or now < period.end:
        raise UnableToInvoice(_("An invoice is for one whole month, in UTC, that is over."))
    lock_cap(organization_id=organization.pk, now=now)
    mine = Invoice.objects.owned_by(organization).of_period(period)
    if live := mine.live().first():
        return live
    if _bill(organization, period, _basis_of(organization, terms or terms_of(organization))) is None:
        return None
    former = mine.order_by("-revision").first()
    invoice = Invoice.objects.create(
        organization=organization,
        period_start=period.start,
        period_end=period.end,
        revision=1 if former is None else former.revision + 1,
        supersedes=former,
        drafted_at=now,
    )
    record_event("invoice.drafted", organization_id=organization.pk, target=("invoice", invoice.public_id), now=now)
    return invoice


@transaction.atomic
def begin_closing(*, invoice: Invoice, now: datetime) -> Invoice:
    """Take a draft up for issue. One that is closing already, or that somebody issued meanwhile, stays as it is."""
    invoice = _locked(invoice, now)
    if invoice.status != Status.CLOSING and invoice.issued_at is None:
        _move(invoice, Status.CLOSING)
    return invoice


@transaction.atomic
def reopen_invoice(*, invoice: Invoice, now: datetime) -> Invoice:
    """Put an invoice that is closing back to its draft, for something to be mended first."""
    invoice = _locked(invoice, now)
    _move(invoice, Status.DRAFT)
    record_event(
        "invoice.reopened", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


@transaction.atomic
def issue_invoice(*, invoice: Invoice, now: datetime, terms: Terms | None = None) -> Invoice:
    """Bill what is unbilled until the end of its month: lines, ledger, number and status in one transaction.

    Safe to call twice at once: an issued invoice is returned as it is. Where what is taken back came to be more than
    what is charged, it becomes a draft again. Raises UnableToInvoice unless it is closing.
    """
    invoice = _locked(invoice, now)
    if invoice.issued_at is not None:
        return invoice
    if invoice.status != Status.CLOSING:
        raise UnableToInvoice(_("Only an invoice that is closing is issued."))
    organization = Organization.objects.get(pk=invoice.organization_id)
    period = Period(invoice.period_start, invoice.period_end)
    basis = _basis_of(organization, terms or terms_of(organization))
    made = _bill(organization, period, basis)
    if made is None:
        _move(invoice, Status.DRAFT)
        return invoice
    _freeze(invoice, made, basis)
    _write_lines(invoice, made)
    post_invoice(invoice, made, basis.grants, now=now)
    _discard_drafts_before(invoice)
    invoice.number = next_number(settings.INVOICE_PREFIX)
    invoice.issued_at = now
    invoice.due_at = now + timedelta(days=basis.terms.net_days)
    invoice.status = Status.OPEN if invoice.due_cents else Status.PAID
    invoice.paid_at = None if invoice.due_cents else now
    invoice.save()
    record_event(
        "invoice.issued",
        organization_id=invoice.organization_id,
        target=("invoice", invoice.public_id),
        changes={
            "number": (None, invoice.number),
            "total": (None, decimal_string(invoice.total_cents * NANO_PER_CENT)),
        },
        now=now,
    )
    return invoice


@transaction.atomic
def void_invoice(*, invoice: Invoice, now: datetime) -> Invoice:
    """Take back an unpaid invoice as if it had never been: its usage is billed again, by the next revision.

    Raises UnableToInvoice for one that is not open, and where a later invoice builds on it: write a credit note.
    """
    invoice = _locked(invoice, now)
    _refuse_unless(invoice, Status.VOID)
    mine = Invoice.objects.of_organization(invoice.organization_id)
    if mine.issued().live().filter(period_start__gt=invoice.period_start).exists():
        raise UnableToInvoice(_("A later invoice was issued since: write a credit note instead."))
    if CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED).exists():
        raise UnableToInvoice(_("A credit note has taken part of it back already."))
    reverse(organization_id=invoice.organization_id, source=invoice_source(invoice), effective_at=now, now=now)
    _move(invoice, Status.VOID)
    record_event(
        "invoice.voided", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


@transaction.atomic
def settle_invoice(*, invoice: Invoice, paid_into: AccountKind, now: datetime) -> Invoice:
    """Mark an invoice as paid in full, and give the room that it took of the organization's credit back.

    paid_into: CASH for a transfer that arrived, CASH_IN_TRANSIT for what a payment provider collected. One that is paid
    stays as it is. Raises UnableToInvoice where it is neither open nor uncollectible.
    """
    invoice = _locked(invoice, now)
    if invoice.status == Status.PAID:
        return invoice
    _refuse_unless(invoice, Status.PAID)
    if invoice.status == Status.UNCOLLECTIBLE:
        reverse(organization_id=invoice.organization_id, source=_given_up(invoice), effective_at=now, now=now)
    owed_cents = invoice.owed_cents - _noted(invoice)[0]
    _post_due(invoice, LedgerEntry.Code.PAYMENT, paid_into, f"invoice-paid:{invoice.public_id}", now)
    invoice.paid_at = now
    _move(invoice, Status.PAID)
    SpendCap.objects.of_organization(invoice.organization_id).update(
        limit_nano=F("limit_nano") + owed_cents * NANO_PER_CENT
    )
    record_event(
        "invoice.paid", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


@transaction.atomic
def give_up_invoice(*, invoice: Invoice, now: datetime) -> Invoice:
    """Write an open invoice off as uncollectible; it may still be paid. It gives no room back."""
    invoice = _locked(invoice, now)
    _refuse_unless(invoice, Status.UNCOLLECTIBLE)
    _post_due(invoice, LedgerEntry.Code.WRITE_OFF, AccountKind.WRITE_OFF, _given_up(invoice), now)
    _move(invoice, Status.UNCOLLECTIBLE)
    record_event(
        "invoice.given_up", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


def outstanding_cents(invoice: Invoice) -> int:
    """Return what is left to pay of an issued invoice: what was due less what credit notes took back."""
    return invoice.due_cents - sum(_noted(invoice))


def next_number(prefix: str) -> str:
    """Return the next number of a series, whose row stays locked until the transaction ends: no gaps, no two alike."""
    InvoiceSeries.objects.bulk_create([InvoiceSeries(prefix=prefix)], ignore_conflicts=True)
    series = InvoiceSeries.objects.select_for_update(no_key=True).get(pk=prefix)
    series.last_number += 1
    series.save(update_fields=["last_number"])
    return f"{prefix}-{series.last_number:06}"


def _locked(invoice: Invoice, now: datetime) -> Invoice:
    lock_cap(organization_id=invoice.organization_id, now=now)
    return Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)


def _refuse_unless(invoice: Invoice, status: Invoice.Status) -> None:
    if not invoice.can_become(status):
        raise UnableToInvoice(
            _("Invoice %(invoice)s is %(status)s, and cannot become %(wanted)s.")
            % {"invoice": invoice, "status": invoice.get_status_display().lower(), "wanted": status.label.lower()}
        )


def _move(invoice: Invoice, status: Invoice.Status) -> None:
    _refuse_unless(invoice, status)
    invoice.status = status
    invoice.save(update_fields=["status", "paid_at"])


@dataclass(frozen=True, slots=True)
class _Basis:
    """What an invoice is computed from, beside usage."""

    terms: Terms
    grants: Grants
    overrun_nano: int


def _basis_of(organization: Organization, terms: Terms) -> _Basis:
    return _Basis(terms, grants_of(organization.pk), overrun_nano_of(organization.pk))


def _bill(organization: Organization, period: Period, basis: _Basis) -> Bill | None:
    buckets = unbilled_buckets(organization.pk, before=period.end)
    return bill(buckets, period, credits_=basis.grants.credits, overrun_nano=basis.overrun_nano, terms=basis.terms)


def _freeze(invoice: Invoice, made: Bill, basis: _Basis) -> None:
    """Copy onto the invoice what it was computed from and what came of it."""
    invoice.exact_nano = made.exact_nano
    invoice.total_cents = made.total_cents
    invoice.credit_cents = made.paid_by(Payer.CREDIT)
    invoice.house_cents = made.paid_by(Payer.HOUSE)
    invoice.owed_cents = made.paid_by(Payer.OWED)
    invoice.tax_cents = made.tax.tax_cents
    invoice.due_cents = made.due_cents
    invoice.tax_treatment = made.tax.treatment
    invoice.tax_rate_millionths = made.tax.rate_millionths
    invoice.tax_legend = made.tax.legend
    invoice.terms = asdict(basis.terms)
    invoice.grants = [_frozen(credit) for credit in basis.grants.credits]
    invoice.overrun_nano = basis.overrun_nano
    invoice.counted_below = _draw_order()


def _frozen(credit: Credit) -> dict[str, Any]:
    return {
        "grant": credit.grant,
        "balance_nano": credit.balance_nano,
        "priority": credit.priority,
        "is_bought": credit.is_bought,
        "effective_at": credit.effective_at and credit.effective_at.isoformat(),
        "expires_at": credit.expires_at and credit.expires_at.isoformat(),
        "products": sorted(credit.products),
        "projects": sorted(credit.projects),
    }


def _draw_order() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('billing_counted_order')")
        order: int = cursor.fetchone()[0]
    return order


def _write_lines(invoice: Invoice, made: Bill) -> None:
    projects = dict(Project.objects.filter(organization_id=invoice.organization_id).values_list("public_id", "pk"))
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            organization_id=invoice.organization_id,
            invoice=invoice,
            position=position,
            is_adjustment=one.line.is_adjustment,
            month=one.line.month,
            project_id=projects[one.line.project],
            product=one.line.product,
            sku=one.line.sku,
            price_id=one.line.price,
            price_nano=one.line.price_nano,
            unit_size=one.line.unit_size,
            quantity=one.line.quantity,
            amount_nano=one.line.amount_nano,
            amount_cents=one.cents,
            parts=[asdict(part) for part in one.parts],
        )
        for position, one in enumerate(made.lines, start=1)
    )
    InvoicedBucket.objects.bulk_create(
        (
            InvoicedBucket(
                organization_id=invoice.organization_id,
                invoice=invoice,
                hour=bucket.hour,
                project_id=projects[bucket.project],
                sku=bucket.sku,
                quantity_before=bucket.before,
                quantity_after=bucket.after,
            )
            for one in made.lines
            for bucket in one.line.buckets
        ),
        batch_size=2_000,
    )


def _discard_drafts_before(invoice: Invoice) -> None:
    # Months that had more taken back than charged: this invoice has their usage.
    earlier = Invoice.objects.of_organization(invoice.organization_id).filter(period_start__lt=invoice.period_start)
    earlier.filter(status__in=[Status.DRAFT, Status.CLOSING]).update(status=Status.VOID)


def _given_up(invoice: Invoice) -> str:
    return f"invoice-given-up:{invoice.public_id}"


def _post_due(invoice: Invoice, code: LedgerEntry.Code, debit: AccountKind, source: str, now: datetime) -> None:
    still_due_cents = invoice.due_cents - sum(_noted(invoice))
    if still_due_cents:
        line = Line(code, Route(debit), Route(AccountKind.RECEIVABLE), still_due_cents * NANO_PER_CENT)
        post(Journal(invoice.organization_id, source, now, (line,)), now=now)


def _noted(invoice: Invoice) -> tuple[int, int]:
    """Return what issued credit notes took back of what was owed, and of its tax, in cents."""
    issued = CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED)
    sums = issued.aggregate(owed=Sum("owed_cents"), tax=Sum("tax_cents"))
    return sums["owed"] or 0, sums["tax"] or 0
