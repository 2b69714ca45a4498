"""What an organization spends, as numbers: for other pages, for programs and for the spend page.

Everything here reads roll-ups only, so that it costs the same for a thousand events and a hundred million.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, models
from django.db.models import Max, Sum
from django.utils.translation import gettext_lazy

from accounts.models import Organization
from billing.models import SpendByDay
from catalog.models import Sku
from portal.lib.periods import Period, day_of, month_of

DAY = timedelta(days=1)


class Range(models.TextChoices):
    """The spans that the spend page offers; all end with the running UTC day."""

    WEEK = "7d", gettext_lazy("7 days")
    THIRTY_DAYS = "30d", gettext_lazy("30 days")
    MONTH = "month", gettext_lazy("This month")

    def period(self, now: datetime) -> Period:
        """Return the whole UTC days of the range, the running one included."""
        end = day_of(now) + DAY
        if self is Range.MONTH:
            return Period(month_of(now).start, end)
        return Period(end - (7 if self is Range.WEEK else 30) * DAY, end)


@dataclass(frozen=True, slots=True)
class NamedSku:
    """How a SKU is called; unit: what its meter counts."""

    name: str
    product: str
    unit: str


def name_skus(codes: Collection[str]) -> dict[str, NamedSku]:
    """Return the names of these SKUs; one that the price list does not know goes by its code."""
    rows = Sku.objects.filter(code__in=codes).values_list("code", "name", "product", "meter__unit")
    known = {code: NamedSku(name, product, unit) for code, name, product, unit in rows}
    return {code: known.get(code) or NamedSku(code, "", "") for code in codes}


@dataclass(frozen=True, slots=True)
class SpendLine:
    """What a SKU cost on one UTC day at one price: quantity in the meter's unit, amounts in nano-dollars."""

    day: datetime
    sku: str
    name: str
    product: str
    unit: str
    price_id: str
    price_nano: int
    unit_size: int
    quantity: int
    event_count: int
    amount_nano: int
    updated_at: datetime


def spend_lines(organization: Organization, period: Period) -> list[SpendLine]:
    """Return what the days that begin in `period` cost, by day, SKU and price."""
    days = SpendByDay.objects.owned_by(organization).within(period).order_by("day", "sku", "price_id")
    columns = ("day", "price_id", "price_nano", "unit_size", "quantity", "event_count", "amount_nano", "updated_at")
    rows = list(days.values("sku", *columns))
    named = name_skus({row["sku"] for row in rows})
    lines = []
    for row in rows:
        sku = named[row["sku"]]
        lines.append(SpendLine(name=sku.name, product=sku.product, unit=sku.unit, **row))
    return lines


@dataclass(frozen=True, slots=True)
class DayTotal:
    """What one UTC day cost in all, in nano-dollars; updated_at: when it last moved."""

    day: datetime
    amount_nano: int
    event_count: int
    updated_at: datetime


# In SQL: every page and partial of spend reads it, and Django takes longer to write it than PostgreSQL to answer it.
_DAY_TOTALS = """
    SELECT day, billing_sum_nano(amount_nano), sum(event_count)::bigint, max(updated_at)
    FROM billing_spendbyday
    WHERE organization_id = %(organization)s AND day >= %(start)s AND day < %(end)s
    GROUP BY day ORDER BY day
"""


def day_totals(organization: Organization, period: Period) -> list[DayTotal]:
    """Return what the days that begin in `period` cost; a day without usage is not among them."""
    with connection.cursor() as cursor:
        cursor.execute(_DAY_TOTALS, {"organization": organization.pk, "start": period.start, "end": period.end})
        return [DayTotal(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class SkuTotal:
    """What a SKU cost at one price in all days of a span; as in SpendLine."""

    sku: str
    named: NamedSku
    price_id: str
    price_nano: int
    unit_size: int
    quantity: int
    event_count: int
    amount_nano: int
    updated_at: datetime


def sku_totals(organization: Organization, period: Period) -> list[SkuTotal]:
    """Return what the days that begin in `period` cost, by SKU and price, the dearest first."""
    prices = SpendByDay.objects.owned_by(organization).within(period)
    sums = prices.values_list("sku", "price_id", "price_nano", "unit_size").annotate(
        Sum("quantity"), Sum("event_count"), amount=Sum("amount_nano"), updated=Max("updated_at")
    )
    rows = list(sums.order_by("-amount", "sku", "price_id"))
    named = name_skus({row[0] for row in rows})
    return [SkuTotal(sku, named[sku], *more) for sku, *more in rows]
