"""What tiers take off a month, from what was used in it."""

from datetime import datetime

from django.db.models import Min, Sum

from billing.models import UsageByHour
from billing.rating import PeriodQuantity, TierAdjustment, tier_adjustments
from billing.selectors.prices import prices_of_hours
from portal.lib.periods import Period, month_of


def tier_lines(organization_id: int, instant: datetime) -> list[TierAdjustment]:
    """Return what tiers take off the calendar month (UTC) that holds `instant`, by what was used of it until now."""
    return tier_adjustments(quantities_of(organization_id, month_of(instant)))


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
