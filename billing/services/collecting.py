"""Charge kept cards for invoices that are due. Rules: docs/algorithms/dunning.md."""

from datetime import datetime

import structlog
from django.db import transaction

from billing.invoicing.dunning import Refusal, next_charge_at
from billing.models import Invoice, Payment, PaymentMethod
from billing.services.credits import lock_cap
from billing.services.invoice_payments import UnableToCollect, collect_invoice
from portal.lib.batches import one_by_one

log = structlog.get_logger(__name__)


def collect_due_invoices(*, now: datetime) -> int:
    """Begin to charge for every invoice that is due and whose next charge has come; return how many were begun.

    For the platform role, each in a transaction of its own. Safe to repeat: one is under way at a time, and the next
    waits for its day.
    """
    kept = PaymentMethod.objects.usable().values("organization_id")
    due = Invoice.objects.filter(status=Invoice.Status.OPEN, due_at__lte=now, organization_id__in=kept)
    return one_by_one(
        due.select_related("organization").order_by("due_at", "pk"),
        lambda invoice: _collect(invoice, now),
        lambda invoice: log.exception("billing.invoice_not_collected", invoice=invoice.public_id),
    )


@transaction.atomic
def _collect(invoice: Invoice, now: datetime) -> bool:
    lock_cap(organization_id=invoice.organization_id, now=now)
    card = PaymentMethod.objects.of_organization(invoice.organization_id).usable().first()
    mine = Payment.objects.owned_by(invoice.organization).filter(invoice=invoice)
    if card is None or invoice.due_at is None or mine.unfinished().exists():
        return False
    # A card that was added since begins anew.
    failed = mine.filter(card=card, state=Payment.State.FAILED).order_by("created_at", "pk")
    refusals = [Refusal(*one) for one in failed.values_list("failure", "created_at")]
    at = next_charge_at(invoice.due_at, refusals)
    if at is None or at > now:
        return False
    try:
        collect_invoice(invoice=invoice, now=now)
    except UnableToCollect:
        # Less than the provider charges, or paid meanwhile.
        return False
    return True
