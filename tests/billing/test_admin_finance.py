"""Finance finds invoices and payments, takes lines back with a second person, and sees what is owed, to the cent."""

from datetime import timedelta

import pytest
from django.urls import reverse

from accounts.models import AuditEvent, Organization
from accounts.services.staff import StaffGroup
from billing.invoicing import Party, Terms
from billing.models import AccountKind, CreditNote, Invoice, LedgerAccount, SpendCap
from billing.selectors import staff_invoices
from billing.selectors.staff_receivables import column_of, receivables
from billing.services.credits import lock_cap
from billing.services.invoice_settling import give_up_invoice, settle_invoice
from billing.services.invoices import begin_closing, draft_invoice, issue_invoice, void_invoice
from billing.services.usage import record_usage
from catalog.models import Price
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_credit_note, make_invoice, make_issued_note, make_payment, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

INVOICES, NOTES, PAYMENTS = "/admin/billing/invoice/", "/admin/billing/creditnote/", "/admin/billing/payment/"
OWED = f"{INVOICES}receivables/"
READERS = {StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}
SKU = "model.owed.input"
ON_TERMS = Terms(
    seller=Party("Headroom", country="DE"),
    buyer=Party("Acme", country="DE"),
    credit_limit_nano=NANO_PER_USD,
    net_days=30,
)


@pytest.fixture
def invoice() -> Invoice:
    return make_invoice(make_organization("Acme AI").projects.in_order()[0])


@pytest.fixture
def finance():
    return browser_of(make_staff(StaffGroup.FINANCE))


def detail(invoice: Invoice) -> str:
    return reverse("admin:billing_invoice_detail", args=[invoice.public_id])


def text(client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status, address
    return str(answer.content.decode())


def owing(name: str, dollars: int = 20) -> Invoice:
    """An invoice of last month on terms, of which five dollars are paid by the starter credit."""
    organization = make_organization(name)
    if not Price.objects.filter(sku__code=SKU).exists():
        make_price(SKU, NANO_PER_USD, 1)
    # Room beyond its credit, as its terms will give it.
    lock_cap(organization_id=organization.pk, now=NOW)
    SpendCap.objects.of_organization(organization.pk).update(limit_nano=100 * NANO_PER_USD)
    month = month_of(month_of(NOW).start - timedelta(days=1))
    at = month.end - timedelta(hours=2)
    record = make_record(organization.projects.in_order()[0], dollars, sku=SKU, occurred_at=at)
    record_usage([record], reservation_id=None, now=at)
    draft = draft_invoice(organization=organization, period=month, now=NOW, terms=ON_TERMS)
    assert draft is not None
    return issue_invoice(invoice=begin_closing(invoice=draft, now=NOW), now=NOW, terms=ON_TERMS)


def test_an_invoice_is_found_by_number_id_organization_and_state(invoice, finance):
    other = make_invoice(make_organization("Elsewhere").projects.in_order()[0])
    assert invoice.number is not None
    for found in (f"name={invoice.number[-3:]}", f"name={invoice.public_id}", "organization=acme-ai"):
        query = found.replace("acme-ai", invoice.organization.slug)
        page = text(finance, f"{INVOICES}?{query}")
        assert invoice.public_id in page, query
        assert other.public_id not in page, query
    assert invoice.public_id in text(finance, f"{INVOICES}?state=paid")
    assert invoice.public_id not in text(finance, f"{INVOICES}?state=open")


@pytest.mark.parametrize("query", ["state=nonsense", "organization=not a slug", "name=%00", "before=0", "before=x"])
@pytest.mark.parametrize("address", [INVOICES, PAYMENTS])
def test_a_search_that_means_nothing_is_refused_with_a_sentence(finance, address, query):
    assert 'class="errorlist' in text(finance, f"{address}?{query}", 422)


def test_an_invoice_says_its_lines_and_is_shown_as_its_customer_gets_it(invoice, finance):
    page = text(finance, detail(invoice))
    for shown in (invoice.number, "model.invoiced.input", "1000000", "1.00"):
        assert str(shown) in page
    document = text(finance, f"{detail(invoice)}document/")
    assert f"Invoice {invoice.number}" in document
    assert "Acme AI" in document


def test_a_credit_note_takes_two_people(invoice, finance):
    proposed = finance.post(detail(invoice), {"step": "propose", "positions": "1", "reason": "Outage of a day"})
    assert (proposed.status_code, proposed.headers["Location"]) == (302, detail(invoice))
    note = CreditNote.objects.get()
    assert 'value="issue"' not in text(finance, detail(invoice))
    own = finance.post(detail(invoice), {"step": "issue", "note": note.public_id})
    assert own.status_code == 422
    assert "Somebody else than who proposed a credit note issues it." in own.content.decode()
    assert note.public_id in text(finance, NOTES)

    second = browser_of(make_staff(StaffGroup.FINANCE))
    assert 'value="issue"' in text(second, detail(invoice))
    assert second.post(detail(invoice), {"step": "issue", "note": note.public_id}).status_code == 302

    note.refresh_from_db()
    assert (note.status, note.number) == ("issued", "HR-CN-000001")
    written = AuditEvent.objects.filter(target_id=note.public_id).order_by("sequence")
    assert list(written.values_list("action", "actor_id", "via")) == [
        ("credit_note.proposed", note.proposed_by, "staff"),
        ("credit_note.issued", note.decided_by, "staff"),
    ]


def test_a_note_is_declined_also_by_who_proposed_it(invoice, finance):
    note = make_credit_note(invoice)
    assert finance.post(detail(invoice), {"step": "decline", "note": note.public_id}).status_code == 302
    note.refresh_from_db()
    assert note.status == "declined"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"positions": "one"}, "Give numbers of lines"),
        ({"positions": ""}, "This field is required."),
        ({"positions": "7"}, "Name lines that the invoice has, each once."),
        ({"positions": "1, 1"}, "Name lines that the invoice has, each once."),
        ({"positions": "9999999999"}, "Give numbers of lines"),
        ({"reason": " "}, "This field is required."),
    ],
)
def test_bad_input_is_told_and_changes_nothing(invoice, finance, given, sentence):
    answer = finance.post(detail(invoice), {"step": "propose", "positions": "1", "reason": "Outage", **given})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not CreditNote.objects.exists()


def test_notes_of_other_invoices_and_of_none_are_missing(invoice, finance):
    other = make_credit_note(make_invoice(make_organization("Elsewhere").projects.in_order()[0]))
    for name in (other.public_id, "cnote_nobody", "", "\0"):
        assert finance.post(detail(invoice), {"step": "issue", "note": name}).status_code == 404
    other.refresh_from_db()
    assert other.status == "proposed"
    assert finance.post(detail(invoice), {"step": "nonsense", "note": name}).status_code == 404


@pytest.mark.parametrize("address", [f"{INVOICES}inv_nobody/", f"{INVOICES}inv_nobody/document/", f"{INVOICES}%00/"])
def test_what_is_not_there_is_missing(finance, address):
    assert finance.get(address).status_code == 404


def test_a_payment_is_found_by_its_id_and_by_the_provider(finance):
    organization = make_organization("Acme AI")
    payment = make_payment(organization, intent_id="pi_123", amount_cents=12_34)
    other = make_payment(make_organization("Elsewhere"))
    for query in (f"name={payment.public_id}", "name=pi_123", f"organization={organization.slug}"):
        page = text(finance, f"{PAYMENTS}?{query}")
        assert "<td>12.34</td>" in page, query
        assert other.public_id not in page, query
    assert payment.public_id not in text(finance, f"{PAYMENTS}?state=succeeded")


def test_long_lists_come_in_pages_that_keep_the_search(finance, monkeypatch):
    monkeypatch.setattr(staff_invoices, "PAGE_SIZE", 2)
    organization = make_organization()
    ids = {make_payment(organization).public_id for _ in range(5)}
    seen, address = set[str](), f"{PAYMENTS}?organization={organization.slug}"
    for _ in range(3):
        page = text(finance, address)
        seen |= {public_id for public_id in ids if public_id in page}
        link = page.rpartition('<a href="?')[2].partition('"')[0].replace("&amp;", "&")
        address = f"{PAYMENTS}?{link}"
        if "Older" not in page:
            break
    assert seen == ids


def test_what_is_owed_is_what_the_ledger_says_through_every_fate():
    open_one, noted, paid, noted_later, given_up, void = (owing(f"Acme {number}") for number in range(6))
    make_issued_note(noted)
    for one in (paid, noted_later):
        settle_invoice(invoice=one, paid_into=AccountKind.CASH, now=NOW)
    make_issued_note(noted_later)
    give_up_invoice(invoice=given_up, now=NOW)
    void_invoice(invoice=void, now=NOW)

    owed = receivables(NOW + timedelta(days=75))

    # $20.00 less $5.00 of credit, and 19 % on what is left.
    shown = {row.organization: (tuple(row.ages), row.to_repay) for row in owed.rows}
    assert shown == {
        open_one.organization.slug: (("0.00", "0.00", "17.85", "0.00", "0.00"), "0.00"),
        noted_later.organization.slug: (("0.00",) * 5, "-17.85"),
    }
    assert (owed.total.owed, owed.total.ledger, owed.total.difference) == ("0.00", "0.00", "0.00")
    assert {row.difference for row in owed.rows} == {"0.00"}


def test_a_receivable_that_no_invoice_says_is_shown(finance):
    owing("Acme AI")
    LedgerAccount.objects.filter(kind=AccountKind.RECEIVABLE).update(debits_nano=20 * NANO_PER_USD)

    page = text(finance, OWED)

    assert "2.15" in page  # 20.00 in the ledger, 17.85 on the invoice


def test_ages_begin_the_moment_after_something_is_due():
    days = (-1, 0, 1, 29, 30, 59, 60, 89, 90, 900)
    assert [column_of(NOW, NOW + timedelta(days=day)) for day in days] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert column_of(NOW, NOW + timedelta(microseconds=1)) == 1


@pytest.mark.parametrize("group", StaffGroup)
def test_only_those_whose_work_it_is_read_and_only_finance_changes(invoice, group):
    client = browser_of(make_staff(group))
    for address in (INVOICES, NOTES, PAYMENTS, OWED, detail(invoice), f"{detail(invoice)}document/"):
        assert client.get(address).status_code == (200 if group in READERS else 403), address
    note = make_credit_note(invoice)
    for given in ({"step": "decline", "note": note.public_id}, {"step": "propose", "positions": "1", "reason": "Why"}):
        answer = client.post(detail(invoice), given)
        assert answer.status_code == (302 if group is StaffGroup.FINANCE else 403)


def test_who_signed_in_long_ago_is_asked_again(invoice):
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)
    answer = client.post(detail(invoice), {"step": "propose", "positions": "1", "reason": "Outage"})
    assert "confirm-it-is-you" in answer.headers["Location"]
    assert not CreditNote.objects.exists()
    assert Organization.objects.count() == 1
