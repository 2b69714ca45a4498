"""Staff propose, approve, discard and end terms, each by who may, and see what the organization owes."""

import pytest
import time_machine
from django.test import Client
from django.utils.html import escape

from accounts.models import Organization, OrganizationTerms
from accounts.services.staff import StaffGroup
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW
from tests.factories.terms import make_details, make_terms

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/organizationterms/"
READERS = {StaffGroup.SALES, StaffGroup.FINANCE, StaffGroup.COMPLIANCE, StaffGroup.AUDITOR}
PROPOSERS = {StaffGroup.SALES, StaffGroup.FINANCE}
USD = 1_000_000_000


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme AI")


def form(of: Organization, **changes: str) -> dict[str, str]:
    return {
        "organization": of.slug,
        "credit_limit": "10000",
        "net_days": "30",
        "threshold": "2500.50",
        "gpu_quota": "8",
        "tpu_quota": "",
        "cpu_quota": "0",
        "regions": "",
        "needs_purchase_order": "on",
        "active_from": "2026-11-01 00:00",
        "active_to": "",
    } | changes


def page_of(terms: OrganizationTerms) -> str:
    return f"{LIST}{terms.public_id}/"


def press(client: Client, terms: OrganizationTerms, step: str) -> int:
    return client.post(page_of(terms), {"step": step}).status_code


def test_terms_go_from_one_pair_of_hands_to_another_and_are_ended(organization):
    sales, finance = (browser_of(make_staff(group)) for group in (StaffGroup.SALES, StaffGroup.FINANCE))

    proposed = sales.post(LIST, form(organization))
    terms = OrganizationTerms.objects.get()
    assert (proposed.status_code, proposed["Location"]) == (302, page_of(terms))
    assert (terms.credit_limit_nano, terms.invoice_above_nano) == (10_000 * USD, 2_500 * USD + USD // 2)
    assert [press(sales, terms, "approve"), press(finance, terms, "approve")] == [422, 422]
    # They ask for a purchase-order number, which was not given yet.
    make_details(organization, purchase_order="PO-7")
    assert press(finance, terms, "approve") == 302
    seen = finance.get(page_of(terms)).content.decode()
    assert [press(finance, terms, "nonsense"), press(finance, terms, "end"), press(finance, terms, "end")] == [
        422,
        302,
        422,
    ]

    assert (terms.quotas, terms.regions) == ({"gpu": 8, "cpu": 0}, [])
    for text in ("version 1: in force", "10000.00", "2500.50", "10005.00", "GPU 8, CPU 0", "End now"):
        assert text in seen, text
    terms.refresh_from_db()
    assert (terms.status, terms.ended_at) == ("ended", NOW)


def test_terms_are_discarded(organization):
    sales = browser_of(make_staff(StaffGroup.SALES))
    terms = make_terms(organization, status=OrganizationTerms.Status.PROPOSED)

    assert press(sales, terms, "discard") == 302

    terms.refresh_from_db()
    assert terms.status == "discarded"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"organization": "nobody"}, "no organization with this address"),
        ({"credit_limit": "-1"}, "greater than or equal to 0"),
        ({"credit_limit": "0.001"}, "2 decimal places"),
        ({"net_days": "31"}, "Select a valid choice"),
        ({"threshold": "10000.01"}, "within the credit limit"),
        ({"active_from": "soon"}, "valid date"),
        ({"active_to": "2026-11-02 00:00"}, "in the future"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(organization, changes, words):
    sales = browser_of(make_staff(StaffGroup.SALES))

    answer = sales.post(LIST, form(organization, **changes))

    assert (answer.status_code, OrganizationTerms.objects.count()) == (422, 0)
    assert words in answer.content.decode()


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_proposes_and_approves_as_it_may(organization, group):
    client = browser_of(make_staff(group))
    terms = make_terms(organization, status=OrganizationTerms.Status.PROPOSED)
    index = client.get("/admin/").content.decode()

    assert client.get(LIST).status_code == client.get(page_of(terms)).status_code == (200 if group in READERS else 403)
    assert (f'href="{escape(LIST)}"' in index) == (group in READERS)
    assert client.post(LIST, form(organization)).status_code == (302 if group in PROPOSERS else 403)
    expected = {StaffGroup.FINANCE: 302, StaffGroup.SALES: 422}.get(group, 403)
    assert press(client, terms, "approve") == expected


def test_who_signed_in_long_ago_is_asked_again(organization):
    terms = make_terms(organization, status=OrganizationTerms.Status.PROPOSED)
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)

    answers = [client.post(LIST, form(organization)), client.post(page_of(terms), {"step": "approve"})]

    assert ["next=" in answer["Location"] for answer in answers] == [True, True]
    assert OrganizationTerms.objects.get().status == "proposed"


def test_what_is_not_there_is_missing(organization):
    finance = browser_of(make_staff(StaffGroup.FINANCE))

    for address in (f"{LIST}terms_nobody/", f"{LIST}%00/", f"{LIST}?organization=nobody"):
        assert finance.get(address).status_code == 404
    assert finance.get(f"{LIST}?organization={organization.slug}").status_code == 200
