"""The database rounds exactly as portal.lib.money does."""

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portal.lib.money import divide_half_even

numerators = st.integers(-(10**37), 10**37) | st.integers(-50, 50)
denominators = st.integers(1, 10**18) | st.integers(1, 10)


def in_database(pairs):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT billing_divide_half_even(n, d) FROM unnest(%s::numeric[], %s::numeric[])"
            " WITH ORDINALITY AS pair (n, d, position) ORDER BY position",
            [[numerator for numerator, _ in pairs], [denominator for _, denominator in pairs]],
        )
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(numerators, denominators), min_size=1, max_size=40))
def test_rounds_like_money_does(pairs):
    assert in_database(pairs) == [divide_half_even(*pair) for pair in pairs]


@pytest.mark.django_db
def test_rounds_every_small_case_like_money_does():
    pairs = [(numerator, denominator) for numerator in range(-60, 61) for denominator in range(1, 13)]

    assert in_database(pairs) == [divide_half_even(*pair) for pair in pairs]
