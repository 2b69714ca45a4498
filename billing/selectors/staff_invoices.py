"""Invoices, credit notes and payments as pages of staff find and print them. For the platform role."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Model, Q, QuerySet

from billing.models import CreditNote, GivenUpDebt, Goodwill, Invoice, InvoiceLine, Payment
from billing.selectors.invoice_export import usd
from portal.lib.money import decimal_string

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Search:
    """What staff look for; empty parts do not narrow it. name: a number or an id. before: where a page begins."""

    name: str = ""
    organization: str = ""
    state: str = ""
    before: int | None = None


@dataclass(frozen=True, slots=True)
class StaffInvoiceRow:
    """Amounts are decimals in USD. number: empty while it is being prepared."""

    public_id: str
    number: str
    organization: str
    month: str
    status: str
    total: str
    credit: str
    tax: str
    due: str
    issued_at: datetime | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class StaffLineRow:
    position: int
    month: str
    project: str
    sku: str
    quantity: int
    unit_price: str
    unit_size: int
    exact: str
    amount: str
    paid: str  # who pays how much, in words


@dataclass(frozen=True, slots=True)
class StaffNoteRow:
    """Amounts are decimals in USD. is_open: it waits for a second person."""

    public_id: str
    number: str
    invoice_id: str
    invoice: str
    organization: str
    status: str
    positions: str
    reason: str
    amount: str
    tax: str
    proposed_by: str
    decided_by: str
    proposed_at: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class StaffPaymentRow:
    public_id: str
    organization: str
    purpose: str
    state: str
    amount: str
    provider_id: str
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page[Row]:
    """Newest first. before: where the page behind it starts, None on the last."""

    rows: Sequence[Row]
    before: int | None


def invoice_page_of(search: Search) -> Page[StaffInvoiceRow]:
    """Return a page of invoices. A number is found by any part of it, an id whole."""
    named = Q(number__icontains=search.name) | Q(public_id=search.name)
    return _page(Invoice.objects.all(), search, named, Q(status=search.state), staff_invoice_row)


def find_invoice(public_id: str) -> Invoice | None:
    # PostgreSQL takes no NUL in a text.
    found = Invoice.objects.select_related("organization")
    return None if "\0" in public_id else found.filter(public_id=public_id).first()


def staff_invoice_row(invoice: Invoice) -> StaffInvoiceRow:
    return StaffInvoiceRow(
        public_id=invoice.public_id,
        number=invoice.number or "",
        organization=invoice.organization.slug,
        month=f"{invoice.period_start:%Y-%m}",
        status=str(invoice.get_status_display()),
        total=usd(invoice.total_cents),
        credit=usd(invoice.credit_cents),
        tax=usd(invoice.tax_cents),
        due=usd(invoice.due_cents),
        issued_at=invoice.issued_at,
        due_at=invoice.due_at,
    )


def line_rows(invoice: Invoice) -> list[StaffLineRow]:
    """Return the lines of an invoice in their order."""
    return [
        StaffLineRow(
            position=line.position,
            month=f"{line.month:%Y-%m}",
            # What a contract adds belongs to no project.
            project="" if line.project is None else line.project.name,
            sku=line.sku,
            quantity=line.quantity,
            unit_price=decimal_string(line.price_nano),
            unit_size=line.unit_size,
            exact=decimal_string(line.amount_nano),
            amount=usd(line.amount_cents),
            paid=", ".join(f"{part['grant'] or part['payer']} {usd(part['cents'])}" for part in line.parts),
        )
        for line in InvoiceLine.objects.of_invoice(invoice).select_related("project")
    ]


def note_rows(invoice: Invoice | None = None) -> list[StaffNoteRow]:
    """Return the credit notes of an invoice, or the newest of all, those that wait for a second person first."""
    notes = CreditNote.objects.select_related("invoice", "organization")
    if invoice is not None:
        notes = notes.filter(organization_id=invoice.organization_id, invoice=invoice)
    return [_note(note) for note in _waiting_then_decided(notes, CreditNote.Status.PROPOSED)]


def find_note(invoice: Invoice, public_id: str) -> CreditNote | None:
    notes = CreditNote.objects.of_invoice(invoice)
    return None if "\0" in public_id else notes.filter(public_id=public_id).first()


def _note(note: CreditNote) -> StaffNoteRow:
    return StaffNoteRow(
        public_id=note.public_id,
        number=note.number or "",
        invoice_id=note.invoice.public_id,
        invoice=str(note.invoice),
        organization=note.organization.slug,
        status=str(note.get_status_display()),
        positions=", ".join(str(position) for position in note.positions),
        reason=note.reason,
        amount=usd(note.amount_cents),
        tax=usd(note.tax_cents),
        proposed_by=note.proposed_by,
        decided_by=note.decided_by,
        proposed_at=note.proposed_at,
        is_open=note.status == CreditNote.Status.PROPOSED,
    )


def payment_page_of(search: Search) -> Page[StaffPaymentRow]:
    """Return a page of payments. One is found by its id, or by the provider's name of it."""
    named = Q(public_id=search.name) | Q(stripe_payment_intent_id=search.name)
    return _page(Payment.objects.all(), search, named, Q(state=search.state), _payment)


def _payment(payment: Payment) -> StaffPaymentRow:
    return StaffPaymentRow(
        public_id=payment.public_id,
        organization=payment.organization.slug,
        purpose=str(payment.get_purpose_display()),
        state=str(payment.get_state_display()),
        amount=usd(payment.amount_cents),
        provider_id=payment.stripe_payment_intent_id or "",
        created_at=payment.created_at,
        ended_at=payment.ended_at,
    )


def _page[Found: Model, Row](
    found: QuerySet[Found], search: Search, named: Q, in_state: Q, as_row: Callable[[Found], Row]
) -> Page[Row]:
    """Return a page of what is found. named: of that name; in_state: in that state; where either is asked."""
    asked = Q()
    if search.name:
        asked &= named
    if search.organization:
        asked &= Q(organization__slug=search.organization)
    if search.state:
        asked &= in_state
    if search.before is not None:
        asked &= Q(pk__lt=search.before)
    rows = list(found.filter(asked).select_related("organization").order_by("-pk")[: PAGE_SIZE + 1])
    before = rows[PAGE_SIZE - 1].pk if len(rows) > PAGE_SIZE else None
    return Page([as_row(row) for row in rows[:PAGE_SIZE]], before)


def _waiting_then_decided[Proposal: Model](found: QuerySet[Proposal], open_state: str) -> list[Proposal]:
    """Return the proposals that wait for a second person, oldest first, then the newest that were decided."""
    waiting = found.filter(status=open_state).order_by("pk")
    return [*waiting, *found.exclude(status=open_state).order_by("-pk")[:PAGE_SIZE]]


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """Credit to give, or a debt to give up. amount: a decimal in USD. is_open: it waits for a second person."""

    public_id: str
    organization: str
    status: str
    amount: str
    reason: str
    proposed_by: str
    decided_by: str
    proposed_at: datetime
    is_open: bool


def goodwill_rows() -> list[ProposalRow]:
    """Return the credit that waits for a second person, oldest first, then the newest that was decided."""
    found = Goodwill.objects.select_related("organization")
    return [_proposal(one) for one in _waiting_then_decided(found, Goodwill.Status.PROPOSED)]


def given_up_rows() -> list[ProposalRow]:
    """Return the debts that wait to be given up, oldest first, then the newest that were decided."""
    found = GivenUpDebt.objects.select_related("organization")
    return [_proposal(one) for one in _waiting_then_decided(found, GivenUpDebt.Status.PROPOSED)]


def _proposal(one: Goodwill | GivenUpDebt) -> ProposalRow:
    return ProposalRow(
        public_id=one.public_id,
        organization=one.organization.slug,
        status=str(one.get_status_display()),
        amount=usd(one.amount_cents),
        reason=one.reason,
        proposed_by=one.proposed_by,
        decided_by=one.decided_by,
        proposed_at=one.proposed_at,
        is_open=one.decided_at is None,
    )
