"""The portal with a payment provider: settings that lead to a double of Stripe, and its messages by hand."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import Client, override_settings

from billing.gateways.payment_provider import API_VERSION
from tests.doubles.stripe_double import KEY, SIGNING_SECRET, StripeDouble


@contextmanager
def selling_through(double: StripeDouble) -> Iterator[None]:
    """Let the portal sell through the double."""
    with override_settings(
        STRIPE_SECRET_KEY=KEY, STRIPE_API_URL=double.url, STRIPE_WEBHOOK_SECRETS=["whsec_former", SIGNING_SECRET]
    ):
        yield


def message(kind: str, object_id: str, **more: Any) -> dict[str, Any]:
    """Return a message as the provider sends it."""
    return {
        "id": f"evt_{kind}_{object_id}",
        "object": "event",
        "type": kind,
        "created": 1_795_000_000,
        "livemode": False,
        "api_version": API_VERSION,
        "data": {"object": {"id": object_id}},
        **more,
    }


def signed(body: bytes, *, secret: str = SIGNING_SECRET, at: float | None = None) -> str:
    """Return the header that the provider signs a body with."""
    seconds = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def tell(client: Client, told: dict[str, Any]) -> Any:
    """Send the portal a message that is signed rightly."""
    body = json.dumps(told).encode()
    return send(client, body, signed(body))


def send(client: Client, body: bytes, signature: str) -> Any:
    return client.post(
        "/webhooks/stripe", body, content_type="application/json", headers={"stripe-signature": signature}
    )
