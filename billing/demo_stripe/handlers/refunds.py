"""Charges as they can be read, and refunds of them: at once, a day later, or failed a day later."""

from billing.demo_stripe.account import DAY, Account
from billing.demo_stripe.calls import Call, LaterVerbs, Routes, route
from billing.demo_stripe.movements import record_movement
from billing.demo_stripe.records import find_kept, listing, retrieving, shaped, updating
from billing.demo_stripe.refusals import Body, Refused, missing_parameter


def create_refund(call: Call) -> Body:
    account, given = call.account, call.given
    charge = _charge_of(account, given)
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount: int = given.get("amount", left)
    _check_refund(charge, amount, left)
    card = account.secrets.cards[charge["id"]]
    refund = account.create(
        "refund",
        amount=amount,
        charge=charge["id"],
        currency=charge["currency"],
        customer=charge["customer"],
        destination_details={
            "card": {"reference": None, "reference_status": "pending", "reference_type": None, "type": "refund"},
            "type": "card",
        },
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        status="pending" if card.refund == "pending" else "succeeded",
        **shaped("refund", given, "metadata reason"),
    )
    refund["balance_transaction"] = record_movement(
        account, amount=-amount, currency=refund["currency"], kind="refund", source=refund["id"]
    )["id"]
    _count(charge, amount)
    account.emit("refund.created", refund)
    account.emit("charge.refunded", charge)
    if card.refund != "succeeded":
        account.happen_later(DAY, f"refund_{card.refund}", refund["id"])
    return refund


def _charge_of(account: Account, given: Body) -> Body:
    if given.get("charge"):
        return account.find("charge", given["charge"], "charge")
    if not given.get("payment_intent"):
        raise missing_parameter("payment_intent")
    intent = account.find("payment_intent", given["payment_intent"], "payment_intent")
    if intent["status"] != "succeeded":
        raise Refused(
            f"A payment intent with the status {intent['status']} has no charge to refund.",
            code="payment_intent_unexpected_state",
            param="payment_intent",
        )
    return find_kept(account, ("charge",), intent["latest_charge"], "payment_intent")


def _check_refund(charge: Body, amount: int, left: int) -> None:
    if not charge["captured"]:
        raise Refused("Only a paid charge can be refunded.", code="charge_not_refundable", param="charge")
    if left == 0:
        raise Refused("The charge is refunded already.", code="charge_already_refunded", param="charge")
    if amount < 1:
        raise Refused("A refund is a positive number of cents.", code="parameter_invalid_integer", param="amount")
    if amount > left:
        raise Refused(
            f"A refund of {amount} is more than the {left} that are left of the charge.",
            code="amount_too_large",
            param="amount",
        )


def _count(charge: Body, amount: int) -> None:
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]


def _succeed(account: Account, name: str) -> None:
    _finish(account, account.objects[name], failed=False)


def _fail(account: Account, name: str) -> None:
    _finish(account, account.objects[name], failed=True)


def _finish(account: Account, refund: Body, *, failed: bool) -> None:
    previous = {"status": refund["status"]}
    if failed:
        charge = account.objects[refund["charge"]]
        _count(charge, -refund["amount"])
        back = record_movement(
            account, amount=refund["amount"], currency=refund["currency"], kind="refund_failure", source=refund["id"]
        )
        refund.update(
            status="failed", failure_reason="expired_or_canceled_card", failure_balance_transaction=back["id"]
        )
    else:
        refund["status"] = "succeeded"
    account.emit("refund.updated", refund, previous)
    account.emit("charge.refund.updated", refund, previous)
    if failed:
        account.emit("refund.failed", refund)


ROUTES: Routes = {
    ("get", "/v1/charges"): listing("charge", "customer payment_intent"),
    ("get", "/v1/charges/{charge}"): retrieving("charge"),
    ("post", "/v1/charges/{charge}"): updating("charge", "description metadata receipt_email", "charge.updated"),
    ("post", "/v1/refunds"): route(create_refund, "amount charge metadata payment_intent reason"),
    ("get", "/v1/refunds"): listing("refund", "charge payment_intent"),
    ("get", "/v1/refunds/{refund}"): retrieving("refund"),
    ("post", "/v1/refunds/{refund}"): updating("refund", "metadata", "refund.updated charge.refund.updated"),
    ("get", "/v1/radar/early_fraud_warnings"): listing("radar.early_fraud_warning", "charge payment_intent"),
    ("get", "/v1/radar/early_fraud_warnings/{early_fraud_warning}"): retrieving("radar.early_fraud_warning"),
}

LATER: LaterVerbs = {"refund_pending": _succeed, "refund_failed": _fail}
