"""A double that starts empty for each test, and must not have departed from Stripe's library when it ends."""

from collections.abc import Iterator

import pytest

from tests.doubles.stripe_double import StripeDouble, running_stripe


@pytest.fixture(scope="session")
def running_double() -> Iterator[StripeDouble]:
    with running_stripe() as double:
        yield double


@pytest.fixture
def double(running_double: StripeDouble) -> Iterator[StripeDouble]:
    running_double.control("reset")
    yield running_double
    running_double.control("settle")
    assert running_double.look("drift") == []
