"""Checkout sessions in setup and payment mode: made by the API, completed on the hosted page."""

from billing.demo_stripe.account import DAY, Account
from billing.demo_stripe.calls import Call, LaterVerbs, Routes, route
from billing.demo_stripe.cards import TestCard
from billing.demo_stripe.handlers.catalog import create_price
from billing.demo_stripe.handlers.customers import new_customer
from billing.demo_stripe.handlers.payment_intents import LARGEST, SMALLEST, confirm, new_payment_intent
from billing.demo_stripe.handlers.payment_methods import new_payment_method
from billing.demo_stripe.handlers.setup_intents import confirm_setup, new_setup_intent
from billing.demo_stripe.records import PAGING, change, listing, page_of, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused, missing_parameter

_SHORTEST = 30 * 60
_FIELDS = (
    "allowed_payment_method_types billing_address_collection cancel_url client_reference_id currency customer "
    "customer_creation customer_email locale metadata mode saved_payment_method_options submit_type success_url "
    "tax_id_collection"
)
_HERE_ONLY = "customer_update expires_at line_items payment_intent_data setup_intent_data ui_mode"


def create_session(call: Call) -> Body:
    account, given = call.account, call.given
    _check(account, given)
    items = [_line_item(call, each) for each in given.get("line_items", [])]
    total = sum(item["amount_total"] for item in items)
    is_payment = given["mode"] == "payment"
    if is_payment and not SMALLEST <= total <= LARGEST:
        code = "amount_too_small" if total < SMALLEST else "amount_too_large"
        raise Refused(f"The total must be {SMALLEST} to {LARGEST} cents.", code=code, param="line_items")
    known = {"currency": items[0]["currency"] if items else "usd", **shaped("checkout.session", given, _FIELDS)}
    session = account.create(
        "checkout.session",
        **{
            "amount_subtotal": total if is_payment else None,
            "amount_total": total if is_payment else None,
            "customer_creation": None if given.get("customer") else "if_required" if is_payment else "always",
            "expires_at": given.get("expires_at", account.now() + DAY),
            "payment_method_collection": "always" if is_payment else None,
            "payment_method_types": given.get("allowed_payment_method_types", ["card"]),
            "payment_status": "unpaid" if is_payment else "no_payment_required",
            "status": "open",
            "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0} if is_payment else None,
            "ui_mode": "hosted_page",
            **known,
        },
    )
    session["url"] = f"{account.address}/c/{session['id']}"
    account.secrets.made_with[session["id"]] = {"given": given, "items": [item["id"] for item in items]}
    if not is_payment:
        intent = new_setup_intent(account, {**given.get("setup_intent_data", {}), "customer": given.get("customer")})
        session["setup_intent"] = intent["id"]
        account.emit("setup_intent.created", intent)
    account.happen_later(session["expires_at"] - account.now(), "lapse_session", session["id"])
    return session


def expire_session(call: Call) -> Body:
    session = call.account.find("checkout.session", call.ids[0])
    if session["status"] != "open":
        raise Refused(f"Only an open session can be expired; this one is {session['status']}.", param="session")
    return _expire(call.account, session)


def list_line_items(call: Call) -> Body:
    session = call.account.find("checkout.session", call.ids[0])
    items = [call.account.objects[name] for name in call.account.secrets.made_with[session["id"]]["items"]]
    return page_of(call, items)


def pay_session(account: Account, session: Body, card: TestCard, email: str | None = None) -> Body:
    """Do what the customer does on the hosted page, and return the intent, which may now wait for authentication.

    Raises Refused when the session is over, or with a card error.
    """
    if session["status"] != "open":
        raise Refused(f"This session is {session['status']}.", param="session")
    customer = session["customer"] and account.objects[session["customer"]]
    email = email or session["customer_email"] or (customer["email"] if customer else None) or "buyer@demo.example"
    if session["customer"] is None and session["customer_creation"] == "always":
        session["customer"] = new_customer(account, {"email": email})["id"]
    session["customer_details"] = _customer_details(email)
    method = new_payment_method(account, card)
    method["billing_details"]["email"] = email
    given = {"payment_method": method["id"], "return_url": session["url"]}
    if session["mode"] == "setup":
        intent = account.objects[session["setup_intent"]]
        intent["customer"] = session["customer"]
        confirm_setup(account, intent, given)
    else:
        intent = _payment_intent_of(account, session)
        confirm(account, intent, given)
    account.secrets.made_with[intent["id"]] = {"return_url": session["url"], "session": session["id"]}
    return settle_session(account, session, intent)


def settle_session(account: Account, session: Body, intent: Body) -> Body:
    """Complete an open session whose intent has succeeded, and return the intent."""
    if intent["status"] != "succeeded" or session["status"] != "open":
        return intent
    session.update(status="complete", url=None)
    if session["mode"] == "payment":
        session.update(payment_intent=intent["id"], payment_status="paid")
    account.emit("checkout.session.completed", session)
    return intent


def _check(account: Account, given: Body) -> None:
    mode = given.get("mode")
    if mode is None:
        raise missing_parameter("mode")
    if mode == "subscription" or given.get("ui_mode", "hosted_page") != "hosted_page":
        raise Refused(
            "The double has the hosted page in setup and payment mode only.",
            status=501,
            code="not_implemented_in_double",
        )
    wanted = {"payment": ("line_items", "success_url"), "setup": ("success_url",)}[mode]
    for name in wanted:
        if not given.get(name):
            raise missing_parameter(name)
    if mode == "setup" and not (given.get("currency") or given.get("allowed_payment_method_types")):
        raise missing_parameter("currency")
    _check_customer(account, given)
    if "expires_at" in given and not account.now() + _SHORTEST <= given["expires_at"] <= account.now() + DAY:
        raise Refused("A session expires 30 minutes to 24 hours after it was made.", param="expires_at")


def _check_customer(account: Account, given: Body) -> None:
    if not given.get("customer"):
        return
    if given.get("customer_email") or given.get("customer_creation"):
        raise Refused("Give customer, or how to make one, not both.", code="parameters_exclusive", param="customer")
    account.find("customer", given["customer"], "customer")


def _line_item(call: Call, given: Body) -> Body:
    account, quantity = call.account, given.get("quantity", 1)
    if "price_data" in given:
        price = create_price(Call(account, call.path, (), given["price_data"]))
    else:
        price = account.find("price", given.get("price", ""), "line_items[0][price]")
    amount = price["unit_amount"] * quantity
    return account.create(
        "item",
        amount_discount=0,
        amount_subtotal=amount,
        amount_tax=0,
        amount_total=amount,
        currency=price["currency"],
        description=account.objects[price["product"]]["name"],
        price=dict(price),
        quantity=quantity,
    )


def _payment_intent_of(account: Account, session: Body) -> Body:
    """Return the session's payment intent, which is made when the customer first tries to pay."""
    kept = account.secrets.made_with[session["id"]]
    if "intent" not in kept:
        data = kept["given"].get("payment_intent_data", {})
        intent = new_payment_intent(
            account,
            {
                **data,
                "amount": session["amount_total"],
                "currency": session["currency"],
                "customer": session["customer"],
            },
        )
        account.emit("payment_intent.created", intent)
        kept["intent"] = intent["id"]
    found: Body = account.objects[kept["intent"]]
    return found


def _customer_details(email: str) -> Body:
    return {
        "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
        "business_name": None,
        "email": email,
        "individual_name": None,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _lapse(account: Account, name: str) -> None:
    session = account.objects[name]
    if session["status"] == "open":
        _expire(account, session)


def _expire(account: Account, session: Body) -> Body:
    session.update(status="expired", url=None)
    account.emit("checkout.session.expired", session)
    return session


def update_session(call: Call) -> Body:
    return change(call.account, call.account.find("checkout.session", call.ids[0]), call.given)


ROUTES: Routes = {
    ("post", "/v1/checkout/sessions"): route(create_session, f"{_FIELDS} {_HERE_ONLY}"),
    ("get", "/v1/checkout/sessions"): listing("checkout.session", "customer payment_intent status"),
    ("get", "/v1/checkout/sessions/{session}"): retrieving("checkout.session"),
    ("post", "/v1/checkout/sessions/{session}"): route(update_session, "metadata"),
    ("get", "/v1/checkout/sessions/{session}/line_items"): route(list_line_items, PAGING),
    ("post", "/v1/checkout/sessions/{session}/expire"): route(expire_session),
}

LATER: LaterVerbs = {"lapse_session": _lapse}
