"""The page of a card's bank, where its holder authenticates, or does not."""

from html import escape
from urllib.parse import urlencode, urlsplit

from billing.demo_stripe.account import Account
from billing.demo_stripe.handlers.authentication import authenticate
from billing.demo_stripe.pages.html import page, usd
from billing.demo_stripe.refusals import Body, missing_object
from billing.demo_stripe.web import Answer, redirect

_CONTENT = """<p>{words}</p><form method="post"><p><button class="main" name="outcome" value="succeeded">Yes, it is me
</button> <button name="outcome" value="failed">No, refuse it</button></p></form>"""


def show(account: Account, name: str) -> Answer:
    intent = _intent(account, name)
    if intent["status"] != "requires_action":
        return _on(account, intent)
    if intent["object"] == "payment_intent":
        words = f"The demonstration's bank asks: do you want to pay {usd(intent['amount'])}?"
    else:
        words = "The demonstration's bank asks: may your card be charged later without you?"
    return page("3-D Secure", _CONTENT.format(words=escape(words)))


def submit(account: Account, name: str, form: Body) -> Answer:
    intent = _intent(account, name)
    if intent["status"] == "requires_action":
        authenticate(account, name, succeeded=form.get("outcome") == "succeeded")
    return _on(account, intent)


def _intent(account: Account, name: str) -> Body:
    found = account.objects.get(name, {})
    if found.get("object") not in ("payment_intent", "setup_intent"):
        raise missing_object("intent", name)
    return found


def _on(account: Account, intent: Body) -> Answer:
    """Lead back to where the payment began; away from Checkout with what Stripe adds to the address."""
    known = account.secrets.made_with.get(intent["id"], {})
    if "session" in known:
        return redirect(f"{account.address}/c/{known['session']}")
    if "return_url" not in known:
        return page("Done", "<p>You can close this page.</p>")
    url: str = known["return_url"]
    added = {
        intent["object"]: intent["id"],
        f"{intent['object']}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if intent["status"] == "succeeded" else "failed",
    }
    return redirect(f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(added)}")
