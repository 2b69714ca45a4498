"""Pay on the provider's page what a payment without its holder could not."""

from datetime import datetime

from accounts.models import User
from billing.models import Payment
from billing.services.invoice_payments import UnableToCollect, start_invoice_payment
from billing.services.top_ups import start_top_up

__all__ = ["UnableToCollect", "start_again"]


def start_again(*, payment: Payment, user: User, now: datetime) -> Payment:
    """Return a new payment for the same on the provider's page, where the holder is there for the bank's questions.

    Raises UnableToTopUp or UnableToCollect, such as for an invoice that is paid meanwhile.
    """
    if payment.invoice is not None:
        return start_invoice_payment(invoice=payment.invoice, user=user, now=now)
    organization = payment.organization
    return start_top_up(organization=organization, user=user, amount_cents=payment.amount_cents, now=now)
