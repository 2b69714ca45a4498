"""The page of credit: what there is, where it came from, and the payments for it."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy

from accounts.models import Organization
from billing.gateways import payment_provider
from billing.models import CreditGrant, Payment
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class GrantRow:
    public_id: str
    kind: str
    amount: str
    exact_amount: str
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """A payment as pages print it."""

    public_id: str
    state: str
    label: str
    amount: str
    created_at: datetime
    ended_at: datetime | None
    is_finished: bool
    can_be_paid: bool
    purpose: str
    invoice: str  # its number, for a payment of one
    failure: str  # in words, for one without the customer that failed
    wants_person: bool  # to pay it again on the provider's page


@dataclass(frozen=True, slots=True)
class PaymentPage:
    rows: list[PaymentRow]
    next_after: str  # the public id to continue after, empty on the last page


def sells_credit() -> bool:
    """Whether credit can be bought here: a payment provider is set up."""
    return payment_provider.is_configured()


def newest_grants(organization: Organization) -> list[GrantRow]:
    """Return the credit that an organization was given or bought, newest first, 50 at the most."""
    grants = CreditGrant.objects.owned_by(organization).order_by("-pk")[:PAGE_SIZE]
    return [
        GrantRow(
            public_id=grant.public_id,
            kind=grant.get_kind_display(),
            amount=display_usd(grant.amount_nano),
            exact_amount=f"${decimal_string(grant.amount_nano)}",
            granted_at=grant.granted_at,
        )
        for grant in grants
    ]


def payment_page(organization: Organization, after: str = "") -> PaymentPage:
    """Return a page of an organization's payments, newest first.

    after: public id of the last one on the page before; an unknown one begins at the newest.
    """
    mine = Payment.objects.owned_by(organization).select_related("invoice")
    last = mine.filter(public_id=after).values_list("pk", flat=True).first() if after else None
    payments = list((mine.filter(pk__lt=last) if last else mine).order_by("-pk")[: PAGE_SIZE + 1])
    shown = payments[:PAGE_SIZE]
    return PaymentPage([payment_row(one) for one in shown], shown[-1].public_id if len(payments) > PAGE_SIZE else "")


def payment_row(payment: Payment) -> PaymentRow:
    return PaymentRow(
        public_id=payment.public_id,
        state=payment.state,
        label=payment.get_state_display(),
        amount=display_usd(payment.amount_cents * NANO_PER_CENT),
        created_at=payment.created_at,
        ended_at=payment.ended_at,
        is_finished=payment.is_finished,
        can_be_paid=payment.state in (Payment.State.CREATED, Payment.State.PENDING) and payment.card_id is None,
        purpose=payment.get_purpose_display(),
        invoice=(payment.invoice.number or "") if payment.invoice else "",
        failure=_failure(payment),
        wants_person=payment.state == Payment.State.FAILED and payment.card_id is not None,
    )


# The provider's words that people can do something about.
_FAILURES = {
    "authentication_required": gettext_lazy("The bank of the card wants you to confirm this payment."),
    "insufficient_funds": gettext_lazy("The card has too little money."),
    "expired_card": gettext_lazy("The card has expired."),
}


def _failure(payment: Payment) -> str:
    if not payment.failure:
        return ""
    return str(_FAILURES.get(payment.failure, gettext_lazy("The bank of the card declined this payment.")))
