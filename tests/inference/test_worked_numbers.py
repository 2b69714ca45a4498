"""The numbers of docs/algorithms/gateway.md."""

from decimal import Decimal

import msgspec
import pytest

from catalog.selectors import UnitPrice
from inference.gateway.budget import chunk_nano
from inference.gateway.dialects.addresses import DIALECTS
from inference.gateway.offers import HourlyPrices, Offer, Prices
from inference.gateway.requests import TEMPLATE_TOKENS
from inference.rating import TokenCounts

PRICES = Prices(
    input=UnitPrice("model.demo.input", "price_a", 1_000_000_000, 1_000_000),
    cached_input=None,
    output=UnitPrice("model.demo.output", "price_b", 1_000_000_000, 1_000_000),
)


@pytest.mark.parametrize(
    ("byte_count", "max_tokens", "answers", "held_nano", "lease_nano"),
    [
        (100, 20, 1, 376_003, 12_032_096),
        (100, 20, 3, 416_003, 13_312_096),
        (10, 1, 1, 267_003, 10_000_000),
        (100_000, 4_000, 1, 104_256_003, 1_000_000_000),
    ],
)
def test_holds_the_worst_case_and_leases_some_of_them(
    byte_count: int, max_tokens: int, answers: int, held_nano: int, lease_nano: int
):
    worst_case_nano = PRICES.worst_case_nano(
        prompt_tokens=byte_count + TEMPLATE_TOKENS, output_tokens=max_tokens * answers
    )

    assert worst_case_nano == held_nano
    assert chunk_nano(worst_case_nano) == lease_nano


def test_settles_by_a_bound_of_what_the_buckets_move():
    cost = PRICES.cost(TokenCounts(input=5, output=20))

    assert cost.usd == Decimal("0.000025")
    assert cost.bound_nano == 25_002


OFFER = Offer(
    served_model_id=1,
    name="m",
    publisher="",
    is_embedding=False,
    context_length=4_096,
    max_output_tokens=100,
    default_output_tokens=100,
    released_at=0,
    upstreams=(),
    regions=frozenset(),
    list_prices=HourlyPrices({}),
    agreed_prices={},
)


@pytest.mark.parametrize(
    ("path", "body", "came", "goes_on", "prompt_tokens"),
    [
        ("/v1/responses", b'{"model": "m", "input": "Hello"}', 32, 60, 316),
        (
            "/v1/messages",
            b'{"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}',
            83,
            75,
            339,
        ),
    ],
)
def test_holds_the_longer_body_of_a_translation(path: str, body: bytes, came: int, goes_on: int, prompt_tokens: int):
    request = DIALECTS[path].read(body).request

    assert (len(body), len(msgspec.json.encode(request.fields))) == (came, goes_on)
    assert request.prompt_bound(OFFER) == prompt_tokens
