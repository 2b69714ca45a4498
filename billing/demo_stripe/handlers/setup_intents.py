"""Setup intents: a card saved for charges without its holder, with the authentication that its bank wants for that."""

from contextlib import suppress

from billing.demo_stripe.account import Account, copy_of
from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.cards import Decline, judge_setup
from billing.demo_stripe.handlers.payment_intents import next_action
from billing.demo_stripe.handlers.payment_methods import find_payment_method, refuse_if_spent
from billing.demo_stripe.records import change, listing, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused, declined, missing_object, missing_parameter

_FIELDS = "customer description metadata payment_method"
_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")


def create_setup_intent(call: Call) -> Body:
    intent = new_setup_intent(call.account, call.given)
    if call.given.get("payment_method"):
        method = find_payment_method(call.account, call.given["payment_method"])
        intent.update(payment_method=method["id"], status="requires_confirmation")
    call.account.emit("setup_intent.created", intent)
    if call.given.get("confirm"):
        confirm_setup(call.account, intent, {"return_url": call.given.get("return_url")})
    return intent


def new_setup_intent(account: Account, given: Body) -> Body:
    """Keep a setup intent, of which nobody is told yet. Raises Refused."""
    if given.get("customer"):
        account.find("customer", given["customer"], "customer")
    chosen = given.get("allowed_payment_method_types")
    automatic = None if chosen is not None else {"allow_redirects": "always", "enabled": True}
    intent = account.create(
        "setup_intent",
        allowed_payment_method_types=chosen,
        automatic_payment_methods=given.get("automatic_payment_methods", automatic),
        payment_method_types=chosen or ["card"],
        status="requires_payment_method",
        usage=given.get("usage", "off_session"),
        **shaped("setup_intent", given, "customer description metadata"),
    )
    intent["client_secret"] = f"{intent['id']}_secret_{intent['id'][-12:]}"
    return intent


def update_setup_intent(call: Call) -> Body:
    account, intent = call.account, call.account.find("setup_intent", call.ids[0])
    given = dict(call.given)
    if intent["status"] in ("succeeded", "canceled") and set(given) - {"metadata", "description"}:
        raise _unexpected(intent, "changed")
    if given.get("payment_method"):
        given["payment_method"] = find_payment_method(account, given["payment_method"])["id"]
        intent["status"] = "requires_confirmation"
    return change(account, intent, given)


def confirm_setup_intent(call: Call) -> Body:
    return confirm_setup(call.account, call.account.find("setup_intent", call.ids[0]), call.given)


def confirm_setup(account: Account, intent: Body, given: Body) -> Body:
    """Try to save the card. Raises Refused with a card error when its bank says no, which the intent remembers."""
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "confirmed")
    name = given.get("payment_method") or intent["payment_method"]
    if not name:
        raise missing_parameter("payment_method")
    method = find_payment_method(account, name)
    refuse_if_spent(account, method)
    if method["customer"] not in (None, intent["customer"]):
        raise missing_object("PaymentMethod of this customer", name, "payment_method", status=400)
    intent["payment_method"] = method["id"]
    _save(account, intent, method, given.get("return_url"))
    return intent


def finish_setup_authentication(account: Account, intent: Body, *, succeeded: bool) -> Body:
    """Go on after the card's holder authenticated, or failed to. Raises Refused when that is not what it waits for."""
    if intent["status"] != "requires_action":
        raise _unexpected(intent, "authenticated")
    account.secrets.authenticated[intent["id"]] = succeeded
    # A refusal is told by the intent: on the bank's page nobody waits for an answer.
    with suppress(Refused):
        _save(account, intent, account.objects[intent["payment_method"]], None)
    return intent


def cancel_setup_intent(call: Call) -> Body:
    account, intent = call.account, call.account.find("setup_intent", call.ids[0])
    if intent["status"] not in _CONFIRMABLE:
        raise _unexpected(intent, "canceled")
    intent.update(status="canceled", cancellation_reason=call.given.get("cancellation_reason"), next_action=None)
    account.emit("setup_intent.canceled", intent)
    return intent


def _save(account: Account, intent: Body, method: Body, return_url: str | None) -> None:
    verdict = judge_setup(
        account.secrets.cards[method["id"]], authenticated=account.secrets.authenticated.pop(intent["id"], None)
    )
    if verdict.wants_authentication:
        intent.update(status="requires_action", next_action=next_action(account, intent, return_url))
        account.emit("setup_intent.requires_action", intent)
        return
    if verdict.decline is not None:
        raise _fail(account, intent, method, verdict.decline)
    intent.update(status="succeeded", next_action=None, last_setup_error=None)
    account.secrets.set_up.add(method["id"])
    if intent["customer"] and method["customer"] is None:
        method["customer"] = intent["customer"]
        account.emit("payment_method.attached", method)
    account.emit("setup_intent.succeeded", intent)


def _fail(account: Account, intent: Body, method: Body, decline: Decline) -> Refused:
    told = {"code": decline.code, "decline_code": decline.decline_code, "message": decline.message}
    error = {name: value for name, value in told.items() if value is not None}
    intent.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_setup_error={**error, "payment_method": copy_of(method), "type": "card_error"},
    )
    account.emit("setup_intent.setup_failed", intent)
    more = {"payment_method": copy_of(method), "setup_intent": copy_of(intent)}
    return declined(decline.message, decline.code, decline.decline_code, more)


def _unexpected(intent: Body, verb: str) -> Refused:
    return Refused(
        f"A setup intent with the status {intent['status']} cannot be {verb}.",
        code="setup_intent_unexpected_state",
        more={"setup_intent": copy_of(intent)},
    )


ROUTES: Routes = {
    ("post", "/v1/setup_intents"): route(
        create_setup_intent,
        f"{_FIELDS} allowed_payment_method_types automatic_payment_methods confirm return_url usage",
    ),
    ("get", "/v1/setup_intents"): listing("setup_intent", "customer payment_method"),
    ("get", "/v1/setup_intents/{intent}"): retrieving("setup_intent"),
    ("post", "/v1/setup_intents/{intent}"): route(update_setup_intent, _FIELDS),
    ("post", "/v1/setup_intents/{intent}/confirm"): route(confirm_setup_intent, "payment_method return_url"),
    ("post", "/v1/setup_intents/{intent}/cancel"): route(cancel_setup_intent, "cancellation_reason"),
}
