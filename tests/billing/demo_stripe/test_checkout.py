"""Checkout sessions and the customer portal: through Stripe's client, and on the hosted pages as a person uses them."""

import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import stripe

from billing.demo_stripe.cards import CARDS
from tests.browser import PortalBrowser, assert_sound
from tests.doubles.receiver import receiving, status
from tests.doubles.stripe_double import StripeDouble

CREDITS = {"price_data": {"currency": "usd", "unit_amount": 2500, "product_data": {"name": "Credits"}}, "quantity": 2}
DONE = "http://127.0.0.1:9/done?session={CHECKOUT_SESSION_ID}"
THREE_D_SECURE = "4000002760003184"
DECLINED = "4000000000000002"


def payment(double: StripeDouble, **more: object) -> Any:
    return double.v1.checkout.sessions.create({"mode": "payment", "line_items": [CREDITS], "success_url": DONE, **more})


def setup(double: StripeDouble, **more: object) -> Any:
    return double.v1.checkout.sessions.create({"mode": "setup", "currency": "usd", "success_url": DONE, **more})


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Let the test see where it would lead."""


def visit(url: str, **form: str) -> tuple[int, str, str]:
    """Return status, where the page leads, and its text; a form is posted."""
    body = urlencode(form).encode() if form else None
    try:
        with urllib.request.build_opener(NoRedirects).open(url, body, timeout=30) as answer:
            return answer.status, "", answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("Location", ""), error.read().decode()


def test_a_payment_session_is_paid_on_its_page(double: StripeDouble):
    customer = double.v1.customers.create({"email": "ada@acme.example"})
    session = payment(double, customer=customer.id, payment_intent_data={"metadata": {"payment_id": "pay_1"}})
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 5000)
    assert session.payment_intent is None

    code, leads_to, _ = visit(session.url, card="4242424242424242")

    assert (code, leads_to) == (303, DONE.replace("{CHECKOUT_SESSION_ID}", session.id))
    after = double.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (after.status, after.payment_status, after.url) == ("complete", "paid", None)
    assert (after.payment_intent.amount_received, after.payment_intent.customer) == (5000, customer.id)
    assert after.payment_intent.metadata.to_dict() == {"payment_id": "pay_1"}
    assert after.customer_details.email == "ada@acme.example"


def test_a_setup_session_saves_a_card_of_its_customer(double: StripeDouble):
    customer = double.v1.customers.create({})
    session = setup(double, customer=customer.id, setup_intent_data={"metadata": {"a": "b"}})
    assert (session.payment_status, session.amount_total) == ("no_payment_required", None)

    visit(session.url, card="4242424242424242")

    intent = double.v1.setup_intents.retrieve(session.setup_intent)
    assert (intent.status, intent.metadata.to_dict()) == ("succeeded", {"a": "b"})
    assert double.v1.payment_methods.retrieve(intent.payment_method).customer == customer.id


def test_a_session_can_make_its_customer(double: StripeDouble):
    session = payment(double, customer_creation="always", customer_email="new@acme.example")

    double.control("checkout", session=session.id)

    made = double.v1.checkout.sessions.retrieve(session.id).customer
    assert double.v1.customers.retrieve(made).email == "new@acme.example"


def test_a_paid_card_is_kept_when_the_session_says_so(double: StripeDouble):
    customer = double.v1.customers.create({})
    session = payment(double, customer=customer.id, payment_intent_data={"setup_future_usage": "off_session"})

    double.control("checkout", session=session.id)

    assert len(double.v1.payment_methods.list({"customer": customer.id}).data) == 1


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
@pytest.mark.parametrize("make", [payment, setup])
def test_a_session_leads_to_the_bank_and_back(double: StripeDouble, make: Any, outcome: str):
    session = make(double, customer=double.v1.customers.create({}).id)

    _, bank, _ = visit(session.url, card=THREE_D_SECURE)
    assert "3-D Secure" in visit(bank)[2]
    _, back, _ = visit(bank, outcome=outcome)

    assert back == session.url
    code, leads_to, text = visit(back)
    if outcome == "succeeded":
        assert (code, leads_to) == (303, DONE.replace("{CHECKOUT_SESSION_ID}", session.id))
    else:
        assert code == 200
        assert 'role="alert"' in text
        assert visit(session.url, card="4242424242424242")[0] == 303
    assert double.v1.checkout.sessions.retrieve(session.id).status == "complete"


def test_a_declined_card_can_be_followed_by_another(double: StripeDouble):
    session = payment(double)

    code, _, text = visit(session.url, card=DECLINED)
    assert code == 200
    assert "The card was declined." in text
    assert double.v1.checkout.sessions.retrieve(session.id).status == "open"

    assert visit(session.url, number="4242 4242 4242 4242", email="ada@acme.example")[0] == 303
    intents = double.v1.payment_intents.list().data
    assert [intent.status for intent in intents] == ["succeeded"]


def test_only_test_cards_are_taken(double: StripeDouble):
    assert 'role="alert"' in visit(payment(double).url, number="4111111111111111")[2]


def test_a_page_has_a_button_for_every_test_card_and_says_what_it_is(double: StripeDouble):
    _, _, text = visit(payment(double, cancel_url="http://127.0.0.1:9/back").url)

    assert set(re.findall(r'name="card" value="(\d+)"', text)) == {card.number for card in CARDS}
    assert "Demonstration" in text
    assert "$50.00" in text
    assert "http://127.0.0.1:9/back" in text


def test_what_callers_write_is_shown_as_text(double: StripeDouble):
    evil = "<script>alert(1)</script>"
    item = {"price_data": {"currency": "usd", "unit_amount": 100, "product_data": {"name": evil}}, "quantity": 1}
    session = payment(double, line_items=[item], cancel_url=f'http://127.0.0.1:9/"{evil}')

    assert evil not in visit(session.url)[2]


def test_a_session_expires_by_itself_or_when_asked_to(double: StripeDouble):
    asked, left = payment(double), payment(double)

    assert double.v1.checkout.sessions.expire(asked.id).status == "expired"
    double.control("clock", seconds=86_401)

    assert double.v1.checkout.sessions.retrieve(left.id).status == "expired"
    assert visit(left.url)[0] == 410
    assert visit(left.url, card="4242424242424242")[0] == 410
    assert double.v1.payment_intents.list().data == []
    with pytest.raises(stripe.InvalidRequestError):
        double.v1.checkout.sessions.expire(asked.id)


def test_a_session_shows_its_items_when_asked(double: StripeDouble):
    session = payment(double)

    assert "line_items" not in session
    items = double.v1.checkout.sessions.line_items.list(session.id).data
    assert [(item.description, item.quantity, item.amount_total) for item in items] == [("Credits", 2, 5000)]
    shown = double.v1.checkout.sessions.retrieve(session.id, {"expand": ["line_items"]})
    assert shown.line_items.data[0].price.unit_amount == 2500


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"mode": "payment", "success_url": DONE}, "parameter_missing"),
        ({"mode": "payment", "line_items": [CREDITS]}, "parameter_missing"),
        ({"success_url": DONE}, "parameter_missing"),
        ({"mode": "setup", "success_url": DONE}, "parameter_missing"),
        (
            {"mode": "payment", "line_items": [{**CREDITS, "quantity": 100_000}], "success_url": DONE},
            "amount_too_large",
        ),
        ({"mode": "payment", "line_items": [CREDITS], "success_url": DONE, "customer": "cus_x"}, "resource_missing"),
        ({"mode": "payment", "line_items": [CREDITS], "success_url": DONE, "expires_at": 1}, None),
    ],
)
def test_refuses_sessions_that_lack_something(double: StripeDouble, given: Any, code: str | None):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.checkout.sessions.create(given)

    assert refused.value.code == code


@pytest.mark.parametrize("given", [{"mode": "subscription"}, {"mode": "payment", "ui_mode": "embedded_page"}])
def test_says_which_checkouts_it_has_not(double: StripeDouble, given: Any):
    with pytest.raises(stripe.APIError) as refused:
        double.v1.checkout.sessions.create({"line_items": [CREDITS], "success_url": DONE, **given})

    assert refused.value.http_status == 501


def test_a_payment_elsewhere_leads_back_with_what_stripe_adds(double: StripeDouble):
    intent = double.v1.payment_intents.create(
        {
            "amount": 5000,
            "currency": "usd",
            "payment_method": "pm_card_authenticationRequired",
            "confirm": True,
            "return_url": "http://127.0.0.1:9/back?a=1",
        }
    )

    _, leads_to, _ = visit(intent.next_action.redirect_to_url.url, outcome="succeeded")

    assert leads_to.startswith("http://127.0.0.1:9/back?a=1&")
    added = parse_qs(urlsplit(leads_to).query)
    assert (added["payment_intent"], added["redirect_status"]) == ([intent.id], ["succeeded"])


def test_the_portal_adds_cards_chooses_among_them_and_lets_them_go(double: StripeDouble):
    customer = double.customer()
    first = customer.invoice_settings.default_payment_method
    session = double.v1.billing_portal.sessions.create(
        {"customer": customer.id, "return_url": "http://127.0.0.1:9/back"}
    )
    assert "http://127.0.0.1:9/back" in visit(session.url)[2]

    visit(session.url, card="5555555555554444")
    added = double.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method
    assert added != first
    assert "Mastercard ending in 4444" in visit(session.url)[2]

    visit(session.url, default=first)
    assert double.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method == first

    visit(session.url, remove=first)
    assert [each.id for each in double.v1.payment_methods.list({"customer": customer.id}).data] == [added]
    assert 'role="alert"' in visit(session.url, card=DECLINED)[2]

    _, bank, _ = visit(session.url, card=THREE_D_SECURE)
    assert visit(bank, outcome="succeeded")[1].startswith(session.url)
    authenticated = double.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method
    assert double.v1.payment_methods.retrieve(authenticated).card.last4 == "3184"


def test_the_portal_touches_no_card_of_another_customer(double: StripeDouble):
    other = double.customer().invoice_settings.default_payment_method
    session = double.v1.billing_portal.sessions.create({"customer": double.v1.customers.create({}).id})

    visit(session.url, remove=other)

    assert double.v1.payment_methods.retrieve(other).customer is not None


def test_the_portal_has_one_flow_and_configurations(double: StripeDouble):
    customer = double.v1.customers.create({})
    session = double.v1.billing_portal.sessions.create(
        {"customer": customer.id, "flow_data": {"type": "payment_method_update"}}
    )
    made = double.v1.billing_portal.configurations.create({"features": {"invoice_history": {"enabled": True}}})

    assert session.flow.type == "payment_method_update"
    assert double.v1.billing_portal.configurations.retrieve(made.id).features.invoice_history.enabled
    assert len(double.v1.billing_portal.configurations.list().data) == 2


@pytest.mark.parametrize("path", ["/", "/c/cs_test_x", "/p/bps_x", "/3ds/pi_x", "/nowhere/x"])
def test_an_address_that_leads_nowhere_says_so(double: StripeDouble, path: str):
    assert visit(double.url + path)[0] == 404


@pytest.mark.browser
def test_a_person_pays_with_three_clicks(double: StripeDouble, browser: PortalBrowser):
    with receiving() as shop:
        shop.usual = status(200, b"<title>Shop</title>", **{"Content-Type": "text/html"})
        session = payment(double, success_url=f"{shop.url}?session={{CHECKOUT_SESSION_ID}}")
        page = browser.open(session.url)
        assert_sound(page)

        page.get_by_role("button", name="4000 0027 6000 3184").click()
        assert_sound(page, [(320, "light")])
        page.get_by_role("button", name="Yes, it is me").click()
        page.wait_for_url(f"{shop.url}*")

        assert page.url == f"{shop.url}?session={session.id}"
        assert double.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"
    assert browser.complaints == []
