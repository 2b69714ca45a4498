"""Payments with every test card, with and without the customer, through Stripe's own client."""

from typing import Any

import pytest
import stripe

from billing.demo_stripe.cards import CARDS
from billing.demo_stripe.movements import fee_of
from tests.doubles.stripe_double import CARD_ONLY, SMALL, StripeDouble, told

DAY = 86_400


def saved_card(double: StripeDouble, name: str) -> dict[str, Any]:
    """Return the parameters of a payment without the customer, with a card whose saving was set up."""
    customer = double.v1.customers.create({})
    setup = double.v1.setup_intents.create(
        {"customer": customer.id, "payment_method": name, "confirm": True, **CARD_ONLY}
    )
    if setup.status == "requires_action":
        double.control("authenticate", intent=setup.id)
    method = double.v1.setup_intents.retrieve(setup.id).payment_method
    return {**SMALL, "customer": customer.id, "payment_method": method, "confirm": True, "off_session": True}


def test_a_card_pays_while_its_holder_is_there(double: StripeDouble):
    intent = double.v1.payment_intents.create(
        {**SMALL, **CARD_ONLY, "payment_method": "pm_card_visa", "confirm": True, "metadata": {"order": "7"}}
    )

    assert (intent.status, intent.amount_received) == ("succeeded", 5000)
    charge = double.v1.charges.retrieve(intent.latest_charge)
    assert (charge.paid, charge.captured, charge.metadata.to_dict()) == (True, True, {"order": "7"})
    assert charge.payment_method_details.card.last4 == "4242"


def test_a_saved_card_pays_without_its_holder(double: StripeDouble):
    intent = double.pay(double.customer())

    assert (intent.status, intent.last_payment_error, intent.next_action) == ("succeeded", None, None)


def test_an_intent_is_made_first_and_confirmed_later(double: StripeDouble):
    intent = double.v1.payment_intents.create({**SMALL, **CARD_ONLY})
    assert intent.status == "requires_payment_method"

    changed = double.v1.payment_intents.update(intent.id, {"amount": 7000, "payment_method": "pm_card_visa"})
    assert (changed.status, changed.amount) == ("requires_confirmation", 7000)

    assert double.v1.payment_intents.confirm(intent.id).amount_received == 7000


def test_confirming_needs_a_way_back_where_payment_methods_may_lead_away(double: StripeDouble):
    given = {**SMALL, "payment_method": "pm_card_visa", "confirm": True}

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payment_intents.create(given)

    assert refused.value.param == "return_url"
    assert double.v1.payment_intents.list().data == []
    never = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}
    assert double.v1.payment_intents.create({**given, **never}).status == "succeeded"
    assert double.v1.payment_intents.create({**given, "return_url": "http://127.0.0.1/"}).status == "succeeded"


@pytest.mark.parametrize("card", [card for card in CARDS if card.on_saving], ids=lambda card: card.label)
def test_a_card_that_its_bank_refuses_cannot_be_saved_nor_pay(double: StripeDouble, card: Any):
    customer = double.v1.customers.create({})
    expected = (card.on_saving.code, card.on_saving.decline_code)

    with pytest.raises(stripe.CardError) as refused:
        double.v1.payment_methods.attach(f"pm_card_{card.names[0]}", {"customer": customer.id})
    assert (refused.value.code, told(refused).decline_code) == expected

    with pytest.raises(stripe.CardError) as refused:
        double.v1.setup_intents.create(
            {"customer": customer.id, "payment_method": double.card(card.number).id, "confirm": True, **CARD_ONLY}
        )
    assert told(refused).setup_intent.last_setup_error.code == card.on_saving.code

    with pytest.raises(stripe.CardError) as refused:
        double.v1.payment_intents.create(
            {**SMALL, **CARD_ONLY, "payment_method": double.card(card.number).id, "confirm": True}
        )
    assert (refused.value.code, told(refused).decline_code) == expected
    assert double.v1.payment_methods.list({"customer": customer.id}).data == []


@pytest.mark.parametrize(("name", "reason"), [("chargeCustomerFail", "generic_decline"), ("radarBlock", "fraudulent")])
def test_a_card_can_be_saved_and_then_be_declined(double: StripeDouble, name: str, reason: str):
    given = saved_card(double, f"pm_card_{name}")

    with pytest.raises(stripe.CardError) as refused:
        double.v1.payment_intents.create(given)

    intent = double.v1.payment_intents.retrieve(told(refused).payment_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_payment_error.payment_method.id == given["payment_method"]
    charge = double.v1.charges.retrieve(intent.latest_charge)
    assert (charge.status, charge.paid, charge.failure_code) == ("failed", False, "card_declined")
    assert (refused.value.code, told(refused).decline_code) == ("card_declined", reason)


def test_a_declined_payment_succeeds_with_another_card(double: StripeDouble):
    customer = double.customer("pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as refused:
        double.pay(customer)

    intent = double.v1.payment_intents.confirm(
        told(refused).payment_intent.id,
        {"payment_method": "pm_card_visa", "return_url": "http://127.0.0.1/"},
    )

    assert (intent.status, intent.last_payment_error) == ("succeeded", None)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("authenticationRequiredOnSetup", "succeeded"),
        ("authenticationRequiredSetupForOffSession", "succeeded"),
        ("authenticationRequired", "authentication_required"),
        ("authenticationRequiredChargeDeclinedInsufficientFunds", "authentication_required"),
        ("visa", "succeeded"),
        ("mastercard", "succeeded"),
        ("amex", "succeeded"),
    ],
)
def test_what_a_card_that_was_set_up_does_without_its_holder(double: StripeDouble, name: str, outcome: str):
    given = saved_card(double, f"pm_card_{name}")

    if outcome == "succeeded":
        assert double.v1.payment_intents.create(given).status == "succeeded"
        return
    with pytest.raises(stripe.CardError) as refused:
        double.v1.payment_intents.create(given)
    intent = told(refused).payment_intent
    assert (refused.value.code, intent.status) == (outcome, "requires_payment_method")
    assert intent.last_payment_error.code == outcome


def test_a_card_that_was_never_set_up_wants_its_holder(double: StripeDouble):
    with pytest.raises(stripe.CardError) as refused:
        double.pay(double.customer("pm_card_authenticationRequiredOnSetup"))

    assert refused.value.code == "authentication_required"


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_payment_waits_for_3_d_secure(double: StripeDouble, succeeds: bool):
    intent = double.v1.payment_intents.create(
        {
            **SMALL,
            **CARD_ONLY,
            "payment_method": "pm_card_authenticationRequired",
            "confirm": True,
            "return_url": "http://127.0.0.1/back",
        }
    )
    assert (intent.status, intent.next_action.type) == ("requires_action", "redirect_to_url")
    assert intent.next_action.redirect_to_url.url == f"{double.url}/3ds/{intent.id}"

    double.control("authenticate", intent=intent.id, succeeded=succeeds)

    after = double.v1.payment_intents.retrieve(intent.id)
    assert after.status == ("succeeded" if succeeds else "requires_payment_method")
    if not succeeds:
        assert after.last_payment_error.code == "payment_intent_authentication_failure"


def test_money_can_be_missing_after_3_d_secure(double: StripeDouble):
    name = "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds"
    intent = double.v1.payment_intents.create({**SMALL, **CARD_ONLY, "payment_method": name, "confirm": True})

    double.control("authenticate", intent=intent.id)

    assert double.v1.payment_intents.retrieve(intent.id).last_payment_error.decline_code == "insufficient_funds"


@pytest.mark.parametrize("succeeds", [True, False])
def test_saving_a_card_waits_for_3_d_secure(double: StripeDouble, succeeds: bool):
    customer = double.v1.customers.create({})
    given = {"customer": customer.id, "payment_method": "pm_card_authenticationRequiredOnSetup", "confirm": True}
    intent = double.v1.setup_intents.create({**given, **CARD_ONLY})
    assert (intent.status, intent.next_action.type) == ("requires_action", "use_stripe_sdk")

    double.control("authenticate", intent=intent.id, succeeded=succeeds)

    after = double.v1.setup_intents.retrieve(intent.id)
    saved = double.v1.payment_methods.list({"customer": customer.id}).data
    assert (after.status, len(saved)) == (("succeeded", 1) if succeeds else ("requires_payment_method", 0))
    if not succeeds:
        assert after.last_setup_error.code == "setup_intent_authentication_failure"


def test_saves_a_card_and_attaches_it(double: StripeDouble):
    customer = double.v1.customers.create({})
    intent = double.v1.setup_intents.create({"customer": customer.id, "usage": "off_session", **CARD_ONLY})
    card = double.card()

    done = double.v1.setup_intents.confirm(intent.id, {"payment_method": card.id})

    assert (done.status, done.usage) == ("succeeded", "off_session")
    assert double.v1.payment_methods.retrieve(card.id).customer == customer.id
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.setup_intents.confirm(intent.id, {"payment_method": card.id})
    assert refused.value.code == "setup_intent_unexpected_state"


def test_cancels_what_is_not_paid_and_nothing_else(double: StripeDouble):
    intent = double.v1.payment_intents.create({**SMALL, **CARD_ONLY})
    setup = double.v1.setup_intents.create(CARD_ONLY)

    assert double.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "duplicate"}).status == "canceled"
    assert double.v1.setup_intents.cancel(setup.id).status == "canceled"

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payment_intents.cancel(double.pay(double.customer()).id)
    assert refused.value.code == "payment_intent_unexpected_state"


def test_an_authorization_is_captured_in_part(double: StripeDouble):
    intent = double.pay(double.customer(), capture_method="manual")
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 5000)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payment_intents.capture(intent.id, {"amount_to_capture": 5001})
    assert refused.value.code == "amount_too_large"

    assert double.v1.payment_intents.capture(intent.id, {"amount_to_capture": 3000}).amount_received == 3000


@pytest.mark.parametrize(("amount", "code"), [(49, "amount_too_small"), (100_000_000, "amount_too_large")])
def test_an_amount_has_bounds(double: StripeDouble, amount: int, code: str):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payment_intents.create({"amount": amount, "currency": "usd"})

    assert (refused.value.code, refused.value.param) == (code, "amount")


def test_a_card_of_another_customer_does_not_pay(double: StripeDouble):
    card = double.customer().invoice_settings.default_payment_method

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payment_intents.create(
            {**SMALL, "customer": double.v1.customers.create({}).id, "payment_method": card}
        )

    assert refused.value.param == "payment_method"
    assert double.v1.payment_intents.list().data == []
    assert double.v1.events.list({"types": ["payment_intent.*"]}).data == []


def test_a_card_that_paid_without_a_customer_pays_once(double: StripeDouble):
    card = double.card()
    given = {**SMALL, **CARD_ONLY, "payment_method": card.id, "confirm": True}
    double.v1.payment_intents.create(given)

    with pytest.raises(stripe.InvalidRequestError):
        double.v1.payment_intents.create(given)


def test_a_card_is_kept_when_the_payment_says_so(double: StripeDouble):
    customer = double.v1.customers.create({})

    double.v1.payment_intents.create(
        {
            **SMALL,
            **CARD_ONLY,
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "confirm": True,
            "setup_future_usage": "off_session",
        }
    )

    assert len(double.v1.payment_methods.list({"customer": customer.id}).data) == 1


def test_refunds_in_parts_up_to_what_was_paid(double: StripeDouble):
    intent = double.pay(double.customer())

    first = double.v1.refunds.create({"payment_intent": intent.id, "amount": 1000, "reason": "requested_by_customer"})
    assert (first.status, first.charge) == ("succeeded", intent.latest_charge)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.refunds.create({"payment_intent": intent.id, "amount": 4001})
    assert refused.value.code == "amount_too_large"

    rest = double.v1.refunds.create({"charge": intent.latest_charge})
    assert rest.amount == 4000
    charge = double.v1.charges.retrieve(intent.latest_charge, {"expand": ["refunds"]})
    assert (charge.amount_refunded, charge.refunded, len(charge.refunds.data)) == (5000, True, 2)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"


@pytest.mark.parametrize(
    ("name", "at_once", "later", "returned"),
    [("pendingRefund", "pending", "succeeded", 5000), ("refundFail", "succeeded", "failed", 0)],
)
def test_a_refund_ends_a_day_later(double: StripeDouble, name: str, at_once: str, later: str, returned: int):
    intent = double.pay(double.customer(f"pm_card_{name}"))
    refund = double.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == at_once

    double.control("clock", seconds=DAY)

    assert double.v1.refunds.retrieve(refund.id).status == later
    assert double.v1.charges.retrieve(intent.latest_charge).amount_refunded == returned


def test_what_was_not_paid_is_not_refunded(double: StripeDouble):
    intent = double.v1.payment_intents.create(SMALL)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.refunds.create({"payment_intent": intent.id})

    assert refused.value.code == "payment_intent_unexpected_state"


def open_dispute(double: StripeDouble, name: str = "createDispute") -> Any:
    intent = double.pay(double.customer(f"pm_card_{name}"))
    return double.v1.disputes.list({"payment_intent": intent.id}).data[0]


@pytest.mark.parametrize(
    ("text", "status", "net"), [("winning_evidence", "won", -1500), ("losing_evidence", "lost", -6500)]
)
def test_evidence_wins_or_loses_a_dispute(double: StripeDouble, text: str, status: str, net: int):
    dispute = open_dispute(double)
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "fraudulent", 5000)

    after = double.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": text}})

    assert after.status == status
    assert sum(movement.net for movement in after.balance_transactions) == net


def test_evidence_is_staged_and_submitted_later(double: StripeDouble):
    dispute = open_dispute(double)

    staged = double.v1.disputes.update(dispute.id, {"evidence": {"customer_name": "Ada"}, "submit": False})
    assert (staged.status, staged.evidence_details.has_evidence) == ("needs_response", True)

    sent = double.v1.disputes.update(dispute.id, {"evidence": {"service_date": "2026-01-01"}})
    assert (sent.status, sent.evidence.customer_name) == ("under_review", "Ada")

    double.control("dispute", dispute=dispute.id, outcome="won")
    assert double.v1.disputes.retrieve(dispute.id).status == "won"


def test_a_dispute_is_given_up(double: StripeDouble):
    assert double.v1.disputes.close(open_dispute(double).id).status == "lost"


def test_a_dispute_without_an_answer_is_lost(double: StripeDouble):
    dispute = open_dispute(double, "createDisputeProductNotReceived")

    double.control("clock", seconds=8 * DAY)

    after = double.v1.disputes.retrieve(dispute.id)
    assert (after.status, after.evidence_details.past_due) == ("lost", True)


def test_an_inquiry_takes_no_money(double: StripeDouble):
    inquiry = open_dispute(double, "createDisputeInquiry")

    assert (inquiry.status, inquiry.balance_transactions) == ("warning_needs_response", [])
    assert double.v1.disputes.close(inquiry.id).status == "warning_closed"


def test_any_charge_can_be_disputed_by_the_control(double: StripeDouble):
    intent = double.pay(double.customer())

    double.control("dispute", charge=intent.latest_charge, reason="duplicate")

    assert double.v1.charges.retrieve(intent.latest_charge).disputed
    assert double.v1.disputes.list({"charge": intent.latest_charge}).data[0].reason == "duplicate"


def test_a_bank_warns_of_fraud(double: StripeDouble):
    intent = double.pay(double.customer("pm_card_createIssuerFraudRecord"))

    warning = double.v1.radar.early_fraud_warnings.list({"payment_intent": intent.id}).data[0]

    assert (warning.charge, warning.actionable) == (intent.latest_charge, True)


def test_money_is_there_after_two_days_and_is_paid_out(double: StripeDouble):
    intent = double.pay(double.customer())
    double.v1.refunds.create({"payment_intent": intent.id, "amount": 1000})
    left = 5000 - fee_of(5000) - 1000
    assert double.v1.balance.retrieve().pending[0].amount == left
    assert double.control("payout") == {}

    double.control("clock", seconds=2 * DAY)
    assert double.v1.balance.retrieve().available[0].amount == left
    payout = double.control("payout")

    moved = double.v1.balance_transactions.list({"payout": payout["id"]}).data
    assert payout["amount"] == left
    assert sorted(each.type for each in moved) == ["charge", "payout", "refund"]
    assert sum(each.net for each in moved) == 0
    double.control("clock", seconds=DAY)
    assert double.v1.payouts.retrieve(payout["id"]).status == "paid"
    assert double.control("payout") == {}


def test_no_more_is_paid_out_than_there_is(double: StripeDouble):
    double.pay(double.customer("pm_card_bypassPending"))

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payouts.create({"amount": 5000, "currency": "usd"})

    assert refused.value.code == "balance_insufficient"
    assert double.v1.payouts.create({"amount": 4000, "currency": "usd"}).status == "in_transit"


def test_a_charge_costs_what_its_movement_says(double: StripeDouble):
    charge = double.v1.charges.retrieve(
        double.pay(double.customer()).latest_charge, {"expand": ["balance_transaction"]}
    )

    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (175, 4825)
    assert double.v1.balance_transactions.retrieve(charge.balance_transaction.id).source == charge.id


def test_a_tax_rate_is_a_percentage(double: StripeDouble):
    rate = double.v1.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 7.5})

    assert (rate.percentage, rate.active) == (7.5, True)
    assert double.v1.tax_rates.update(rate.id, {"active": False}).active is False
    assert double.v1.tax_rates.list({"active": True}).data == []


@pytest.mark.parametrize(
    ("details", "tax", "reason"),
    [
        ({"address": {"country": "DE"}}, 190, "standard_rated"),
        ({"address": {"country": "IE"}, "tax_ids": [{"type": "eu_vat", "value": "IE1234567A"}]}, 230, "standard_rated"),
        (
            {"address": {"country": "FR"}, "tax_ids": [{"type": "eu_vat", "value": "FR12345678901"}]},
            0,
            "reverse_charge",
        ),
        ({"address": {"country": "DE"}, "taxability_override": "customer_exempt"}, 0, "customer_exempt"),
        ({"address": {"country": "US", "state": "CA", "postal_code": "94103"}}, 0, "not_collecting"),
    ],
)
def test_calculates_tax_by_who_buys_and_where(double: StripeDouble, details: Any, tax: int, reason: str):
    given = {
        "currency": "usd",
        "line_items": [{"amount": 700, "reference": "L1"}, {"amount": 300, "reference": "L2"}],
        "customer_details": {"address_source": "billing", **details},
    }

    made = double.v1.tax.calculations.create({**given, "expand": ["line_items"]})

    assert (made.tax_amount_exclusive, made.amount_total) == (tax, 1000 + tax)
    assert [each.taxability_reason for each in made.tax_breakdown] == [reason]
    assert sum(item.amount_tax for item in made.line_items.data) == tax
    assert [item.reference for item in double.v1.tax.calculations.line_items.list(made.id).data] == ["L1", "L2"]


def test_calculates_tax_from_what_a_customer_said(double: StripeDouble):
    customer = double.v1.customers.create(
        {"address": {"country": "DE"}, "tax_id_data": [{"type": "eu_vat", "value": "DE123456789"}]}
    )
    given = {"currency": "usd", "line_items": [{"amount": 1000}], "customer": customer.id}

    assert double.v1.tax.calculations.create(given).tax_breakdown[0].taxability_reason == "reverse_charge"

    nowhere = double.v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.tax.calculations.create({**given, "customer": nowhere.id})
    assert refused.value.code == "customer_tax_location_invalid"
