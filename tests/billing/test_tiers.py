"""Tiers: monotone, without jumps, whatever the order and however a period is split; and tests that would notice."""

import inspect
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import billing.rating
import portal.lib.tiers
from billing.rating import PeriodQuantity, discounted_nano, tier_adjustments
from portal.lib.money import round_bucket
from portal.lib.tiers import MOST_TIERS, BadTiers, Tier, TierMode, Tiers, make_tiers, stored

UNIT = 1_000


@dataclass(frozen=True)
class Price:
    price_id: str
    price_nano: int
    unit_size: int
    tiers: Tiers


@st.composite
def versions(draw, mode: TierMode | None = None) -> Price:
    """A price with tiers whose bounds are near the quantities that are drawn below."""
    mode = mode or draw(st.sampled_from([TierMode.GRADUATED, TierMode.VOLUME]))
    bounds = list(accumulate(draw(st.lists(st.integers(1, 400), min_size=1, max_size=4))))
    prices = sorted(draw(st.lists(st.integers(0, 10**7), min_size=len(bounds) + 1, max_size=len(bounds) + 1)))[::-1]
    steps = tuple(Tier(above, price) for above, price in zip(bounds, prices[1:], strict=True))
    return Price("price_a", prices[0], draw(st.sampled_from([1, 7, UNIT, 3_600])), Tiers(mode, steps))


quantities = st.integers(0, 2_000)


def adjustment(price: Price, *parts: int) -> int:
    return sum(line.amount_nano for line in tier_adjustments(PeriodQuantity("sku", price, part) for part in parts))


def exact(price: Price, quantity: int) -> Fraction:
    """What a month costs, unit by unit: slower and plainer than what is tested."""
    steps = [Tier(0, price.price_nano), *price.tiers.steps]
    if quantity < 0:
        return Fraction(quantity * price.price_nano, price.unit_size)
    if price.tiers.mode is TierMode.VOLUME:
        nano = quantity * next(step.price_nano for step in reversed(steps) if quantity > step.above or not step.above)
    else:
        nano = 0
        for step, ends in zip(steps, [*(each.above for each in steps[1:]), quantity], strict=True):
            nano += max(min(ends, quantity) - step.above, 0) * step.price_nano
    return Fraction(nano, price.unit_size)


def check_amounts(price: Price, quantity: int) -> None:
    flat = Fraction(quantity * price.price_nano, price.unit_size)
    assert abs(flat + adjustment(price, quantity) - exact(price, quantity)) <= Fraction(1, 2)


def check_bounds(price: Price, quantity: int) -> None:
    line = adjustment(price, quantity)
    assert line <= 0
    # A bucket of the whole month at the first price, less the line: never money for using more.
    assert round_bucket(quantity, price.price_nano, price.unit_size) + line >= -1


@given(versions(), quantities)
def test_a_month_costs_what_its_units_cost_one_by_one(price, quantity):
    check_amounts(price, quantity)
    check_bounds(price, quantity)


@given(versions(TierMode.GRADUATED), quantities)
def test_graduated_amounts_rise_with_the_quantity_and_have_no_jumps(price, quantity):
    before, after = exact(price, quantity), exact(price, quantity + 1)

    assert 0 <= after - before <= Fraction(price.price_nano, price.unit_size)
    check_amounts(price, quantity + 1)


@given(versions(), st.lists(quantities, min_size=1, max_size=5))
def test_splitting_a_month_into_versions_of_the_same_tiers_changes_nothing_but_roundings(price, parts):
    whole, split = adjustment(price, sum(parts)), adjustment(price, *parts)

    assert abs(whole - split) <= (len(parts) + 1) // 2


@given(versions(), quantities, quantities)
def test_what_more_usage_changes_is_the_difference_of_two_whole_computations(price, booked, more):
    delta = adjustment(price, booked + more) - adjustment(price, booked)

    assert adjustment(price, booked) + delta == adjustment(price, booked + more)
    assert delta <= 0


@given(versions(), versions(), st.lists(quantities, min_size=2, max_size=2))
def test_other_skus_and_their_order_never_matter(one, other, amounts):
    used = [PeriodQuantity("sku_a", one, amounts[0]), PeriodQuantity("sku_b", other, amounts[1])]

    assert tier_adjustments(used) == tier_adjustments(reversed(used))
    assert sum(line.amount_nano for line in tier_adjustments(used)) == adjustment(one, amounts[0]) + adjustment(
        other, amounts[1]
    )


@given(versions(), st.integers(0, 10_000), quantities)
def test_a_discount_keeps_tiers_falling(price, off, quantity):
    steps = [[step.above, discounted_nano(step.price_nano, off)] for step in price.tiers.steps]
    first = discounted_nano(price.price_nano, off)

    tiers = make_tiers(price.tiers.mode, steps, price_nano=first)

    assert 0 <= first <= price.price_nano
    check_bounds(Price("price_b", first, price.unit_size, tiers), quantity)


@given(versions())
def test_what_is_stored_is_read_back(price):
    assert make_tiers(price.tiers.mode, stored(price.tiers), price_nano=price.price_nano) == price.tiers


@pytest.mark.parametrize(
    ("mode", "steps", "words"),
    [
        ("flat", [[10, 5]], "flat price has no tiers"),
        ("graduated", [], "at least one"),
        ("volume", [[0, 5]], "rising"),
        ("volume", [[10, 5], [10, 4]], "rising"),
        ("graduated", [[20, 5], [10, 4]], "rising"),
        ("graduated", [[10, 101]], "no more than"),
        ("graduated", [[10, 50], [20, 60]], "no more than"),
        ("volume", [[10, -1]], "never less than nothing"),
        ("volume", [[n + 1, 1] for n in range(MOST_TIERS + 1)], "at the most"),
    ],
)
def test_tiers_that_contradict_themselves_are_refused_with_a_sentence(mode, steps, words):
    with pytest.raises(BadTiers, match=words):
        make_tiers(mode, steps, price_nano=100)


# Mistake -> where, what stands there, and what somebody could have written.
MISTAKES: dict[str, tuple[ModuleType, str, str]] = {
    "begins a tier one unit late": (portal.lib.tiers, "quantity - step.above", "quantity - step.above - 1"),
    "takes the first tier for all": (portal.lib.tiers, "return reached[-1]", "return reached[0]"),
    "begins a volume tier one unit early": (portal.lib.tiers, "quantity > step.above", "quantity >= step.above"),
    "forgets what lies before": (portal.lib.tiers, " - self._saved_until(price_nano, start)", ""),
    "lets each version begin anew": (
        billing.rating, "price_nano, start, start + part.quantity", "price_nano, 0, part.quantity",
    ),
    "lets each version decide about itself": (billing.rating, "whole=whole", "whole=part.quantity"),
    "adds what is saved": (billing.rating, "-divide_half_even(saved", "divide_half_even(saved"),
    "forgets the unit": (billing.rating, "divide_half_even(saved, price.unit_size)", "saved"),
    "saves on a month of corrections": (portal.lib.tiers, "max(quantity - step.above, 0)", "(quantity - step.above)"),
    "jumps between tiers": (portal.lib.tiers, "(before - after)", "(price_nano - after)"),
}  # fmt: skip


def wrong(module: ModuleType, stands: str, written: str) -> dict[str, object]:
    """Return the module's names with the mistake in it."""
    source = inspect.getsource(module)
    assert source.count(stands) == 1, stands
    names: dict[str, object] = {"__name__": module.__name__}
    exec(compile(source.replace(stands, written), module.__file__ or "", "exec"), names)  # noqa: S102
    return names


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_plain_computation_finds_each_mistake(mistake, monkeypatch):
    module, stands, written = MISTAKES[mistake]
    names = wrong(module, stands, written)
    rating = names["tier_adjustments"] if module is billing.rating else tier_adjustments
    tiers_of = names["Tiers"] if module is portal.lib.tiers else Tiers
    found = []
    for mode in (TierMode.GRADUATED, TierMode.VOLUME):
        right = Price("price_a", 100, 10, Tiers(mode, (Tier(100, 80), Tier(200, 60))))
        other = Price("price_a", 100, 10, tiers_of(mode, right.tiers.steps))  # type: ignore[operator]
        for parts in ((100,), (101,), (250,), (80, 170), (150, 100), (-50,)):
            used = [PeriodQuantity("sku", other, part) for part in parts]
            lines = sum(line.amount_nano for line in rating(used))  # type: ignore[operator]
            # Nothing of these needs rounding.
            found.append(10 * sum(parts) + lines == exact(right, sum(parts)))

    assert not all(found), f"nothing notices: {mistake}"
