"""Days that cost far more than those before them. The law and worked numbers: docs/algorithms/anomalies.md."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from portal.lib.money import NANO_PER_USD

# Whole UTC days before the one that is looked at, and how few of them say nothing.
DAYS = 28
FEWEST_DAYS = 7
# How many days a level that was reported is not news.
REMEMBERED_DAYS = 7
SPREADS = 6
FLOOR_NANO = 25 * NANO_PER_USD
# All products together, in place of one.
EVERYTHING = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """That a day is unusual: of a product, or of all together (EVERYTHING). Nano-dollars."""

    product: str
    amount_nano: int
    usual_nano: int


@dataclass(frozen=True, slots=True)
class Series:
    """What a product cost by day. before: the days before, oldest first; reported: those of them that were news."""

    amount_nano: int
    before: Sequence[int]
    reported: Sequence[int] = ()


def median(values: Sequence[int]) -> int:
    """Return the middle of the values, of an even number the mean of both in the middle, rounded down."""
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def limit_nano(before: Sequence[int], reported: Iterable[int] = ()) -> int | None:
    """Return what a day may cost without being unusual; None where the days before it are too few to say."""
    if len(before) < FEWEST_DAYS:
        return None
    usual = median(before)
    spread = median([abs(amount - usual) for amount in before])
    limit = usual + max(SPREADS * spread, usual // 2, FLOOR_NANO)
    return max([limit, *(amount * 3 // 2 for amount in reported)])


def findings(by_product: Mapping[str, Series]) -> list[Finding]:
    """Return what is unusual of a day, all products together first, then by product."""
    found = []
    for product, series in sorted(by_product.items()):
        limit = limit_nano(series.before, series.reported)
        if limit is not None and series.amount_nano > limit:
            found.append(Finding(product, series.amount_nano, median(series.before)))
    return found
