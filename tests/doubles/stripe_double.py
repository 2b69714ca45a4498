"""The double of Stripe (billing/demo_stripe) on a port of its own, with Stripe's own client before it."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from billing.demo_stripe.account import Account
from billing.demo_stripe.server import make_server
from tests.doubles.receiver import Receiver

TOKEN = "the-control-token"
KEY = "sk_test_demonstration"
SIGNING_SECRET = "whsec_demonstration"
SMALL = {"amount": 5000, "currency": "usd"}
CARD_ONLY = {"allowed_payment_method_types": ["card"]}


@dataclass
class StripeDouble:
    """v1: the services of a client that does not ask twice. They are Any, as tests look at fields of every kind.

    account: what it knows, for a test that keeps it and brings it back; None for one in a process of its own.
    """

    url: str
    account: Account | None = None
    opened: list[stripe.HTTPClient] = field(default_factory=list)
    client: stripe.StripeClient = field(init=False)
    v1: Any = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.client_with()
        self.v1 = self.client.v1

    def client_with(self, *, key: str = KEY, retries: int = 0, timeout: float = 60) -> stripe.StripeClient:
        http = stripe.RequestsClient(timeout=timeout)
        self.opened.append(http)
        return stripe.StripeClient(key, base_addresses={"api": self.url}, max_network_retries=retries, http_client=http)

    def close(self) -> None:
        for http in self.opened:
            http.close()

    def control(self, verb: str, /, **given: object) -> Any:
        """Do something that only the control can. Raises HTTPError when it refuses."""
        return self._ask(verb, json.dumps(given).encode())

    def look(self, what: str) -> Any:
        """Return drift, deliveries or requests."""
        return self._ask(what, None)

    def card(self, number: str = "4242424242424242") -> Any:
        card = {"number": number, "exp_month": 12, "exp_year": 2040, "cvc": "123"}
        return self.v1.payment_methods.create({"type": "card", "card": card})

    def customer(self, name: str = "pm_card_visa") -> Any:
        """Return a customer whose default is the card of that test name."""
        customer = self.v1.customers.create({"email": "ada@acme.example"})
        method = self.v1.payment_methods.attach(name, {"customer": customer.id})
        return self.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})

    def pay(self, customer: Any, **more: object) -> Any:
        """Charge a customer's default card without the customer."""
        method = customer.invoice_settings.default_payment_method
        given = {**SMALL, "customer": customer.id, "payment_method": method, "confirm": True, "off_session": True}
        return self.v1.payment_intents.create({**given, **more})

    def subscribe(self, receiver: Receiver, *events: str) -> Any:
        """Let the events go to a receiver; all of them without names."""
        known = {"url": receiver.url, "secret": SIGNING_SECRET, "enabled_events": list(events) or ["*"]}
        return self.control("endpoint", **known)

    def _ask(self, path: str, body: bytes | None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"{self.url}/_control/{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def told(refused: pytest.ExceptionInfo[stripe.StripeError]) -> Any:
    """Return what Stripe told of a refusal, whose fields its library types as possibly missing."""
    return refused.value.error


@contextmanager
def running_stripe(key: str = "") -> Iterator[StripeDouble]:
    """Serve a double on any free port; webhooks are tried again after 10 ms, not a second."""
    server = make_server("127.0.0.1", 0, key=key, control_token=TOKEN, first_wait_ms=10)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        double = StripeDouble(server.double.account.address, server.double.account)
        yield double
        double.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
