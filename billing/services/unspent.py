"""What is left of the credit that a payment bought: what no usage needs and no running work holds."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.models import CreditGrant, Payment, SpendCap
from billing.selectors.unbilled import grants_of
from billing.services.credit_expiry import needed_nano
from portal.lib.money import NANO_PER_CENT


@dataclass(frozen=True, slots=True)
class Unspent:
    """A payment's grant, and the whole cents of it that can be taken back. grant: None for a payment that gave none."""

    grant: CreditGrant | None
    cents: int


def unspent_of(*, payment: Payment, cap: SpendCap, now: datetime) -> Unspent:
    """Return what can be taken back of a payment's credit.

    cap: the organization's credit, locked by who takes something, so that nothing is spent or held meanwhile. Usage
    that is not billed yet is counted by the order of burning, as the expiry of credit counts it.
    """
    grant = CreditGrant.objects.filter(organization_id=payment.organization_id, source=source_of(payment)).first()
    if grant is None:
        return Unspent(None, 0)
    balances = {one.grant: one.balance_nano for one in grants_of(payment.organization_id).credits}
    balance_nano = balances.get(grant.public_id, 0)
    if balance_nano <= 0:
        return Unspent(grant, 0)
    organization = Organization.objects.get(pk=payment.organization_id)
    free_nano = min(balance_nano - needed_nano(organization, grant.public_id, now), cap.remaining_nano)
    return Unspent(grant, max(free_nano, 0) // NANO_PER_CENT)


def source_of(payment: Payment) -> str:
    """Return under which source a payment gives its credit."""
    return f"payment:{payment.public_id}"
