"""Whatever was used, the lines sum to the total and the parts to the lines."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.invoicing import Bucket, Credit, Party, Payer, Terms, bill, lines_of, quote_tax
from portal.lib.money import NANO_PER_CENT, divide_half_even
from portal.lib.periods import month_of

MONTH = month_of(datetime(2027, 3, 1, tzinfo=UTC))
CASES = 3_000 if os.environ.get("PROVE") else 150

hours = st.integers(-700, 743).map(lambda hour: MONTH.start + timedelta(hours=hour))
quantities = st.integers(0, 60) | st.integers(0, 10**7)
buckets = st.builds(
    Bucket,
    hour=hours,
    project=st.sampled_from(["proj_a", "proj_b", "proj_c"]),
    product=st.just("models"),
    sku=st.sampled_from(["one", "two"]),
    price=st.just("price_1"),
    price_nano=st.just(7_777_777),
    unit_size=st.just(10),
    before=quantities,
    after=quantities,
)
instants = st.none() | hours
grants = st.lists(
    st.builds(
        Credit,
        grant=st.sampled_from(["grant_1", "grant_2", "grant_3", "grant_4"]),
        balance_nano=st.integers(0, 40 * NANO_PER_CENT) | st.integers(0, 10**13),
        priority=st.sampled_from([10, 50]),
        is_bought=st.booleans(),
        effective_at=instants,
        expires_at=instants,
        projects=st.sampled_from([frozenset(), frozenset({"proj_a"}), frozenset({"proj_b", "proj_c"})]),
    ),
    unique_by=lambda one: one.grant,
    max_size=4,
)
some = st.lists(buckets, max_size=12, unique_by=lambda one: (one.hour, one.project, one.sku))


@settings(max_examples=CASES, deadline=None)
@given(some, grants, st.integers(0, 10**12), st.booleans())
def test_an_invoice_adds_up(found, credits_, overrun_nano, may_owe):
    exact = sum(bucket.amount_nano for bucket in found)
    terms = Terms(credit_limit_nano=int(may_owe))

    made = bill(found, MONTH, credits_=credits_, overrun_nano=overrun_nano, terms=terms)

    if made is None:
        assert not found or exact < 0
        return
    assert made.exact_nano == exact
    assert made.total_cents == divide_half_even(exact, NANO_PER_CENT)
    for one in made.lines:
        assert abs(one.line.amount_nano - one.cents * NANO_PER_CENT) < NANO_PER_CENT
        assert sum(part.cents for part in one.parts) == one.cents
        assert all(part.cents for part in one.parts)
        for part in one.parts:
            credit = next((grant for grant in credits_ if grant.grant == part.grant), None)
            assert (credit is None) == (part.payer is not Payer.CREDIT)
            assert credit is None or any(credit.covers(bucket) for bucket in one.line.buckets)
    assert made.paid_by(Payer.SET_OFF) == 0
    assert all(made.burned().get(one.grant, 0) * NANO_PER_CENT <= one.balance_nano for one in credits_)
    assert may_owe or made.paid_by(Payer.OWED) == 0
    assert not may_owe or made.paid_by(Payer.HOUSE) * NANO_PER_CENT <= overrun_nano
    shuffled = bill(reversed(found), MONTH, credits_=credits_[::-1], overrun_nano=overrun_nano, terms=terms)
    assert shuffled == made


@settings(max_examples=CASES, deadline=None)
@given(buckets, st.lists(quantities, max_size=5))
def test_the_steps_of_a_bucket_add_up_to_it(bucket, later):
    steps, before = [], 0
    for after in [*later, bucket.after]:
        steps.append(replace(bucket, before=before, after=after).amount_nano)
        before = after

    assert sum(steps) == replace(bucket, before=0).amount_nano


def test_a_bucket_after_the_period_is_refused():
    late = Bucket(MONTH.end, "proj_a", "models", "sku", "price_1", 1, 1, 0, 1)

    with pytest.raises(ValueError, match="later invoice"):
        lines_of([late], MONTH)


@given(st.integers(0, 10**9), st.sampled_from(["DE", "FI", "US", ""]), st.sampled_from(["DE", "FI", "US", ""]))
def test_tax_is_within_half_a_cent_of_its_rate(base_cents, seller, buyer):
    quote = quote_tax(Party(country=seller), Party(country=buyer), base_cents)

    assert abs(quote.tax_cents * 1_000_000 - base_cents * quote.rate_millionths) * 2 <= 1_000_000
