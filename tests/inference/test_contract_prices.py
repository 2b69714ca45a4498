"""What the gateway reserves, says and bills is what the organization has agreed on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.models import UsageByHour
from billing.services.contracts import AgreedPrice
from catalog.models import ServedModel
from catalog.selectors import UnitPrice
from inference.gateway.offers import HourlyPrices, Prices
from inference.models import Receipt
from inference.rating import TokenCounts
from portal.lib.periods import hour_of
from tests.factories.accounts import make_key, make_organization
from tests.factories.billing import make_contract
from tests.inference.conftest import ServedGateway, wait_until
from tests.inference.test_caps_of_keys import post

INPUT, OUTPUT = ServedModel.TokenKind.INPUT, ServedModel.TokenKind.OUTPUT


def test_the_cost_said_and_the_bucket_billed_are_those_of_the_contract(gateway: ServedGateway):
    other = make_key(make_organization().projects.in_order()[0], now=datetime.now(UTC))
    own = AgreedPrice(gateway.model.sku(INPUT), 250_000_000)
    contract = make_contract(gateway.organization, own, discount_basis_points=5_000, now=datetime.now(UTC))
    gateway.start()

    answers = [post(gateway, key) for key in (gateway.key, other)]
    wait_until(lambda: Receipt.objects.count() == 2)

    agreed, listed = (answer.json()["usage"] for answer in answers)
    assert agreed["prompt_tokens"] == listed["prompt_tokens"]
    for answer, usage, prices in zip(answers, (agreed, listed), ((250, 500), (1_000, 1_000)), strict=True):
        nano = usage["prompt_tokens"] * prices[0] + usage["completion_tokens"] * prices[1]
        assert Decimal(answer.headers["x-cost"]).scaleb(9) == nano
    buckets = UsageByHour.objects.owned_by(gateway.organization)
    assert sum(bucket.amount_nano for bucket in buckets) == Decimal(answers[0].headers["x-cost"]).scaleb(9)
    assert {bucket.list_price_nano for bucket in buckets} == {1_000_000_000}
    assert agreed["price_version"]["input"] == contract.prices.get().public_id
    assert {agreed["price_version"][kind] for kind in ("input", "output")} == {bucket.price_id for bucket in buckets}


def test_a_contract_that_comes_into_force_while_the_gateway_runs_is_noticed(gateway: ServedGateway):
    gateway.start()
    before = post(gateway, gateway.key)
    make_contract(gateway.organization, discount_basis_points=9_000, now=datetime.now(UTC))

    def cost_of_the_next() -> Decimal:
        return Decimal(post(gateway, gateway.key).headers["x-cost"])

    wait_until(lambda: cost_of_the_next() * 10 == Decimal(before.headers["x-cost"]))


def test_a_request_is_held_at_the_dearer_hour_and_costs_what_the_hour_of_its_end_does():
    now = datetime(2026, 11, 22, 9, 59, 59, tzinfo=UTC)
    cheap, dear = (Prices(UnitPrice("in", name, nano, 10), None, None) for name, nano in (("a", 10), ("b", 30)))
    prices = HourlyPrices({hour_of(now): cheap, hour_of(now) + timedelta(hours=1): dear})

    assert prices.worst_case_nano(prompt_tokens=100, output_tokens=0) == dear.worst_case_nano(
        prompt_tokens=100, output_tokens=0
    )
    ends = [prices.at(now + timedelta(seconds=seconds)).cost(TokenCounts(100)) for seconds in (0, 1, 7_200)]
    assert [end.input.price_id if end.input else "" for end in ends] == ["a", "b", "b"]
