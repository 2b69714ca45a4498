"""The prices that usage is rated with."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q

from catalog.models import Price
from catalog.selectors import UnitPrice


def prices_of_hours(wanted: Iterable[tuple[datetime, str]]) -> dict[tuple[datetime, str], UnitPrice]:
    """Return the list price of each (UTC hour, SKU) that has one, in one query however many hours there are."""
    pairs = set(wanted)
    if not pairs:
        return {}
    first, last = min(hour for hour, _ in pairs), max(hour for hour, _ in pairs)
    versions = Price.objects.filter(
        Q(active_to=None) | Q(active_to__gt=first), sku__code__in={sku for _, sku in pairs}, active_from__lte=last
    )
    of_sku: dict[str, list[tuple[datetime, datetime | None, UnitPrice]]] = {}
    for code, public_id, price_nano, unit_size, active_from, active_to in versions.values_list(
        "sku__code", "public_id", "price_nano", "unit_size", "active_from", "active_to"
    ):
        price = UnitPrice(code, public_id, price_nano, unit_size)
        of_sku.setdefault(code, []).append((active_from, active_to, price))
    return {
        (hour, sku): price
        for hour, sku in pairs
        for active_from, active_to, price in of_sku.get(sku, ())
        if active_from <= hour and (active_to is None or hour < active_to)
    }
