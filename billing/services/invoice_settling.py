"""Settle invoices, owe them again, and give them up. Rules: docs/algorithms/invoicing.md, terms.md.

Locks: as in billing.services.invoices.
"""

from datetime import datetime

from django.db import transaction
from django.db.models import F, Q

from accounts.services.audit import record_event
from billing.models import (
    AccountKind,
    Invoice,
    LedgerEntry,
    Route,
    SpendCap,
)
from billing.selectors.owed import paid_source, room_nano_of, still_due_cents
from billing.services.invoice_states import locked_invoice, move, refuse_unless
from billing.services.ledger import Journal, Line, post, reverse
from billing.services.standing import relieve
from billing.services.terms_room import fit_room, take_room
from portal.lib.money import NANO_PER_CENT

Status = Invoice.Status


@transaction.atomic
def settle_invoice(*, invoice: Invoice, paid_into: AccountKind, now: datetime) -> Invoice:
    """Mark an invoice as paid in full, and give the room that it took of the organization's credit back.

    paid_into: CASH for a transfer that arrived, CASH_IN_TRANSIT for what a payment provider collected. One that is paid
    stays as it is. Raises UnableToInvoice where it is neither open nor uncollectible.
    """
    invoice = locked_invoice(invoice, now)
    if invoice.status == Status.PAID:
        return invoice
    refuse_unless(invoice, Status.PAID)
    _post_due(invoice, LedgerEntry.Code.PAYMENT, paid_into, _next_source(invoice), now)
    return mark_paid(invoice=invoice, now=now)


@transaction.atomic
def mark_paid(*, invoice: Invoice, now: datetime) -> Invoice:
    """Note that an invoice is paid whose money the ledger has already, and give back the room that it took.

    The caller holds the organization's locks (`lock_account`). Raises UnableToInvoice for one that cannot be paid.
    """
    if invoice.status == Status.UNCOLLECTIBLE:
        reverse(organization_id=invoice.organization_id, source=_given_up(invoice), effective_at=now, now=now)
    invoice.paid_at = now
    move(invoice, Status.PAID)
    SpendCap.objects.of_organization(invoice.organization_id).update(limit_nano=F("limit_nano") + room_nano_of(invoice))
    fit_room(organization_id=invoice.organization_id)
    relieve(organization_id=invoice.organization_id, now=now)
    record_event(
        "invoice.paid", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


@transaction.atomic
def owe_again(*, invoice: Invoice, now: datetime) -> Invoice:
    """Open an invoice again whose payment the ledger has taken back; one that is not paid stays as it is.

    What it owes takes room again, even where that was used meanwhile. The caller holds the lock of the organization's
    credit.
    """
    if invoice.status != Status.PAID:
        return invoice
    invoice.paid_at = None
    move(invoice, Status.OPEN)
    take_room(organization_id=invoice.organization_id, amount_nano=room_nano_of(invoice))
    record_event(
        "invoice.owed_again", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


@transaction.atomic
def give_up_invoice(*, invoice: Invoice, now: datetime) -> Invoice:
    """Write an open invoice off as uncollectible; it may still be paid. It gives no room back."""
    invoice = locked_invoice(invoice, now)
    refuse_unless(invoice, Status.UNCOLLECTIBLE)
    _post_due(invoice, LedgerEntry.Code.WRITE_OFF, AccountKind.WRITE_OFF, _given_up(invoice), now)
    move(invoice, Status.UNCOLLECTIBLE)
    record_event(
        "invoice.given_up", organization_id=invoice.organization_id, target=("invoice", invoice.public_id), now=now
    )
    return invoice


def _given_up(invoice: Invoice) -> str:
    return f"invoice-given-up:{invoice.public_id}"


def _next_source(invoice: Invoice) -> str:
    """Return the source of the next payment: an invoice whose payment was taken back is paid again."""
    source = paid_source(invoice)
    mine = LedgerEntry.objects.filter(organization_id=invoice.organization_id)
    before = mine.filter(Q(source=source) | Q(source__startswith=f"{source}:")).values("journal_id").distinct().count()
    return f"{source}:{before}" if before else source


def _post_due(invoice: Invoice, code: LedgerEntry.Code, debit: AccountKind, source: str, now: datetime) -> None:
    if due_cents := still_due_cents(invoice):
        line = Line(code, Route(debit), Route(AccountKind.RECEIVABLE), due_cents * NANO_PER_CENT)
        post(Journal(invoice.organization_id, source, now, (line,)), now=now)
