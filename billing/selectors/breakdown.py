"""Spend broken down by product, project, API key, resource or member.

The largest groups are read by themselves and the rest is what they leave of the total, so that a breakdown costs the
same however many projects, keys and instances there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import models
from django.db.models import Count, Sum, Window
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import ApiKey, Organization, Project, User
from billing.models import SpendByCause, SpendByDay
from billing.selectors.spend import SpendLine, name_skus
from catalog.models import Product
from portal.lib.periods import Period

# The cause of what no key or no member caused.
NOBODY = "0"


class Grouping(models.TextChoices):
    """By what spend is broken down."""

    PRODUCT = "product", gettext_lazy("Product")
    PROJECT = "project", gettext_lazy("Project")
    KEY = "key", gettext_lazy("API key")
    RESOURCE = "resource", gettext_lazy("Model or instance")
    MEMBER = "member", gettext_lazy("Member")


@dataclass(frozen=True, slots=True)
class Named:
    """Who a group is, outside: a public id (a resource's own id, a product's word), empty for nobody."""

    public_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Group:
    """One group of a breakdown and what it cost, in nano-dollars; by_day only where it was asked for."""

    named: Named
    amount_nano: int
    by_day: Mapping[datetime, int]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The largest groups, dearest first, how many groups there are in all, and what every day cost in all."""

    groups: Sequence[Group]
    count: int
    days: Mapping[datetime, int]


def break_down(
    organization: Organization, period: Period, grouping: Grouping, *, most: int, most_by_day: int
) -> Breakdown:
    """Return the `most` dearest groups of the period; the `most_by_day` dearest of them with their days."""
    if grouping is Grouping.PRODUCT:
        return _break_down_by_product(organization, period)
    totals = SpendByDay.objects.owned_by(organization).within(period).values_list("day")
    by_day = dict(totals.annotate(amount=Sum("amount_nano")))
    causes = SpendByCause.objects.owned_by(organization).within(period).filter(cause=grouping.value)
    sums = causes.values("cause_id").annotate(amount=Sum("amount_nano"))
    ranked = sums.annotate(groups=Window(Count("cause_id"))).order_by("-amount", "cause_id")[:most]
    found = list(ranked.values_list("cause_id", "amount", "groups"))
    days: dict[str, dict[datetime, int]] = {cause_id: {} for cause_id, _amount, _groups in found}
    drawn = list(days)[:most_by_day]
    for cause_id, day, amount in causes.filter(cause_id__in=drawn).values_list("cause_id", "day", "amount_nano"):
        days[cause_id][day] = amount
    names = _names(organization, grouping, days)
    groups = [Group(names[cause_id], amount, days[cause_id]) for cause_id, amount, _groups in found]
    return Breakdown(groups, found[0][2] if found else 0, by_day)


def amounts_by_day(
    organization: Organization, period: Period, grouping: Grouping, lines: Sequence[SpendLine]
) -> list[tuple[datetime, Named, int]]:
    """Return what every group cost on every day, by day and name; each day sums to its lines, to the nano-dollar."""
    if grouping is Grouping.PRODUCT:
        groups = _by_product((line.day, line.product, line.sku, line.amount_nano) for line in lines)
        amounts = [(day, group.named, nano) for group in groups for day, nano in group.by_day.items()]
    else:
        causes = SpendByCause.objects.owned_by(organization).within(period).filter(cause=grouping.value)
        rows = list(causes.values_list("day", "cause_id", "amount_nano"))
        names = _names(organization, grouping, {cause_id for _day, cause_id, _amount in rows})
        amounts = [(day, names[cause_id], amount) for day, cause_id, amount in rows]
    return sorted(amounts, key=lambda row: (row[0], row[1].name, row[1].public_id))


def _break_down_by_product(organization: Organization, period: Period) -> Breakdown:
    days = SpendByDay.objects.owned_by(organization).within(period).values_list("day", "sku")
    rows = list(days.annotate(amount=Sum("amount_nano")))
    named = name_skus({sku for _day, sku, _amount in rows})
    groups = _by_product((day, named[sku].product, sku, amount) for day, sku, amount in rows)
    by_day: dict[datetime, int] = {}
    for day, _sku, amount in rows:
        by_day[day] = by_day.get(day, 0) + amount
    return Breakdown(groups, len(groups), by_day)


def _by_product(amounts: Iterable[tuple[datetime, str, str, int]]) -> list[Group]:
    """Add up (day, product, SKU, nano-dollars), the dearest first; a SKU of no product is one of its own."""
    labels = {value: str(label) for value, label in Product.choices}
    days: dict[str, dict[datetime, int]] = {}
    for day, product, sku, amount in amounts:
        of_product = days.setdefault(product or sku, {})
        of_product[day] = of_product.get(day, 0) + amount
    groups = [Group(Named(name, labels.get(name, name)), sum(by_day.values()), by_day) for name, by_day in days.items()]
    return sorted(groups, key=lambda group: (-group.amount_nano, group.named.name))


def _names(organization: Organization, grouping: Grouping, causes: Iterable[str]) -> Mapping[str, Named]:
    names = {cause_id: Named(cause_id, cause_id) for cause_id in causes}
    if grouping is Grouping.RESOURCE:
        return names
    wanted = [int(cause_id) for cause_id in names if cause_id != NOBODY]
    named: models.QuerySet[Project] | models.QuerySet[ApiKey] | models.QuerySet[User]
    match grouping:
        case Grouping.PROJECT:
            named = Project.objects.owned_by(organization).filter(pk__in=wanted)
            nobody = ""
        case Grouping.KEY:
            named = ApiKey.objects.owned_by(organization).select_related("service_account").filter(pk__in=wanted)
            nobody = _("Without a key")
        case _member:
            named = User.objects.filter(pk__in=wanted)
            nobody = _("By a program")
    names |= {str(one.pk): Named(one.public_id, _name_of(one)) for one in named}
    return names | {NOBODY: Named("", nobody)}


def _name_of(named: Project | ApiKey | User) -> str:
    match named:
        case Project():
            return named.name
        case User():
            return named.get_full_name()
    return f"{named.full_name} ({named.label})"
