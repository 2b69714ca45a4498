"""Staff draft, approve, publish and end contracts, each by who may, and see what they would have cost."""

from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils.html import escape

from accounts.models import Organization
from accounts.services.staff import StaffGroup
from billing.models import Contract
from billing.selectors import prices_for
from billing.services.usage import record_usage
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import NOW, make_contract, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/contract/"
INPUT = "model.demo.input"
READERS = {StaffGroup.SALES, StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}
DRAFTERS = {StaffGroup.SALES, StaffGroup.FINANCE}


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def organization() -> Organization:
    make_price(INPUT, 150_000_000, 1_000_000)
    return make_organization("Acme AI")


def form(of: Organization, **changes: str) -> dict[str, str]:
    return {
        "organization": of.slug,
        "name": "Frame agreement",
        "discount": "12.5",
        "active_from": "2026-12-01 00:00",
        "active_to": "",
        "prices": f"{INPUT} 0.10\n\n",
    } | changes


def page_of(contract: Contract) -> str:
    return f"{LIST}{contract.public_id}/"


def press(client: Client, contract: Contract, step: str, **fields: str) -> int:
    return client.post(page_of(contract), {"step": step} | fields).status_code


def test_a_contract_goes_from_one_pair_of_hands_to_another_and_is_then_paid(organization):
    sales, finance = (browser_of(make_staff(group)) for group in (StaffGroup.SALES, StaffGroup.FINANCE))
    record_usage([make_record(make_project(organization), 2_000_000)], reservation_id=None, now=NOW)
    before = Client()

    drafted = sales.post(LIST, form(organization))
    contract = Contract.objects.get()
    assert (drafted.status_code, drafted["Location"]) == (302, page_of(contract))
    assert press(sales, contract, "approve") == 422
    with time_machine.travel(NOW + timedelta(hours=1), tick=False):
        finance = browser_of(make_staff(StaffGroup.FINANCE))
        seen = finance.get(page_of(contract)).content.decode()
        steps = [press(finance, contract, step) for step in ("approve", "publish", "publish")]

    assert steps == [302, 302, 422]
    for text in ("12.50 %", "<td>0.30</td>", "<td>0.20</td>", "<td>-0.10</td>"):
        assert text in seen, text
    contract.refresh_from_db()
    price = prices_for(organization.pk, [INPUT], contract.active_from)[INPUT]
    assert (price.price_nano, price.tiers.steps) == (100_000_000, ())
    assert before.get(page_of(contract)).status_code == 302  # to sign in


def test_prices_with_tiers_are_agreed_on(organization):
    sales = browser_of(make_staff(StaffGroup.SALES))

    drafted = sales.post(LIST, form(organization, prices=f"{INPUT} 0.10 graduated 10000000:0.08 20000000:0.06"))
    seen = sales.get(drafted["Location"]).content.decode()

    [price] = Contract.objects.get().prices.all()
    assert (price.tier_mode, price.tiers) == ("graduated", [[10_000_000, 80_000_000], [20_000_000, 60_000_000]])
    assert "graduated 10000000:0.08 20000000:0.06" in seen


def test_a_contract_is_discarded_or_ended(organization):
    finance = browser_of(make_staff(StaffGroup.FINANCE))
    draft = make_contract(organization, status=Contract.Status.DRAFT)
    published = make_contract(organization)

    assert [press(finance, draft, "discard"), press(finance, draft, "approve")] == [302, 422]
    assert press(finance, published, "end", active_to="2026-11-22 12:00") == 422
    assert press(finance, published, "end", active_to="nonsense") == 422
    assert press(finance, published, "end", active_to="2026-11-22 14:00") == 302

    published.refresh_from_db()
    assert published.active_to == NOW.replace(hour=14, minute=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"organization": "nobody"}, "no organization with this address"),
        ({"discount": "100.01"}, "less than or equal to 100"),
        ({"discount": "NaN"}, "Enter a number"),
        ({"active_from": "2026-12-01 00:30"}, "full hours"),
        ({"active_from": "soon"}, "valid date"),
        ({"prices": INPUT}, "a price is missing"),
        ({"prices": f"{INPUT} 1e9"}, "is no price"),
        ({"prices": f"{INPUT} 0.1 steps 1:2"}, "neither graduated nor volume"),
        ({"prices": f"{INPUT} 0.1 volume 1-2"}, "is no tier"),
        ({"prices": f"{INPUT} 0.1 volume 10:0.2"}, "costs no more than"),
        ({"prices": f"{INPUT} 0.1 graduated 10000000:0.18"}, "costs no more than"),
        ({"prices": "model.unknown.input 0.1"}, "no list price"),
        ({"name": ""}, "required"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(organization, changes, words):
    sales = browser_of(make_staff(StaffGroup.SALES))

    answer = sales.post(LIST, form(organization, **changes))

    assert (answer.status_code, Contract.objects.count()) == (422, 0)
    assert words in answer.content.decode()


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_drafts_and_approves_as_it_may(organization, group):
    client = browser_of(make_staff(group))
    contract = make_contract(organization, status=Contract.Status.DRAFT)
    index = client.get("/admin/").content.decode()

    assert (
        client.get(LIST).status_code == client.get(page_of(contract)).status_code == (200 if group in READERS else 403)
    )
    assert (f'href="{escape(LIST)}"' in index) == (group in READERS)
    assert client.post(LIST, form(organization)).status_code == (302 if group in DRAFTERS else 403)
    expected = {StaffGroup.FINANCE: 302, StaffGroup.SALES: 422}.get(group, 403)
    assert press(client, contract, "approve") == expected


def test_who_signed_in_long_ago_is_asked_again(organization):
    contract = make_contract(organization, status=Contract.Status.DRAFT)
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)

    answers = [client.post(LIST, form(organization)), client.post(page_of(contract), {"step": "approve"})]

    assert [answer.status_code for answer in answers] == [302, 302]
    assert ["next=" in answer["Location"] for answer in answers] == [True, True]
    assert Contract.objects.get().status == Contract.Status.DRAFT


def test_what_is_not_there_is_missing(organization):
    finance = browser_of(make_staff(StaffGroup.FINANCE))

    for address in (f"{LIST}ctr_nobody/", f"{LIST}%00/", f"{LIST}?organization=nobody"):
        assert finance.get(address).status_code == 404
    assert finance.get(f"{LIST}?organization={organization.slug}").status_code == 200
