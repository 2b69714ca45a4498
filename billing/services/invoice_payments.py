"""Invoices that are paid by card: without the customer where a card is kept, else on the provider's page."""

from datetime import datetime, timedelta
from typing import ClassVar

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.audit import record_event
from billing.models import AccountKind, BillingAccount, Invoice, LedgerEntry, Payment, PaymentMethod, Route
from billing.selectors.owed import payable_cents, still_due_cents
from billing.services.credits import lock_cap
from billing.services.invoice_settling import settle_invoice
from billing.services.ledger import Journal, Line, post
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, decimal_string

log = structlog.get_logger(__name__)

FIRST_LOOK = timedelta(minutes=10)
_PAYABLE = (Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE)


class UnableToCollect(DomainError):
    code: ClassVar[str] = "unable_to_collect"


@transaction.atomic
def collect_invoice(*, invoice: Invoice, now: datetime) -> Payment:
    """Begin to charge the default card for what is outstanding of an invoice, and return the payment.

    The seam for dunning: what comes of it is in the payment, and mailed. One that is on its way already is returned.
    Raises UnableToCollect where nothing is outstanding, less than the provider charges, or no card is kept.
    """
    lock_cap(organization_id=invoice.organization_id, now=now)
    card = PaymentMethod.objects.of_organization(invoice.organization_id).usable().first()
    if card is None:
        raise UnableToCollect(_("No card is kept that could be charged."))
    payment = _start(invoice, None, now, card=card, look_at=now)
    enqueue("billing.read_payment", payment_id=payment.pk)
    return payment


@transaction.atomic
def start_invoice_payment(*, invoice: Invoice, user: User, now: datetime) -> Payment:
    """Begin to pay an invoice on the provider's page; one that is on its way already is returned.

    Raises UnableToCollect as above.
    """
    lock_cap(organization_id=invoice.organization_id, now=now)
    return _start(invoice, user, now, card=None, look_at=now + FIRST_LOOK)


def pay_invoice(payment: Payment, invoice: Invoice, now: datetime) -> None:
    """Let a payment that arrived pay its invoice. Callers hold the cap's lock.

    Where somebody has paid or voided it meanwhile, the receivable account says that too much came, with an alarm.
    """
    invoice = Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)
    if invoice.status in _PAYABLE and still_due_cents(invoice) == payment.amount_cents:
        settle_invoice(invoice=invoice, paid_into=AccountKind.CASH_IN_TRANSIT, now=now)
        return
    log.error("billing.payment.not_owed", payment=payment.public_id, invoice=invoice.public_id)
    line = Line(
        LedgerEntry.Code.PAYMENT,
        Route(AccountKind.CASH_IN_TRANSIT),
        Route(AccountKind.RECEIVABLE),
        payment.amount_cents * NANO_PER_CENT,
    )
    post(Journal(payment.organization_id, f"payment:{payment.public_id}", now, (line,)), now=now)


def _start(
    invoice: Invoice, user: User | None, now: datetime, *, card: PaymentMethod | None, look_at: datetime
) -> Payment:
    invoice = Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)
    under_way = Payment.objects.unfinished().filter(organization_id=invoice.organization_id, invoice=invoice).first()
    if under_way is not None:
        return under_way
    cents = payable_cents(invoice)
    if not cents:
        raise UnableToCollect(_("Nothing of this invoice is left to pay by card."))
    BillingAccount.objects.get_or_create(organization_id=invoice.organization_id, defaults={"created_at": now})
    payment = Payment.objects.create(
        organization_id=invoice.organization_id,
        purpose=Payment.Purpose.INVOICE,
        invoice=invoice,
        card=card,
        amount_cents=cents,
        created_by=user,
        created_at=now,
        look_at=look_at,
    )
    record_event(
        "payment.started",
        organization_id=invoice.organization_id,
        target=("payment", payment.public_id),
        changes={"amount": (None, decimal_string(cents * NANO_PER_CENT)), "invoice": (None, invoice.public_id)},
        now=now,
    )
    return payment
