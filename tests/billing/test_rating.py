"""Rating is exact and pure: the order of usage never matters, nothing is lost, and what is unpriced is never free."""

from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating import CapState, RatedLine, amount_of, explain, rate, settle


@dataclass(frozen=True)
class Price:
    price_id: str
    price_nano: int
    unit_size: int


PRICES = {
    "model.demo.input": Price("price_a", 150_000_000, 1_000_000),
    "model.demo.output": Price("price_b", 37_500_000, 1_000_000),
    "instance.gpu.surplus": Price("price_c", 2_490_000_000, 3_600),
}
quantities = st.integers(-(10**15), 10**15)
usage = st.lists(st.tuples(st.sampled_from(sorted(PRICES)), quantities), max_size=20)
prices = st.builds(Price, st.just("price_x"), st.integers(0, 10**13), st.integers(1, 10**9))


def test_rates_by_sku_in_order():
    lines = rate([("model.demo.output", 2_000_000), ("instance.gpu.surplus", 1), ("model.demo.output", 1)], PRICES)

    assert lines == [
        RatedLine("instance.gpu.surplus", 1, "price_c", 691_667),
        RatedLine("model.demo.output", 2_000_001, "price_b", 75_000_038),
    ]


def test_refuses_usage_without_a_price():
    with pytest.raises(KeyError, match=r"model\.free\.input"):
        rate([("model.demo.input", 1), ("model.free.input", 1)], PRICES)


@given(usage, st.randoms(use_true_random=False))
def test_the_order_of_usage_never_matters(pairs, random):
    shuffled = random.sample(pairs, len(pairs))

    assert rate(shuffled, PRICES) == rate(pairs, PRICES)


@given(usage)
def test_every_unit_is_rated_once(pairs):
    lines = {line.sku: line for line in rate(pairs, PRICES)}

    for sku, price in PRICES.items():
        total = sum(quantity for name, quantity in pairs if name == sku)
        assert (lines[sku].quantity if sku in lines else 0) == total
        assert (lines[sku].amount_nano if sku in lines else 0) == amount_of(total, price)


@given(quantities, prices)
def test_an_amount_is_within_half_a_nano_dollar_and_even_on_a_tie(quantity, price):
    exact = Fraction(quantity * price.price_nano, price.unit_size)

    amount = amount_of(quantity, price)

    assert abs(amount - exact) <= Fraction(1, 2)
    if abs(amount - exact) == Fraction(1, 2):
        assert amount % 2 == 0


@given(quantities, prices)
def test_a_correction_takes_back_exactly_what_was_charged(quantity, price):
    assert amount_of(-quantity, price) == -amount_of(quantity, price)
    assert rate([("sku", quantity), ("sku", -quantity)], {"sku": price})[0].amount_nano == 0


@given(quantities, st.lists(quantities, max_size=30), prices)
def test_explanations_sum_to_what_they_explain(before, parts, price):
    explained = explain(before, parts, price)

    assert sum(explained) == amount_of(before + sum(parts), price) - amount_of(before, price)
    exact = [Fraction(part * price.price_nano, price.unit_size) for part in parts]
    assert all(abs(got - share) <= 1 for got, share in zip(explained, exact, strict=True))


@st.composite
def caps(draw):
    """Caps that hold, at every share of the limit, with a part of the reserved amount held by one reservation."""
    limit = draw(st.integers(0, 10**12))
    settled = limit * draw(st.integers(0, 100)) // 100
    reserved = (limit - settled) * draw(st.integers(0, 100)) // 100
    return CapState(limit, settled, reserved, reserved * draw(st.integers(0, 100)) // 100)


@given(caps(), st.integers(-150, 150))
def test_a_settlement_never_passes_the_cap_and_accounts_for_every_nano_dollar(cap, percent):
    change = cap.limit_nano * percent // 100

    done = settle(cap, change)

    assert done.charged_nano + done.written_off_nano == change
    assert 0 <= done.from_reservation_nano <= cap.held_nano
    settled_after = cap.settled_nano + done.charged_nano
    reserved_after = cap.reserved_nano - done.from_reservation_nano
    assert settled_after >= 0
    assert settled_after + reserved_after <= cap.limit_nano
    if done.written_off_nano > 0:
        # We pay only when there is no room at all left.
        assert settled_after + reserved_after == cap.limit_nano
