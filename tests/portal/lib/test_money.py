"""Rounding happens in two places, and both are exact."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.lib.money import (
    NANO_PER_CENT,
    decimal_string,
    display_left,
    display_usd,
    divide_half_even,
    nano_to_decimal,
    round_bucket,
    to_cents,
    usd_to_nano,
)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (-1, 2, 0), (-3, 2, -2), (7, 3, 2), (8, 3, 3), (-7, 3, -2), (0, 9, 0)],
)
def test_rounds_ties_to_even(numerator, denominator, expected):
    assert divide_half_even(numerator, denominator) == expected


def test_refuses_a_denominator_of_zero():
    with pytest.raises(ValueError, match="positive"):
        divide_half_even(1, 0)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_agrees_with_exact_decimals(numerator, denominator):
    rounded = divide_half_even(numerator, denominator)

    assert abs(2 * (numerator - rounded * denominator)) <= denominator


def test_prices_a_bucket_once():
    # $2.49 an hour for 3,599 seconds.
    assert round_bucket(3_599, 2_490_000_000, 3_600) == 2_489_308_333


@given(st.lists(st.integers(0, 10**13), max_size=30))
def test_spreads_a_total_over_lines_in_cents(amounts):
    cents = to_cents(amounts)

    assert sum(cents) == divide_half_even(sum(amounts), NANO_PER_CENT)
    assert all(abs(cent * NANO_PER_CENT - amount) < NANO_PER_CENT for cent, amount in zip(cents, amounts, strict=True))


@given(st.integers(-(10**18), 10**18))
def test_dollars_and_nano_dollars_are_the_same_amount(nano):
    assert usd_to_nano(nano_to_decimal(nano)) == nano
    assert Decimal(decimal_string(nano)) == nano_to_decimal(nano)


def test_refuses_a_fraction_of_a_nano_dollar():
    with pytest.raises(ValueError, match="fraction"):
        usd_to_nano(Decimal("0.0000000001"))


@pytest.mark.parametrize(
    ("nano", "shown"),
    [
        (0, "$0.00"),
        (5_000_000_000, "$5.00"),
        (1_234_567_890_000, "$1,234.57"),
        (-20_000_000, "-$0.02"),
        (1_500, "$0.0000015"),
        (4_567_891, "$0.004568"),
        (1, "$0.000000001"),
        (9_999_999, "$0.01"),
    ],
)
def test_shows_no_cost_as_nothing(nano, shown):
    assert display_usd(nano) == shown


@pytest.mark.parametrize(
    ("nano", "shown"), [(4_999_700_000, "$4.99"), (5_000_000_000, "$5.00"), (9_999_999, "$0.00"), (-1, "-$0.01")]
)
def test_never_shows_more_left_than_there_is(nano, shown):
    assert display_left(nano) == shown
