"""What Stripe's own Checkout page asks of the API, which its library does not know and its command line tool uses."""

import re
from collections.abc import Callable

from billing.demo_stripe.calls import Call, Handler
from billing.demo_stripe.handlers.checkout import pay_session
from billing.demo_stripe.handlers.payment_methods import find_payment_method
from billing.demo_stripe.refusals import Body, Refused, missing_parameter

_PATH = re.compile(r"/v1/payment_pages/(\w+)(/confirm)?")


def find_handler(method: str, path: str) -> tuple[Handler, tuple[str, ...]] | None:
    found = _PATH.fullmatch(path)
    if not found:
        return None
    handlers: dict[tuple[str, bool], Callable[[Call], Body]] = {("get", False): show_page, ("post", True): confirm_page}
    handler = handlers.get((method, bool(found.group(2))))
    return (handler, (found.group(1),)) if handler else None


def show_page(call: Call) -> Body:
    return call.account.find("checkout.session", call.ids[0])


def confirm_page(call: Call) -> Body:
    account, session = call.account, call.account.find("checkout.session", call.ids[0])
    if "payment_method" not in call.given:
        raise missing_parameter("payment_method")
    method = find_payment_method(account, call.given["payment_method"])
    if str(call.given.get("expected_amount", "")) != str(session["amount_total"]):
        raise Refused("The amount is another one by now.", param="expected_amount")
    pay_session(account, session, account.secrets.cards[method["id"]], method["billing_details"]["email"])
    return session
