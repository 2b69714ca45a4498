"""Usage x price -> amount, exactly: plain values in, frozen results out.

Definitions and worked numbers: docs/algorithms/rating.md and docs/algorithms/caps.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

from portal.lib.money import apportion, divide_half_even, round_bucket
from portal.lib.tiers import Tiers


class UnitPrice(Protocol):
    """A price version: `price_nano` nano-dollars per `unit_size` units."""

    @property
    def price_id(self) -> str: ...
    @property
    def price_nano(self) -> int: ...
    @property
    def unit_size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class RatedLine:
    """A bucket with its amount; quantity in the SKU's smallest unit."""

    sku: str
    quantity: int
    price_id: str
    amount_nano: int


def rate(usage: Iterable[tuple[str, int]], prices: Mapping[str, UnitPrice]) -> list[RatedLine]:
    """Sum one bucket's usage by SKU and price each sum, in SKU order.

    usage: (sku, quantity) pairs in the SKU's smallest unit, in any order; a correction has a negative quantity.
    prices: the price of each SKU in the bucket's hour.
    Raises KeyError for a SKU without a price: unpriced usage must never be free.
    """
    quantities: defaultdict[str, int] = defaultdict(int)
    for sku, quantity in usage:
        quantities[sku] += quantity
    return [
        RatedLine(sku, quantity, prices[sku].price_id, amount_of(quantity, prices[sku]))
        for sku, quantity in sorted(quantities.items())
    ]


def amount_of(quantity: int, price: UnitPrice) -> int:
    """Return the amount of one bucket in nano-dollars, rounded half-even once."""
    return round_bucket(quantity, price.price_nano, price.unit_size)


def explain(before: int, quantities: Sequence[int], price: UnitPrice) -> list[int]:
    """Return what each quantity that joins a bucket adds to its amount, in nano-dollars, in their order.

    before: the bucket's quantity until then. Each part is the difference of two amounts of the whole bucket, so
    that the parts sum to the change of the bucket's amount and each is within a nano-dollar of its own price.
    """
    amounts = [amount_of(quantity, price) for quantity in accumulate(quantities, initial=before)]
    return [after - until_then for until_then, after in pairwise(amounts)]


@dataclass(frozen=True, slots=True)
class CapState:
    """A cap and the reservation that a settlement draws on, in nano-dollars; `held` is 0 without one."""

    limit_nano: int
    settled_nano: int
    reserved_nano: int
    held_nano: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a change of the rated amount does to a cap, in nano-dollars.

    `charged` joins what is settled, `from_reservation` leaves what is reserved and held, and `written_off` is
    what the cap had no room for. charged + written_off is the change.
    """

    charged_nano: int
    from_reservation_nano: int
    written_off_nano: int


def settle(cap: CapState, change_nano: int) -> Settlement:
    """Charge a change out of the reservation first, then out of the room left, and write off the rest.

    A negative change (a correction) gives back what was settled, down to nothing; the rest of it takes back
    a write-off, and the reservation stays as it is.
    """
    if change_nano < 0:
        given_back = min(-change_nano, cap.settled_nano)
        return Settlement(-given_back, 0, change_nano + given_back)
    from_reservation = min(change_nano, cap.held_nano)
    room = cap.limit_nano - cap.settled_nano - cap.reserved_nano
    from_room = min(change_nano - from_reservation, max(room, 0))
    charged = from_reservation + from_room
    return Settlement(charged, from_reservation, change_nano - charged)


# A discount is stated in hundredths of a percent.
BASIS_POINTS = 10_000


def discounted_nano(price_nano: int, basis_points: int) -> int:
    """Return a price less so many hundredths of a percent, half-even to a nano-dollar per unit_size.

    A price is rounded here, once, and usage is then rated at what came out: whoever knows it can recompute.
    """
    return divide_half_even(price_nano * (BASIS_POINTS - basis_points), BASIS_POINTS)


class TieredPrice(UnitPrice, Protocol):
    """A price version whose price may fall with the quantity of a month."""

    @property
    def tiers(self) -> Tiers: ...


@dataclass(frozen=True, slots=True)
class PeriodQuantity:
    """What an organization used of a SKU at one price version in a calendar month, over all its projects."""

    sku: str
    price: TieredPrice
    quantity: int


@dataclass(frozen=True, slots=True)
class TierAdjustment:
    """What tiers take off the amount that the buckets of a month were rated at; never above 0."""

    sku: str
    price_id: str
    quantity: int
    amount_nano: int


def tier_adjustments(used: Iterable[PeriodQuantity]) -> list[TierAdjustment]:
    """Return what tiers take off a month, one line per SKU and price version with an effect, in SKU order.

    used: what was used at each price version, those of a SKU in the order in which they were in force: the
    quantity counts on where the version before it ended. Buckets are rated at the first price of their version
    (docs/adr/0021-tiers-are-a-line.md); this is the rest, rounded half-even once per line, and it depends on
    quantities only: not on the order or the batches in which usage came.
    """
    of_sku: defaultdict[str, list[PeriodQuantity]] = defaultdict(list)
    for part in used:
        of_sku[part.sku].append(part)
    found = []
    for _, parts in sorted(of_sku.items()):
        whole = sum(part.quantity for part in parts)
        starts = accumulate((part.quantity for part in parts), initial=0)
        for part, start in zip(parts, starts, strict=False):
            price = part.price
            saved = price.tiers.saved(price.price_nano, start, start + part.quantity, whole=whole)
            amount_nano = -divide_half_even(saved, price.unit_size)
            if amount_nano:
                found.append(TierAdjustment(part.sku, price.price_id, part.quantity, amount_nano))
    return found


@dataclass(frozen=True, slots=True)
class ProjectQuantities:
    """What each project used of a SKU at one price version in a calendar month."""

    sku: str
    price: TieredPrice
    by_project: Mapping[str, int]

    @property
    def quantity(self) -> int:
        return sum(self.by_project.values())


# SKU, price version and project.
type Share = tuple[str, str, str]


def tier_shares(used: Sequence[ProjectQuantities]) -> dict[Share, int]:
    """Return what tiers take off each project's part of a month, in nano-dollars; they sum to `tier_adjustments`.

    used: in the order of `tier_adjustments`. What a version takes off is shared out in proportion to what each project
    used at it, by largest remainder, the projects in the order of their ids.
    """
    whole = [PeriodQuantity(part.sku, part.price, part.quantity) for part in used]
    of_version = {(part.sku, part.price.price_id): part.by_project for part in used}
    shares: dict[Share, int] = {}
    for line in tier_adjustments(whole):
        projects = sorted(of_version[line.sku, line.price_id].items())
        # Where corrections outweigh what was used, those who were corrected share.
        weights = [max(quantity if line.quantity > 0 else -quantity, 0) for _, quantity in projects]
        for (project, _), amount_nano in zip(projects, apportion(line.amount_nano, weights), strict=True):
            shares[line.sku, line.price_id, project] = amount_nano
    return shares
