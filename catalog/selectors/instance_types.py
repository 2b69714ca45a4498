"""Machine shapes with their prices, as rows of ready strings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from catalog.models import InstanceType, LeaseClass
from catalog.selectors.price_list import PriceSource, UnitPrice, unit_prices
from portal.lib.money import NANO_PER_CENT, decimal_string, divide_half_even, nano_to_decimal

SECONDS_PER_HOUR = 3_600
# As columns stand on pages: from the shortest promise to the longest.
LEASE_CLASSES = (LeaseClass.SURPLUS, LeaseClass.ON_DEMAND, LeaseClass.RESERVED)
# A price per second that has no end in decimals is rounded here and marked.
SECOND_DIGITS = Decimal(1).scaleb(-9)


@dataclass(frozen=True, slots=True)
class LeasePrice:
    """What a shape costs in one lease class."""

    lease_class: str
    label: str
    nano_per_hour: int
    cents_per_hour: int  # rounded half-even, for programs that know only whole cents
    per_hour: str  # exact decimal: 2.88
    per_second: str  # 0.0008
    per_second_is_exact: bool  # False: the exact figure has more than nine decimals
    notice: str  # in words


@dataclass(frozen=True, slots=True)
class InstanceTypeRow:
    """A shape on the list; `prices` has surplus, on demand and reserved, in this order."""

    name: str
    kind: str
    kind_label: str
    title: str  # 8x H100 SXM5
    description: str
    accelerator: str
    accelerator_count: int
    accelerator_memory_gib: int
    total_accelerator_memory_gib: int
    interconnect: str
    vcpus: int
    memory_gib: int
    storage_gib: int
    prices: tuple[LeasePrice, ...]
    skus: tuple[str, ...]

    @property
    def cheapest(self) -> LeasePrice:
        return min(self.prices, key=lambda price: price.nano_per_hour)

    def price_of(self, lease_class: str) -> LeasePrice | None:
        return next((price for price in self.prices if price.lease_class == lease_class), None)


def instance_type_rows(at: datetime, prices: PriceSource = unit_prices) -> list[InstanceTypeRow]:
    """Return the listed shapes that have a price at `at`, the cheapest first."""
    rows = _rows(InstanceType.objects.filter(is_listed=True), at, prices)
    return sorted(rows, key=lambda row: (row.cheapest.nano_per_hour, row.name))


def instance_type_row(name: str, at: datetime, prices: PriceSource = unit_prices) -> InstanceTypeRow | None:
    """Return the listed and priced shape with that name, or None."""
    rows = _rows(InstanceType.objects.filter(is_listed=True, name=name), at, prices)
    return rows[0] if rows else None


def _rows(shapes: Iterable[InstanceType], at: datetime, source: PriceSource) -> list[InstanceTypeRow]:
    shapes = list(shapes)
    prices = source([shape.sku(lease_class) for shape in shapes for lease_class in LEASE_CLASSES], at)
    rows = [(shape, _lease_prices(shape, prices)) for shape in shapes]
    return [_row(shape, lease_prices) for shape, lease_prices in rows if lease_prices]


def _lease_prices(shape: InstanceType, prices: Mapping[str, UnitPrice]) -> tuple[LeasePrice, ...]:
    return tuple(
        _lease_price(lease_class, price)
        for lease_class in LEASE_CLASSES
        if (price := prices.get(shape.sku(lease_class)))
    )


def _lease_price(lease_class: LeaseClass, price: UnitPrice) -> LeasePrice:
    nano_per_hour = divide_half_even(price.price_nano * SECONDS_PER_HOUR, price.unit_size)
    return LeasePrice(
        lease_class=lease_class.value,
        label=str(lease_class.label),
        nano_per_hour=nano_per_hour,
        cents_per_hour=divide_half_even(nano_per_hour, NANO_PER_CENT),
        per_hour=decimal_string(nano_per_hour),
        per_second=_per_second(price),
        per_second_is_exact=price.price_nano % price.unit_size == 0,
        notice=lease_class.notice_in_words,
    )


def _per_second(price: UnitPrice) -> str:
    if price.price_nano % price.unit_size == 0:
        return decimal_string(price.price_nano // price.unit_size)
    exact = nano_to_decimal(price.price_nano) / price.unit_size
    return f"{exact.quantize(SECOND_DIGITS, rounding=ROUND_HALF_EVEN):f}"


def _row(shape: InstanceType, prices: tuple[LeasePrice, ...]) -> InstanceTypeRow:
    return InstanceTypeRow(
        name=shape.name,
        kind=shape.kind,
        kind_label=shape.get_kind_display(),
        title=f"{shape.accelerator_count}x {shape.accelerator}" if shape.accelerator else f"{shape.vcpus}x CPU",
        description=shape.description,
        accelerator=shape.accelerator,
        accelerator_count=shape.accelerator_count,
        accelerator_memory_gib=shape.accelerator_memory_gib,
        total_accelerator_memory_gib=shape.accelerator_memory_gib * shape.accelerator_count,
        interconnect=shape.interconnect,
        vcpus=shape.vcpus,
        memory_gib=shape.memory_gib,
        storage_gib=shape.storage_gib,
        prices=prices,
        skus=tuple(shape.sku(lease_class) for lease_class in LEASE_CLASSES),
    )
