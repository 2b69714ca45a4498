"""What tests and developers may make happen: the verbs under /_control/, for this machine and with the token alone."""

import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from billing.demo_stripe.account import Account
from billing.demo_stripe.api import Api
from billing.demo_stripe.cards import card_numbered
from billing.demo_stripe.delivery import HERE, Deliverer, Plan
from billing.demo_stripe.faults import Fault
from billing.demo_stripe.handlers.authentication import authenticate
from billing.demo_stripe.handlers.balance import pay_out
from billing.demo_stripe.handlers.checkout import pay_session
from billing.demo_stripe.handlers.disputes import end_dispute, open_dispute
from billing.demo_stripe.handlers.notices import new_endpoint
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.web import Answer, Request, json_answer

_PLANS = ("delay", "drop", "duplicate", "reorder")
_FAULTS = ("429", "500", "drop")


@dataclass(slots=True)
class Control:
    """token: what a caller must know; without one there is no control."""

    api: Api
    deliverer: Deliverer
    token: str = ""

    @property
    def account(self) -> Account:
        return self.api.account

    def answer(self, request: Request) -> Answer:
        verbs = self._looks if request.method == "get" else self._verbs
        is_known = bool(self.token) and hmac.compare_digest(request.bearer, self.token)
        if request.peer not in HERE or not is_known:
            return json_answer(404, {"error": "There is nothing here."})
        verb = verbs.get(request.path.removeprefix("/_control/"))
        if verb is None:
            return json_answer(404, {"error": f"There is no {request.method} {request.path}."})
        try:
            return json_answer(200, verb(json.loads(request.body or b"{}")))
        except Refused as refused:
            return json_answer(refused.status, refused.body)
        except (KeyError, TypeError, ValueError) as error:
            return json_answer(400, {"error": f"{type(error).__name__}: {error}"})

    @property
    def _looks(self) -> Mapping[str, Callable[[Body], object]]:
        return {
            "drift": lambda _: list(self.account.drift),
            "deliveries": lambda _: list(self.deliverer.log),
            "requests": lambda _: list(self.api.asked),
        }

    @property
    def _verbs(self) -> Mapping[str, Callable[[Body], object]]:
        return {
            "authenticate": self._authenticate,
            "checkout": self._checkout,
            "clock": self._clock,
            "dispute": self._dispute,
            "endpoint": self._endpoint,
            "fail": self._fail,
            "payout": self._payout,
            "redeliver": self._redeliver,
            "reset": self._reset,
            "settle": lambda _: {"settled": self.deliverer.settle()},
            "webhooks": self._webhooks,
        }

    def _reset(self, _: Body) -> Body:
        with self.account.lock:
            self.deliverer.reset()
            self.api.reset()
            self.account.reset()
        return {}

    def _clock(self, given: Body) -> Body:
        """Move the clock on by `seconds`."""
        with self.account.lock:
            self.account.advance(int(given["seconds"]))
            return {"now": self.account.now()}

    def _authenticate(self, given: Body) -> Body:
        """End the 3-D Secure of an `intent`, well unless `succeeded` is false."""
        with self.account.lock:
            return authenticate(self.account, given["intent"], succeeded=given.get("succeeded", True))

    def _checkout(self, given: Body) -> Body:
        """Do what a customer does on the page of a `session`, with a `card` by its number."""
        with self.account.lock:
            card = card_numbered(given.get("card", "4242424242424242"))
            if card is None:
                raise ValueError("There is no such test card.")
            session = self.account.find("checkout.session", given["session"])
            return pay_session(self.account, session, card, given.get("email"))

    def _dispute(self, given: Body) -> Body:
        """Open a dispute of a `charge`, or end a `dispute` with the `outcome` won or lost; `fee_back` with its fee."""
        with self.account.lock:
            if "charge" in given:
                charge = self.account.find("charge", given["charge"])
                reason, is_inquiry = given.get("reason", "fraudulent"), given.get("is_inquiry", False)
                return open_dispute(self.account, charge, reason=reason, is_inquiry=is_inquiry)
            won = {"won": True, "lost": False}[given["outcome"]]
            dispute = self.account.find("dispute", given["dispute"])
            return end_dispute(self.account, dispute, won=won, fee_back=given.get("fee_back", False))

    def _payout(self, _: Body) -> Body:
        """Pay out what is available."""
        with self.account.lock:
            return pay_out(self.account) or {}

    def _endpoint(self, given: Body) -> Body:
        """Register a webhook endpoint at a `url` with a `secret` that both sides know."""
        with self.account.lock:
            wanted = {"enabled_events": ["*"], **{name: each for name, each in given.items() if name != "secret"}}
            return new_endpoint(self.account, wanted, given["secret"])

    def _webhooks(self, given: Body) -> Body:
        """Plan what happens to the next `count` deliveries: delay (by `seconds`), drop, duplicate, reorder."""
        plan = Plan(_one_of(given["kind"], _PLANS), int(given.get("count", 1)), int(given.get("seconds", 0)))
        with self.account.lock:
            self.deliverer.plan(plan)
        return {}

    def _redeliver(self, given: Body) -> Body:
        """Send an `event` to every endpoint once more."""
        with self.account.lock:
            return {"endpoints": self.deliverer.redeliver(self.account.find("event", given["event"]))}

    def _fail(self, given: Body) -> Body:
        """Let the next `count` calls fail: `kind` 500, 429 or drop, before the work or `after` it."""
        _one_of(given["kind"], _FAULTS)
        with self.account.lock:
            self.api.faults.coming.append(Fault(**given))
        return {}


def _one_of(given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise ValueError(f"{given} is none of {', '.join(known)}")
    return given
