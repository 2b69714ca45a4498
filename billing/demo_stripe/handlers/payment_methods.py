"""Payment methods: cards by number, by token, and by the names that tests use; to save them and to let them go."""

import hashlib

from billing.demo_stripe.account import Account
from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.cards import TestCard, card_named, card_numbered, is_card_number
from billing.demo_stripe.records import PAGING, change, page_of, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused, declined, missing_object, missing_parameter
from billing.demo_stripe.spec.blanks import blank
from billing.demo_stripe.spec.source import class_named

_YEAR_SECONDS = 31_556_952


def create_payment_method(call: Call) -> Body:
    given = call.given
    if given.get("type") != "card":
        raise Refused("The double knows cards only.", status=501, code="not_implemented_in_double", param="type")
    if "card" not in given:
        raise missing_parameter("card")
    card, expiry = _read_card(call.account, given["card"])
    known = shaped("payment_method", given, "billing_details metadata allow_redisplay")
    return new_payment_method(call.account, card, expiry, known)


def attach_payment_method(call: Call) -> Body:
    account = call.account
    if "customer" not in call.given:
        raise missing_parameter("customer")
    customer = account.find("customer", call.given["customer"], "customer")
    method = find_payment_method(account, call.ids[0], param="payment_method")
    return attach(account, method, customer)


def detach_payment_method(call: Call) -> Body:
    account, method = call.account, call.account.find("payment_method", call.ids[0])
    if method["customer"] is None:
        raise Refused(
            "The payment method is not attached to a customer, so it cannot be detached.",
            code="payment_method_unexpected_state",
            param="payment_method",
        )
    detach(account, method)
    return method


def update_payment_method(call: Call) -> Body:
    account, method = call.account, call.account.find("payment_method", call.ids[0])
    if method["customer"] is None:
        raise Refused("Only a payment method of a customer can be changed.", param="payment_method")
    return change(account, method, call.given, "payment_method.updated")


def list_payment_methods(call: Call) -> Body:
    wanted = call.given.get("customer")
    if wanted is not None:
        call.account.find("customer", wanted, "customer")
    return page_of(
        call,
        (
            each
            for each in call.account.all_of("payment_method")
            if each["customer"] == wanted and call.given.get("type", each["type"]) == each["type"]
        ),
    )


def new_payment_method(
    account: Account, card: TestCard, expiry: tuple[int, int] | None = None, known: Body | None = None
) -> Body:
    """Keep a new payment method for a test card. expiry: month and year, two years from now without them."""
    month, year = expiry or (12, 1972 + account.now() // _YEAR_SECONDS)
    details = blank(class_named("stripe._payment_method", "PaymentMethod").nested["Card"]) | {
        "brand": card.brand,
        "display_brand": card.brand,
        "last4": card.number[-4:],
        "exp_month": month,
        "exp_year": year,
        "funding": card.funding,
        "country": "US",
        "fingerprint": fingerprint_of(card),
    }
    method = account.create(
        "payment_method", type="card", card=details, **{"allow_redisplay": "unspecified", **(known or {})}
    )
    if method["billing_details"]["address"] is None:
        method["billing_details"]["address"] = dict.fromkeys(
            ("city", "country", "line1", "line2", "postal_code", "state")
        )
    account.secrets.cards[method["id"]] = card
    return method


def fingerprint_of(card: TestCard) -> str:
    """Return what is the same for every payment method of a card and tells nothing of its number."""
    return hashlib.sha256(card.number.encode()).hexdigest()[:16]


def find_payment_method(account: Account, name: str, param: str = "payment_method") -> Body:
    """Return a payment method; `pm_card_…` makes a new one each time, as at Stripe. Raises Refused."""
    if name.startswith("pm_card_"):
        card = card_named(name)
        if card is None:
            raise missing_object("PaymentMethod", name, param, status=400)
        return new_payment_method(account, card)
    return account.find("payment_method", name, param)


def attach(account: Account, method: Body, customer: Body) -> Body:
    """Make a payment method the customer's. Raises Refused when its bank says no, or when it is somebody else's."""
    if method["customer"] not in (None, customer["id"]):
        raise Refused(
            "The payment method belongs to another customer; detach it there first.",
            code="payment_method_unexpected_state",
            param="payment_method",
        )
    refuse_if_spent(account, method)
    refusal = account.secrets.cards[method["id"]].on_saving
    if refusal is not None:
        raise declined(refusal.message, refusal.code, refusal.decline_code)
    if method["customer"] is None:
        method["customer"] = customer["id"]
        account.emit("payment_method.attached", method)
    return method


def detach(account: Account, method: Body) -> None:
    """Take a payment method from its customer, for whom it is then no default either."""
    customer = account.objects[method["customer"]]
    method["customer"] = None
    account.secrets.spent.add(method["id"])
    account.emit("payment_method.detached", method, {"customer": customer["id"]})
    if customer["invoice_settings"]["default_payment_method"] == method["id"]:
        change(account, customer, {"invoice_settings": {"default_payment_method": ""}}, "customer.updated")


def make_default(account: Account, method: Body) -> None:
    """Make an attached payment method its customer's default."""
    customer = account.objects[method["customer"]]
    change(account, customer, {"invoice_settings": {"default_payment_method": method["id"]}}, "customer.updated")


def refuse_if_spent(account: Account, method: Body) -> None:
    """Raise Refused for a payment method that was detached, or paid once without a customer: neither comes back."""
    if method["id"] in account.secrets.spent:
        raise Refused(
            "The payment method was detached or used without a customer before, and cannot be used again.",
            code="payment_method_unexpected_state",
            param="payment_method",
        )


def _read_card(account: Account, given: Body) -> tuple[TestCard, tuple[int, int] | None]:
    if "token" in given:
        card = card_named(given["token"])
        if card is None:
            raise missing_object("token", given["token"], "card[token]", status=400)
        return card, None
    for name in ("number", "exp_month", "exp_year"):
        if name not in given:
            raise missing_parameter(f"card[{name}]")
    number = str(given["number"]).replace(" ", "")
    if not is_card_number(number):
        raise declined("The card number is not a number of a card.", "incorrect_number", more={"param": "number"})
    card = card_numbered(number)
    if card is None:
        raise declined("Only test cards pay here.", "card_declined", "test_mode_live_card")
    return card, _read_expiry(account, given["exp_month"], given["exp_year"])


def _read_expiry(account: Account, month: int, year: int) -> tuple[int, int]:
    year += 2000 if year < 100 else 0  # noqa: PLR2004  # 30 means 2030
    if month not in range(1, 13):
        raise declined("The card's month is none.", "invalid_expiry_month", more={"param": "exp_month"})
    if year < 1970 + account.now() // _YEAR_SECONDS:
        raise declined("The card's year has passed.", "invalid_expiry_year", more={"param": "exp_year"})
    return month, year


ROUTES: Routes = {
    ("post", "/v1/payment_methods"): route(create_payment_method, "allow_redisplay billing_details card metadata type"),
    ("get", "/v1/payment_methods"): route(list_payment_methods, f"{PAGING} customer type"),
    ("get", "/v1/payment_methods/{payment_method}"): retrieving("payment_method"),
    ("post", "/v1/payment_methods/{payment_method}"): route(
        update_payment_method, "allow_redisplay billing_details card metadata"
    ),
    ("post", "/v1/payment_methods/{payment_method}/attach"): route(attach_payment_method, "customer"),
    ("post", "/v1/payment_methods/{payment_method}/detach"): route(detach_payment_method),
}
