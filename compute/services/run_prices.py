"""What the hours of a run cost: the list price of its launch for as long as that is cheaper than today's."""

from collections.abc import Iterable
from datetime import datetime

from billing.selectors import prices_of_hours
from catalog.selectors import UnitPrice
from compute.models import Instance


def run_prices(instance: Instance, hours: Iterable[datetime]) -> dict[datetime, UnitPrice]:
    """Return the price of each UTC hour, and with it the SKU that its usage is of; an hour without one is missing.

    A function of the instance and the hour: no hour that has begun is ever priced anew, so a part that is metered twice
    is of the same SKU.
    """
    skus = [sku for sku in (instance.sku, instance.kept_sku) if sku]
    found = prices_of_hours(instance.organization_id, [(hour, sku) for hour in hours for sku in skus])
    cheapest: dict[datetime, UnitPrice] = {}
    for sku in skus:
        for (hour, of), price in found.items():
            if of == sku and (hour not in cheapest or price.price_nano < cheapest[hour].price_nano):
                cheapest[hour] = price
    return cheapest
