"""Everything that the spend page prints, as ready strings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounts.models import Organization
from billing.invoicing.forecast import at_this_rate
from billing.selectors.breakdown import Breakdown, Group, Grouping, break_down
from billing.selectors.budget import Budget
from billing.selectors.center_spend import CenterSpend
from billing.selectors.spend import DAY, DayTotal, Range, SkuTotal, day_totals, sku_totals
from billing.selectors.tiers import tier_lines
from billing.selectors.words import per_words, quantity_words
from portal.lib.charts import StackedBars, stacked_bars
from portal.lib.money import decimal_string, display_left, display_usd
from portal.lib.periods import Period, month_of
from portal.lib.rows import Cell, table_rows

# A chart with more colors than this cannot be read; what is left is drawn as one.
MOST_SERIES = 5
MOST_GROUPS = 50


@dataclass(frozen=True, slots=True)
class SkuLine:
    """What a SKU cost at one price in the whole range."""

    sku: str
    name: str
    quantity: str
    unit_price: str
    price_id: str
    amount: str
    exact_amount: str


@dataclass(frozen=True, slots=True)
class GroupRow:
    name: str
    amount: str
    exact_amount: str
    share: str  # of the total, in whole percent


@dataclass(frozen=True, slots=True)
class BudgetMeter:
    """The budget in words and, for the bar, in thousandths of it."""

    used_thousandths: int
    text: str
    settled: str
    reserved: str
    remaining: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the running UTC month comes to at the pace so far, and what it has cost. Before tiers, credit and tax."""

    month: str
    amount: str
    so_far: str


@dataclass(frozen=True, slots=True)
class SpendView:
    """What the spend page prints of one range and grouping, above the lines of the SKUs.

    forecast: None while it is too early to say, and of one cost center.
    """

    budget: BudgetMeter
    chart: StackedBars
    groups: list[GroupRow]
    total: str
    exact_total: str
    event_count: str
    days: str
    updated_at: datetime | None
    forecast: Forecast | None

    @property
    def group_rows(self) -> SafeString:
        return table_rows(
            (_("Share"), _("Amount")),
            ((Cell(row.name), Cell(row.share), Cell(row.amount, exact=row.exact_amount)) for row in self.groups),
        )


@dataclass(frozen=True, slots=True)
class SkuLines:
    """What each SKU cost in a range, the dearest first, and their sum.

    tiers: what tiers take off the running month so far, exactly; empty for nothing.
    """

    lines: list[SkuLine]
    total: str
    exact_total: str
    tiers: str

    @property
    def rows(self) -> SafeString:
        return table_rows(
            (_("Quantity"), _("Unit price"), _("Amount")),
            (
                (
                    Cell(line.name, note=line.sku),
                    Cell(line.quantity),
                    Cell(line.unit_price, note=line.price_id),
                    Cell(line.amount, exact=line.exact_amount),
                )
                for line in self.lines
            ),
        )


def spend_view(
    organization: Organization,
    budget: Budget,
    chosen: Range,
    grouping: Grouping,
    now: datetime,
    *,
    center: CenterSpend | None = None,
) -> SpendView:
    """Return the spend page's content; the total is the sum of the rated buckets to the nano-dollar.

    center: what one cost center spent in that range, and only that.
    """
    period = chosen.period(now)
    month, forecast = month_of(now), None
    if center is None:
        # Every range ends with the running day: one that begins within the month is read from where that begins.
        known = day_totals(organization, Period(min(period.start, month.start), period.end))
        forecast = _forecast(sum(total.amount_nano for total in known if month.contains(total.day)), now)
        totals = [total for total in known if period.contains(total.day)]
        breakdown = break_down(organization, period, grouping, most=MOST_GROUPS, most_by_day=MOST_SERIES + 1)
    else:
        totals = center.day_totals()
        groups = center.groups(grouping)
        breakdown = Breakdown(groups[:MOST_GROUPS], len(groups) > MOST_GROUPS)
    total_nano = sum(total.amount_nano for total in totals)
    return SpendView(
        budget=budget_meter(budget),
        chart=stacked_bars(_("Spend by day in UTC"), _bars(breakdown, totals, period)),
        groups=_group_rows(breakdown, total_nano),
        total=display_usd(total_nano),
        exact_total=f"${decimal_string(total_nano)}",
        event_count=f"{sum(total.event_count for total in totals):,}",
        days=_("%(first)s to %(last)s") % {"first": _day_words(period.start), "last": _day_words(period.end - DAY)},
        updated_at=max((total.updated_at for total in totals), default=None),
        forecast=forecast,
    )


def sku_lines(
    organization: Organization, chosen: Range, now: datetime, *, center: CenterSpend | None = None
) -> SkuLines:
    """Return the spend page's lines of SKUs, each with the version of the price that rated it.

    center: what one cost center spent in that range, and only that; what tiers take off is of none.
    """
    skus = sku_totals(organization, chosen.period(now)) if center is None else center.sku_totals()
    total_nano = sum(sku.amount_nano for sku in skus)
    taken_off_nano = 0
    if center is None:
        taken_off_nano = -sum(line.amount_nano for line in tier_lines(organization.pk, now))
    return SkuLines(
        lines=[_sku_line(sku) for sku in skus],
        total=display_usd(total_nano),
        exact_total=f"${decimal_string(total_nano)}",
        tiers=f"${decimal_string(taken_off_nano)}" if taken_off_nano else "",
    )


def _forecast(spent_nano: int, now: datetime) -> Forecast | None:
    month = month_of(now)
    forecast_nano = at_this_rate(spent_nano, month, now)
    if forecast_nano is None:
        return None
    return Forecast(f"{month.start:%B}", display_usd(forecast_nano), display_usd(spent_nano))


def budget_meter(budget: Budget) -> BudgetMeter:
    """Return a budget as pages print it; a budget of nothing is used up."""
    used_nano = budget.settled_nano + budget.reserved_nano
    return BudgetMeter(
        used_thousandths=used_nano * 1000 // budget.limit_nano if budget.limit_nano else 1000,
        text=_("%(used)s of %(limit)s") % {"used": display_usd(used_nano), "limit": display_usd(budget.limit_nano)},
        settled=display_usd(budget.settled_nano),
        reserved=display_usd(budget.reserved_nano),
        remaining=display_left(budget.remaining_nano),
    )


def _bars(breakdown: Breakdown, totals: Sequence[DayTotal], period: Period) -> list[tuple[str, dict[str, int]]]:
    """Return each day with the amounts of its series; what the drawn groups leave of a day is one series more."""
    groups = breakdown.groups
    drawn = groups if len(groups) <= MOST_SERIES + 1 and not breakdown.has_more else groups[:MOST_SERIES]
    labels = _labels(drawn)
    by_day = {total.day: total.amount_nano for total in totals}
    bars = []
    for day in period.days():
        series = {label: group.by_day[day] for label, group in zip(labels, drawn, strict=True) if day in group.by_day}
        if rest := by_day.get(day, 0) - sum(series.values()):
            series[_("Everything else")] = rest
        bars.append((_day_words(day), series))
    return bars


def _labels(groups: Sequence[Group]) -> list[str]:
    """Return a name for each group that no other has: two keys may be called the same."""
    names = [group.named.name for group in groups]
    return [
        name if names.count(name) == 1 else f"{name} ({group.named.public_id})"
        for name, group in zip(names, groups, strict=True)
    ]


def _group_rows(breakdown: Breakdown, total_nano: int) -> list[GroupRow]:
    groups = breakdown.groups
    rows = [
        _group_row(name, group.amount_nano, total_nano) for name, group in zip(_labels(groups), groups, strict=True)
    ]
    if breakdown.has_more:
        rest_nano = total_nano - sum(group.amount_nano for group in groups)
        rows.append(_group_row(_("Everything else"), rest_nano, total_nano))
    return rows


def _sku_line(total: SkuTotal) -> SkuLine:
    return SkuLine(
        sku=total.sku,
        name=total.named.name,
        quantity=quantity_words(total.quantity, total.named.unit),
        unit_price=f"${decimal_string(total.price_nano)} {per_words(total.unit_size, total.named.unit)}",
        price_id=total.price_id,
        amount=display_usd(total.amount_nano),
        exact_amount=f"${decimal_string(total.amount_nano)}",
    )


def _group_row(name: str, amount_nano: int, total_nano: int) -> GroupRow:
    share = f"{amount_nano * 100 // total_nano} %" if total_nano > 0 else ""
    return GroupRow(name, display_usd(amount_nano), f"${decimal_string(amount_nano)}", share)


def _day_words(day: datetime) -> str:
    return f"{day:%b} {day.day}"
