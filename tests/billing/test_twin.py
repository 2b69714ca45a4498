"""A contract's twin shows what the last 90 days would have cost; tier lines what a month will have cost less."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Organization
from billing.models import Contract, UsageByHour
from billing.selectors import contract_twin, tier_lines
from billing.services.contracts import AgreedPrice
from billing.services.usage import record_usage
from catalog.services.prices import publish_price
from portal.lib.tiers import NO_TIERS, Tier, TierMode, Tiers
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import NOW, make_contract, make_record
from tests.factories.catalog import make_price, make_sku

pytestmark = pytest.mark.django_db

INPUT, OUTPUT = "model.demo.input", "model.demo.output"
MILLION = 1_000_000
HOUR = timedelta(hours=1)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
GRADUATED = Tiers(TierMode.GRADUATED, (Tier(10 * MILLION, 600),))
VOLUME = Tiers(TierMode.VOLUME, (Tier(10 * MILLION, 500),))


@pytest.fixture
def organization() -> Organization:
    for sku in (INPUT, OUTPUT):
        make_price(sku, 1_000, MILLION)
    return make_organization()


def use(organization: Organization, at: datetime, quantity: int, sku: str = INPUT) -> None:
    record = make_record(make_project(organization), quantity, sku=sku, occurred_at=at)
    record_usage([record], reservation_id=None, now=at)


def draft(organization: Organization, *prices: AgreedPrice, off: int = 0) -> Contract:
    return make_contract(organization, *prices, discount_basis_points=off, status=Contract.Status.DRAFT)


def lines(contract: Contract, now: datetime = NOW) -> list[tuple[str, int, int, int, int]]:
    return [
        (f"{line.month:%m} {line.sku}", line.quantity, line.billed_nano, line.listed_nano, line.contract_nano)
        for line in contract_twin(contract, now).lines
    ]


def test_each_month_and_sku_is_a_line_at_what_was_billed_at_the_list_and_under_the_draft(organization):
    for at in (NOW - timedelta(days=30), NOW - HOUR, NOW - 3 * HOUR):
        use(organization, at, 3 * MILLION)
    use(organization, NOW - HOUR, 1_500, OUTPUT)
    use(make_organization(), NOW - HOUR, 5 * MILLION)

    assert lines(draft(organization, AgreedPrice(INPUT, 700), off=5_000)) == [
        ("10 " + INPUT, 3 * MILLION, 3_000, 3_000, 2_100),
        ("11 " + INPUT, 6 * MILLION, 6_000, 6_000, 4_200),
        ("11 " + OUTPUT, 1_500, 2, 2, 1),  # 1.5 and 0.75, each bucket rounded
    ]


def test_looks_back_90_days_to_the_hour_and_shows_what_other_contracts_made_of_them(organization):
    start = NOW.replace(minute=0) - timedelta(days=90)
    make_contract(organization, AgreedPrice(INPUT, 900), active_from=start, active_to=start + HOUR)
    for at, quantity in ((start - HOUR, 7), (start, 1), (start + HOUR, 2), (NOW, 11)):
        use(organization, at, quantity * MILLION)

    twin = contract_twin(draft(organization, off=1_000), NOW)

    [line] = twin.lines
    assert (line.quantity, line.billed_nano, line.listed_nano) == (3 * MILLION, 900 + 2_000, 3_000)
    assert line.contract_nano == 2_700
    assert (twin.total.contract, line.difference) == ("0.0000027", "-0.0000002")


def test_tiers_of_the_list_and_of_the_draft_count_the_month_over_all_projects(organization):
    publish_price(
        sku=make_sku(INPUT), price_nano=1_000, unit_size=MILLION, active_from=NOVEMBER, tiers=GRADUATED,
        now=NOVEMBER - HOUR,
    )  # fmt: skip
    for hours in (30, 20, 10):
        use(organization, NOW - hours * HOUR, 5 * MILLION)

    assert lines(draft(organization, AgreedPrice(INPUT, 900, VOLUME))) == [
        ("11 " + INPUT, 15 * MILLION, 15_000 - 2_000, 15_000 - 2_000, 15 * 500)
    ]
    assert [(line.sku, line.quantity, line.amount_nano) for line in tier_lines(organization.pk, NOW)] == [
        (INPUT, 15 * MILLION, -2_000)
    ]
    assert tier_lines(organization.pk, NOVEMBER - HOUR) == []


def test_the_quantity_of_a_month_counts_on_in_the_next_version(organization):
    middle = datetime(2026, 11, 10, tzinfo=UTC)
    for tiers, at in ((GRADUATED, NOVEMBER), (VOLUME, middle)):
        publish_price(
            sku=make_sku(INPUT), price_nano=1_000, unit_size=MILLION, active_from=at, tiers=tiers, now=at - HOUR
        )
    use(organization, middle - HOUR, 12 * MILLION)
    use(organization, middle, 3 * MILLION)

    found = tier_lines(organization.pk, NOW)

    assert [line.amount_nano for line in found] == [-2 * 400, -3 * 500]
    assert {line.price_id for line in found} == set(UsageByHour.objects.values_list("price_id", flat=True))


def test_nothing_used_is_an_empty_twin(organization):
    twin = contract_twin(draft(organization, AgreedPrice(INPUT, 1, NO_TIERS)), NOW)

    assert (list(twin.lines), twin.total.billed) == ([], "0.00")
