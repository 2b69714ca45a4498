"""Receipts as pages and the API show them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils.formats import number_format
from django.utils.functional import Promise

from accounts.models import Organization
from inference.models import Deployment, Receipt
from inference.rating import usd_string

PAGE_SIZE = 50
SECOND_MS = 1000


@dataclass(frozen=True, slots=True)
class ReceiptFilters:
    """What a list of receipts is narrowed to; empty means all. key: the public id of an API key."""

    model: str = ""
    key: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt as a line of a table, ready to print."""

    request_id: str
    requested_at: datetime
    model: str
    caller: str
    status: str
    status_label: str | Promise
    input_tokens: str
    output_tokens: str
    cost: str
    duration: str


@dataclass(frozen=True, slots=True)
class ReceiptPage:
    rows: list[ReceiptRow]
    next_cursor: str  # the request id to ask after, empty on the last page


def receipt_page(organization: Organization, filters: ReceiptFilters, after: str) -> ReceiptPage | None:
    """Return 50 receipts, newest first, from the one after request id `after` on; None when that is not theirs."""
    receipts = Receipt.objects.owned_by(organization)
    start = Q()
    if after:
        last = (
            receipts.filter(request_id=after).values_list("requested_at", "pk").first() if "\0" not in after else None
        )
        if last is None:
            return None
        start = Q(requested_at__lt=last[0]) | Q(requested_at=last[0], pk__lt=last[1])
    wanted = {
        "served_model__name": filters.model,
        "api_key__public_id": filters.key,
        "status": filters.status,
    }
    receipts = receipts.filter(start, **{field: value for field, value in wanted.items() if value})
    found = list(receipts.newest_first().values_list(*_ROW, named=True)[: PAGE_SIZE + 1])
    next_cursor = found[PAGE_SIZE - 1].request_id if len(found) > PAGE_SIZE else ""
    return ReceiptPage([_row_of(receipt) for receipt in found[:PAGE_SIZE]], next_cursor)


# What a line prints and no more: with its relations a receipt is sixty columns.
_ROW = (
    "request_id",
    "requested_at",
    "finished_at",
    "served_model__name",
    "api_key__name",
    "user__email",
    "status",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
)


def _row_of(row: Any) -> ReceiptRow:  # a named tuple of _ROW, for which Django has no type
    return ReceiptRow(
        request_id=row.request_id,
        requested_at=row.requested_at,
        model=row.served_model__name,
        caller=row.api_key__name or row.user__email or "",
        status=row.status,
        status_label=Receipt.Status(row.status).label,
        input_tokens=_count(row.input_tokens + row.cached_input_tokens),
        output_tokens=_count(row.output_tokens),
        cost=f"${usd_string(row.cost_usd)}",
        duration=duration_words((row.finished_at - row.requested_at) // timedelta(milliseconds=1)),
    )


def caller_of(receipt: Receipt) -> str:
    """Return the name of the key, or the person who asked in the console."""
    if receipt.api_key is not None:
        return receipt.api_key.name
    return receipt.user.email if receipt.user is not None else ""


def duration_words(milliseconds: int) -> str:
    if milliseconds < SECOND_MS:
        return f"{milliseconds} ms"
    return f"{number_format(round(milliseconds / SECOND_MS, 2))} s"


def _count(tokens: int) -> str:
    return number_format(tokens, use_l10n=True, force_grouping=True)


@dataclass(frozen=True, slots=True)
class PartView:
    """Tokens of one kind, and the price version that they were sold at."""

    tokens: int
    price_version: str | None


@dataclass(frozen=True, slots=True)
class ReceiptView:
    """A receipt in the API. cost: exact dollars as a decimal string; times in UTC."""

    request_id: str
    organization: str
    project: str
    api_key: str | None
    user: str | None
    endpoint: str
    model: str
    deployment: str | None
    region: str | None
    status: str
    finish_reason: str | None
    stream: bool
    requested_at: datetime
    finished_at: datetime
    duration_ms: int
    first_token_ms: int | None
    input: PartView
    cached_input: PartView
    output: PartView
    cost: str
    currency: str


def receipt_view(receipt: Receipt) -> ReceiptView:
    """Return the outward shape of a receipt that was read `with_names`."""
    return ReceiptView(
        request_id=receipt.request_id,
        organization=receipt.organization.public_id,
        project=receipt.project.public_id,
        api_key=receipt.api_key.public_id if receipt.api_key else None,
        user=receipt.user.public_id if receipt.user else None,
        endpoint=receipt.endpoint,
        model=receipt.served_model.name,
        deployment=receipt.deployment.public_id if receipt.deployment else None,
        region=receipt.region_name or None,
        status=receipt.status,
        finish_reason=receipt.finish_reason or None,
        stream=receipt.is_stream,
        requested_at=receipt.requested_at,
        finished_at=receipt.finished_at,
        duration_ms=receipt.duration_ms,
        first_token_ms=receipt.first_token_ms,
        input=PartView(receipt.input_tokens, receipt.input_price_id or None),
        cached_input=PartView(receipt.cached_input_tokens, receipt.cached_input_price_id or None),
        output=PartView(receipt.output_tokens, receipt.output_price_id or None),
        cost=usd_string(receipt.cost_usd),
        currency="USD",
    )


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A deployment as staff and the owner's systems see it.

    concurrent_requests: null for as many as come. offered_percent: what of it customers may have now. is_healthy: what
    the last probe found, at probed_at.
    """

    id: str
    model: str
    region: str
    base_url: str
    weight: int
    concurrent_requests: int | None
    offered_percent: int
    is_draining: bool
    is_enabled: bool
    is_healthy: bool
    probed_at: datetime | None
    changed_at: datetime


def deployment_rows() -> list[DeploymentRow]:
    """Return every deployment, by model and age."""
    deployments = Deployment.objects.select_related("served_model", "region")
    return [deployment_row(each) for each in deployments.order_by("served_model__name", "pk")]


def deployment_row(deployment: Deployment) -> DeploymentRow:
    return DeploymentRow(
        id=deployment.public_id,
        model=deployment.served_model.name,
        region=deployment.region.name,
        base_url=deployment.base_url,
        weight=deployment.weight,
        concurrent_requests=deployment.concurrent_requests,
        offered_percent=deployment.offered_percent,
        is_draining=deployment.is_draining,
        is_enabled=deployment.is_enabled,
        is_healthy=deployment.is_healthy,
        probed_at=deployment.probed_at,
        changed_at=deployment.changed_at,
    )
