"""Staff read the ledger, those whose work it is, and nobody changes it."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from accounts.models import Organization
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.selectors import staff_ledger
from billing.services.credits import lock_cap
from billing.services.ledger import Journal, Line, post
from billing.services.ledger import reverse as reverse_journal
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW

pytestmark = pytest.mark.django_db

BOOK, ENTRIES = "/admin/billing/ledgeraccount/", "/admin/billing/ledgerentry/"
READERS = {StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture
def organization() -> Organization:
    organization = make_organization("Acme AI")
    lock_cap(organization_id=organization.pk, now=NOW)
    bill(organization, 1)
    reverse_journal(organization_id=organization.pk, source="invoice:1", effective_at=NOW, now=NOW)
    bill(make_organization("Elsewhere"), 7)
    return organization


def bill(organization: Organization, number: int) -> None:
    line = Line(
        LedgerEntry.Code.USAGE,
        Route(AccountKind.RECEIVABLE),
        Route(AccountKind.REVENUE, product="model"),
        1_500_000_000 + number,
    )
    post(Journal(organization.pk, f"invoice:{number}", NOW, (line,)), now=NOW)


@pytest.fixture
def finance() -> Client:
    return browser_of(make_staff(StaffGroup.FINANCE))


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def statement_of(organization: Organization, kind: AccountKind) -> str:
    public_id = LedgerAccount.objects.owned_by(organization).get(kind=kind).public_id
    return reverse("admin:billing_ledgeraccount_statement", args=[public_id])


def test_the_book_of_an_organization_has_its_sums_and_accounts(organization, finance):
    page = text(finance, f"{BOOK}?organization={organization.slug}")

    assert "Book of Acme AI" in page
    assert page.count("<td>8.000000002</td>") == 2  # debits and credits
    assert "Promotional credit" in page
    assert "Revenue: model" in page
    for account in LedgerAccount.objects.owned_by(organization):
        assert account.public_id in page
    assert "1.500000007" not in page


def test_all_books_have_sums_and_no_accounts(organization, finance):
    page = text(finance, BOOK)

    assert page.count("<td>9.500000009</td>") == 2
    assert "acct_" not in page


def test_a_statement_says_what_moved_the_account(organization, finance):
    page = text(finance, statement_of(organization, AccountKind.RECEIVABLE))

    assert "Reversal: Usage" in page
    assert "-1.500000001" in page
    assert "invoice:1" in page
    assert statement_of(organization, AccountKind.REVENUE) in page


def test_entries_are_those_of_one_organization_or_all(organization, finance):
    everywhere = text(finance, ENTRIES)
    ours = text(finance, f"{ENTRIES}?organization={organization.slug}")

    assert (everywhere.count('<th scope="row">'), ours.count('<th scope="row">')) == (4, 3)
    assert "1.500000007" in everywhere
    assert "1.500000007" not in ours


@pytest.mark.parametrize("first", ["entries", "statement"])
def test_long_lists_come_in_pages(organization, finance, first, monkeypatch):
    monkeypatch.setattr(staff_ledger, "PAGE_SIZE", 2)
    for number in range(2, 5):
        bill(organization, number)
    of_organization = f"{ENTRIES}?organization={organization.slug}"
    address = statement_of(organization, AccountKind.REVENUE) if first == "statement" else of_organization

    seen, page = 0, text(finance, address)
    for _ in range(9):
        seen += page.count('<th scope="row">')
        if "Older" not in page:
            break
        link = page.rpartition('<a href="?')[2].partition('"')[0].replace("&amp;", "&")
        page = text(finance, f"{address.partition('?')[0]}?{link}")

    assert seen == LedgerEntry.objects.owned_by(organization).count() - (first == "statement")


def test_what_is_not_there_is_missing(organization, finance):
    for address in (
        f"{BOOK}?organization=nobody",
        f"{BOOK}?organization=%00",
        f"{BOOK}acct_nobody/",
        f"{statement_of(organization, AccountKind.REVENUE)}?before=txn_nobody-1",
        f"{ENTRIES}?before=x",
        f"{ENTRIES}?before={'9' * 30}",
        f"{ENTRIES}?organization=nobody",
    ):
        assert finance.get(address).status_code == 404, address


def test_nothing_is_changed_by_any_method(organization, finance):
    before = list(LedgerEntry.objects.values_list()), list(LedgerAccount.objects.values_list())

    for address in (BOOK, ENTRIES, statement_of(organization, AccountKind.REVENUE)):
        methods: list[Callable[..., object]] = [finance.post, finance.put, finance.patch, finance.delete]
        for method in methods:
            method(address, {"amount_nano": "1"}, content_type="application/json")

    assert (list(LedgerEntry.objects.values_list()), list(LedgerAccount.objects.values_list())) == before
    for action in ("add/", "1/change/", "1/delete/"):
        assert finance.get(f"{ENTRIES}{action}").status_code == 404


@pytest.mark.parametrize("group", StaffGroup)
def test_only_those_whose_work_it_is_may_look(organization, group):
    client = browser_of(make_staff(group))
    index = client.get(reverse("admin:index")).content.decode()

    for address in (BOOK, ENTRIES, statement_of(organization, AccountKind.REVENUE)):
        assert client.get(address).status_code == (200 if group in READERS else 403)
    for address in (BOOK, ENTRIES):
        assert (f'href="{escape(address)}"' in index) == (group in READERS)
