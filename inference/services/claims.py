"""Idempotency-Key on requests to models: one request runs, and its receipt answers every repetition (P6)."""

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar

from django.db import connection, transaction

from inference.models import IdempotencyClaim, Receipt
from portal.lib.errors import DomainError

# Longer than any request may take, so that a claim never ends under a request that still runs.
CLAIM_LIFE = timedelta(minutes=15)


class RequestIsRunning(DomainError):
    code = "idempotent_request_running"


class OtherBody(DomainError):
    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "idempotency_key_reused"


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """Whose request it is, and the peppered digests of its Idempotency-Key and body."""

    organization_id: int
    project_id: int
    idempotency_digest: bytes
    body_digest: bytes


# An expired claim is a killed gateway's: it passes to the next who asks.
_CLAIM = """
    INSERT INTO inference_idempotencyclaim AS c
        (organization_id, project_id, idempotency_digest, body_digest, request_id, expires_at)
    VALUES (%(organization)s, %(project)s, %(key)s, %(body)s, %(request_id)s, %(expires_at)s)
    ON CONFLICT (project_id, idempotency_digest) DO UPDATE
        SET body_digest = EXCLUDED.body_digest, request_id = EXCLUDED.request_id, expires_at = EXCLUDED.expires_at
        WHERE c.expires_at <= %(now)s
    RETURNING id
"""


@transaction.atomic
def claim_request(*, request: IdempotentRequest, request_id: str, now: datetime) -> Receipt | None:
    """Claim the Idempotency-Key for this request; return the receipt of an earlier one instead when there is one.

    Raises RequestIsRunning while an earlier one runs, OtherBody when it had another body.
    """
    values: dict[str, int | bytes | str | datetime] = {
        "organization": request.organization_id,
        "project": request.project_id,
        "key": request.idempotency_digest,
        "body": request.body_digest,
        "request_id": request_id,
        "expires_at": now + CLAIM_LIFE,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, values)
        is_ours = cursor.fetchone() is not None
    # After the claim, which waited for a settlement that was just ending one: so we see that one's receipt.
    earlier = (
        Receipt.objects.filter(project_id=request.project_id, idempotency_digest=request.idempotency_digest)
        .select_related("served_model")
        .first()
    )
    if earlier is None and is_ours:
        return None
    if is_ours:
        IdempotencyClaim.objects.filter(request_id=request_id).delete()
    known = bytes(earlier.body_digest or b"") if earlier is not None else _running_body(request)
    if known is not None and not hmac.compare_digest(known, request.body_digest):
        raise OtherBody("This Idempotency-Key was used with another body. Use a new key for a new request.")
    if earlier is None:
        raise RequestIsRunning("A request with this Idempotency-Key is still running. Ask again when it has ended.")
    return earlier


def _running_body(request: IdempotentRequest) -> bytes | None:
    claims = IdempotencyClaim.objects.filter(
        project_id=request.project_id, idempotency_digest=request.idempotency_digest
    )
    digest = claims.values_list("body_digest", flat=True).first()
    return None if digest is None else bytes(digest)


def drop_claim(*, request_id: str) -> None:
    """Give up the claim of a request that never reached a model, so that a repetition may run; safe to repeat."""
    IdempotencyClaim.objects.filter(request_id=request_id).delete()
