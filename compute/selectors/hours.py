"""Hours in which instances were healthy, held against the usage that was counted of them. For the platform role."""

from datetime import timedelta
from typing import Any

from django.db import connection

from billing.reconcile import ABSENT, Findings, Found, Thing
from portal.lib.periods import Period

# What was metered of an interval lies in the usage events of its instance, split at hours, so that a day holds whole
# events. Events with the id of no instance are the other side's alone.
_HOURS = """
    WITH healthy AS (
        SELECT i.organization_id, i.public_id AS name,
               sum(extract(epoch FROM least(h.metered_to, %(end)s) - greatest(h.started_at, %(start)s)))::bigint
                   AS seconds
        FROM compute_healthinterval AS h JOIN compute_instance AS i ON i.id = h.instance_id
        WHERE h.started_at < %(end)s AND h.metered_to > %(start)s GROUP BY 1, 2
    ), counted AS (
        SELECT organization_id, resource_id AS name, sum(quantity)::bigint AS seconds FROM billing_usageevent
        WHERE occurred_at >= %(start)s AND occurred_at < %(end)s AND starts_with(resource_id, 'inst_') GROUP BY 1, 2
    ), compared AS (
        SELECT organization_id, name, counted.seconds AS ours, healthy.seconds AS theirs
        FROM healthy FULL JOIN counted USING (organization_id, name)
    )
    SELECT o.public_id, compared.name, ours, theirs, (SELECT count(*) FROM compared)
    FROM (VALUES (0)) AS always LEFT JOIN compared ON ours IS DISTINCT FROM theirs
    LEFT JOIN accounts_organization AS o ON o.id = organization_id ORDER BY 1, 2
"""


def compare_hours(period: Period) -> Findings:
    """Compare the seconds of each instance that were counted as usage of a UTC day with those that were healthy."""
    with connection.cursor() as cursor:
        cursor.execute(_HOURS, {"start": period.start, "end": period.end})
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    day = f"{period.start:%Y-%m-%d}"
    differing = tuple(
        Found(Thing(f"{name} on {day}", organization), _words(ours), _words(theirs))
        for organization, name, ours, theirs, _count in rows
        if name is not None
    )
    return Findings(rows[0][-1], differing)


def _words(seconds: int | None) -> str:
    return ABSENT if seconds is None else f"{seconds} seconds ({timedelta(seconds=seconds)})"
