"""Our side of what a payment provider moved: payments, and what the ledger says of money in transit.

For the platform role.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connection

from billing.models import LedgerEntry, Payment
from billing.reconcile import Thing
from portal.lib.money import NANO_PER_CENT
from portal.lib.periods import Period


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose money it is. organization: public id."""

    organization_id: int
    organization: str


@dataclass(frozen=True, slots=True)
class Received:
    """A payment that succeeded. intent_id: the provider's name of it."""

    payment: str
    intent_id: str
    payer: Payer
    amount_nano: int


def received_in(period: Period) -> list[Received]:
    """Return the payments that succeeded in a period."""
    return _received(ended_at__gte=period.start, ended_at__lt=period.end)


def received_by(intent_ids: Collection[str]) -> Mapping[str, Received]:
    """Return the payments that succeeded with these names of the provider, by name."""
    return {found.intent_id: found for found in _received(stripe_payment_intent_id__in=intent_ids)}


def _received(**filters: Any) -> list[Received]:
    succeeded = Payment.objects.filter(state=Payment.State.SUCCEEDED, **filters).select_related("organization")
    return [
        Received(
            payment.public_id,
            payment.stripe_payment_intent_id or "",
            Payer(payment.organization_id, payment.organization.public_id),
            payment.amount_cents * NANO_PER_CENT,
        )
        for payment in succeeded.order_by("pk")
    ]


def payers_of(intent_ids: Collection[str]) -> Mapping[str, Payer]:
    """Return whose payments these are, in whatever state, by the provider's names of them."""
    found = Payment.objects.filter(stripe_payment_intent_id__in=intent_ids).select_related("organization")
    return {
        payment.stripe_payment_intent_id or "": Payer(payment.organization_id, payment.organization.public_id)
        for payment in found
    }


_IN_TRANSIT = """
    SELECT o.public_id, sum(CASE WHEN d.kind = 'cash_in_transit' THEN e.amount_nano ELSE -e.amount_nano END)::bigint
    FROM billing_ledgerentry AS e
    JOIN accounts_organization AS o ON o.id = e.organization_id
    JOIN billing_ledgeraccount AS d ON d.id = e.debit_id JOIN billing_ledgeraccount AS c ON c.id = e.credit_id
    WHERE e.code = ANY (%(codes)s) AND e.effective_at >= %(start)s AND e.effective_at < %(end)s
        AND 'cash_in_transit' IN (d.kind, c.kind)
    GROUP BY 1
"""


def moved_in_transit(period: Period, codes: Collection[LedgerEntry.Code], name: str) -> dict[Thing, int]:
    """Return by how much entries of these codes moved each organization's cash in transit, in nano-dollars.

    name: of the thing that this is compared as.
    """
    values: dict[str, Any] = {"codes": [code.value for code in codes], "start": period.start, "end": period.end}
    with connection.cursor() as cursor:
        cursor.execute(_IN_TRANSIT, values)
        return {Thing(name, organization): moved_nano for organization, moved_nano in cursor.fetchall() if moved_nano}
