"""Make the daily partitions of usage events ahead of time. Only the platform role may."""

from datetime import date, datetime, timedelta

import structlog
from django.db import connection, transaction

log = structlog.get_logger(__name__)

DAYS_AHEAD = 8
# Made every hour and so far ahead, so that a day missing within these is one that nobody made for days.
DAYS_AT_LEAST = 5


@transaction.atomic
def make_partitions(*, first: date, day_count: int) -> int:
    """Make the missing partitions of `day_count` UTC days from `first` on; return how many were missing."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FILTER (WHERE billing_make_usage_partition(%s::date + day))"
            " FROM generate_series(0, %s - 1) AS day",
            [first, day_count],
        )
        return int(cursor.fetchone()[0])


def prepare_partitions(*, now: datetime) -> int:
    """Keep yesterday's and the next eight days' partitions ready; return how many were missing.

    Events of a day without one were counted and billed, and lie in the default partition. That is reported, and they
    move home: their days get partitions too.
    """
    made = make_partitions(first=now.date() - timedelta(days=1), day_count=DAYS_AHEAD + 2)
    strays = _strays()
    if strays:
        log.error("billing.partitions.stray_events", count=sum(strays.values()), first_day=min(strays).isoformat())
    return made + sum(make_partitions(first=day, day_count=1) for day in sorted(strays))


def watch_partitions(*, now: datetime) -> list[date]:
    """Return which of today and the next days have no partition yet, and alarm where one has none.

    For another job than the one that makes them: it stopped, and usage will soon lie in the default partition.
    """
    days = [now.date() + timedelta(days=ahead) for ahead in range(DAYS_AT_LEAST)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT day::date FROM unnest(%s::date[]) AS day"
            " WHERE to_regclass('billing_usageevent_' || to_char(day, 'YYYYMMDD')) IS NULL ORDER BY day",
            [days],
        )
        missing = [row[0] for row in cursor.fetchall()]
    if missing:
        log.error("billing.partitions.running_out", count=len(missing), first_day=missing[0].isoformat())
    return missing


def _strays() -> dict[date, int]:
    """Return how many events lie in the default partition, by their UTC day."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (occurred_at AT TIME ZONE 'UTC')::date, count(*) FROM billing_usageevent_default GROUP BY 1"
        )
        return dict(cursor.fetchall())
