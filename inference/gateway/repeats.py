"""Repeated requests: an `Idempotency-Key` names a request, and its repetition gets the receipt of the first."""

import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from django.conf import settings

from inference.gateway.answers import DONE
from inference.gateway.asgi import Send, begin_stream, send_answer
from inference.gateway.errors import invalid
from inference.gateway.keys import Caller
from inference.gateway.requests import ModelRequest
from inference.models import Receipt
from inference.rating import usd_string
from inference.services.claims import IdempotentRequest

MAXIMUM_KEY = 255


def idempotent_request(caller: Caller, key: str, path: str, body: bytes) -> IdempotentRequest | None:
    """Return what a repetition is known by; the same body at another address is another request.

    Raises ApiError 400 for a key that is too long.
    """
    if not key:
        return None
    if len(key) > MAXIMUM_KEY:
        raise invalid(f"An Idempotency-Key has at most {MAXIMUM_KEY} characters.", "Idempotency-Key")
    return IdempotentRequest(
        organization_id=caller.organization_id,
        project_id=caller.project_id,
        idempotency_digest=_peppered(b"key", key.encode()),
        body_digest=_peppered(b"body", path.encode() + b"\0" + body),
    )


def _peppered(purpose: bytes, data: bytes) -> bytes:
    """Return a digest from which nobody can guess a short prompt without the server's pepper."""
    return hmac.digest(settings.API_KEY_PEPPER.encode(), purpose + b"\0" + data, hashlib.sha256)


async def replay(earlier: Receipt, request: ModelRequest, own_headers: Mapping[str, str], send: Send) -> None:
    """Answer a repetition with the receipt of the first request: what it came to, but not what it said."""
    outputs = earlier.output_tokens
    inputs = earlier.input_tokens + earlier.cached_input_tokens
    answer = {
        "id": earlier.request_id,
        "object": "receipt",
        "created": int(earlier.requested_at.timestamp()),
        "model": earlier.served_model.name,
        "choices": [],
        "usage": {
            "prompt_tokens": inputs,
            "completion_tokens": outputs,
            "total_tokens": inputs + outputs,
            "cost": usd_string(earlier.cost_usd),
        },
        "status": earlier.status,
        "finish_reason": earlier.finish_reason or None,
    }
    headers = {**own_headers} | {"idempotent-replayed": "true", "x-cost": usd_string(earlier.cost_usd)}
    body = msgspec.json.encode(answer)
    if request.is_stream:
        await begin_stream(send, headers)
        await send({"type": "http.response.body", "body": b"data: " + body + b"\n\n" + DONE})
    else:
        await send_answer(send, 200, headers, body)
