"""What a request's tokens cost: exactly afterwards, and at the most beforehand. Pure, in nano-dollars.

Definitions: docs/algorithms/gateway.md.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, Inexact, localcontext
from typing import Protocol

from portal.lib.money import NANO_PER_USD


class UnitPrice(Protocol):
    """A price version: `price_nano` nano-dollars per `unit_size` tokens."""

    @property
    def price_nano(self) -> int: ...
    @property
    def unit_size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Counted tokens by kind; `input` does not contain the cached ones."""

    input: int = 0
    cached_input: int = 0
    output: int = 0

    def __bool__(self) -> bool:
        return bool(self.input or self.cached_input or self.output)


NO_TOKENS = TokenCounts()


def exact_cost(priced: Iterable[tuple[int, UnitPrice]]) -> Decimal:
    """Return the unrounded price in dollars of (tokens, price) pairs.

    Raises decimal.Inexact for a price per a number of tokens that does not divide a power of ten.
    """
    with localcontext(prec=60) as context:
        context.traps[Inexact] = True
        parts = (Decimal(tokens * price.price_nano) / (price.unit_size * NANO_PER_USD) for tokens, price in priced)
        return sum(parts, Decimal(0))


def upper_bound_nano(priced: Iterable[tuple[int, UnitPrice]]) -> int:
    """Return what these tokens can move their hourly buckets by at the most, in nano-dollars.

    A bucket's amount is rounded once, so adding tokens moves it by less than their exact price plus one.
    """
    return sum(-(-tokens * price.price_nano // price.unit_size) + 1 for tokens, price in priced)


def usd_string(amount: Decimal) -> str:
    """Return exact dollars without exponent or trailing zeros and at least two decimals: 0.000041, 1.50."""
    whole, _, fraction = f"{amount:f}".partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
