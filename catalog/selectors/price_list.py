"""Prices: in force at an instant, and over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from catalog.models import Price
from catalog.models.price import PriceQuerySet
from portal.lib.money import decimal_string
from portal.lib.tiers import NO_TIERS, Tiers, make_tiers


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """A price version as plain values: `price_nano` nano-dollars per `unit_size` units."""

    sku: str
    price_id: str  # public id of the price version
    price_nano: int
    unit_size: int
    tiers: Tiers = NO_TIERS
    # What the list says, where a contract says otherwise.
    list_price: UnitPrice | None = None


# Where prices come from: the list, or what an organization has agreed on (billing.selectors.prices_for).
type PriceSource = Callable[[Iterable[str], datetime], Mapping[str, UnitPrice]]


def unit_prices(skus: Iterable[str], at: datetime) -> dict[str, UnitPrice]:
    """Return the list prices in force at `at` by SKU; a SKU without a price is missing from the result."""
    rows = Price.objects.in_force(at).filter(sku__code__in=list(skus))
    return {code: price for code, _, _, price in list_versions(rows)}


def list_versions(prices: PriceQuerySet) -> Iterator[tuple[str, datetime, datetime | None, UnitPrice]]:
    """Yield price versions as (SKU, active from, active to, price)."""
    for row in prices.values_list(*VERSION):
        yield version_of(*row)


# What version_of makes a version of.
VERSION = ("sku__code", "active_from", "active_to", "public_id", "price_nano", "unit_size", "tier_mode", "tiers")


def version_of(  # noqa: PLR0913, PLR0917  # a row of VERSION
    code: str,
    active_from: datetime,
    active_to: datetime | None,
    public_id: str,
    price_nano: int,
    unit_size: int,
    mode: str,
    steps: list[list[int]],
) -> tuple[str, datetime, datetime | None, UnitPrice]:
    """Return a price version as (SKU, active from, active to, price)."""
    tiers = make_tiers(mode, steps, price_nano=price_nano)
    return code, active_from, active_to, UnitPrice(code, public_id, price_nano, unit_size, tiers)


@dataclass(frozen=True, slots=True)
class TierRow:
    """What units beyond the first `above` of a calendar month cost, for the unit_size of their price."""

    above: int
    price: str  # exact decimal


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A price version as the API and the price history print it."""

    sku: str
    name: str
    product: str
    meter: str
    unit: str  # what the meter counts: token, second
    unit_size: int  # the price is for so many units
    price: str  # exact decimal
    currency: str
    price_version: str  # public id
    version: int
    active_from: datetime
    active_to: datetime | None
    tier_mode: str  # flat, graduated, volume
    tiers: tuple[TierRow, ...]


def price_list(at: datetime) -> list[PriceRow]:
    """Return every list price in force at `at`, by SKU."""
    return _rows(Price.objects.in_force(at).order_by("sku__code"))


def price_history(skus: Iterable[str]) -> list[PriceRow]:
    """Return all versions of the SKUs' prices, announced ones too, the newest first within each SKU."""
    return _rows(Price.objects.filter(sku__code__in=list(skus)).order_by("sku__code", "-version"))


@dataclass(frozen=True, slots=True)
class RateCard:
    """Every version of every list price, for programs that check invoices without us."""

    format: str
    currency: str
    prices: list[PriceRow]


# Other people's programs read it: fields are added, and nothing else changes under this name.
RATE_CARD_FORMAT = "rate-card/1"


def rate_card() -> RateCard:
    """Return the whole price history, by SKU and version. The same versions give the same card."""
    return RateCard(RATE_CARD_FORMAT, "USD", _rows(Price.objects.order_by("sku__code", "version")))


def _rows(prices: PriceQuerySet) -> list[PriceRow]:
    return [
        PriceRow(
            sku=price.sku.code,
            name=price.sku.name,
            product=price.sku.product,
            meter=price.sku.meter.code,
            unit=price.sku.meter.unit,
            unit_size=price.unit_size,
            price=decimal_string(price.price_nano),
            currency="USD",
            price_version=price.public_id,
            version=price.version,
            active_from=price.active_from,
            active_to=price.active_to,
            tier_mode=price.tier_mode,
            tiers=tuple(TierRow(above, decimal_string(nano)) for above, nano in price.tiers),
        )
        for price in prices.select_related("sku__meter")
    ]
