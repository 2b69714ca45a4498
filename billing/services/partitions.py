"""Make the daily partitions of usage events ahead of time. Only the platform role may."""

from datetime import date, datetime, timedelta

import structlog
from django.db import connection, transaction

log = structlog.get_logger(__name__)

DAYS_AHEAD = 8


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
    """Keep yesterday's and the next eight days' partitions ready, and report events that found none.

    Such events were counted and billed; they lie in the default partition, which is never aged out.
    """
    made = make_partitions(first=now.date() - timedelta(days=1), day_count=DAYS_AHEAD + 2)
    stray_count = _stray_event_count()
    if stray_count:
        log.error("billing.partitions.stray_events", count=stray_count)
    return made


def _stray_event_count() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM billing_usageevent_default")
        return int(cursor.fetchone()[0])
