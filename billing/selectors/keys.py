"""What an API key, or a resource, has cost."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Sum

from accounts.models import ApiKey, Organization
from billing.models import SpendByCause
from portal.lib.periods import day_of, month_of


@dataclass(frozen=True, slots=True)
class KeySpend:
    """Nano-dollars that a key's calls have cost: since it was made, today and this month, in UTC."""

    total_nano: int
    today_nano: int
    month_nano: int


# A key's share of a day's amount of a SKU is its share of the quantity.
_SPEND = """
    WITH part AS (
        SELECT day, sku, sum(quantity) AS quantity FROM billing_usagebyresource
        WHERE organization_id = %(organization)s AND api_key_id = %(key)s GROUP BY day, sku
    ), whole AS (
        SELECT day, sku, sum(d.quantity) AS quantity, sum(d.amount_nano) AS amount_nano
        FROM billing_spendbyday AS d JOIN part USING (day, sku)
        WHERE d.organization_id = %(organization)s GROUP BY day, sku
    ), share AS (
        SELECT day, billing_divide_half_even(whole.amount_nano * part.quantity, whole.quantity) AS amount_nano
        FROM part JOIN whole USING (day, sku) WHERE whole.quantity > 0
    )
    SELECT coalesce(sum(amount_nano), 0)::bigint,
           coalesce(sum(amount_nano) FILTER (WHERE day >= %(today)s), 0)::bigint,
           coalesce(sum(amount_nano) FILTER (WHERE day >= %(month)s), 0)::bigint
    FROM share
"""


def spend_of_key(api_key: ApiKey, now: datetime) -> KeySpend:
    """Return the key's part of what its organization spent."""
    values: dict[str, int | datetime] = {
        "organization": api_key.organization_id,
        "key": api_key.pk,
        "today": day_of(now),
        "month": month_of(now).start,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SPEND, values)
        return KeySpend(*cursor.fetchone())


def spend_of_resource(organization: Organization, resource_id: str, *, since: datetime) -> int:
    """Return the nano-dollars that a resource has cost from the day of `since` on."""
    mine = SpendByCause.objects.owned_by(organization).filter(cause=SpendByCause.Cause.RESOURCE, cause_id=resource_id)
    found: int | None = mine.filter(span_days=1, day__gte=day_of(since)).aggregate(sum=Sum("amount_nano"))["sum"]
    return int(found or 0)
