"""Refunds as customers and staff see them."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.models import CreditGrant, Dispute, LedgerAccount, Payment, Refund, SpendCap
from billing.models.refund import RefundQuerySet
from portal.lib.money import NANO_PER_CENT, display_usd

NEWEST = 200


@dataclass(frozen=True, slots=True)
class RefundRow:
    """A refund as pages print it. asked_by, decided_by: public ids; pages of customers leave them out."""

    public_id: str
    payment: str
    organization: str
    state: str
    label: str
    amount: str
    reason: str
    is_of_customer: bool
    asked_by: str
    decided_by: str
    asked_at: datetime
    ended_at: datetime | None


def refund_rows_of(payment: Payment) -> list[RefundRow]:
    """Return the refunds of a payment, newest first."""
    return [refund_row(refund) for refund in _with_names().of_payment(payment)]


def staff_refund_rows(organization: Organization | None) -> list[RefundRow]:
    """Return the newest 200 refunds of an organization, or of all. For the platform role."""
    refunds = _with_names().order_by("-pk")
    if organization is not None:
        refunds = refunds.owned_by(organization)
    return [refund_row(refund) for refund in refunds[:NEWEST]]


def find_refund(public_id: str) -> Refund | None:
    """Return a refund of any organization by its public id. For the platform role."""
    # PostgreSQL takes no NUL in a text.
    return None if "\0" in public_id else _with_names().filter(public_id=public_id).first()


def refund_row(refund: Refund) -> RefundRow:
    return RefundRow(
        public_id=refund.public_id,
        payment=refund.payment.public_id,
        organization=refund.organization.name,
        state=refund.state,
        label=refund.get_state_display(),
        amount=display_usd(refund.amount_cents * NANO_PER_CENT),
        reason=refund.reason,
        is_of_customer=refund.is_of_customer,
        asked_by=refund.asked_by,
        decided_by=refund.decided_by,
        asked_at=refund.asked_at,
        ended_at=refund.ended_at,
    )


def may_be_unspent(payment: Payment) -> bool:
    """Whether a refund of a payment can be asked for: quickly, and so without the usage that is not billed yet."""
    if payment.state != Payment.State.SUCCEEDED:
        return False
    is_open = Refund.objects.of_payment(payment).filter(ended_at=None).exists()
    if is_open or Dispute.objects.of_payment(payment).filter(is_withdrawn=True).exclude(state="won").exists():
        return False
    grants = CreditGrant.objects.of_organization(payment.organization_id).filter(source=f"payment:{payment.public_id}")
    account = LedgerAccount.objects.of_book(payment.organization_id).filter(grant__in=grants).first()
    cap = SpendCap.objects.of_organization(payment.organization_id).first()
    return bool(account and cap and min(account.balance_nano, cap.remaining_nano) >= NANO_PER_CENT)


def _with_names() -> RefundQuerySet:
    return Refund.objects.select_related("organization", "payment")
