"""Usage events one by one, as the export and the API give them away: with price version and exact amount."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from accounts.models import Organization
from billing.selectors.cost_tags import Span, TagHistory, tag_history
from portal.lib.context import remember_organization
from portal.lib.money import decimal_string, nano_to_decimal
from portal.lib.periods import Period
from portal.lib.tenancy import set_organization

BATCH = 5000
# An amount per event is exact where its decimals end, and else cut here; only buckets round (rating.md).
DECIMALS = 18


# Where an event lies: events are found by both.
type Position = tuple[datetime, UUID]


@dataclass(frozen=True, slots=True)
class EventRow:
    """One usage event as the outside sees it; amounts are exact decimals in USD."""

    id: str
    occurred_at: datetime
    period: datetime  # the UTC hour whose bucket it is billed in
    meter: str
    quantity: int
    unit: str
    sku: str
    price_version: str
    unit_price: str  # for unit_size units
    unit_size: int
    amount: str
    currency: str
    project: str
    key: str | None
    resource: str
    request_id: str | None
    corrects: str | None
    cost_center: str | None  # of the project, on that UTC day


_EVENTS = """
    SELECT e.event_id, e.occurred_at, b.hour, m.code, e.quantity, m.unit, e.sku, b.price_id, b.price_nano,
           b.unit_size, p.public_id, k.public_id, e.resource_id, e.request_id, e.corrects, e.project_id
    FROM billing_usageevent AS e
    JOIN billing_usagebyhour AS b ON (b.organization_id, b.hour, b.project_id, b.sku)
        = (e.organization_id, date_trunc('hour', e.occurred_at, 'UTC'), e.project_id, e.sku)
    JOIN accounts_project AS p ON p.id = e.project_id
    JOIN catalog_sku AS s ON s.code = e.sku
    JOIN catalog_meter AS m ON m.id = s.meter_id
    LEFT JOIN accounts_apikey AS k ON k.id = e.api_key_id
    WHERE e.organization_id = %(organization)s AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
        AND (e.occurred_at, e.event_id) > (%(after_at)s, %(after_id)s)
        AND (%(projects)s::bigint[] IS NULL OR EXISTS (
            SELECT FROM unnest(%(projects)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
                AS span (project_id, start, until)
            WHERE span.project_id = e.project_id AND e.occurred_at >= span.start AND e.occurred_at < span.until))
    ORDER BY e.occurred_at, e.event_id
    LIMIT %(limit)s
"""


def event_page(organization: Organization, period: Period, *, after: Position | None, limit: int) -> list[EventRow]:
    """Return at most `limit` events of the period that come behind `after`, oldest first."""
    return _read(organization.pk, period, after, limit)


def event_batches(
    organization: Organization, period: Period, spans: Sequence[Span] | None = None
) -> Iterator[list[EventRow]]:
    """Yield all events of the period in batches, oldest first. spans: only those of these projects and times.

    For streaming answers, which are sent after the request's transaction has ended: every batch is read in a
    transaction of its own.
    """
    position: Position | None = None
    while True:
        with transaction.atomic():
            set_organization(organization.pk)
            rows = _read(organization.pk, period, position, BATCH, spans)
        remember_organization(None)
        if rows:
            yield rows
        if len(rows) < BATCH:
            return
        position = position_of(rows[-1])


def position_of(row: EventRow) -> Position:
    return row.occurred_at, UUID(row.id)


def cursor_of(row: EventRow) -> str:
    """Return the cursor of the list behind this event, which `position_in` reads."""
    return f"{row.occurred_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}_{row.id}"


def position_in(cursor: str) -> Position:
    """Return what a cursor means. Raises ValueError for anything that `cursor_of` did not make."""
    at, _, event_id = cursor.partition("_")
    return datetime.strptime(at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC), UUID(event_id)


def _read(
    organization_id: int,
    period: Period,
    after: Position | None,
    limit: int,
    spans: Sequence[Span] | None = None,
) -> list[EventRow]:
    after_at, after_id = after or (period.start, UUID(int=0))
    values: dict[str, Any] = {
        "organization": organization_id,
        "start": period.start,
        "end": period.end,
        "after_at": after_at,
        "after_id": after_id,
        "limit": limit,
        "projects": None if spans is None else [span.project_id for span in spans],
        "starts": [span.start for span in spans or ()],
        "ends": [span.end for span in spans or ()],
    }
    history = tag_history(organization_id)
    with connection.cursor() as cursor:
        cursor.execute(_EVENTS, values)
        return [_row(history, *row) for row in cursor.fetchall()]


def _row(  # noqa: PLR0913, PLR0917  # one parameter per column of the statement, in its order
    history: TagHistory,
    event_id: UUID,
    occurred_at: datetime,
    hour: datetime,
    meter: str,
    quantity: int,
    unit: str,
    sku: str,
    price_id: str,
    price_nano: int,
    unit_size: int,
    project: str,
    key: str | None,
    resource_id: str,
    request_id: str,
    corrects: UUID | None,
    project_id: int,
) -> EventRow:
    return EventRow(
        id=str(event_id),
        occurred_at=occurred_at,
        period=hour,
        meter=meter,
        quantity=quantity,
        unit=unit,
        sku=sku,
        price_version=price_id,
        unit_price=decimal_string(price_nano),
        unit_size=unit_size,
        amount=exact_amount(quantity, price_nano, unit_size),
        currency="USD",
        project=project,
        key=key,
        resource=resource_id,
        request_id=request_id or None,
        corrects=None if corrects is None else str(corrects),
        cost_center=history.center(project_id, occurred_at) or None,
    )


def exact_amount(quantity: int, price_nano: int, unit_size: int) -> str:
    """Return the price of one event in dollars, with all its decimals where they end, else with 18."""
    with localcontext(prec=60):
        dollars = nano_to_decimal(quantity * price_nano) / unit_size
        text = f"{dollars.quantize(Decimal(1).scaleb(-DECIMALS)):f}".rstrip("0")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"
