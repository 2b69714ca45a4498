"""What an organization spends, as numbers: for other pages, for programs and for the spend page.

Everything here reads roll-ups only, so that it costs the same for a thousand events and a hundred million.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Sum
from django.db.models.functions import TruncDay
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import ApiKey, Organization, User
from billing.models import SpendByDay, UsageByHour, UsageByResource
from billing.rating import explain
from catalog.models import Product, Sku
from portal.lib.periods import Period, day_of, hour_of, month_of

DAY = timedelta(days=1)
# Nano-dollars by name of the group, by the UTC day's start.
type AmountsByDay = dict[datetime, dict[str, int]]


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


class Grouping(models.TextChoices):
    """By what spend is broken down."""

    PRODUCT = "product", gettext_lazy("Product")
    PROJECT = "project", gettext_lazy("Project")
    KEY = "key", gettext_lazy("API key")
    RESOURCE = "resource", gettext_lazy("Model or instance")
    MEMBER = "member", gettext_lazy("Member")


def spend_between(organization: Organization, period: Period) -> int:
    """Return the amount of the days that begin in `period`, in nano-dollars."""
    days = SpendByDay.objects.owned_by(organization).within(period)
    return days.aggregate(amount=Sum("amount_nano"))["amount"] or 0


def spend_today(organization: Organization, now: datetime) -> int:
    """Return what the running UTC day has cost, in nano-dollars."""
    return spend_between(organization, Period(day_of(now), day_of(now) + DAY))


def spend_this_month(organization: Organization, now: datetime) -> int:
    """Return what the running UTC month has cost, in nano-dollars."""
    return spend_between(organization, month_of(now))


def burn_per_hour(organization: Organization, now: datetime) -> int:
    """Return the dearer of the last full UTC hour and the running one so far, in nano-dollars."""
    hour = hour_of(now)
    two_hours = Period(hour - timedelta(hours=1), hour + timedelta(hours=1))
    recent = UsageByHour.objects.owned_by(organization).within(two_hours)
    return max(recent.values("hour").annotate(amount=Sum("amount_nano")).values_list("amount", flat=True), default=0)


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
    skus = {
        code: (name, product, unit)
        for code, name, product, unit in Sku.objects.filter(code__in={row["sku"] for row in rows}).values_list(
            "code", "name", "product", "meter__unit"
        )
    }
    lines = []
    for row in rows:
        name, product, unit = skus.get(row["sku"], (row["sku"], "", ""))
        lines.append(SpendLine(name=name, product=product, unit=unit, **row))
    return lines


def amounts_by_day(
    organization: Organization, period: Period, grouping: Grouping, lines: Sequence[SpendLine]
) -> AmountsByDay:
    """Break the period's lines down by group; every day sums to its lines, to the nano-dollar."""
    if grouping is Grouping.PROJECT:
        return _by_project(organization, period)
    if grouping is Grouping.PRODUCT:
        labels = {value: str(label) for value, label in Product.choices}
        return _summed((line.day, labels.get(line.product, line.name), line.amount_nano) for line in lines)
    return _explained(organization, period, grouping, lines)


def _by_project(organization: Organization, period: Period) -> AmountsByDay:
    hours = UsageByHour.objects.owned_by(organization).within(period)
    amounts = hours.values_list(TruncDay("hour"), "project__name").annotate(amount=Sum("amount_nano"))
    return _summed(amounts.order_by())


_COLUMN = {Grouping.KEY: "api_key_id", Grouping.RESOURCE: "resource_id", Grouping.MEMBER: "user_id"}


def _explained(
    organization: Organization, period: Period, grouping: Grouping, lines: Iterable[SpendLine]
) -> AmountsByDay:
    """Spread each day's amount of a SKU over who used it, by quantity."""
    spent: defaultdict[tuple[datetime, str], int] = defaultdict(int)
    for line in lines:
        spent[line.day, line.sku] += line.amount_nano
    column = _COLUMN[grouping]
    used = UsageByResource.objects.owned_by(organization).within(period)
    rows = used.values_list("day", "sku", column).annotate(quantity=Sum("quantity")).order_by("day", "sku", column)
    causes: defaultdict[tuple[datetime, str], list[tuple[int | str, int]]] = defaultdict(list)
    for day, sku, cause, quantity in rows:
        causes[day, sku].append((cause, quantity))
    names = _names(organization, grouping, {cause for of_sku in causes.values() for cause, _ in of_sku})
    return _summed(
        (day, names[cause], part)
        for (day, sku), of_sku in causes.items()
        for (cause, _), part in zip(of_sku, explain(spent[day, sku], [quantity for _, quantity in of_sku]), strict=True)
    )


def _names(organization: Organization, grouping: Grouping, causes: set[int | str]) -> Mapping[int | str, str]:
    names: dict[int | str, str] = {cause: str(cause) for cause in causes}
    if grouping is Grouping.KEY:
        names |= {key.pk: str(key) for key in ApiKey.objects.owned_by(organization).filter(pk__in=causes)}
        names[UsageByResource.NOBODY] = _("Without a key")
    elif grouping is Grouping.MEMBER:
        names |= {user.pk: user.get_full_name() for user in User.objects.filter(pk__in=causes)}
        names[UsageByResource.NOBODY] = _("By a program")
    return names


def _summed(amounts: Iterable[tuple[datetime, str, int]]) -> AmountsByDay:
    by_day: AmountsByDay = {}
    for day, name, amount_nano in amounts:
        of_day = by_day.setdefault(day, {})
        of_day[name] = of_day.get(name, 0) + amount_nano
    return by_day
