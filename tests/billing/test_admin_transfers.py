"""Finance records, confirms, disputes and takes back bank transfers on pages of staff; customers see what they paid."""

from datetime import UTC, datetime

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import Organization, Role
from accounts.services.staff import StaffGroup
from billing.models import BankTransfer, Invoice
from billing.services.month_closing import close_months_of
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price
from tests.factories.terms import make_transfer, put_terms_in_force

pytestmark = pytest.mark.django_db

LIST = "/admin/billing/banktransfer/"
OCTOBER = datetime(2026, 10, 20, 9, 15, tzinfo=UTC)
ISSUED = datetime(2026, 11, 2, 12, tzinfo=UTC)
READERS = {StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(ISSUED, tick=False):
        yield


@pytest.fixture
def invoice() -> Invoice:
    """One of $100.00, unpaid."""
    make_price("model.demo.input", NANO_PER_USD, 1_000_000, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    organization = make_organization("Acme AI")
    put_terms_in_force(organization, 1_000 * NANO_PER_USD, now=OCTOBER)
    usage = make_record(make_project(organization), 105_000_000, occurred_at=OCTOBER)
    record_usage([usage], reservation_id=None, now=OCTOBER)
    [issued] = close_months_of(organization=organization, now=ISSUED)
    return issued


def form(**changes: str) -> dict[str, str]:
    return {
        "organization": "",
        "statement_line": "2026-11/7",
        "amount": "110",
        "value_date": "2026-11-02",
        "payer": "Works Ltd",
        "reference": "HR 000001",
        "invoices": "",
    } | changes


def press(client: Client, transfer: BankTransfer, step: str, **fields: str) -> int:
    return client.post(f"{LIST}{transfer.public_id}/", {"step": step} | fields).status_code


def test_two_people_of_finance_record_and_confirm_and_two_take_back(invoice):
    first, second = (browser_of(make_staff(StaffGroup.FINANCE)) for _ in range(2))

    recorded = first.post(LIST, form())
    transfer = BankTransfer.objects.get()
    assert (recorded.status_code, recorded["Location"]) == (302, f"{LIST}{transfer.public_id}/")
    seen = second.get(recorded["Location"]).content.decode()
    assert [press(first, transfer, "confirm"), press(second, transfer, "confirm")] == [422, 302]

    for text in ("HR-000001", "100.00", "10.00", "Works Ltd"):
        assert text in seen, text
    invoice.refresh_from_db()
    assert invoice.status == "paid"
    assert press(first, transfer, "dispute", because="") == 422
    assert press(first, transfer, "dispute", because="Of another") == 302
    assert [press(first, transfer, "take_back"), press(second, transfer, "take_back")] == [422, 302]
    assert press(second, transfer, "nonsense") == 422
    invoice.refresh_from_db()
    assert invoice.status == "open"
    assert "Of another" in first.get(f"{LIST}{transfer.public_id}/").content.decode()


def test_what_a_transfer_paid_is_on_the_page_of_the_invoice(invoice):
    first, second = (browser_of(make_staff(StaffGroup.FINANCE)) for _ in range(2))
    first.post(LIST, form(amount="40", reference="HR-000001 part one"))
    second.post(f"{LIST}{BankTransfer.objects.get().public_id}/", {"step": "confirm"})
    browser = browser_of(make_membership(invoice.organization, role=Role.BILLING).user)

    shown = browser.get(reverse("billing:invoice-detail", args=[invoice.organization.slug, invoice.public_id]))

    for text in ("Bank transfers", "$40.00: HR-000001 part one", "Left to pay", "$60.00"):
        assert text in shown.content.decode(), text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"organization": "nobody"}, "no organization with this address"),
        ({"reference": "thank you"}, "no organization with this address"),
        ({"amount": "0"}, "greater than or equal to 0.01"),
        ({"amount": "1.001"}, "2 decimal places"),
        ({"value_date": "2026-11-03"}, "has arrived"),
        ({"value_date": "soon"}, "valid date"),
        ({"payer": ""}, "required"),
        ({"statement_line": ""}, "required"),
        ({"invoices": "HR-000001"}, "a number and an amount"),
        ({"invoices": "HR-000001 NaN"}, "a number and an amount"),
        ({"invoices": "HR-000001 1e30"}, "a number and an amount"),
        ({"invoices": "HR-000001 -5"}, "a number and an amount"),
        ({"invoices": "HR-000001 0.001"}, "a number and an amount"),
        ({"invoices": "HR-000009 1.00"}, "no unpaid invoice"),
        ({"invoices": "HR-000001 100.01"}, "left to be paid"),
    ],
)
def test_bad_input_gets_a_sentence_and_changes_nothing(invoice, changes, words):
    finance = browser_of(make_staff(StaffGroup.FINANCE))

    answer = finance.post(LIST, form(**changes))

    assert (answer.status_code, BankTransfer.objects.count()) == (422, 0)
    assert words in answer.content.decode()


def test_a_person_may_say_what_it_pays(invoice):
    finance = browser_of(make_staff(StaffGroup.FINANCE))

    answer = finance.post(
        LIST, form(organization=invoice.organization.slug, invoices="HR-000001 50.00\n", reference="thank you")
    )

    assert answer.status_code == 302
    assert BankTransfer.objects.get().matches.get().amount_cents == 5_000
    assert finance.post(LIST, form()).status_code == 422  # the same line again


def test_one_that_waits_is_discarded(invoice):
    finance = browser_of(make_staff(StaffGroup.FINANCE))
    transfer = make_transfer(invoice.organization, 5)

    assert [press(finance, transfer, "discard"), press(finance, transfer, "confirm")] == [302, 422]


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_and_records_as_it_may(invoice, group):
    client = browser_of(make_staff(group))
    transfer = make_transfer(invoice.organization, 5)

    pages = {client.get(address).status_code for address in (LIST, f"{LIST}{transfer.public_id}/")}
    assert pages == {200 if group in READERS else 403}
    assert client.post(LIST, form()).status_code == (302 if group == StaffGroup.FINANCE else 403)
    assert press(client, transfer, "confirm") == (302 if group == StaffGroup.FINANCE else 403)


def test_who_signed_in_long_ago_is_asked_again(invoice):
    transfer = make_transfer(invoice.organization, 5)
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)

    answers = [client.post(LIST, form()), client.post(f"{LIST}{transfer.public_id}/", {"step": "confirm"})]

    assert ["next=" in answer["Location"] for answer in answers] == [True, True]
    assert BankTransfer.objects.get().status == "recorded"


def test_what_is_not_there_is_missing(invoice):
    finance = browser_of(make_staff(StaffGroup.FINANCE))
    organization: Organization = invoice.organization

    for address in (f"{LIST}transfer_nobody/", f"{LIST}%00/", f"{LIST}?organization=nobody"):
        assert finance.get(address).status_code == 404
    assert finance.get(f"{LIST}?organization={organization.slug}").status_code == 200
