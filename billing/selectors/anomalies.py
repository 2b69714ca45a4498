"""What days cost by product, to find unusual ones; and those that were found, as the spend page lists them."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import Min, Sum
from django.utils.translation import gettext as _

from accounts.models import Organization
from billing.invoicing.anomaly import DAYS, EVERYTHING, FLOOR_NANO, REMEMBERED_DAYS, Series
from billing.models import AnomalyMails, SpendAnomaly, SpendByDay
from billing.selectors.spend import name_skus
from catalog.models import Product
from portal.lib.money import display_usd
from portal.lib.periods import Period

DAY = timedelta(days=1)
SHOWN = 10


@dataclass(frozen=True, slots=True)
class AnomalyRow:
    """A UTC day that was unusual, as 2026-11-20. lines: what of it, in words."""

    day: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class UnusualDays:
    """rows: the newest first. is_mailed: whether members are told by mail."""

    rows: list[AnomalyRow]
    is_mailed: bool


# One look into the primary key for each organization, whatever is kept of earlier days.
_TO_LOOK_AT = """
    SELECT o.id
    FROM accounts_organization AS o, LATERAL (
        SELECT billing_sum_nano(s.amount_nano) AS amount
        FROM billing_spendbyday AS s WHERE s.organization_id = o.id AND s.day = %(day)s
    ) AS spent
    WHERE spent.amount > %(floor)s AND NOT EXISTS (
        SELECT FROM billing_spendanomaly AS known WHERE known.organization_id = o.id AND known.day = %(day)s)
    ORDER BY o.id
"""


def organization_ids_to_look_at(day: datetime) -> list[int]:
    """Return the organizations that spent enough on a UTC day to be unusual, and are not known to be.

    For the platform role.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TO_LOOK_AT, {"day": day, "floor": FLOOR_NANO})
        return [organization_id for (organization_id,) in cursor.fetchall()]


def series_of(organization_id: int, day: datetime) -> Mapping[str, Series]:
    """Return what a UTC day and those before it cost, by product and all together."""
    spent = SpendByDay.objects.filter(organization_id=organization_id)
    first: datetime | None = spent.aggregate(first=Min("day"))["first"]
    begin = max(day - DAYS * DAY, first or day)
    days = [*Period(begin, day).days(), day]
    rows = list(
        spent.filter(day__gte=begin, day__lte=day).values_list("day", "sku").annotate(amount=Sum("amount_nano"))
    )
    named = name_skus({sku for _day, sku, _amount in rows})
    amounts: defaultdict[str, defaultdict[datetime, int]] = defaultdict(lambda: defaultdict(int))
    for at, sku, amount in rows:
        amounts[EVERYTHING][at] += int(amount)
        if named[sku].product:
            amounts[named[sku].product][at] += int(amount)
    news = _reported(organization_id, Period(max(begin, day - REMEMBERED_DAYS * DAY), day))
    return {
        product: Series(
            by_day[day],
            [by_day[at] for at in days[:-1]],
            [by_day[at] for at, products in news.items() if product in products],
        )
        for product, by_day in amounts.items()
    }


def _reported(organization_id: int, period: Period) -> dict[datetime, set[str]]:
    """Return which products of which days were reported."""
    found = SpendAnomaly.objects.of_organization(organization_id)
    rows = found.filter(day__gte=period.start, day__lt=period.end).values_list("day", "findings")
    return {day: {one["product"] for one in findings} for day, findings in rows}


def unusual_days(organization: Organization) -> UnusualDays:
    """Return the days that were unusual, for the page of caps and warnings."""
    found = SpendAnomaly.objects.owned_by(organization).order_by("-day")[:SHOWN]
    is_off = AnomalyMails.objects.owned_by(organization).filter(is_on=False).exists()
    return UnusualDays([anomaly_row(one) for one in found], not is_off)


def anomaly_row(anomaly: SpendAnomaly) -> AnomalyRow:
    words = _("%(what)s: %(amount)s, usually %(usual)s")
    return AnomalyRow(
        f"{anomaly.day:%Y-%m-%d}",
        [
            words
            % {
                "what": Product(one["product"]).label if one["product"] else _("Everything"),
                "amount": display_usd(one["amount_nano"]),
                "usual": display_usd(one["usual_nano"]),
            }
            for one in anomaly.findings
        ],
    )
