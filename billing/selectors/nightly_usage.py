"""Single events summed again, and held against every sum that was kept of them. For the platform role."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any

from django.db import connection

from billing.models import UsageByHour
from billing.reconcile import ABSENT, NOTHING, Findings, Found, Thing
from portal.lib.money import decimal_string
from portal.lib.periods import Period, day_of

# Beside days of which something was counted: so many of those before, in which nothing should have moved.
RANDOM_DAYS = 2
# Events of these are all still there: they are kept 13 months.
LOOK_BACK = timedelta(days=365)


def days_to_sum(period: Period) -> list[datetime]:
    """Return the UTC days whose usage is summed again for a day: those that it changed, and two of the year before.

    Which two follows from the day, so that a second run looks at the same.
    """
    changed = UsageByHour.objects.filter(updated_at__gte=period.start, hour__gte=period.start - LOOK_BACK)
    days = {day_of(hour) for hour in changed.values_list("hour", flat=True).distinct().iterator()}
    return sorted(days | set(_random_days(period.start)))


def _random_days(day: datetime) -> Iterator[datetime]:
    for number in range(RANDOM_DAYS):
        digest = sha256(f"{day:%Y-%m-%d} {number}".encode()).digest()
        yield day - timedelta(days=1 + int.from_bytes(digest[:4]) % LOOK_BACK.days)


# What the events of a day come to at the prices that their buckets keep. Every sum below is held against it alone, so
# that one wrong number is found once. One statement has one snapshot, and events come with their sums.
_COUNTED = """
    WITH event AS (
        SELECT organization_id, date_trunc('hour', occurred_at, 'UTC') AS hour, project_id, sku,
               sum(quantity)::bigint AS quantity, count(*) AS event_count
        FROM billing_usageevent WHERE occurred_at >= %(start)s AND occurred_at < %(end)s GROUP BY 1, 2, 3, 4
    ), kept AS (
        SELECT * FROM billing_usagebyhour WHERE hour >= %(start)s AND hour < %(end)s
    ), counted AS (
        SELECT event.*, kept.price_id,
               billing_divide_half_even(event.quantity::numeric * kept.price_nano, kept.unit_size)::bigint
                   AS amount_nano
        FROM event LEFT JOIN kept USING (organization_id, hour, project_id, sku)
    )
"""

# Each gives: organization, what, ours (quantity, events, nano-dollars), theirs; only what differs, after a first row
# with how many there were.
_BUCKETS = """
    , compared AS (
        SELECT organization_id, to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24"Z"') || ' '
                   || coalesce(
                   (SELECT p.public_id FROM accounts_project AS p WHERE p.id = project_id), '#' || project_id
               ) || ' ' || sku AS what,
               ARRAY[kept.quantity, kept.event_count, kept.amount_nano] AS ours,
               ARRAY[counted.quantity, counted.event_count, counted.amount_nano] AS theirs,
               kept.hour IS NULL AS is_missing, counted.hour IS NULL AS is_extra
        FROM kept FULL JOIN counted USING (organization_id, hour, project_id, sku)
    )
"""
_DAYS = """
    , compared AS (
        SELECT organization_id, sku || ' at ' || price_id AS what,
               ARRAY[d.quantity, d.event_count, d.amount_nano] AS ours,
               ARRAY[c.quantity, c.event_count, c.amount_nano] AS theirs, d.sku IS NULL AS is_missing,
               c.sku IS NULL AS is_extra
        FROM (SELECT * FROM billing_spendbyday WHERE day = %(start)s) AS d
        FULL JOIN (
            SELECT organization_id, sku, price_id, sum(quantity)::bigint AS quantity,
                   sum(event_count)::bigint AS event_count, sum(amount_nano)::bigint AS amount_nano
            FROM counted WHERE price_id IS NOT NULL GROUP BY 1, 2, 3
        ) AS c USING (organization_id, sku, price_id)
    )
"""
_RESOURCES = """
    , compared AS (
        SELECT organization_id, coalesce(
                   (SELECT p.public_id FROM accounts_project AS p WHERE p.id = project_id), '#' || project_id
               ) || ' ' || sku AS what,
               ARRAY[r.quantity, NULL, NULL]::bigint[] AS ours, ARRAY[c.quantity, NULL, NULL]::bigint[] AS theirs,
               r.sku IS NULL AS is_missing, c.sku IS NULL AS is_extra
        FROM (
            SELECT organization_id, project_id, sku, sum(quantity)::bigint AS quantity
            FROM billing_usagebyresource WHERE day = %(start)s GROUP BY 1, 2, 3
        ) AS r
        FULL JOIN (
            SELECT organization_id, project_id, sku, sum(quantity)::bigint AS quantity FROM counted GROUP BY 1, 2, 3
        ) AS c USING (organization_id, project_id, sku)
    )
"""
_CAUSES = """
    , compared AS (
        SELECT organization_id, cause AS what, ARRAY[NULL, NULL, s.amount_nano]::bigint[] AS ours,
               ARRAY[NULL, NULL, c.amount_nano]::bigint[] AS theirs, s.cause IS NULL AS is_missing,
               c.cause IS NULL AS is_extra
        FROM (
            SELECT organization_id, cause, sum(amount_nano)::bigint AS amount_nano
            FROM billing_spendbycause WHERE span_days = 1 AND day = %(start)s GROUP BY 1, 2
        ) AS s
        FULL JOIN (
            SELECT organization_id, cause, sum(amount_nano)::bigint AS amount_nano
            FROM counted, unnest(ARRAY['project', 'key', 'resource', 'member']) AS cause
            WHERE price_id IS NOT NULL GROUP BY 1, 2
        ) AS c USING (organization_id, cause)
    )
"""
# A week is the sum of its days, cause by cause.
_WEEKS = """
    , compared AS (
        SELECT organization_id, cause || ' ' || cause_id AS what, ARRAY[NULL, NULL, w.amount_nano]::bigint[] AS ours,
               ARRAY[NULL, NULL, d.amount_nano]::bigint[] AS theirs, w.cause IS NULL AS is_missing,
               d.cause IS NULL AS is_extra
        FROM (
            SELECT * FROM billing_spendbycause
            WHERE span_days = 7 AND day = date_trunc('week', %(start)s::timestamptz, 'UTC')
        ) AS w
        FULL JOIN (
            SELECT organization_id, cause, cause_id, sum(amount_nano)::bigint AS amount_nano FROM billing_spendbycause
            WHERE span_days = 1 AND day >= date_trunc('week', %(start)s::timestamptz, 'UTC')
                AND day < date_trunc('week', %(start)s::timestamptz, 'UTC') + interval '7 days' GROUP BY 1, 2, 3
        ) AS d USING (organization_id, cause, cause_id)
    )
"""
_SHOW = """
    , differing AS (
        SELECT * FROM compared WHERE is_missing OR is_extra OR ours IS DISTINCT FROM theirs
    )
    SELECT NULL::text, NULL::text, NULL::bigint[], NULL::bigint[], (SELECT count(*) FROM compared)
    UNION ALL
    (SELECT coalesce(o.public_id, '#' || organization_id), what, CASE WHEN NOT is_missing THEN ours END,
            CASE WHEN NOT is_extra THEN theirs END, 0
     FROM differing LEFT JOIN accounts_organization AS o ON o.id = organization_id ORDER BY 1, 2)
"""
_SUMS: Mapping[str, str] = {
    "bucket": _BUCKETS,
    "day": _DAYS,
    "explained quantity": _RESOURCES,
    "explained amount": _CAUSES,
    "week": _WEEKS,
}

_TWICE = """
    SELECT o.public_id, e.event_id, count(*) FROM billing_usageevent AS e
    JOIN accounts_organization AS o ON o.id = e.organization_id
    WHERE e.occurred_at >= %(start)s AND e.occurred_at < %(end)s
    GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1, 2
"""


def compare_day_of_usage(day: datetime) -> Findings:
    """Sum the events of a UTC day again and compare: buckets, days, weeks and explanations, and each id once."""
    values = {"start": day, "end": day + timedelta(days=1)}
    findings = NOTHING
    with connection.cursor() as cursor:
        for kind, compared in _SUMS.items():
            cursor.execute(_COUNTED + compared + _SHOW, values)
            (_one, _two, _three, _four, count), *rows = sorted(cursor.fetchall(), key=lambda row: row[0] is not None)
            differences = tuple(_found(f"{kind} {day:%Y-%m-%d}: {row[1]}", row) for row in rows)
            findings += Findings(count, differences)
        cursor.execute(_TWICE, values)
        twice = tuple(
            Found(Thing(f"event {event_id} on {day:%Y-%m-%d}", organization), "one event", f"{count} instants")
            for organization, event_id, count in cursor.fetchall()
        )
    return findings + Findings(0, twice)


def _found(name: str, row: tuple[Any, ...]) -> Found:
    organization, _what, ours, theirs, _count = row
    amounts = [side[2] or 0 if side else 0 for side in (ours, theirs)]
    return Found(Thing(name, organization), _words(ours), _words(theirs), abs(amounts[0] - amounts[1]))


def _words(side: list[int | None] | None) -> str:
    """Return a quantity, a number of events and an amount in words, each where it is known."""
    if side is None:
        return ABSENT
    quantity, events, amount_nano = side
    words = [
        "" if quantity is None else f"{quantity} units",
        "" if events is None else f"{events} events",
        "" if amount_nano is None else f"{decimal_string(amount_nano)} USD",
    ]
    return ", ".join(word for word in words if word)


def day_period(day: date) -> Period:
    """Return the UTC day from midnight to midnight."""
    start = day_of(datetime.fromisoformat(f"{day:%Y-%m-%d}T00:00:00+00:00"))
    return Period(start, start + timedelta(days=1))
