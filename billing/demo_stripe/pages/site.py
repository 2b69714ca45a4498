"""Which hosted page an address means."""

from collections.abc import Callable
from html import escape

from billing.demo_stripe.account import Account
from billing.demo_stripe.forms import read_form
from billing.demo_stripe.pages import checkout, customer, three_d_secure
from billing.demo_stripe.pages.html import page
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.web import Answer, Request

_SHOWN: dict[str, Callable[[Account, str], Answer]] = {
    "c": checkout.show,
    "p": customer.show,
    "3ds": three_d_secure.show,
}
_SUBMITTED: dict[str, Callable[[Account, str, Body], Answer]] = {
    "c": checkout.submit,
    "p": customer.submit,
    "3ds": three_d_secure.submit,
}


class Site:
    def __init__(self, account: Account) -> None:
        self.account = account

    def answer(self, request: Request) -> Answer:
        """Show a page, or do what its form asks; the id in the address is the only thing that opens it."""
        kind, _, name = request.path.strip("/").partition("/")
        if kind == "receipts":
            return page(
                "Receipt", f"<p>For <code>{escape(name)}</code>: nothing was paid, this is a demonstration.</p>"
            )
        if kind not in _SHOWN:
            return page("Nothing here", "<p>This address leads nowhere.</p>", 404)
        try:
            form: Body = read_form(request.body.decode(errors="replace"))
            with self.account.lock:
                self.account.advance(0)
                if request.method == "post":
                    return _SUBMITTED[kind](self.account, name, form)
                return _SHOWN[kind](self.account, name)
        except Refused as refused:
            return page("That did not work", f"<p>{escape(str(refused))}</p>", refused.status)
