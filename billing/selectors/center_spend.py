"""What one cost center spends: read from the hourly buckets of its projects in the days on which they were its.

Its numbers are those of the whole organization, of fewer projects and days: cost centers and what has none add up to
the spend of every day, SKU and project, to the nano-dollar.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.utils.translation import gettext as _

from accounts.models import Organization, Project
from billing.models import Invoice
from billing.selectors.breakdown import Group, Grouping, Named, by_product
from billing.selectors.cost_tags import Span, center_words, tag_history
from billing.selectors.spend import DayTotal, NamedSku, SkuTotal, SpendLine, name_skus
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import Period

# What a center's spend can be broken down by: the other sums are not kept by project.
GROUPINGS = (Grouping.PRODUCT, Grouping.PROJECT, Grouping.COST_CENTER)

_LINES = """
    SELECT b.project_id, date_trunc('day', b.hour, 'UTC'), b.sku, b.price_id, b.price_nano, b.unit_size,
           sum(b.quantity)::bigint, sum(b.event_count)::bigint, billing_sum_nano(b.amount_nano), max(b.updated_at)
    FROM unnest(%(projects)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS span (project_id, start, until)
    JOIN billing_usagebyhour AS b ON b.project_id = span.project_id AND b.hour >= span.start AND b.hour < span.until
    WHERE b.organization_id = %(organization)s
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 2, 3, 4, 1
"""


class _Row(NamedTuple):
    project_id: int
    day: datetime
    sku: str
    price_id: str
    price_nano: int
    unit_size: int
    quantity: int
    event_count: int
    amount_nano: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CenterSpend:
    """What a cost center spent in a period, by project, UTC day, SKU and price."""

    organization: Organization
    center: str
    rows: Sequence[_Row]

    def day_totals(self) -> list[DayTotal]:
        """Return what its days cost, as `spend.day_totals` does."""
        days: defaultdict[datetime, list[_Row]] = defaultdict(list)
        for row in self.rows:
            days[row.day].append(row)
        return [
            DayTotal(
                day,
                sum(row.amount_nano for row in rows),
                sum(row.event_count for row in rows),
                max(row.updated_at for row in rows),
            )
            for day, rows in days.items()
        ]

    def lines(self) -> list[SpendLine]:
        """Return what it spent by day, SKU and price, as `spend.spend_lines` does."""
        named = name_skus({row.sku for row in self.rows})
        prices: defaultdict[tuple[datetime, str, str], list[_Row]] = defaultdict(list)
        for row in self.rows:
            prices[row.day, row.sku, row.price_id].append(row)
        return [
            SpendLine(
                day=day,
                sku=sku,
                name=named[sku].name,
                product=named[sku].product,
                unit=named[sku].unit,
                price_id=price_id,
                price_nano=rows[0].price_nano,
                unit_size=rows[0].unit_size,
                quantity=sum(row.quantity for row in rows),
                event_count=sum(row.event_count for row in rows),
                amount_nano=sum(row.amount_nano for row in rows),
                updated_at=max(row.updated_at for row in rows),
            )
            for (day, sku, price_id), rows in prices.items()
        ]

    def sku_totals(self) -> list[SkuTotal]:
        """Return what it spent by SKU and price, the dearest first, as `spend.sku_totals` does."""
        prices: defaultdict[tuple[str, str], list[SpendLine]] = defaultdict(list)
        for line in self.lines():
            prices[line.sku, line.price_id].append(line)
        totals = [
            SkuTotal(
                sku=sku,
                named=NamedSku(lines[0].name, lines[0].product, lines[0].unit),
                price_id=price_id,
                price_nano=lines[0].price_nano,
                unit_size=lines[0].unit_size,
                quantity=sum(line.quantity for line in lines),
                event_count=sum(line.event_count for line in lines),
                amount_nano=sum(line.amount_nano for line in lines),
                updated_at=max(line.updated_at for line in lines),
            )
            for (sku, price_id), lines in prices.items()
        ]
        return sorted(totals, key=lambda total: (-total.amount_nano, total.sku, total.price_id))

    def groups(self, grouping: Grouping) -> list[Group]:
        """Return what each product or project cost, the dearest first; the center alone is one group.

        Raises ValueError for any other grouping.
        """
        if grouping is Grouping.PROJECT:
            return self._by_project()
        if grouping is Grouping.PRODUCT:
            named = name_skus({row.sku for row in self.rows})
            return by_product((row.day, named[row.sku].product, row.sku, row.amount_nano) for row in self.rows)
        if grouping is Grouping.COST_CENTER:
            by_day = {total.day: total.amount_nano for total in self.day_totals()}
            name = Named(self.center, center_words(self.center))
            return [Group(name, sum(by_day.values()), by_day)] if by_day else []
        raise ValueError(f"a cost center is not broken down by {grouping}")

    def _by_project(self) -> list[Group]:
        by_day: dict[int, dict[datetime, int]] = {}
        for row in self.rows:
            of_project = by_day.setdefault(row.project_id, {})
            of_project[row.day] = of_project.get(row.day, 0) + row.amount_nano
        projects = Project.objects.owned_by(self.organization).filter(pk__in=by_day)
        named = {pk: Named(public_id, name) for pk, public_id, name in projects.values_list("pk", "public_id", "name")}
        groups = [Group(named[pk], sum(days.values()), days) for pk, days in by_day.items()]
        return sorted(groups, key=lambda group: (-group.amount_nano, group.named.public_id))


def center_spans(organization: Organization, center: str, period: Period) -> list[Span]:
    """Return when which projects had a cost center within a period; "" for those that had none."""
    history = tag_history(organization.pk)
    project_ids: Sequence[int] = list(history.versions)
    if not center:
        project_ids = list(Project.objects.owned_by(organization).values_list("pk", flat=True))
    return list(history.spans(project_ids, center, period))


def center_spend(organization: Organization, center: str, period: Period) -> CenterSpend:
    """Return what a cost center spent in the UTC days of a period."""
    spans = center_spans(organization, center, period)
    values: dict[str, Any] = {
        "organization": organization.pk,
        "projects": [span.project_id for span in spans],
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
    }
    with connection.cursor() as cursor:
        cursor.execute(_LINES, values)
        return CenterSpend(organization, center, [_Row(*row) for row in cursor.fetchall()])


# What an invoice billed of each project and UTC day, at first prices.
_BILLED = """
    SELECT step.project_id, date_trunc('day', step.hour, 'UTC'), sum(
        billing_divide_half_even(step.quantity_after::numeric * b.price_nano, b.unit_size)
        - billing_divide_half_even(step.quantity_before::numeric * b.price_nano, b.unit_size))::bigint
    FROM billing_invoicedbucket AS step
    JOIN billing_usagebyhour AS b USING (organization_id, hour, project_id, sku)
    WHERE step.organization_id = %(organization)s AND step.invoice_id = %(invoice)s
    GROUP BY 1, 2
"""


def centers_of_invoice(invoice: Invoice) -> dict[str, int]:
    """Return what an invoice charges for the usage of each cost center, in nano-dollars; nothing without any tags.

    What it charges beside usage (tiers, true-ups) is of no day and so of no cost center.
    """
    history = tag_history(invoice.organization_id)
    if not history.versions:
        return {}
    centers: defaultdict[str, int] = defaultdict(int)
    with connection.cursor() as cursor:
        cursor.execute(_BILLED, {"organization": invoice.organization_id, "invoice": invoice.pk})
        for project_id, day, nano in cursor.fetchall():
            centers[history.center(project_id, day)] += nano
    return dict(centers)


def center_sums(invoice: Invoice) -> list[tuple[str, str]]:
    """Return (cost center, exact amount) of an invoice in words, the dearest first; they sum to that of its lines."""
    centers = centers_of_invoice(invoice)
    sums = [(center_words(name), nano) for name, nano in sorted(centers.items(), key=lambda one: (-one[1], one[0]))]
    rest_nano = invoice.total_cents * NANO_PER_CENT - sum(centers.values())
    if centers and rest_nano:
        sums.append((_("Of no day: tiers, commitments, rounding"), rest_nano))
    return [(words, f"{'-' if nano < 0 else ''}${decimal_string(abs(nano))}") for words, nano in sums]
