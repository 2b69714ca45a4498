"""What tiers take off months, from what was used in them. Definitions: docs/algorithms/rating.md, invoicing.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db import connection
from django.db.models import Min, Sum

from billing.invoicing import TierShare
from billing.models import ContractPrice, SpendByDay, UsageByHour
from billing.rating import PeriodQuantity, ProjectQuantities, Share, TierAdjustment, tier_adjustments, tier_shares
from billing.selectors.prices import prices_of_hours
from catalog.models import Price
from catalog.selectors import UnitPrice
from portal.lib.periods import Period, month_of
from portal.lib.tiers import TierMode, stored

HOUR = timedelta(hours=1)


def tier_lines(organization_id: int, instant: datetime) -> list[TierAdjustment]:
    """Return what tiers take off the calendar month (UTC) that holds `instant`, by what was used of it until now.

    From the sums of days, so that it costs the same however many projects and hours there are.
    """
    month = month_of(instant)
    skus = _with_tiers(organization_id)
    if not skus:
        return []
    days = SpendByDay.objects.filter(organization_id=organization_id, sku__in=skus)
    groups = list(
        days.within(month)
        .values_list("sku", "price_id")
        .annotate(first=Min("day"), used=Sum("quantity"))
        .order_by("sku", "first")
    )
    hours = [(first + number * HOUR, sku) for sku, _, first, _ in groups for number in range(24)]
    began: dict[tuple[str, str], tuple[datetime, UnitPrice]] = {}
    for (hour, sku), price in sorted(prices_of_hours(organization_id, hours).items(), key=lambda found: found[0]):
        # Two versions may have the same first day: they count in the order in which they began.
        began.setdefault((sku, price.price_id), (hour, price))
    used = [(*began[sku, price_id], sku, int(used)) for sku, price_id, _, used in groups if (sku, price_id) in began]
    used.sort(key=lambda part: (part[2], part[0]))
    return tier_adjustments(PeriodQuantity(sku, price, quantity) for _, price, sku, quantity in used)


def quantities_of(organization_id: int, period: Period) -> list[PeriodQuantity]:
    """Return what was used of each SKU at each price version, in the order in which those were in force."""
    used = UsageByHour.objects.filter(organization_id=organization_id).within(period)
    groups = list(
        used.values_list("sku", "price_id")
        .annotate(first=Min("hour"), quantity=Sum("quantity"))
        .order_by("sku", "first")
    )
    prices = prices_of_hours(organization_id, [(first, sku) for sku, _, first, _ in groups])
    return [
        PeriodQuantity(sku, prices[first, sku], int(quantity))
        for sku, price_id, first, quantity in groups
        # A bucket keeps its price; only of the version that it found are there tiers.
        if (first, sku) in prices and prices[first, sku].price_id == price_id
    ]


@dataclass(frozen=True, slots=True)
class TieredUse:
    """What an organization used of a SKU at one price version in a month: what was billed before, and with what is not.

    before, after: quantities by project (public ids), of the buckets that are billed, and of all. first_before and
    first_after: the first hour of those, which is the order in which versions count; None for nothing.
    """

    month: datetime
    product: str
    price: UnitPrice
    first_after: datetime
    first_before: datetime | None = None
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)

    def frozen(self) -> dict[str, Any]:
        """Return it as an invoice keeps it."""
        price = self.price
        return {
            "month": self.month.isoformat(),
            "sku": price.sku,
            "price": price.price_id,
            "price_nano": price.price_nano,
            "unit_size": price.unit_size,
            "tier_mode": price.tiers.mode.value,
            "tiers": stored(price.tiers),
            "first_before": self.first_before and self.first_before.isoformat(),
            "first_after": self.first_after.isoformat(),
            "projects": [
                [project, self.before.get(project, 0), after] for project, after in sorted(self.after.items())
            ],
        }


# Of each month and SKU with something that is not billed: all of the month, since tiers run over it. A bucket that
# neither an invoice nor this one knows, since it was taken back before anybody billed it, is not there.
_USED = """
    WITH billed AS (
        SELECT step.hour, step.project_id, step.sku, sum(step.quantity_after - step.quantity_before)::bigint AS quantity
        FROM billing_invoicedbucket AS step JOIN billing_invoice AS i ON i.id = step.invoice_id
        WHERE step.organization_id = %(organization)s AND i.status <> 'void' AND step.sku = ANY(%(skus)s)
        GROUP BY 1, 2, 3
    ), bucket AS (
        SELECT date_trunc('month', b.hour, 'UTC') AS month, b.hour, b.project_id, b.sku, b.price_id, b.price_nano,
               b.unit_size, b.quantity, billed.quantity AS billed
        FROM billing_usagebyhour AS b
        LEFT JOIN billed ON (billed.hour, billed.project_id, billed.sku) = (b.hour, b.project_id, b.sku)
        WHERE b.organization_id = %(organization)s AND b.hour < %(end)s AND b.sku = ANY(%(skus)s)
          AND (b.quantity <> 0 OR billed.quantity IS NOT NULL)
    )
    SELECT b.month, s.product, b.sku, b.price_id, b.price_nano, b.unit_size, p.public_id,
           min(b.hour) FILTER (WHERE b.billed IS NOT NULL), min(b.hour), coalesce(sum(b.billed), 0)::bigint,
           sum(b.quantity)::bigint
    FROM bucket AS b
    JOIN accounts_project AS p ON p.id = b.project_id
    JOIN catalog_sku AS s ON s.code = b.sku
    WHERE EXISTS (SELECT FROM bucket AS open WHERE (open.month, open.sku) = (b.month, b.sku)
                                               AND open.quantity <> coalesce(open.billed, 0))
    GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1, 3, 4, 7
"""


def tiered_uses(organization_id: int, skus: Iterable[str], *, before: datetime) -> list[TieredUse]:
    """Return what tiers of these SKUs depend on, in every month before an instant with usage that is not billed.

    In four queries, and one where no price of the SKUs has tiers, which is nothing.
    """
    tiered = sorted(_with_tiers(organization_id) & set(skus))
    if not tiered:
        return []
    with connection.cursor() as cursor:
        cursor.execute(_USED, {"organization": organization_id, "end": before, "skus": tiered})
        rows = cursor.fetchall()
    versions = [list(mine) for _, mine in groupby(rows, key=lambda row: row[:6])]
    first_of = [min(row[8] for row in mine) for mine in versions]
    prices = prices_of_hours(
        organization_id, [(first, mine[0][2]) for first, mine in zip(first_of, versions, strict=True)]
    )
    uses = [_use(mine, prices.get((first, mine[0][2]))) for first, mine in zip(first_of, versions, strict=True)]
    # A month without a tier needs no account of it.
    with_tiers = {_month_and_sku(use) for use in uses if use.price.tiers.steps}
    return [use for use in uses if _month_and_sku(use) in with_tiers]


def _use(rows: Sequence[tuple[Any, ...]], found: UnitPrice | None) -> TieredUse:
    """Return the rows of one version, one for each project. found: the price of its first hour."""
    month, product, sku, price_id, price_nano, unit_size = rows[0][:6]
    # A bucket keeps its price; only of the version that it found are there tiers.
    is_its = found is not None and found.price_id == price_id
    return TieredUse(
        month,
        product,
        found if found and is_its else UnitPrice(sku, price_id, price_nano, unit_size),
        first_after=min(first for *_, first, _, _ in rows),
        first_before=min((first for *_, first, _, _, _ in rows if first is not None), default=None),
        before={project: billed for *_, project, _, _, billed, _ in rows},
        after={project: quantity for *_, project, _, _, _, quantity in rows},
    )


def tier_changes(uses: Sequence[TieredUse]) -> list[TierShare]:
    """Return what tiers change since the invoices before: the difference of two whole computations, by project."""
    changes = []
    for _, mine in groupby(sorted(uses, key=_month_and_sku), key=_month_and_sku):
        versions = sorted(mine, key=lambda use: use.first_after)
        billed = sorted((first, use.price.price_id, use) for use in versions if (first := use.first_before) is not None)
        former = tier_shares([ProjectQuantities(use.price.sku, use.price, use.before) for _, _, use in billed])
        now = tier_shares([ProjectQuantities(use.price.sku, use.price, use.after) for use in versions])
        changes += [_share(use, project, former, now) for use in versions for project in sorted(use.after)]
    return [change for change in changes if change.amount_nano]


def _with_tiers(organization_id: int) -> set[str]:
    """Return the SKUs that have, had or will have a price with tiers for an organization."""
    untiered = TierMode.FLAT.value
    listed = Price.objects.exclude(tier_mode=untiered).values_list("sku__code")
    agreed = ContractPrice.objects.filter(organization_id=organization_id).exclude(tier_mode=untiered)
    return {sku for (sku,) in listed.union(agreed.values_list("sku__code"))}


def _month_and_sku(use: TieredUse) -> tuple[datetime, str]:
    return use.month, use.price.sku


def _share(use: TieredUse, project: str, former: Mapping[Share, int], now: Mapping[Share, int]) -> TierShare:
    price = use.price
    key = price.sku, price.price_id, project
    amount_nano = now.get(key, 0) - former.get(key, 0)
    return TierShare(
        use.month, project, use.product, price.sku, price.price_id, price.price_nano, price.unit_size, amount_nano
    )
