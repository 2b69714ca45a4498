"""Usage x price -> amount, exactly: plain values in, frozen results out.

Definitions and worked numbers: docs/algorithms/rating.md and docs/algorithms/caps.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Protocol

from portal.lib.money import round_bucket


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
