"""Mail what was issued: rows first, mails after, so that a mail server's bad hour keeps no invoice back."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.services.mails import mail_each, page_address
from billing.models import Invoice
from billing.services.details import billing_addresses
from portal.lib.batches import one_by_one
from portal.lib.money import NANO_PER_CENT

log = structlog.get_logger(__name__)

# One that cannot be mailed for so long is given up; its page is there all the while.
TRIED_FOR = timedelta(days=7)
BATCH = 500


def mail_invoices(*, now: datetime) -> int:
    """Mail every invoice that was issued and not mailed yet to those who may manage billing; return how many.

    For the platform role. A crash between mail and commit mails twice.
    """
    waiting = Invoice.objects.issued().live().filter(mailed_at=None, issued_at__gt=now - TRIED_FOR)
    return one_by_one(
        list(waiting.order_by("issued_at", "pk").values_list("pk", flat=True)[:BATCH]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.invoice_not_mailed", invoice_id=pk),
    )


@transaction.atomic
def _mail(invoice_id: int, now: datetime) -> int:
    invoices = Invoice.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    invoice = invoices.filter(pk=invoice_id, mailed_at=None).first()
    if invoice is None:
        return 0
    mail_each(
        "invoice_issued",
        billing_addresses(invoice.organization),
        invoice=invoice,
        month=f"{invoice.period_start:%Y-%m}",
        total_nano=invoice.total_cents * NANO_PER_CENT,
        due_nano=invoice.due_cents * NANO_PER_CENT,
        organization=invoice.organization.name,
        address=page_address("billing:invoice-detail", invoice.organization.slug, invoice.public_id),
    )
    invoice.mailed_at = now
    invoice.save(update_fields=["mailed_at"])
    return 1
