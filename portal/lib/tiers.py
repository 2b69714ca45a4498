"""Prices that fall with the quantity of a month: what a tier is, and what it saves. Pure, in nano-dollars and units.

Definitions and worked numbers: docs/algorithms/rating.md.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Protocol

from portal.lib.money import usd_to_nano

MOST_TIERS = 10
MOST_DIGITS = 15
_PRICE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class TierMode(StrEnum):
    FLAT = "flat"
    GRADUATED = "graduated"  # each unit at the price of the tier it lies in
    VOLUME = "volume"  # every unit at the price of the tier that the whole quantity lies in


class BadTiers(ValueError):
    """The tiers contradict each other or the price; the text says how."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Units beyond the first `above` of a month cost `price_nano` nano-dollars per unit_size of their price."""

    above: int
    price_nano: int


@dataclass(frozen=True, slots=True)
class Tiers:
    """What comes after the first price of a version, which is the dearest."""

    mode: TierMode = TierMode.FLAT
    steps: tuple[Tier, ...] = ()

    def saved(self, price_nano: int, start: int, end: int, *, whole: int) -> int:
        """Return what units [start, end) of a month's quantity `whole` save against `price_nano`.

        In nano-dollars times units: to be divided by the price's unit_size, and rounded, once. A month in which
        corrections outweigh the usage is below the first tier.
        """
        match self.mode:
            case TierMode.GRADUATED:
                return self._saved_until(price_nano, end) - self._saved_until(price_nano, start)
            case TierMode.VOLUME:
                return (end - start) * (price_nano - self._price_of_all(price_nano, whole))
        return 0

    def _saved_until(self, price_nano: int, quantity: int) -> int:
        prices = [price_nano, *(step.price_nano for step in self.steps)]
        return sum(
            max(quantity - step.above, 0) * (before - after)
            for step, (before, after) in zip(self.steps, pairwise(prices), strict=True)
        )

    def _price_of_all(self, price_nano: int, quantity: int) -> int:
        reached = [step.price_nano for step in self.steps if quantity > step.above]
        return reached[-1] if reached else price_nano


NO_TIERS = Tiers()


class Tiered(Protocol):
    """A price per unit_size with its tiers."""

    @property
    def price_nano(self) -> int: ...
    @property
    def tiers(self) -> Tiers: ...


def is_dearer(later: Tiered, earlier: Tiered) -> bool:
    """Whether there is a monthly quantity that costs more at the later of two prices for the same unit_size.

    Between two bounds both grow by straight lines, so that a difference shows at a bound, just above one, or at last.
    """
    bounds = [0, *(step.above for price in (later, earlier) for step in price.tiers.steps)]
    quantities = {quantity for bound in bounds for quantity in (bound, bound + 1)}
    if any(_cost(later, quantity) > _cost(earlier, quantity) for quantity in quantities):
        return True
    return _last_price(later) > _last_price(earlier)


def _cost(price: Tiered, quantity: int) -> int:
    return quantity * price.price_nano - price.tiers.saved(price.price_nano, 0, quantity, whole=quantity)


def _last_price(price: Tiered) -> int:
    return price.tiers.steps[-1].price_nano if price.tiers.steps else price.price_nano


def make_tiers(mode: str, steps: Sequence[Sequence[int]], *, price_nano: int) -> Tiers:
    """Return checked tiers. steps: pairs of `above` in units and `price_nano`, for the unit_size of the first price.

    A tier never costs more than the one before it, so that a cap which holds the first price always suffices.
    Raises BadTiers, with a sentence for whoever wrote them.
    """
    tiers = Tiers(TierMode(mode), tuple(Tier(above, price) for above, price in steps))
    if (tiers.mode is TierMode.FLAT) != (not tiers.steps):
        raise BadTiers("A flat price has no tiers, and a price with tiers has at least one.")
    if len(tiers.steps) > MOST_TIERS:
        raise BadTiers(f"A price has {MOST_TIERS} tiers at the most.")
    bounds = [0, *(step.above for step in tiers.steps)]
    if any(later <= earlier for earlier, later in pairwise(bounds)):
        raise BadTiers("Tiers begin above rising quantities, the first of them above 0.")
    prices = [price_nano, *(step.price_nano for step in tiers.steps)]
    if any(later > earlier for earlier, later in pairwise(prices)) or prices[-1] < 0:
        raise BadTiers("A tier costs no more than the one before it, and never less than nothing.")
    return tiers


def parse_tiers(words: Sequence[str], *, price_nano: int) -> Tiers:
    """Return tiers as people write them: `graduated 10000000:0.08 20000000:0.06`, nothing for a flat price.

    Raises BadTiers.
    """
    if not words:
        return NO_TIERS
    mode, *steps = words
    if mode not in (TierMode.GRADUATED, TierMode.VOLUME):
        raise BadTiers(f"“{mode}” is neither graduated nor volume.")
    return make_tiers(mode, [_parse_step(step) for step in steps], price_nano=price_nano)


def _parse_step(text: str) -> tuple[int, int]:
    above, colon, price = text.partition(":")
    if not (colon and above.isascii() and above.isdigit() and len(above) <= MOST_DIGITS):
        raise BadTiers(f"“{text}” is no tier: write a whole quantity, a colon and a price.")
    return int(above), parse_price(price)


def parse_price(text: str) -> int:
    """Return nano-dollars for a price in dollars. Raises BadTiers."""
    if not _PRICE.fullmatch(text):
        raise BadTiers(f"“{text}” is no price: write dollars, with nine decimals at the most.")
    return usd_to_nano(Decimal(text))


def stored(tiers: Tiers) -> list[list[int]]:
    """Return the steps as JSON keeps them: what `make_tiers` takes."""
    return [[step.above, step.price_nano] for step in tiers.steps]
