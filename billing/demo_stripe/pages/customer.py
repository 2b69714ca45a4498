"""The hosted customer portal: the customer's cards, which of them is the default, and the way back."""

from html import escape

from billing.demo_stripe.account import Account
from billing.demo_stripe.cards import card_numbered
from billing.demo_stripe.handlers.payment_methods import detach, make_default, new_payment_method
from billing.demo_stripe.handlers.setup_intents import confirm_setup, new_setup_intent
from billing.demo_stripe.pages.html import alert, card_buttons, card_words, link, page
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.web import Answer, redirect


def show(account: Account, name: str, trouble: str = "") -> Answer:
    session = account.find("billing_portal.session", name)
    customer = account.find("customer", session["customer"], "customer")
    default = customer["invoice_settings"]["default_payment_method"]
    methods = [each for each in account.all_of("payment_method") if each["customer"] == customer["id"]]
    rows = "".join(_row(each, is_default=each["id"] == default) for each in methods)
    back = link(session["return_url"], "Back to the shop") if session["return_url"] else ""
    content = f"""{alert(trouble)}<p>{escape(customer["name"] or customer["email"] or customer["id"])}</p>
<h2>Cards</h2>{f'<form method="post"><table>{rows}</table></form>' if rows else "<p>None yet.</p>"}
<h2>Add a card, which becomes the default</h2><form method="post">{card_buttons("Add")}</form>{back}"""
    return page("Your billing details", content)


def submit(account: Account, name: str, form: Body) -> Answer:
    session = account.find("billing_portal.session", name)
    customer = account.find("customer", session["customer"], "customer")
    if card := card_numbered(str(form.get("card", ""))):
        return _add(account, session, customer, new_payment_method(account, card)["id"])
    for verb in ("default", "remove"):
        method = account.objects.get(str(form.get(verb, "")), {})
        if method.get("object") == "payment_method" and method["customer"] == customer["id"]:
            if verb == "remove":
                detach(account, method)
            else:
                make_default(account, method)
    return redirect(session["url"])


def _add(account: Account, session: Body, customer: Body, method: str) -> Answer:
    intent = new_setup_intent(account, {"customer": customer["id"]})
    account.emit("setup_intent.created", intent)
    try:
        confirm_setup(account, intent, {"payment_method": method, "return_url": session["url"]})
    except Refused as refused:
        return show(account, session["id"], str(refused))
    if intent["status"] == "requires_action":
        account.secrets.made_with[intent["id"]]["becomes_default"] = True
        return redirect(f"{account.address}/3ds/{intent['id']}")
    make_default(account, account.objects[method])
    return redirect(session["url"])


def _row(method: Body, *, is_default: bool) -> str:
    mark = (
        "the default" if is_default else f'<button name="default" value="{method["id"]}">Make it the default</button>'
    )
    remove = f'<button name="remove" value="{method["id"]}">Remove</button>'
    return f"<tr><td>{escape(card_words(method))}</td><td>{mark} {remove}</td></tr>"
