"""Charges: made for an intent, captured, and what the cards' banks do afterwards."""

from billing.demo_stripe.account import Account
from billing.demo_stripe.cards import Decline, TestCard
from billing.demo_stripe.handlers.disputes import open_dispute
from billing.demo_stripe.movements import fee_of, record_movement
from billing.demo_stripe.refusals import Body


def make_charge(account: Account, intent: Body, method: Body, decline: Decline | None) -> Body:
    """Keep a charge for a payment intent, paid unless it is declined; its money moves by `capture`."""
    card = account.secrets.cards[method["id"]]
    charge = account.create(
        "charge",
        amount=intent["amount"],
        billing_details=method["billing_details"],
        calculated_statement_descriptor="DEMONSTRATION",
        currency=intent["currency"],
        customer=intent["customer"],
        description=intent["description"],
        failure_code=decline.code if decline else None,
        failure_message=decline.message if decline else None,
        fraud_details={},
        metadata=dict(intent["metadata"]),
        outcome=_outcome(decline),
        paid=decline is None,
        payment_intent=intent["id"],
        payment_method=method["id"],
        payment_method_details=_details(method),
        receipt_email=intent["receipt_email"],
        receipt_url=f"{account.address}/receipts/{intent['id']}" if decline is None else None,
        shipping=intent["shipping"],
        statement_descriptor=intent["statement_descriptor"],
        statement_descriptor_suffix=intent["statement_descriptor_suffix"],
        status="failed" if decline else "succeeded",
    )
    account.secrets.cards[charge["id"]] = card
    intent["latest_charge"] = charge["id"]
    return charge


def capture(account: Account, intent: Body, charge: Body, amount: int) -> None:
    """Take a charge's money, up to its amount in cents, finish its intent, and let its bank act."""
    card = account.secrets.cards[charge["id"]]
    movement = record_movement(
        account,
        amount=amount,
        currency=charge["currency"],
        kind="charge",
        source=charge["id"],
        fee=fee_of(amount),
        at_once=card.settles_at_once,
    )
    was_held = intent["capture_method"] == "manual"
    charge.update(captured=True, amount_captured=amount, balance_transaction=movement["id"])
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0, next_action=None)
    account.emit("charge.captured" if was_held else "charge.succeeded", charge)
    account.emit("payment_intent.succeeded", intent)
    _let_the_bank_act(account, charge, card)


def _let_the_bank_act(account: Account, charge: Body, card: TestCard) -> None:
    if card.dispute:
        open_dispute(account, charge, reason=card.dispute, is_inquiry=card.is_inquiry)
    if card.warns_of_fraud:
        warning = account.create(
            "radar.early_fraud_warning",
            actionable=True,
            charge=charge["id"],
            fraud_type="made_with_stolen_card",
            payment_intent=charge["payment_intent"],
        )
        account.emit("radar.early_fraud_warning.created", warning)


def _outcome(decline: Decline | None) -> Body:
    blocked = decline is not None and decline.decline_code == "fraudulent"
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "not_sent_to_network"
        if blocked
        else "declined_by_network"
        if decline
        else "approved_by_network",
        "reason": "highest_risk_level" if blocked else decline.decline_code or decline.code if decline else None,
        "risk_level": "highest" if blocked else "normal",
        "seller_message": decline.message if decline else "The demonstration's bank approved the payment.",
        "type": "blocked" if blocked else "issuer_declined" if decline else "authorized",
    }


def _details(method: Body) -> Body:
    shown = ("brand", "country", "exp_month", "exp_year", "fingerprint", "funding", "last4")
    card = {name: method["card"][name] for name in shown}
    return {
        "card": {
            **card,
            "amount_authorized": None,
            "authorization_code": None,
            "checks": None,
            "installments": None,
            "mandate": None,
            "network": card["brand"],
            "three_d_secure": None,
            "wallet": None,
        },
        "type": "card",
    }
