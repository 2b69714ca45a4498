"""What moved on our account at the payment provider: charges, fees, refunds, disputes and payouts to our bank."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from billing.gateways.payment_provider import CURRENCY, provider
from portal.lib.periods import Period


@dataclass(frozen=True, slots=True)
class Movement:
    """One movement. Cents in USD, negative for money that leaves; `fee_cents` of it is what the provider keeps.

    kind: the provider's word, such as charge, refund, adjustment, payout. source_id: its object that moved the money.
    intent_id: the payment that it belongs to, None for those of none. is_split: of a payout, whether the provider says
    which movements it pays out; of one that somebody asked for by hand it does not.
    """

    movement_id: str
    kind: str
    source_id: str
    intent_id: str | None
    amount_cents: int
    fee_cents: int
    created_at: datetime
    is_split: bool = False

    @property
    def net_cents(self) -> int:
        return self.amount_cents - self.fee_cents


class OtherCurrency(Exception):
    """Money of another currency moved, which our books have no place for."""


def movements_of(period: Period) -> list[Movement]:
    """Return what moved in a period, newest first. Raises OtherCurrency, ProviderTrouble, ProviderRefusal."""
    bounds = {"gte": int(period.start.timestamp()), "lt": int(period.end.timestamp())}
    return list(_movements(created=bounds))


def movements_of_payout(payout_id: str) -> list[Movement]:
    """Return what a payout pays out, without the payout itself. Raises as `movements_of`."""
    return [movement for movement in _movements(payout=payout_id) if movement.kind != "payout"]


def charge_of(intent_id: str) -> Movement | None:
    """Return the movement of a payment's charge, None before there is one. Raises as `movements_of`."""
    with provider() as client:
        given: Any = {"expand": ["latest_charge.balance_transaction"]}
        charge: Any = client.v1.payment_intents.retrieve(intent_id, given).latest_charge
        if charge is None or charge.balance_transaction is None:
            return None
        return _movement(charge.balance_transaction, charge)


def _movements(**filters: Any) -> Iterator[Movement]:
    with provider() as client:
        given: Any = {**filters, "limit": 100, "expand": ["data.source"]}
        for found in client.v1.balance_transactions.list(given).auto_paging_iter():
            yield _movement(found, found.source)


def _movement(found: Any, source: Any) -> Movement:
    if found.currency != CURRENCY:
        raise OtherCurrency(f"{found.id} is in {found.currency}")
    return Movement(
        movement_id=found.id,
        kind=found.type,
        source_id=source.id if source else "",
        intent_id=getattr(source, "payment_intent", None),
        amount_cents=found.amount,
        fee_cents=found.fee,
        created_at=datetime.fromtimestamp(found.created, UTC),
        is_split=bool(getattr(source, "automatic", False)),
    )
