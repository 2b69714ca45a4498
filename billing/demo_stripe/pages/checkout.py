"""The hosted Checkout page: what is paid or saved, a button per test card, and the way back."""

from html import escape

from billing.demo_stripe.account import Account
from billing.demo_stripe.cards import card_numbered
from billing.demo_stripe.handlers.checkout import pay_session
from billing.demo_stripe.pages.html import alert, card_buttons, link, page, usd
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.web import Answer, redirect


def show(account: Account, name: str, trouble: str = "") -> Answer:
    session = account.find("checkout.session", name)
    if session["status"] == "complete":
        return redirect(_way_back(session))
    if session["status"] != "open":
        back = link(session["cancel_url"], "Back to the shop") if session["cancel_url"] else ""
        return page("This session is over", f"<p>It was open for a while and has expired.</p>{back}", 410)
    return page(_title(session), _content(account, session, trouble or _last_trouble(account, session)))


def submit(account: Account, name: str, form: Body) -> Answer:
    session = account.find("checkout.session", name)
    if session["status"] != "open":
        return show(account, name)
    given = str(form.get("number") or form.get("card") or "").replace(" ", "")
    card = card_numbered(given)
    if card is None:
        return show(account, name, "Only test cards pay here: take one of those below.")
    try:
        intent = pay_session(account, session, card, str(form.get("email") or "") or None)
    except Refused as refused:
        return show(account, name, str(refused))
    if intent["status"] == "requires_action":
        return redirect(f"{account.address}/3ds/{intent['id']}")
    return show(account, name)


def _title(session: Body) -> str:
    if session["mode"] == "setup":
        return "Save a card"
    return f"Pay {usd(session['amount_total'])}"


def _content(account: Account, session: Body, trouble: str) -> str:
    customer = session["customer"] and account.objects[session["customer"]]
    known = session["customer_email"] or (customer["email"] if customer else "") or ""
    verb = "Save" if session["mode"] == "setup" else "Pay"
    items = [account.objects[name] for name in account.secrets.made_with[session["id"]]["items"]]
    rows = "".join(
        f"<tr><td>{escape(item['description'])} &times; {item['quantity']}</td>"
        f"<td>{usd(item['amount_total'])}</td></tr>"
        for item in items
    )
    back = link(session["cancel_url"], "Back without doing it") if session["cancel_url"] else ""
    return f"""{alert(trouble)}{f"<table>{rows}</table>" if rows else ""}
<form method="post"><label>E-mail <input name="email" type="email" value="{escape(known)}"></label>
<label>Card number <input name="number" inputmode="numeric" autocomplete="off"></label>
<button class="main">{verb}</button></form>
<h2>Or with one click</h2><form method="post"><input type="hidden" name="email" value="{escape(known)}">
{card_buttons(verb)}</form>{back}"""


def _last_trouble(account: Account, session: Body) -> str:
    """Return what went wrong with the last try, after its holder came back from the bank."""
    name = session["setup_intent"] or account.secrets.made_with[session["id"]].get("intent")
    intent = account.objects.get(name or "", {})
    error = intent.get("last_payment_error") or intent.get("last_setup_error")
    return error["message"] if error else ""


def _way_back(session: Body) -> str:
    url: str = session["success_url"]
    return url.replace("{CHECKOUT_SESSION_ID}", session["id"])
