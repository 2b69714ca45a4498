"""Signatures over what we send, as the Standard Webhooks convention has them: HMAC-SHA-256 over id, time and body.

The convention: https://www.standardwebhooks.com. For receivers: docs/audit-stream.md.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_signing_secret() -> str:
    """Return a new secret: `whsec_` and 256 random bits in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature_headers(*, message_id: str, at: datetime, body: bytes, signing_secrets: Iterable[str]) -> dict[str, str]:
    """Return the three headers of a message, with a signature for each secret: any of them may be verified.

    at: when it is sent, which receivers compare with their clock; a repetition has its own, and the same id.
    """
    seconds = int(at.timestamp())
    content = b"%b.%d.%b" % (message_id.encode(), seconds, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{_signature(secret, content)}" for secret in signing_secrets),
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return base64.b64encode(hmac.digest(key, content, "sha256")).decode()
