"""What the launch page shows: the offers, and what the chosen one would cost."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import Organization
from billing.selectors import price_source
from catalog.models import LeaseClass
from catalog.selectors import InstanceTypeRow, LeasePrice, instance_type_rows
from compute.selectors.stock import Stock, stock_by_type
from portal.lib.money import display_usd, round_bucket

HOURS_PER_DAY = 24
HOURS_PER_MONTH = 730
SECONDS_PER_HOUR = 3_600
# What a launch holds: compute.services.funding.LEASE_SECONDS, which selectors may not import.
HELD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Offer:
    """An instance type on the launch page, with where it is and whether anything is free."""

    row: InstanceTypeRow
    stock: tuple[Stock, ...]

    @property
    def is_free(self) -> bool:
        return any(place.is_free for place in self.stock)

    @property
    def prices(self) -> tuple[LeasePrice, ...]:
        """What people can launch by themselves; a reserved term is agreed on with sales."""
        return tuple(price for price in self.row.prices if price.lease_class != LeaseClass.RESERVED)

    @property
    def stock_status(self) -> str:
        """The best that any region has, as the look of a badge."""
        for status in ("available", "limited"):
            if any(place.status == status for place in self.stock):
                return status
        return "unavailable"

    @property
    def stock_words(self) -> str:
        free = sum(place.status == "available" for place in self.stock)
        few = sum(place.status == "limited" for place in self.stock)
        words = []
        if free:
            words.append(ngettext("Free in %(n)d region", "Free in %(n)d regions", free) % {"n": free})
        if few:
            words.append(ngettext("Few left in %(n)d region", "Few left in %(n)d regions", few) % {"n": few})
        return ", ".join(words) or _("Sold out everywhere")

    def place_in(self, region: str) -> Stock | None:
        return next((place for place in self.stock if place.region == region), None)

    def can_be_funded(self, nano: int, hours: int) -> bool:
        """Whether the amount pays for so many hours on demand."""
        price = self.row.price_of(LeaseClass.ON_DEMAND)
        return price is not None and price.nano_per_hour * hours <= nano


def launch_offers(organization: Organization, now: datetime) -> list[Offer]:
    """Return every offer at what the organization pays, free units first, and the cheapest first of all."""
    stock = stock_by_type()
    offers = [Offer(row, stock.get(row.name, ())) for row in instance_type_rows(now, price_source(organization.pk))]
    return sorted(offers, key=lambda offer: not offer.is_free)


@dataclass(frozen=True, slots=True)
class LaunchSummary:
    """What a launch costs, in words for people; amounts in US dollars."""

    title: str
    lease_class: str
    notice: str
    per_hour: str
    per_day: str
    per_month: str
    hold: str
    remaining: str
    remaining_after: str
    runway_hours: int
    is_affordable: bool


def launch_summary(row: InstanceTypeRow, lease_class: str, remaining_nano: int) -> LaunchSummary | None:
    """Return what the shape costs in that lease class, with so much budget left; None when it is not sold so."""
    price = row.price_of(lease_class)
    if price is None:
        return None
    hold_nano = round_bucket(HELD_SECONDS, price.nano_per_hour, SECONDS_PER_HOUR)
    return LaunchSummary(
        title=row.title,
        lease_class=str(LeaseClass(lease_class).label),
        notice=price.notice,
        per_hour=display_usd(price.nano_per_hour),
        per_day=display_usd(price.nano_per_hour * HOURS_PER_DAY),
        per_month=display_usd(price.nano_per_hour * HOURS_PER_MONTH),
        hold=display_usd(hold_nano),
        remaining=display_usd(remaining_nano),
        remaining_after=display_usd(max(remaining_nano - hold_nano, 0)),
        runway_hours=remaining_nano // price.nano_per_hour if price.nano_per_hour else 0,
        is_affordable=hold_nano < remaining_nano,
    )
