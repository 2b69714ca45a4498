"""What anything has cost, from when to when, is public: a page, JSON for programs, and one file with all of it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from django.test import Client

from catalog.services.prices import publish_price
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.factories.catalog import load_price_list, make_price, make_sku

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
CARD = "/pricing/rate-card.json"
MILLION = 1_000_000
BEFORE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def announced() -> datetime:
    """A price, and a lower one with tiers that is still to come."""
    begins = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=2)
    make_price(SKU, 150_000_000, MILLION, active_from=BEFORE)
    publish_price(
        sku=make_sku(SKU),
        price_nano=100_000_000,
        unit_size=MILLION,
        active_from=begins,
        now=datetime.now(UTC),
        tiers=Tiers(TierMode.GRADUATED, (Tier(10 * MILLION, 80_000_000),)),
    )
    return begins


def test_a_page_shows_every_version_from_when_to_when_and_what_is_announced(client: Client, announced):
    page = client.get(f"/pricing/history/{SKU}/").content.decode()

    for text in (
        "$0.15",
        "$0.10",
        "2026-01-01 00:00",
        f"{announced:%Y-%m-%d %H:%M}",
        "announced",
        "$0.08 above 10000000",
    ):
        assert text in page.replace(",", ""), text
    assert client.get("/pricing/history/model.unknown.input/").status_code == 404


def test_programs_read_the_same_without_a_key(client: Client, announced):
    answer = client.get(f"/api/v1/prices/{SKU}")

    newest, first = msgspec.json.decode(answer.content)["data"]
    assert (newest["price"], newest["tier_mode"], newest["tiers"]) == (
        "0.10",
        "graduated",
        [{"above": 10 * MILLION, "price": "0.08"}],
    )
    assert (first["price"], first["active_from"], first["tiers"]) == ("0.15", "2026-01-01T00:00:00Z", [])
    assert first["active_to"] == newest["active_from"] == announced.isoformat().replace("+00:00", "Z")
    missing = client.get("/api/v1/prices/model.unknown.input")
    assert (missing.status_code, missing["Content-Type"]) == (404, "application/problem+json")


def test_the_rate_card_has_every_version_and_stays_the_same_bytes_until_there_is_a_new_one(client: Client, announced):
    first, second = client.get(CARD), client.get(CARD)

    card = msgspec.json.decode(first.content)
    assert (card["format"], card["currency"]) == ("rate-card/1", "USD")
    assert [(row["sku"], row["version"], row["price"]) for row in card["prices"]] == [
        (SKU, 1, "0.15"),
        (SKU, 2, "0.10"),
    ]
    assert first.content == second.content
    assert first["Cache-Control"] == "public, max-age=300"
    assert not first.cookies
    again = client.get(CARD, headers={"if-none-match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    make_price("model.other.input", 1, MILLION)
    changed = client.get(CARD, headers={"if-none-match": first["ETag"]})
    assert (changed.status_code, len(msgspec.json.decode(changed.content)["prices"])) == (200, 3)


def test_the_rate_card_costs_one_query_however_long_it_is(client: Client, django_assert_max_num_queries):
    load_price_list()

    # Four of them are the suite stepping down to the role of the portal.
    with django_assert_max_num_queries(7):
        client.get(CARD)
