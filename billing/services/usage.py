"""Count usage: once per event, priced exactly, and settled against the cap in the same transaction.

Definitions, limits and what is refused: docs/algorithms/metering.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, ClassVar
from uuid import UUID

import structlog
from django.db import connection, transaction

from billing.models import UsageByResource, UsageFate
from billing.selectors.closing import closed_until
from billing.selectors.prices import prices_of_hours
from billing.services.credits import lock_cap
from billing.services.settling import UsageChange, settle_usage
from catalog.selectors import UnitPrice
from portal.lib.errors import DomainError
from portal.lib.periods import hour_of, month_of

log = structlog.get_logger(__name__)

FUTURE_TOLERANCE = timedelta(minutes=5)
OLDEST = timedelta(days=35)


class UsageConflict(DomainError):
    """An event id came back with other content; nothing of the call was counted."""

    code: ClassVar[str] = "usage_conflict"


class UsageRefused(DomainError):
    """The events cannot be counted as they are; nothing of the call was."""

    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "usage_refused"


class UsageTooOld(UsageRefused):
    """The event is older than 35 days: a person decides, in the manual queue."""

    code: ClassVar[str] = "usage_too_old"


class UnpricedUsage(Exception):
    """A SKU has no price at the hour of its use. An alarm: unpriced usage must never be free."""


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One measurement on its way in; quantity in the SKU's smallest unit.

    event_id: uuid5 of the cause and the SKU. occurred_at: a function of the cause too, because an event is the
    same event only at the same instant.
    """

    event_id: UUID
    occurred_at: datetime
    organization_id: int
    project_id: int
    sku: str
    quantity: int
    resource_id: str
    api_key_id: int | None
    user_id: int | None
    request_id: str = ""
    corrects: UUID | None = None


@dataclass(frozen=True, slots=True)
class RecordedUsage:
    """What a call came to: events counted now, events counted before, nano-dollars charged and written off."""

    counted: int
    duplicate: int
    charged_nano: int
    written_off_nano: int


# One statement: what is new becomes events, and moves its buckets, their sums by day and their explanations.
# A bucket's amount is rounded from its whole quantity, and the change is the difference of two such roundings;
# rounded increments are never added. A bucket keeps the price that its first event found.
_RECORD = """
    WITH added AS (
        INSERT INTO billing_usageevent (event_id, occurred_at, organization_id, project_id, sku, quantity,
                                        resource_id, api_key_id, user_id, request_id, corrects, recorded_at)
        SELECT input.*, %(now)s
        FROM unnest(%(event_id)s::uuid[], %(occurred_at)s::timestamptz[], %(organization_id)s::bigint[],
                    %(project_id)s::bigint[], %(sku)s::text[], %(quantity)s::bigint[], %(resource_id)s::text[],
                    %(api_key_id)s::bigint[], %(user_id)s::bigint[], %(request_id)s::text[], %(corrects)s::uuid[])
            AS input (event_id, occurred_at)
        ORDER BY occurred_at, event_id
        ON CONFLICT DO NOTHING
        RETURNING date_trunc('hour', occurred_at, 'UTC') AS hour, organization_id, project_id, sku, quantity,
                  resource_id, coalesce(api_key_id, %(nobody)s) AS api_key_id, coalesce(user_id, %(nobody)s) AS user_id
    ), price AS (
        SELECT * FROM unnest(%(price_hour)s::timestamptz[], %(price_sku)s::text[], %(price_id)s::text[],
                             %(price_nano)s::bigint[], %(unit_size)s::bigint[], %(list_price_id)s::text[],
                             %(list_price_nano)s::bigint[])
            AS price (hour, sku, price_id, price_nano, unit_size, list_price_id, list_price_nano)
    ), part AS (
        SELECT organization_id, hour, project_id, sku, sum(quantity) AS quantity, count(*) AS event_count
        FROM added GROUP BY 1, 2, 3, 4
    ), bucket AS (
        INSERT INTO billing_usagebyhour AS b (organization_id, hour, project_id, sku, quantity, event_count,
                                              amount_nano, price_id, price_nano, unit_size, list_price_id,
                                              list_price_nano, updated_at)
        SELECT organization_id, hour, project_id, sku, quantity, event_count,
               billing_divide_half_even(quantity * price_nano, unit_size), price_id, price_nano, unit_size,
               list_price_id, list_price_nano, %(now)s
        FROM part JOIN price USING (hour, sku)
        ORDER BY organization_id, hour, project_id, sku
        ON CONFLICT (organization_id, hour, project_id, sku) DO UPDATE SET
            quantity = b.quantity + EXCLUDED.quantity,
            event_count = b.event_count + EXCLUDED.event_count,
            amount_nano = billing_divide_half_even(
                (b.quantity::numeric + EXCLUDED.quantity) * b.price_nano, b.unit_size),
            updated_at = EXCLUDED.updated_at
        RETURNING organization_id, hour, project_id, sku, quantity, amount_nano, price_id, price_nano, unit_size
    ), change AS (
        SELECT organization_id, hour, project_id, sku, price_id, price_nano, unit_size, part.quantity, event_count,
               bucket.quantity - part.quantity AS before,
               amount_nano - billing_divide_half_even(
                   (bucket.quantity - part.quantity) * price_nano, unit_size) AS amount_nano
        FROM bucket JOIN part USING (organization_id, hour, project_id, sku)
    ), part_cause AS (
        SELECT organization_id, hour, project_id, sku, resource_id, api_key_id, user_id, sum(quantity) AS quantity
        FROM added GROUP BY 1, 2, 3, 4, 5, 6, 7
    ), running AS (
        SELECT part_cause.*, price_nano, unit_size,
               before + sum(part_cause.quantity) OVER (
                   PARTITION BY organization_id, hour, project_id, sku ORDER BY resource_id, api_key_id, user_id
               ) AS until
        FROM part_cause JOIN change USING (organization_id, hour, project_id, sku)
    ), caused AS (
        -- billing.rating.explain
        SELECT organization_id, hour, date_trunc('day', hour, 'UTC') AS day, project_id, resource_id, api_key_id,
               user_id,
               billing_divide_half_even(until * price_nano, unit_size)
                   - billing_divide_half_even((until - quantity) * price_nano, unit_size) AS amount_nano
        FROM running
    ), by_cause AS (
        INSERT INTO billing_spendbycause AS c (organization_id, cause, span_days, day, cause_id, amount_nano)
        SELECT organization_id, cause, span_days, start, cause_id, sum(amount_nano)
        FROM caused, LATERAL (VALUES ('project', project_id::text), ('key', api_key_id::text),
                                     ('resource', resource_id), ('member', user_id::text)) AS of (cause, cause_id),
             LATERAL (VALUES (1, day), (7, date_trunc('week', day, 'UTC'))) AS span (span_days, start)
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
        ON CONFLICT (organization_id, cause, span_days, day, cause_id) DO UPDATE SET
            amount_nano = c.amount_nano + EXCLUDED.amount_nano
    ), by_day AS (
        INSERT INTO billing_spendbyday AS d (organization_id, day, sku, price_id, price_nano, unit_size, quantity,
                                             event_count, amount_nano, updated_at)
        SELECT organization_id, date_trunc('day', hour, 'UTC'), sku, price_id, price_nano, unit_size,
               sum(quantity), sum(event_count), sum(amount_nano), %(now)s
        FROM change GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4
        ON CONFLICT (organization_id, day, sku, price_id) DO UPDATE SET
            quantity = d.quantity + EXCLUDED.quantity,
            event_count = d.event_count + EXCLUDED.event_count,
            amount_nano = d.amount_nano + EXCLUDED.amount_nano,
            updated_at = EXCLUDED.updated_at
    ), explanation AS (
        INSERT INTO billing_usagebyresource AS r (organization_id, day, project_id, sku, resource_id, api_key_id,
                                                  user_id, quantity)
        SELECT organization_id, date_trunc('day', hour, 'UTC'), project_id, sku, resource_id, api_key_id, user_id,
               sum(quantity)
        FROM part_cause GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 2, 3, 4, 5, 6, 7
        ON CONFLICT (organization_id, day, project_id, sku, resource_id, api_key_id, user_id) DO UPDATE SET
            quantity = r.quantity + EXCLUDED.quantity
    )
    SELECT (SELECT coalesce(sum(event_count), 0) FROM change)::bigint, project_id, api_key_id, hour,
           sum(amount_nano)::bigint
    FROM caused GROUP BY project_id, api_key_id, hour
"""

# Everything that makes an event what it is, apart from when we heard of it.
_DIFFERENT = """
    SELECT input.event_id
    FROM unnest(%(event_id)s::uuid[], %(occurred_at)s::timestamptz[], %(organization_id)s::bigint[],
                %(project_id)s::bigint[], %(sku)s::text[], %(quantity)s::bigint[], %(resource_id)s::text[],
                %(api_key_id)s::bigint[], %(user_id)s::bigint[], %(request_id)s::text[], %(corrects)s::uuid[])
        AS input (event_id, occurred_at, organization_id, project_id, sku, quantity, resource_id, api_key_id,
                  user_id, request_id, corrects)
    LEFT JOIN billing_usageevent AS e ON (e.occurred_at, e.event_id) = (input.occurred_at, input.event_id)
    WHERE (e.organization_id, e.project_id, e.sku, e.quantity, e.resource_id, e.api_key_id, e.user_id,
           e.request_id, e.corrects)
        IS DISTINCT FROM
          (input.organization_id, input.project_id, input.sku, input.quantity, input.resource_id,
           input.api_key_id, input.user_id, input.request_id, input.corrects)
    LIMIT 1
"""


@transaction.atomic
def record_usage(records: Sequence[UsageRecord], *, reservation_id: int | None, now: datetime) -> RecordedUsage:
    """Count an organization's events, each once for ever, and settle the exact change of its rated buckets.

    The change is taken out of the reservation while that is held, else out of the room that the cap has left;
    what finds no room is written off. All or nothing, and safe to repeat: known events change nothing. Events of
    a time that is invoiced already are counted as well, and their fate says that they go to the next invoice.

    Raises UsageConflict when an event id is known with other content, UsageRefused for events of several
    organizations, more than 5 minutes ahead or negative without `corrects`, UsageTooOld after 35 days, and
    UnpricedUsage when a SKU has no price at its hour.
    """
    records = _distinct(records)
    if not records:
        return RecordedUsage(0, 0, 0, 0)
    _refuse_impossible(records, now)
    for record in records:
        if record.occurred_at < now - OLDEST:
            raise UsageTooOld(f"Event {record.event_id} is older than 35 days: a person has to decide about it.")
    return _count(records, reservation_id, now)


@transaction.atomic
def record_accepted(record: UsageRecord, *, now: datetime) -> RecordedUsage:
    """Count one event that a person accepted, however old it is. Raises as `record_usage`, but never UsageTooOld."""
    _refuse_impossible([record], now)
    return _count([record], None, now)


def _count(records: Sequence[UsageRecord], reservation_id: int | None, now: datetime) -> RecordedUsage:
    organization_id = records[0].organization_id
    credit = lock_cap(organization_id=organization_id, now=now)
    late = _not_counted_yet(_for_closed_months(records, now))
    counted, changes = _write(records, _prices_of(records), now)
    duplicate = len(records) - counted
    if duplicate:
        _refuse_conflict(records)
    settled = settle_usage(credit=credit, changes=changes, reservation_id=reservation_id, now=now)
    if late:
        _keep_late(late, now)
    return RecordedUsage(counted, duplicate, settled.charged_nano, settled.written_off_nano)


def _for_closed_months(records: Sequence[UsageRecord], now: datetime) -> list[UsageRecord]:
    # No month is invoiced before it is over, so what happens now asks nothing.
    before = [record for record in records if record.occurred_at < month_of(now).start]
    if not before:
        return []
    closed = closed_until(organization_id=before[0].organization_id)
    return [record for record in before if record.occurred_at < closed]


def _distinct(records: Sequence[UsageRecord]) -> list[UsageRecord]:
    by_id = {record.event_id: record for record in records}
    if any(by_id[record.event_id] != record for record in records):
        raise UsageConflict("One call has an event id twice with different content.")
    return list(by_id.values())


def _refuse_impossible(records: Sequence[UsageRecord], now: datetime) -> None:
    if len({record.organization_id for record in records}) > 1:
        raise UsageRefused("One call carries the usage of one organization.")
    for record in records:
        if record.occurred_at > now + FUTURE_TOLERANCE:
            raise UsageRefused(f"Event {record.event_id} lies in the future: check the clock of what reports it.")
        if record.quantity < 0 and record.corrects is None:
            raise UsageRefused(f"Event {record.event_id} is negative and does not say what it corrects.")


def unpriced_hours(records: Sequence[UsageRecord]) -> set[tuple[datetime, str]]:
    """Return the (UTC hour, SKU) of an organization's records that have no price, and raise the alarm about them."""
    if not records:
        return set()
    wanted = {(hour_of(record.occurred_at), record.sku) for record in records}
    missing = wanted - prices_of_hours(records[0].organization_id, wanted).keys()
    if missing:
        _report_unpriced(sorted(missing))
    return missing


def _prices_of(records: Sequence[UsageRecord]) -> dict[tuple[datetime, str], UnitPrice]:
    wanted = {(hour_of(record.occurred_at), record.sku) for record in records}
    prices = prices_of_hours(records[0].organization_id, wanted)
    if missing := sorted(wanted - prices.keys()):
        hour, sku = missing[0]
        _report_unpriced(missing)
        raise UnpricedUsage(f"No price for {sku} at {hour:%Y-%m-%dT%HZ}")
    return prices


def _report_unpriced(missing: Sequence[tuple[datetime, str]]) -> None:
    hour, sku = missing[0]
    log.error("billing.usage.unpriced", sku=sku, hour=hour.isoformat(), count=len(missing))


# One list per parameter of a statement, or one value.
type Values = dict[str, Any]


def _columns(records: Sequence[UsageRecord]) -> Values:
    return {field.name: [getattr(record, field.name) for record in records] for field in fields(UsageRecord)}


def _write(
    records: Sequence[UsageRecord], prices: Mapping[tuple[datetime, str], UnitPrice], now: datetime
) -> tuple[int, list[UsageChange]]:
    """Run the one statement; return how many events were new, and what changed of the buckets' amounts and for whom."""
    values: Values = {
        **_columns(records),
        "price_hour": [hour for hour, _ in prices],
        "price_sku": [sku for _, sku in prices],
        "price_id": [price.price_id for price in prices.values()],
        "price_nano": [price.price_nano for price in prices.values()],
        "unit_size": [price.unit_size for price in prices.values()],
        "list_price_id": [price.list_price.price_id if price.list_price else "" for price in prices.values()],
        "list_price_nano": [price.list_price.price_nano if price.list_price else None for price in prices.values()],
        "nobody": UsageByResource.NOBODY,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RECORD, values)
        rows = cursor.fetchall()
    counted = rows[0][0] if rows else 0
    changes = [
        UsageChange(project_id, None if key == UsageByResource.NOBODY else key, hour, amount_nano)
        for _counted, project_id, key, hour, amount_nano in rows
    ]
    return counted, changes


_NOT_COUNTED_YET = """
    SELECT input.event_id FROM unnest(%(event_id)s::uuid[], %(occurred_at)s::timestamptz[])
        AS input (event_id, occurred_at)
    WHERE NOT EXISTS (SELECT FROM billing_usageevent AS e
                      WHERE (e.occurred_at, e.event_id) = (input.occurred_at, input.event_id))
"""


def _not_counted_yet(records: Sequence[UsageRecord]) -> list[UsageRecord]:
    """Return those that are no events yet. Nobody else counts any of the organization's: its cap is locked."""
    if not records:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_NOT_COUNTED_YET, _columns(records))
        missing = {event_id for (event_id,) in cursor.fetchall()}
    return [record for record in records if record.event_id in missing]


def _keep_late(records: Sequence[UsageRecord], now: datetime) -> None:
    fates = [
        UsageFate(
            event_id=record.event_id,
            organization_id=record.organization_id,
            occurred_at=record.occurred_at,
            outcome=UsageFate.Outcome.LATE,
            recorded_at=now,
        )
        for record in sorted(records, key=lambda record: record.event_id)
    ]
    # What was reported from outside has its fate already (billing.services.usage_reports).
    UsageFate.objects.bulk_create(fates, ignore_conflicts=True)


def _refuse_conflict(records: Sequence[UsageRecord]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_DIFFERENT, _columns(records))
        row = cursor.fetchone()
    if row is not None:
        log.error("billing.usage.conflict", event_id=str(row[0]))
        raise UsageConflict(f"Event {row[0]} is known with other content.")
