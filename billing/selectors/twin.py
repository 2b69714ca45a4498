"""A contract's twin: what an organization's last 90 days would have cost under it, line by line."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.db import connection

from billing.models import Contract
from billing.rating import PeriodQuantity, tier_adjustments
from billing.selectors.prices import Terms, terms_of
from billing.selectors.spend import name_skus
from billing.selectors.tiers import quantities_of
from catalog.models import Price
from catalog.selectors import UnitPrice, list_versions
from portal.lib.money import decimal_string
from portal.lib.periods import Period, hour_of, month_of

LOOKS_BACK = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class TwinLine:
    """What was used of a SKU in a calendar month of the 90 days, and what it cost: nano-dollars, with tiers."""

    month: datetime
    sku: str
    name: str
    quantity: int
    billed_nano: int
    listed_nano: int
    contract_nano: int

    @property
    def billed(self) -> str:
        return decimal_string(self.billed_nano)

    @property
    def listed(self) -> str:
        return decimal_string(self.listed_nano)

    @property
    def contract(self) -> str:
        return decimal_string(self.contract_nano)

    @property
    def difference(self) -> str:
        return decimal_string(self.contract_nano - self.billed_nano)


@dataclass(frozen=True)
class Twin:
    period: Period
    lines: Sequence[TwinLine]

    @cached_property
    def total(self) -> TwinLine:
        sums = [
            sum(getattr(line, name) for line in self.lines) for name in ("billed_nano", "listed_nano", "contract_nano")
        ]
        return TwinLine(self.period.start, "", "", 0, *sums)


# Every bucket of the period, once at what it cost, once at its list price.
_USED = """
    SELECT date_trunc('month', hour, 'UTC') AS month, sku,
           CASE list_price_id WHEN '' THEN price_id ELSE list_price_id END AS list_id,
           coalesce(list_price_nano, price_nano) AS list_nano, unit_size, min(hour) AS first,
           sum(quantity)::bigint, sum(amount_nano)::bigint,
           sum(billing_divide_half_even(quantity::numeric * coalesce(list_price_nano, price_nano), unit_size))::bigint
    FROM billing_usagebyhour
    WHERE organization_id = %(organization)s AND hour >= %(start)s AND hour < %(end)s
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, first
"""
# The same buckets, each rounded at the price that the contract would have had for it.
_REPLAYED = """
    SELECT p.number, sum(billing_divide_half_even(b.quantity::numeric * p.price_nano, p.unit_size))::bigint
    FROM unnest(%(number)s::int[], %(month)s::timestamptz[], %(sku)s::text[], %(list_id)s::text[],
                %(price_nano)s::bigint[], %(unit_size)s::bigint[])
            AS p (number, month, sku, list_id, price_nano, unit_size)
    JOIN billing_usagebyhour AS b
      ON b.sku = p.sku AND date_trunc('month', b.hour, 'UTC') = p.month
         AND CASE b.list_price_id WHEN '' THEN b.price_id ELSE b.list_price_id END = p.list_id
    WHERE b.organization_id = %(organization)s AND b.hour >= %(start)s AND b.hour < %(end)s
    GROUP BY p.number
"""


@dataclass(frozen=True, slots=True)
class _Used:
    """What was used of a SKU in a month while one list price was in force."""

    month: datetime
    quantity: int
    billed_nano: int
    listed_nano: int
    listed: UnitPrice
    agreed: UnitPrice


def contract_twin(contract: Contract, now: datetime) -> Twin:
    """Replay a contract, whatever its status, over the 90 days before the hour of `now`. For the platform role.

    Its terms hold for all of them, and list prices are those that were in force then. A month that is not whole is
    tiered by the part that is in the period.
    """
    end = hour_of(now)
    period = Period(end - LOOKS_BACK, end)
    used = _used(contract, terms_of(contract), period)
    replayed = _replayed(contract, used, period)
    lines: dict[tuple[datetime, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for number, part in enumerate(used):
        amounts = (part.quantity, part.billed_nano, part.listed_nano, replayed[number])
        sums = lines[part.month, part.listed.sku]
        lines[part.month, part.listed.sku] = [a + b for a, b in zip(sums, amounts, strict=True)]
    for column, (month, sku), amount_nano in _tiered(contract, used, period):
        lines[month, sku][column] += amount_nano
    names = name_skus({sku for _, sku in lines})
    return Twin(
        period, [TwinLine(month, sku, names[sku].name, *amounts) for (month, sku), amounts in sorted(lines.items())]
    )


def _used(contract: Contract, terms: Terms, period: Period) -> list[_Used]:
    with connection.cursor() as cursor:
        cursor.execute(_USED, {"organization": contract.organization_id, "start": period.start, "end": period.end})
        rows = cursor.fetchall()
    versions = {
        price.price_id: price
        for _, _, _, price in list_versions(Price.objects.filter(public_id__in={row[2] for row in rows}))
    }
    found = []
    for month, sku, list_id, list_nano, unit_size, _, quantity, billed_nano, listed_nano in rows:
        # What had a contract's price and no list price is shown as if that had been the list's.
        listed = versions.get(list_id) or UnitPrice(sku, list_id, list_nano, unit_size)
        agreed = terms.price_of(sku, listed) or listed
        found.append(_Used(month, quantity, billed_nano, listed_nano, listed, agreed))
    return found


def _replayed(contract: Contract, used: Sequence[_Used], period: Period) -> dict[int, int]:
    values: dict[str, Any] = {
        "number": list(range(len(used))),
        "month": [part.month for part in used],
        "sku": [part.listed.sku for part in used],
        "list_id": [part.listed.price_id for part in used],
        "price_nano": [part.agreed.price_nano for part in used],
        "unit_size": [part.agreed.unit_size for part in used],
        "organization": contract.organization_id,
        "start": period.start,
        "end": period.end,
    }
    with connection.cursor() as cursor:
        cursor.execute(_REPLAYED, values)
        return dict(cursor.fetchall())


def _tiered(contract: Contract, used: Sequence[_Used], period: Period) -> list[tuple[int, tuple[datetime, str], int]]:
    """Return what tiers take off: (column of a line, line, nano-dollars), as billed, by the list, by the contract."""
    found = []
    for month in sorted({part.month for part in used}):
        whole = month_of(month)
        part_of_month = Period(max(whole.start, period.start), min(whole.end, period.end))
        mine = [part for part in used if part.month == month]
        ways = (
            (1, quantities_of(contract.organization_id, part_of_month)),
            (2, [PeriodQuantity(part.listed.sku, part.listed, part.quantity) for part in mine]),
            (3, [PeriodQuantity(part.listed.sku, part.agreed, part.quantity) for part in mine]),
        )
        for column, quantities in ways:
            found += [(column, (month, line.sku), line.amount_nano) for line in tier_adjustments(quantities)]
    return found
