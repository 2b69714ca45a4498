"""Payment intents: made, confirmed with or without the customer, authenticated, captured, canceled."""

from contextlib import suppress

from billing.demo_stripe.account import Account, copy_of
from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.cards import Decline, judge_payment
from billing.demo_stripe.handlers.charging import capture, make_charge
from billing.demo_stripe.handlers.payment_methods import attach, find_payment_method, refuse_if_spent
from billing.demo_stripe.records import change, listing, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused, declined, missing_object, missing_parameter

SMALLEST = 50  # cents
LARGEST = 99_999_999  # cents
_FIELDS = (
    "amount currency customer description metadata receipt_email setup_future_usage shipping statement_descriptor "
    "statement_descriptor_suffix"
)
_CHANGEABLE = f"{_FIELDS} payment_method"
_CONFIRMING = "off_session payment_method return_url setup_future_usage"
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create_payment_intent(call: Call) -> Body:
    account, given = call.account, call.given
    if given.get("off_session") and not given.get("confirm"):
        raise Refused("off_session goes with confirm=true only.", param="off_session")
    if given.get("confirm") and call.is_current:
        _check_way_back(given, _methods_of(given))
    intent = new_payment_intent(account, given)
    if given.get("payment_method"):
        method = _usable(account, intent, find_payment_method(account, given["payment_method"]))
        intent.update(payment_method=method["id"], status="requires_confirmation")
    account.emit("payment_intent.created", intent)
    if given.get("confirm"):
        # The method is the intent's by now: its test name would make a second one.
        confirm(account, intent, {**given, "payment_method": None})
    return intent


def new_payment_intent(account: Account, given: Body) -> Body:
    """Keep a payment intent, of which nobody is told yet. Raises Refused."""
    _check_amount(given["amount"], given["currency"])
    if given.get("customer"):
        account.find("customer", given["customer"], "customer")
    chosen, automatic = given.get("allowed_payment_method_types"), _methods_of(given)
    intent = account.create(
        "payment_intent",
        **{
            "capture_method": given.get("capture_method", "automatic_async"),
            "confirmation_method": given.get("confirmation_method", "automatic"),
            "allowed_payment_method_types": chosen,
            "automatic_payment_methods": automatic,
            "payment_method_types": chosen or ["card"],
            "payment_method_options": {
                "card": {
                    "installments": None,
                    "mandate_options": None,
                    "network": None,
                    "request_three_d_secure": "automatic",
                }
            },
            "status": "requires_payment_method",
            **shaped("payment_intent", given, _FIELDS),
        },
    )
    intent["client_secret"] = f"{intent['id']}_secret_{intent['id'][-12:]}"
    return intent


def update_payment_intent(call: Call) -> Body:
    account, intent = call.account, call.account.find("payment_intent", call.ids[0])
    given: Body = dict(call.given)
    if intent["status"] in ("succeeded", "canceled") and set(given) - {"metadata", "description"}:
        raise _unexpected(intent, "changed")
    if "amount" in given:
        _check_amount(given["amount"], given.get("currency") or intent["currency"])
    if given.get("customer"):
        account.find("customer", given["customer"], "customer")
    if given.get("payment_method"):
        method = find_payment_method(account, given["payment_method"])
        given["payment_method"] = _usable(account, {**intent, **given}, method)["id"]
        intent["status"] = "requires_confirmation"
    return change(account, intent, given)


def confirm_payment_intent(call: Call) -> Body:
    intent = call.account.find("payment_intent", call.ids[0])
    if call.is_current:
        _check_way_back(call.given, intent["automatic_payment_methods"])
    return confirm(call.account, intent, call.given)


def confirm(account: Account, intent: Body, given: Body) -> Body:
    """Try to pay. Raises Refused with a card error when the bank says no, which the intent remembers."""
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "confirmed")
    name = given.get("payment_method") or intent["payment_method"]
    if not name:
        raise missing_parameter("payment_method")
    method = _usable(account, intent, find_payment_method(account, name))
    intent["payment_method"] = method["id"]
    if given.get("setup_future_usage"):
        intent["setup_future_usage"] = given["setup_future_usage"]
    _pay(account, intent, method, off_session=bool(given.get("off_session")), return_url=given.get("return_url"))
    return intent


def finish_authentication(account: Account, intent: Body, *, succeeded: bool) -> Body:
    """Go on after the card's holder authenticated, or failed to. Raises Refused when that is not what it waits for."""
    if intent["status"] != "requires_action":
        raise _unexpected(intent, "authenticated")
    account.secrets.authenticated[intent["id"]] = succeeded
    method = account.objects[intent["payment_method"]]
    # A decline is told by the intent: on the bank's page nobody waits for an answer.
    with suppress(Refused):
        _pay(account, intent, method, off_session=False, return_url=None)
    return intent


def capture_payment_intent(call: Call) -> Body:
    account, intent = call.account, call.account.find("payment_intent", call.ids[0])
    if intent["status"] != "requires_capture":
        raise _unexpected(intent, "captured")
    amount: int = call.given.get("amount_to_capture") or intent["amount_capturable"]
    if not 0 < amount <= intent["amount_capturable"]:
        raise Refused(
            "More than was authorized cannot be captured.", code="amount_too_large", param="amount_to_capture"
        )
    capture(account, intent, account.objects[intent["latest_charge"]], amount)
    return intent


def cancel_payment_intent(call: Call) -> Body:
    account, intent = call.account, call.account.find("payment_intent", call.ids[0])
    if intent["status"] in ("succeeded", "canceled"):
        raise _unexpected(intent, "canceled")
    intent.update(
        status="canceled",
        canceled_at=account.now(),
        cancellation_reason=call.given.get("cancellation_reason"),
        amount_capturable=0,
        next_action=None,
    )
    account.emit("payment_intent.canceled", intent)
    return intent


def _pay(account: Account, intent: Body, method: Body, *, off_session: bool, return_url: str | None) -> None:
    card = account.secrets.cards[method["id"]]
    verdict = judge_payment(
        card,
        off_session=off_session,
        is_set_up=method["id"] in account.secrets.set_up,
        authenticated=account.secrets.authenticated.pop(intent["id"], None),
    )
    if verdict.wants_authentication:
        intent.update(status="requires_action", next_action=next_action(account, intent, return_url))
        account.emit("payment_intent.requires_action", intent)
        return
    if verdict.decline is not None:
        raise _fail(account, intent, method, verdict.decline)
    charge = make_charge(account, intent, method, None)
    intent.update(last_payment_error=None, next_action=None)
    _remember_card(account, intent, method)
    if intent["capture_method"] == "manual":
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        account.emit("charge.succeeded", charge)
        account.emit("payment_intent.amount_capturable_updated", intent)
    else:
        capture(account, intent, charge, intent["amount"])


def next_action(account: Account, intent: Body, return_url: str | None) -> Body:
    """Return what an intent waits for: a page of the bank where there is a way back, else a step for a script."""
    page = f"{account.address}/3ds/{intent['id']}"
    if return_url:
        account.secrets.made_with[intent["id"]] = {"return_url": return_url}
        return {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": page}}
    return {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect", "stripe_js": page}}


def _fail(account: Account, intent: Body, method: Body, decline: Decline) -> Refused:
    """Record a declined payment, and return the error that tells of it."""
    told: Body = {
        "charge": None,
        "code": decline.code,
        "decline_code": decline.decline_code,
        "message": decline.message,
    }
    # Without authentication nothing was asked of the bank.
    if decline.code != "payment_intent_authentication_failure":
        charge = make_charge(account, intent, method, decline)
        told["charge"] = charge["id"]
        account.emit("charge.failed", charge)
    account.hold_code(decline.code)
    error = {name: value for name, value in told.items() if value is not None}
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_payment_error={**error, "payment_method": copy_of(method), "type": "card_error"},
    )
    account.emit("payment_intent.payment_failed", intent)
    more = {"charge": told["charge"], "payment_intent": copy_of(intent), "payment_method": copy_of(method)}
    return declined(decline.message, decline.code, decline.decline_code, more)


def _remember_card(account: Account, intent: Body, method: Body) -> None:
    if intent["setup_future_usage"] and intent["customer"]:
        attach(account, method, account.objects[intent["customer"]])
        account.secrets.set_up.add(method["id"])
    elif method["customer"] is None:
        account.secrets.spent.add(method["id"])


def _usable(account: Account, intent: Body, method: Body) -> Body:
    refuse_if_spent(account, method)
    if method["customer"] not in (None, intent["customer"]):
        raise missing_object("PaymentMethod of this customer", method["id"], "payment_method", status=400)
    return method


def _methods_of(given: Body) -> Body | None:
    """Return how payment methods are chosen automatically, or None where they are named."""
    chosen, automatic = given.get("allowed_payment_method_types"), given.get("automatic_payment_methods")
    if chosen is not None and automatic:
        raise Refused(
            "Give allowed_payment_method_types or automatic_payment_methods, not both.", code="parameters_exclusive"
        )
    return None if chosen is not None else {"allow_redirects": "always", **(automatic or {"enabled": True})}


def _check_way_back(given: Body, automatic: Body | None) -> None:
    may_redirect = automatic and automatic["enabled"] and automatic["allow_redirects"] == "always"
    if may_redirect and not given.get("off_session") and not given.get("return_url"):
        raise Refused(
            "Payment methods that lead elsewhere are allowed here, so confirming needs a return_url; or set "
            "automatic_payment_methods[allow_redirects] to never.",
            param="return_url",
        )


def _check_amount(amount: int, currency: str) -> None:
    if currency != "usd":
        raise Refused(
            "The double knows US dollars only.", status=501, code="not_implemented_in_double", param="currency"
        )
    if amount < 1:
        raise Refused("An amount is a positive number of cents.", code="parameter_invalid_integer", param="amount")
    if amount < SMALLEST:
        raise Refused(f"The amount must be at least {SMALLEST} cents.", code="amount_too_small", param="amount")
    if amount > LARGEST:
        raise Refused(f"The amount must be at most {LARGEST} cents.", code="amount_too_large", param="amount")


def _unexpected(intent: Body, verb: str) -> Refused:
    return Refused(
        f"A payment intent with the status {intent['status']} cannot be {verb}.",
        code="payment_intent_unexpected_state",
        more={"payment_intent": copy_of(intent)},
    )


ROUTES: Routes = {
    ("post", "/v1/payment_intents"): route(
        create_payment_intent,
        f"{_CHANGEABLE} allowed_payment_method_types automatic_payment_methods capture_method confirm "
        "confirmation_method off_session return_url",
    ),
    ("get", "/v1/payment_intents"): listing("payment_intent", "customer"),
    ("get", "/v1/payment_intents/{intent}"): retrieving("payment_intent"),
    ("post", "/v1/payment_intents/{intent}"): route(update_payment_intent, _CHANGEABLE),
    ("post", "/v1/payment_intents/{intent}/confirm"): route(confirm_payment_intent, _CONFIRMING),
    ("post", "/v1/payment_intents/{intent}/capture"): route(capture_payment_intent, "amount_to_capture"),
    ("post", "/v1/payment_intents/{intent}/cancel"): route(cancel_payment_intent, "cancellation_reason"),
}
