"""Money inside the portal: integer nano-dollars. The only places that round, and the only ways to print.

Definitions and worked numbers: docs/algorithms/rating.md.
"""

from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

NANO_PER_USD = 1_000_000_000
NANO_PER_CENT = 10_000_000


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator as an integer, ties to even. Raises ValueError unless denominator > 0."""
    if denominator <= 0:
        raise ValueError("the denominator must be positive")
    quotient, remainder = divmod(numerator, denominator)
    doubled = 2 * remainder
    if doubled > denominator or (doubled == denominator and quotient % 2):
        quotient += 1
    return quotient


def round_bucket(quantity: int, price_nano: int, unit_size: int) -> int:
    """Return the price of a bucket in nano-dollars, half-even.

    quantity: in the SKU's smallest unit (token, second); negative for a correction.
    price_nano: nano-dollars per `unit_size` units.
    """
    return divide_half_even(quantity * price_nano, unit_size)


def to_cents(amounts_nano: Sequence[int]) -> list[int]:
    """Spread a total over its lines in whole cents.

    The sum of the result is the total rounded half-even to a cent, and each line is within a cent of its
    exact amount (largest remainder; the earlier line wins a tie).
    """
    total_cents = divide_half_even(sum(amounts_nano), NANO_PER_CENT)
    cents = [amount // NANO_PER_CENT for amount in amounts_nano]
    missing = total_cents - sum(cents)
    by_remainder = sorted(range(len(cents)), key=lambda i: (-(amounts_nano[i] % NANO_PER_CENT), i))
    for i in by_remainder[:missing]:
        cents[i] += 1
    return cents


def apportion(amount: int, weights: Sequence[int]) -> list[int]:
    """Spread a whole amount, of either sign, in proportion to weights.

    The parts sum to it, each is within 1 of its exact share (largest remainder; the earlier wins a tie). Raises
    ValueError for a weight below 0 and for weights that sum to nothing.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError("there is nothing to spread an amount over")
    parts = [amount * weight // whole for weight in weights]
    missing = amount - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda i: (-(amount * weights[i] % whole), i))
    for i in by_remainder[:missing]:
        parts[i] += 1
    return parts


def usd_to_nano(amount: Decimal) -> int:
    """Return nano-dollars. Raises ValueError for a fraction of a nano-dollar."""
    with localcontext(prec=60):
        nano = amount * NANO_PER_USD
        if nano != nano.to_integral_value():
            raise ValueError(f"{amount} has a fraction of a nano-dollar")
        return int(nano)


def nano_to_decimal(amount_nano: int) -> Decimal:
    """Return exact dollars."""
    return Decimal(amount_nano).scaleb(-9)


def decimal_string(amount_nano: int) -> str:
    """Return exact dollars without trailing zeros and at least two decimals, as the API prints money: 1.50."""
    whole, fraction = divmod(abs(amount_nano), NANO_PER_USD)
    digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_nano < 0 else ''}{whole}.{digits}"


def display_usd(amount_nano: int) -> str:
    """Return dollars for a page: $1,234.50, and below a cent with four significant digits at the most.

    So no cost ever reads as nothing.
    """
    sign = "-" if amount_nano < 0 else ""
    if amount_nano == 0 or abs(amount_nano) >= NANO_PER_CENT:
        dollars, cents = divmod(divide_half_even(abs(amount_nano), NANO_PER_CENT), 100)
        return f"{sign}${dollars:,}.{cents:02}"
    exact = nano_to_decimal(abs(amount_nano))
    digits = max(2, min(9, 3 - exact.adjusted()))
    text = f"{exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_EVEN):f}".rstrip("0")
    return f"{sign}${text}"


def display_left(amount_nano: int) -> str:
    """Return what is left of an amount for a page, in whole cents rounded down: nobody is shown more than they have."""
    return display_usd(amount_nano // NANO_PER_CENT * NANO_PER_CENT)
