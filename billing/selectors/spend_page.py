"""Everything that the spend page prints, as ready strings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Organization
from billing.selectors.budget import Budget, budget_of
from billing.selectors.spend import DAY, AmountsByDay, Grouping, Range, SpendLine, amounts_by_day, spend_lines
from portal.lib.charts import StackedBars, stacked_bars
from portal.lib.money import decimal_string, display_left, display_usd
from portal.lib.periods import Period

# A chart with more colors than this cannot be read; what is left is drawn as one.
MOST_SERIES = 5
MOST_GROUPS = 50


@dataclass(frozen=True, slots=True)
class SkuRow:
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
class SpendView:
    """Everything that the spend page prints of one range and grouping."""

    budget: BudgetMeter
    chart: StackedBars
    skus: list[SkuRow]
    groups: list[GroupRow]
    total: str
    exact_total: str
    event_count: str
    days: str
    updated_at: datetime | None


def spend_view(organization: Organization, chosen: Range, grouping: Grouping, now: datetime) -> SpendView:
    """Return the spend page's content; the total is the sum of the rated buckets to the nano-dollar."""
    period = chosen.period(now)
    lines = spend_lines(organization, period)
    by_day = amounts_by_day(organization, period, grouping, lines)
    totals = _totals(by_day)
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    total_nano = sum(line.amount_nano for line in lines)
    return SpendView(
        budget=budget_meter(budget_of(organization)),
        chart=stacked_bars(_("Spend by day in UTC"), _bars(by_day, ranked, period)),
        skus=_sku_rows(lines),
        groups=[_group_row(name, totals[name], total_nano) for name in ranked[:MOST_GROUPS]],
        total=display_usd(total_nano),
        exact_total=f"${decimal_string(total_nano)}",
        event_count=f"{sum(line.event_count for line in lines):,}",
        days=_("%(first)s to %(last)s") % {"first": _day_words(period.start), "last": _day_words(period.end - DAY)},
        updated_at=max((line.updated_at for line in lines), default=None),
    )


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


def _totals(by_day: AmountsByDay) -> Mapping[str, int]:
    totals: defaultdict[str, int] = defaultdict(int)
    for amounts in by_day.values():
        for name, amount_nano in amounts.items():
            totals[name] += amount_nano
    return totals


def _bars(by_day: AmountsByDay, ranked: Sequence[str], period: Period) -> list[tuple[str, dict[str, int]]]:
    drawn = set(ranked if len(ranked) <= MOST_SERIES + 1 else ranked[:MOST_SERIES])
    bars = []
    day = period.start
    while day < period.end:
        series: dict[str, int] = {}
        for name, amount_nano in by_day.get(day, {}).items():
            label = name if name in drawn else _("Everything else")
            series[label] = series.get(label, 0) + amount_nano
        bars.append((_day_words(day), series))
        day += DAY
    return bars


def _sku_rows(lines: Iterable[SpendLine]) -> list[SkuRow]:
    """Add the days up by SKU and price, the dearest first."""
    of_price: defaultdict[tuple[str, str], list[SpendLine]] = defaultdict(list)
    for line in lines:
        of_price[line.sku, line.price_id].append(line)
    amounts = {key: sum(line.amount_nano for line in days) for key, days in of_price.items()}
    return [
        _sku_row(of_price[key], amount_nano)
        for key, amount_nano in sorted(amounts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _sku_row(days: Sequence[SpendLine], amount_nano: int) -> SkuRow:
    line = days[0]
    return SkuRow(
        sku=line.sku,
        name=line.name,
        quantity=quantity_words(sum(day.quantity for day in days), line.unit),
        unit_price=f"${decimal_string(line.price_nano)} {_per_words(line.unit_size, line.unit)}",
        price_id=line.price_id,
        amount=display_usd(amount_nano),
        exact_amount=f"${decimal_string(amount_nano)}",
    )


def _group_row(name: str, amount_nano: int, total_nano: int) -> GroupRow:
    share = f"{amount_nano * 100 // total_nano} %" if total_nano > 0 else ""
    return GroupRow(name, display_usd(amount_nano), f"${decimal_string(amount_nano)}", share)


def quantity_words(quantity: int, unit: str) -> str:
    """Return a quantity with its unit, such as 1,234 tokens."""
    if unit == "token":
        return ngettext("%(count)s token", "%(count)s tokens", quantity) % {"count": f"{quantity:,}"}
    if unit == "second":
        return ngettext("%(count)s second", "%(count)s seconds", quantity) % {"count": f"{quantity:,}"}
    return f"{quantity:,} {unit}".rstrip()


def _per_words(unit_size: int, unit: str) -> str:
    if (unit_size, unit) == (1_000_000, "token"):
        return _("per million tokens")
    if (unit_size, unit) == (3_600, "second"):
        return _("per hour")
    return _("per %(quantity)s") % {"quantity": quantity_words(unit_size, unit)}


def _day_words(day: datetime) -> str:
    return f"{day:%b} {day.day}"
