"""Write receipts and count their usage, in one transaction."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from django.db import connection, transaction

from billing.services.usage import RecordedUsage, UsageRecord, record_usage
from inference.models import IdempotencyClaim
from inference.rating import TokenCounts

# Event ids are uuid5(NAMESPACE, "<request id>/<SKU>"): the same request can never be counted twice.
NAMESPACE = uuid5(NAMESPACE_URL, "urn:headroom:inference")


@dataclass(frozen=True, slots=True)
class PricedTokens:
    """Tokens of one kind with the SKU and the price version that they were sold at."""

    sku: str
    tokens: int
    price_id: str


@dataclass(frozen=True, slots=True)
class Settlement:
    """What one finished request came to. `finished_at` is stamped once, and is when its usage occurred."""

    request_id: str
    organization_id: int
    project_id: int
    api_key_id: int | None
    user_id: int | None
    endpoint: str
    served_model_id: int
    deployment_id: int | None
    region_name: str
    # What usage events name: the public id of the deployment.
    resource_id: str
    status: str
    finish_reason: str
    is_stream: bool
    requested_at: datetime
    finished_at: datetime
    first_token_ms: int | None
    counts: TokenCounts
    input: PricedTokens | None
    cached_input: PricedTokens | None
    output: PricedTokens | None
    cost_usd: Decimal
    # Whether it holds a claim; the digests stay away from a failed request, so that its key may be used again.
    is_claimed: bool
    idempotency_digest: bytes | None
    body_digest: bytes | None


# A receipt that exists, or whose Idempotency-Key has one, is not written again; what comes back was new.
_INSERT = """
    INSERT INTO inference_receipt (
        organization_id, project_id, api_key_id, user_id, request_id, endpoint, served_model_id, deployment_id,
        region_name, status, finish_reason, is_stream, requested_at, finished_at, first_token_ms,
        input_tokens, cached_input_tokens, output_tokens, input_price_id, cached_input_price_id, output_price_id,
        cost_usd, idempotency_digest, body_digest)
    SELECT organization_id, project_id, api_key_id, user_id, request_id, endpoint, served_model_id, deployment_id,
        region_name, status, finish_reason, is_stream, requested_at, finished_at, first_token_ms,
        input_tokens, cached_input_tokens, output_tokens, input_price_id, cached_input_price_id, output_price_id,
        cost_usd, decode(idempotency_digest, 'hex'), decode(body_digest, 'hex')
    FROM json_to_recordset(%s) AS given (
        organization_id bigint, project_id bigint, api_key_id bigint, user_id bigint, request_id text, endpoint text,
        served_model_id bigint, deployment_id bigint, region_name text, status text, finish_reason text,
        is_stream boolean, requested_at timestamptz, finished_at timestamptz, first_token_ms integer,
        input_tokens integer, cached_input_tokens integer, output_tokens integer, input_price_id text,
        cached_input_price_id text, output_price_id text, cost_usd numeric, idempotency_digest text, body_digest text)
    ON CONFLICT DO NOTHING
    RETURNING request_id
"""


@transaction.atomic
def settle_requests(*, settlements: Sequence[Settlement], reservation_id: int | None, now: datetime) -> RecordedUsage:
    """Write the receipts of one organization's requests, count their usage, and end their claims.

    Safe to repeat: a request whose receipt exists changes nothing, nor does a second request with the
    Idempotency-Key of a receipt. Raises what `record_usage` raises, and then nothing has changed.
    """
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, [json.dumps([_row_of(settlement) for settlement in settlements])])
        new = {request_id for (request_id,) in cursor.fetchall()}
    records = [record for settlement in settlements if settlement.request_id in new for record in _usage_of(settlement)]
    recorded = record_usage(records, reservation_id=reservation_id, now=now)
    claimed = [each.request_id for each in settlements if each.is_claimed]
    if claimed:
        IdempotencyClaim.objects.filter(request_id__in=claimed).delete()
    return recorded


def _usage_of(settlement: Settlement) -> list[UsageRecord]:
    priced = (settlement.input, settlement.cached_input, settlement.output)
    return [
        UsageRecord(
            event_id=uuid5(NAMESPACE, f"{settlement.request_id}/{part.sku}"),
            occurred_at=settlement.finished_at,
            organization_id=settlement.organization_id,
            project_id=settlement.project_id,
            sku=part.sku,
            quantity=part.tokens,
            resource_id=settlement.resource_id,
            api_key_id=settlement.api_key_id,
            user_id=settlement.user_id,
            request_id=settlement.request_id,
        )
        for part in priced
        if part is not None and part.tokens
    ]


def _row_of(settlement: Settlement) -> dict[str, str | int | bool | None]:
    return {
        "organization_id": settlement.organization_id,
        "project_id": settlement.project_id,
        "api_key_id": settlement.api_key_id,
        "user_id": settlement.user_id,
        "request_id": settlement.request_id,
        "endpoint": settlement.endpoint,
        "served_model_id": settlement.served_model_id,
        "deployment_id": settlement.deployment_id,
        "region_name": settlement.region_name,
        "status": settlement.status,
        "finish_reason": settlement.finish_reason,
        "is_stream": settlement.is_stream,
        "requested_at": settlement.requested_at.isoformat(),
        "finished_at": settlement.finished_at.isoformat(),
        "first_token_ms": settlement.first_token_ms,
        "input_tokens": settlement.counts.input,
        "cached_input_tokens": settlement.counts.cached_input,
        "output_tokens": settlement.counts.output,
        "input_price_id": settlement.input.price_id if settlement.input else "",
        "cached_input_price_id": settlement.cached_input.price_id if settlement.cached_input else "",
        "output_price_id": settlement.output.price_id if settlement.output else "",
        "cost_usd": f"{settlement.cost_usd:f}",
        "idempotency_digest": settlement.idempotency_digest.hex() if settlement.idempotency_digest else None,
        "body_digest": settlement.body_digest.hex() if settlement.body_digest else None,
    }
