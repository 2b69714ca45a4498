"""Staff change the price list in two pairs of hands, and read what was decided."""

import pytest
import time_machine
from django.test import Client
from django.utils.html import escape

from accounts.services.staff import StaffGroup
from catalog.models import Price, PriceProposal
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.billing import NOW
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

PAGE = "/admin/catalog/priceproposal/"
SKU = "model.demo.input"
READERS = {StaffGroup.CAPACITY, StaffGroup.FINANCE, StaffGroup.SALES, StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        make_price(SKU, 150_000_000, 1_000_000)
        yield


def form(**changes: str) -> dict[str, str]:
    return {
        "sku": SKU,
        "price": "0.12",
        "tier_words": "",
        "active_from": "2026-11-22 15:00",
        "reason": "Cheaper power",
    } | changes


def decide(client: Client, decision: str, proposal: str = "") -> int:
    public_id = proposal or PriceProposal.objects.order_by("-pk")[0].public_id
    return client.post(PAGE, {"decision": decision, "proposal": public_id}).status_code


def test_capacity_proposes_and_finance_publishes():
    capacity, finance = (browser_of(make_staff(group)) for group in (StaffGroup.CAPACITY, StaffGroup.FINANCE))

    assert capacity.post(PAGE, form()).status_code == 302
    assert decide(capacity, "publish") == 422
    seen = finance.get(PAGE).content.decode()
    assert decide(finance, "publish") == 302

    for text in (SKU, "<td>0.12</td>", "Cheaper power", "2026-11-22 15:00", 'value="publish"'):
        assert text in seen, text
    newest = Price.objects.order_by("-version")[0]
    assert (newest.price_nano, newest.tiers, newest.active_from.hour) == (120_000_000, [], 15)
    assert decide(finance, "publish") == 422


def test_a_price_with_tiers_is_proposed_and_published():
    capacity, finance = (browser_of(make_staff(group)) for group in (StaffGroup.CAPACITY, StaffGroup.FINANCE))

    assert capacity.post(PAGE, form(tier_words="volume 10000000:0.1")).status_code == 302
    assert decide(finance, "publish") == 302

    newest = Price.objects.order_by("-version")[0]
    assert (newest.tier_mode, newest.tiers) == ("volume", [[10_000_000, 100_000_000]])


def test_an_empty_price_ends_what_is_sold():
    finance, other = (browser_of(make_staff(StaffGroup.FINANCE)) for _ in range(2))

    assert finance.post(PAGE, form(price="", tier_words="")).status_code == 302
    assert (decide(finance, "publish"), decide(other, "publish")) == (422, 302)

    assert Price.objects.get().active_to is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sku": "model.unknown.input"}, "no such SKU"),
        ({"price": "0.16"}, "at least 30 days"),
        ({"price": "-1"}, "is no price"),
        ({"price": "NaN"}, "is no price"),
        ({"price": "", "tier_words": "volume 10:0.1"}, "no longer sold has no tiers"),
        ({"tier_words": "volume 1"}, "is no tier"),
        ({"tier_words": "volume 10:0.2"}, "costs no more than"),
        ({"active_from": "2026-11-22 15:30"}, "full hour"),
        ({"active_from": "2026-11-22 11:00"}, "hours that have begun"),
        ({"reason": ""}, "required"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(changes, words):
    answer = browser_of(make_staff(StaffGroup.CAPACITY)).post(PAGE, form(**changes))

    assert (answer.status_code, PriceProposal.objects.count(), Price.objects.count()) == (422, 0, 1)
    assert words in answer.content.decode()


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_proposes_and_decides_as_it_may(group):
    browser_of(make_staff(StaffGroup.CAPACITY)).post(PAGE, form())
    client = browser_of(make_staff(group))
    index = client.get("/admin/").content.decode()

    assert client.get(PAGE).status_code == (200 if group in READERS else 403)
    assert (f'href="{escape(PAGE)}"' in index) == (group in READERS)
    expected = {StaffGroup.FINANCE: 302, StaffGroup.CAPACITY: 422}.get(group, 403)
    assert decide(client, "decline") == expected
    proposes = {StaffGroup.FINANCE: 302, StaffGroup.CAPACITY: 422}.get(group, 403)  # one waits for a decision
    assert client.post(PAGE, form(price="0.11")).status_code == proposes


def test_who_signed_in_long_ago_is_asked_again_and_what_is_not_there_is_refused():
    old, finance = (browser_of(make_staff(StaffGroup.FINANCE), is_recent=recent) for recent in (False, True))

    answer = old.post(PAGE, form())

    assert answer.status_code == 302
    assert "next=" in answer["Location"]
    assert not PriceProposal.objects.exists()
    for missing in ("prop_nobody", "\0"):
        assert decide(finance, "publish", missing) == 422
