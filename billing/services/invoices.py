"""Draft, issue and void invoices. Rules: docs/algorithms/invoicing.md.

Locks: the organization's credit, its invoice, ledger accounts, the series of numbers, the audit log. The credit's lock
is what two closers wait at, and what keeps usage from being counted while it is billed.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, Project
from accounts.services.audit import record_event
from billing.invoicing import Bill, Commitment, Credit, Payer, Terms, bill
from billing.models import (
    Contract,
    CreditNote,
    Invoice,
    InvoicedBucket,
    InvoiceLine,
    InvoiceSeries,
)
from billing.selectors.commitments import commitments_of, frozen
from billing.selectors.owed import transferred_cents_of
from billing.selectors.unbilled import Grants, Unbilled, grants_of, overrun_nano_of, terms_of, unbilled_usage
from billing.services.credits import lock_cap
from billing.services.invoice_posting import invoice_source, post_invoice
from billing.services.invoice_states import UnableToInvoice, locked_invoice, move, refuse_unless
from billing.services.ledger import reverse
from billing.services.standing import relieve
from billing.services.tier_room import changes_room, return_tier_room, settle_tier_room, tier_room
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import Period, hour_of, month_of

Status = Invoice.Status


@transaction.atomic
def draft_invoice(
    *, organization: Organization, period: Period, now: datetime, terms: Terms | None = None
) -> Invoice | None:
    """Return the live invoice of a period, a new draft where there is none; None while there is nothing to bill.

    Safe to call twice at once. Raises UnableToInvoice unless the period is whole hours of one UTC month, and is over.
    """
    bounds = (period.start, period.end)
    if period.end > month_of(period.start).end or any(hour_of(at) != at for at in bounds) or now < period.end:
        raise UnableToInvoice(_("An invoice is for hours of one month, in UTC, that are over."))
    lock_cap(organization_id=organization.pk, now=now)
    mine = Invoice.objects.owned_by(organization).of_period(period)
    if live := mine.live().first():
        return live
    if _bill(period, _basis_of(organization, period, terms or terms_of(organization))) is None:
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
    invoice = locked_invoice(invoice, now)
    if invoice.status != Status.CLOSING and invoice.issued_at is None:
        move(invoice, Status.CLOSING)
    return invoice


@transaction.atomic
def reopen_invoice(*, invoice: Invoice, now: datetime) -> Invoice:
    """Put an invoice that is closing back to its draft, for something to be mended first."""
    invoice = locked_invoice(invoice, now)
    move(invoice, Status.DRAFT)
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
    invoice = locked_invoice(invoice, now)
    if invoice.issued_at is not None:
        return invoice
    if invoice.status != Status.CLOSING:
        raise UnableToInvoice(_("Only an invoice that is closing is issued."))
    organization = Organization.objects.get(pk=invoice.organization_id)
    period = Period(invoice.period_start, invoice.period_end)
    basis = _basis_of(organization, period, terms or terms_of(organization))
    made = _bill(period, basis)
    if made is None:
        move(invoice, Status.DRAFT)
        return invoice
    cap = lock_cap(organization_id=organization.pk, now=now)
    room = tier_room(cap, changes_room(one.line for one in made.lines))
    if room.short_nano:
        # Ours to pay on this invoice; the lines stay the same.
        basis = replace(basis, overrun_nano=basis.overrun_nano + room.short_nano)
        made = _bill(period, basis) or made
    settle_tier_room(cap, room, now=now)
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
    invoice = locked_invoice(invoice, now)
    refuse_unless(invoice, Status.VOID)
    mine = Invoice.objects.of_organization(invoice.organization_id)
    if mine.issued().live().filter(period_start__gt=invoice.period_start).exists():
        raise UnableToInvoice(_("A later invoice was issued since: write a credit note instead."))
    if CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED).exists():
        raise UnableToInvoice(_("A credit note has taken part of it back already."))
    if transferred_cents_of(invoice):
        raise UnableToInvoice(_("A bank transfer has paid part of it already."))
    reverse(organization_id=invoice.organization_id, source=invoice_source(invoice), effective_at=now, now=now)
    move(invoice, Status.VOID)
    return_tier_room(lock_cap(organization_id=invoice.organization_id, now=now))
    relieve(organization_id=invoice.organization_id, now=now)
    record_event(
        "invoice.voided", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


def next_number(prefix: str) -> str:
    """Return the next number of a series, whose row stays locked until the transaction ends: no gaps, no two alike."""
    InvoiceSeries.objects.bulk_create([InvoiceSeries(prefix=prefix)], ignore_conflicts=True)
    series = InvoiceSeries.objects.select_for_update(no_key=True).get(pk=prefix)
    series.last_number += 1
    series.save(update_fields=["last_number"])
    return f"{prefix}-{series.last_number:06}"


@dataclass(frozen=True, slots=True)
class _Basis:
    """What an invoice is computed from."""

    usage: Unbilled
    terms: Terms
    grants: Grants
    overrun_nano: int
    commitments: list[Commitment]


def _basis_of(organization: Organization, period: Period, terms: Terms) -> _Basis:
    return _Basis(
        unbilled_usage(organization.pk, before=period.end),
        terms,
        grants_of(organization.pk),
        overrun_nano_of(organization.pk),
        commitments_of(organization.pk, before=period.end),
    )


def _bill(period: Period, basis: _Basis) -> Bill | None:
    return bill(
        basis.usage.buckets,
        period,
        tiers=basis.usage.tiers,
        commitments=basis.commitments,
        credits_=basis.grants.credits,
        overrun_nano=basis.overrun_nano,
        terms=basis.terms,
    )


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
    bills_usage = any(not one.line.contract for one in made.lines)
    invoice.tiered = [use.frozen() for use in basis.usage.uses] if bills_usage else []
    invoice.commitments = [frozen(one) for one in basis.commitments if one.ends_at <= invoice.period_end]
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
    contracts = dict(Contract.objects.filter(organization_id=invoice.organization_id).values_list("public_id", "pk"))
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            organization_id=invoice.organization_id,
            invoice=invoice,
            position=position,
            is_adjustment=one.line.is_adjustment,
            month=one.line.month,
            project_id=projects[one.line.project] if one.line.project else None,
            contract_id=contracts[one.line.contract] if one.line.contract else None,
            product=one.line.product,
            sku=one.line.sku,
            price_id=one.line.price,
            price_nano=one.line.price_nano,
            unit_size=one.line.unit_size,
            quantity=one.line.quantity,
            tier_nano=one.line.tier_nano,
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
