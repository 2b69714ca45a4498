"""Money moving on the account: balance transactions, what charges cost, and when money is there."""

from billing.demo_stripe.account import DAY, Account
from billing.demo_stripe.calls import LaterVerbs
from billing.demo_stripe.refusals import Body

SETTLING_SECONDS = 2 * DAY


def fee_of(amount: int) -> int:
    """Return what a charge costs, in cents: 2.9 % and 30 cents, half a cent upwards."""
    return (amount * 29 + 500) // 1000 + 30


def record_movement(  # noqa: PLR0913  # all that a movement is, each by name
    account: Account,
    *,
    amount: int,
    currency: str,
    kind: str,
    source: str,
    fee: int = 0,
    at_once: bool = False,
    category: str | None = None,
) -> Body:
    """Keep a balance transaction. amount, fee: cents, negative for money that leaves; kind: its type."""
    fees = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": "Fee of the demonstration",
            "type": "stripe_fee",
        }
    ]
    movement = account.create(
        "balance_transaction",
        amount=amount,
        available_on=account.now() + (0 if at_once else SETTLING_SECONDS),
        balance_type="payments",
        currency=currency,
        fee=fee,
        fee_details=fees if fee else [],
        net=amount - fee,
        reporting_category=category or kind,
        source=source,
        status="available" if at_once else "pending",
        type=kind,
    )
    if not at_once:
        account.happen_later(SETTLING_SECONDS, "settle_movement", movement["id"])
    return movement


def _settle(account: Account, movement: str) -> None:
    account.objects[movement]["status"] = "available"


LATER: LaterVerbs = {"settle_movement": _settle}
