"""How an invoice stands, and who may change it: behind the organization's locks, along the transitions of its model."""

from datetime import datetime
from typing import ClassVar

from django.utils.translation import gettext as _

from billing.models import Invoice
from billing.services.credits import lock_account
from portal.lib.errors import DomainError


class UnableToInvoice(DomainError):
    """The invoice is not in a state, or the month not over, for what was asked."""

    code: ClassVar[str] = "unable_to_invoice"


def locked_invoice(invoice: Invoice, now: datetime) -> Invoice:
    """Return the invoice as it is now, behind the locks of its organization's debts."""
    lock_account(organization_id=invoice.organization_id, now=now)
    return Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)


def refuse_unless(invoice: Invoice, status: Invoice.Status) -> None:
    """Raise UnableToInvoice unless the invoice can come to that state."""
    if not invoice.can_become(status):
        raise UnableToInvoice(
            _("Invoice %(invoice)s is %(status)s, and cannot become %(wanted)s.")
            % {"invoice": invoice, "status": invoice.get_status_display().lower(), "wanted": status.label.lower()}
        )


def move(invoice: Invoice, status: Invoice.Status) -> None:
    """Bring a locked invoice to a state. Raises UnableToInvoice where nothing leads there."""
    refuse_unless(invoice, status)
    invoice.status = status
    invoice.save(update_fields=["status", "paid_at"])
