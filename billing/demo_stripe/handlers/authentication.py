"""The end of 3-D Secure, for whatever waits for it."""

from billing.demo_stripe.account import Account
from billing.demo_stripe.handlers.checkout import settle_session
from billing.demo_stripe.handlers.payment_intents import finish_authentication
from billing.demo_stripe.handlers.payment_methods import make_default
from billing.demo_stripe.handlers.setup_intents import finish_setup_authentication
from billing.demo_stripe.refusals import Body, Refused


def authenticate(account: Account, name: str, *, succeeded: bool) -> Body:
    """End the authentication that an intent waits for, and go on with what it was begun for on a hosted page."""
    intent = account.objects.get(name, {})
    finish = {"payment_intent": finish_authentication, "setup_intent": finish_setup_authentication}.get(
        intent.get("object", "")
    )
    if finish is None:
        raise Refused(f"There is no intent {name}.", status=404)
    finish(account, intent, succeeded=succeeded)
    known = account.secrets.made_with.get(name, {})
    if "session" in known:
        settle_session(account, account.objects[known["session"]], intent)
    if known.get("becomes_default") and intent["status"] == "succeeded":
        make_default(account, account.objects[intent["payment_method"]])
    return intent
