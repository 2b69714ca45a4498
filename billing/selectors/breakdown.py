"""Spend broken down by product, project, API key, resource, member or cost center.

The largest groups are read by themselves and the rest is what they leave of the total, so that a breakdown costs the
same however many projects, keys and instances there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.models import ApiKey, Organization, Project, User
from billing.models import SpendByCause
from billing.selectors.cost_tags import center_words, tag_history
from billing.selectors.spend import SpendLine
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
    COST_CENTER = "cost_center", gettext_lazy("Cost center")


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
    """The largest groups, dearest first, and whether there are others."""

    groups: Sequence[Group]
    has_more: bool


# One statement, in SQL: this is the dearest read of the dearest page, and Django takes as long to write two as
# PostgreSQL takes to answer one.
_RANKED = """
    WITH ranked AS (
        SELECT cause_id, billing_sum_nano(amount_nano) AS amount
        FROM billing_spendbycause
        WHERE organization_id = %(organization_id)s AND cause = %(cause)s
              AND (span_days = 7 AND day = ANY (%(weeks)s) OR span_days = 1 AND day = ANY (%(loose_days)s))
        GROUP BY cause_id ORDER BY amount DESC, cause_id LIMIT %(most)s
    ), placed AS (
        SELECT *, row_number() OVER (ORDER BY amount DESC, cause_id) AS place FROM ranked
    )
    SELECT cause_id, amount, days, amounts, project.public_id, project.name
    FROM placed CROSS JOIN LATERAL (
        SELECT array_agg(day) AS days, array_agg(amount_nano) AS amounts
        FROM billing_spendbycause AS daily
        WHERE organization_id = %(organization_id)s AND cause = %(cause)s AND span_days = 1
              AND day = ANY (%(days)s) AND daily.cause_id = placed.cause_id AND place <= %(most_by_day)s
    ) AS by_day
    LEFT JOIN accounts_project AS project ON project.organization_id = %(organization_id)s
        AND project.id = CASE WHEN %(cause)s = 'project' THEN placed.cause_id::bigint END
    ORDER BY place
"""


def break_down(
    organization: Organization, period: Period, grouping: Grouping, *, most: int, most_by_day: int
) -> Breakdown:
    """Return the `most` dearest groups of the period; the `most_by_day` dearest of them with their days."""
    if grouping is Grouping.PRODUCT:
        return _break_down_by_product(organization, period)
    if grouping is Grouping.COST_CENTER:
        groups = _by_cost_center(organization, period)
        return Breakdown(groups[:most], len(groups) > most)
    weeks, loose_days = period.weeks_and_days()
    values: dict[str, Any] = {
        "organization_id": organization.pk,
        "cause": grouping.value,
        "weeks": weeks,
        "loose_days": loose_days,
        "days": list(period.days()),
        # One more, to know whether there are others: counting them all would cost as much as adding them up.
        "most": most + 1,
        "most_by_day": most_by_day,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RANKED, values)
        found = cursor.fetchall()
    rows = found[:most]
    names = {cause_id: Named(public_id, name) for cause_id, *_rest, public_id, name in rows if public_id is not None}
    names |= _names(organization, grouping, [row[0] for row in rows if row[0] not in names])
    groups = [
        Group(names[cause_id], amount, dict(zip(days or (), amounts or (), strict=True)))
        for cause_id, amount, days, amounts, *_named in rows
    ]
    return Breakdown(groups, len(found) > most)


def amounts_by_day(
    organization: Organization, period: Period, grouping: Grouping, lines: Sequence[SpendLine]
) -> list[tuple[datetime, Named, int]]:
    """Return what every group cost on every day, by day and name; each day sums to its lines, to the nano-dollar."""
    if grouping is Grouping.COST_CENTER:
        return amounts_of(_by_cost_center(organization, period))
    if grouping is Grouping.PRODUCT:
        return amounts_of(by_product((line.day, line.product, line.sku, line.amount_nano) for line in lines))
    causes = SpendByCause.objects.owned_by(organization).by_day(period).filter(cause=grouping.value)
    rows = list(causes.values_list("day", "cause_id", "amount_nano"))
    names = _names(organization, grouping, {cause_id for _day, cause_id, _amount in rows})
    return _in_order((day, names[cause_id], amount) for day, cause_id, amount in rows)


def amounts_of(groups: Iterable[Group]) -> list[tuple[datetime, Named, int]]:
    """Return what groups that come with their days cost on every day, by day and name."""
    return _in_order((day, group.named, nano) for group in groups for day, nano in group.by_day.items())


def _in_order(amounts: Iterable[tuple[datetime, Named, int]]) -> list[tuple[datetime, Named, int]]:
    return sorted(amounts, key=lambda row: (row[0], row[1].name, row[1].public_id))


# In SQL, with the products in it: the page asks for the names of SKUs elsewhere already.
_BY_PRODUCT = """
    SELECT spent.day, coalesce(listed.product, ''), spent.sku, billing_sum_nano(spent.amount_nano)
    FROM billing_spendbyday AS spent LEFT JOIN catalog_sku AS listed ON listed.code = spent.sku
    WHERE spent.organization_id = %(organization)s AND spent.day >= %(start)s AND spent.day < %(end)s
    GROUP BY 1, 2, 3
"""


def _break_down_by_product(organization: Organization, period: Period) -> Breakdown:
    with connection.cursor() as cursor:
        cursor.execute(_BY_PRODUCT, {"organization": organization.pk, "start": period.start, "end": period.end})
        return Breakdown(by_product(cursor.fetchall()), has_more=False)


def _by_cost_center(organization: Organization, period: Period) -> list[Group]:
    """Return what each cost center cost, the dearest first: what projects cost on a day is that of the day's."""
    history = tag_history(organization.pk)
    causes = SpendByCause.objects.owned_by(organization).by_day(period).filter(cause=SpendByCause.Cause.PROJECT)
    centers: dict[str, dict[datetime, int]] = {}
    for day, project_id, nano in causes.values_list("day", "cause_id", "amount_nano"):
        of_center = centers.setdefault(history.center(int(project_id), day), {})
        of_center[day] = of_center.get(day, 0) + nano
    groups = [Group(Named(name, center_words(name)), sum(by_day.values()), by_day) for name, by_day in centers.items()]
    return sorted(groups, key=lambda group: (-group.amount_nano, group.named.public_id))


def by_product(amounts: Iterable[tuple[datetime, str, str, int]]) -> list[Group]:
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
    if grouping is Grouping.RESOURCE or not names:
        return names
    wanted = [int(cause_id) for cause_id in names if cause_id != NOBODY]
    match grouping:
        case Grouping.PROJECT:
            projects = Project.objects.owned_by(organization).filter(pk__in=wanted)
            names |= {str(pk): Named(*named) for pk, *named in projects.values_list("pk", "public_id", "name")}
            nobody = ""
        case Grouping.KEY:
            keys = ApiKey.objects.owned_by(organization).select_related("service_account").filter(pk__in=wanted)
            named = keys.only("public_id", "name", "prefix", "last_four", "service_account__name")
            names |= {str(key.pk): Named(key.public_id, f"{key.full_name} ({key.label})") for key in named}
            nobody = _("Without a key")
        case _member:
            members = User.objects.filter(pk__in=wanted).only("public_id", "full_name", "email")
            names |= {str(user.pk): Named(user.public_id, user.get_full_name()) for user in members}
            nobody = _("By a program")
    return names | {NOBODY: Named("", nobody)}
