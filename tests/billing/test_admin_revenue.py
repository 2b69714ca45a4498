"""Revenue by SKU and month is the ledger's, and its margin follows the cost that held in the month of the usage."""

from datetime import date, timedelta

import pytest
from django.contrib.admin.models import LogEntry

from accounts.services.staff import StaffGroup
from billing.models import AccountKind, LedgerAccount, SkuCost
from billing.selectors.staff_revenue import cost_in, revenue_of
from billing.services.costs import UnableToEnterCost, enter_cost
from billing.services.invoices import void_invoice
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD, decimal_string
from portal.lib.periods import month_of
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.billing.test_admin_finance import SKU, owing
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_invoice, make_issued_note

pytestmark = pytest.mark.django_db

PAGE = "/admin/billing/skucost/"
MONTH = month_of(month_of(NOW).start - timedelta(days=1))
READERS = {StaffGroup.FINANCE, StaffGroup.AUDITOR}


@pytest.fixture
def staff():
    return make_staff(StaffGroup.FINANCE)


def enter(staff, dollars_nano: int, month: date = date(2026, 1, 1), sku: str = SKU) -> SkuCost:
    return enter_cost(sku=sku, from_month=month, cost_nano=dollars_nano, by=staff, now=NOW)


def test_revenue_is_what_the_ledger_has_through_notes_and_voids(staff):
    owing("Acme AI")
    make_issued_note(owing("Noted"))
    void_invoice(invoice=owing("Void"), now=NOW)
    make_invoice(make_organization("On credit").projects.in_order()[0])

    shown = revenue_of(MONTH)

    ledger_nano = sum(account.balance_nano for account in LedgerAccount.objects.filter(kind=AccountKind.REVENUE))
    assert ledger_nano == 21 * NANO_PER_USD
    assert shown.total.revenue == decimal_string(ledger_nano)
    assert [(row.sku, row.billed, row.noted, row.revenue) for row in shown.rows] == [
        ("model.invoiced.input", "1.00", "0.00", "1.00"),
        (SKU, "40.00", "20.00", "20.00"),
    ]


def test_what_we_paid_ourselves_goes_back_to_nobody_and_is_shown():
    """Nine dollars of usage, five of credit: four are ours."""
    invoice = make_invoice(make_organization().projects.in_order()[0], 9_000_000)
    assert revenue_of(MONTH).total.house == "4.00"
    make_issued_note(invoice)
    [row] = revenue_of(MONTH).rows
    assert (row.billed, row.noted, row.revenue) == ("9.00", "5.00", "4.00")
    revenue = LedgerAccount.objects.get(kind=AccountKind.REVENUE)
    assert revenue.balance_nano == 400 * NANO_PER_CENT


def test_a_margin_is_of_the_cost_in_the_month_of_the_usage(staff):
    owing("Acme AI")
    make_invoice(make_organization("On credit").projects.in_order()[0])
    enter(staff, NANO_PER_USD, date(2027, 1, 1))
    assert revenue_of(MONTH).unknown_count == 2

    enter(staff, 400_000_001, date(2026, 10, 17))

    shown = revenue_of(MONTH)
    assert [(row.cost, row.margin) for row in shown.rows] == [("", ""), ("8.00000002", "11.99999998")]
    assert (shown.total.cost, shown.total.margin, shown.unknown_count) == ("8.00000002", "11.99999998", 1)


def test_the_latest_month_until_then_holds_and_what_was_entered_last(staff):
    owing("Acme AI")
    first, second, third, last = (
        enter(staff, nano, date(2026, month, 1)) for nano, month in ((1, 3), (2, 5), (3, 5), (4, 4))
    )
    costs = [first, second, third, last]
    held = {month: cost_in(costs, date(2026, month, 1)) for month in (2, 3, 4, 5, 12)}
    assert held == {2: None, 3: first, 4: last, 5: third, 12: third}


def test_finance_enters_a_cost_and_it_is_in_the_log(staff):
    owing("Acme AI")
    client = browser_of(staff)
    answer = client.post(PAGE, {"sku": SKU, "cost": "0.25", "from_month": "2026-10-31"})
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)
    page = client.get(PAGE).content.decode()
    for shown in (SKU, "<td>20.00</td>", "<td>5.00</td>", "<td>15.00</td>", 'value="2026-10"'):
        assert shown in page, shown
    assert LogEntry.objects.get().change_message == f"Cost of {SKU} from 2026-10: 0.25 USD per 1"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"sku": "model.nobody.input"}, "There is no SKU of this name"),
        ({"cost": "-1"}, "greater than or equal to 0"),
        ({"cost": "0.0000000001"}, "9 decimal places"),
        ({"from_month": "soon"}, "Enter a valid date."),
        ({"sku": ""}, "This field is required."),
    ],
)
def test_bad_input_is_told_and_changes_nothing(staff, changes, sentence):
    owing("Acme AI")
    answer = browser_of(staff).post(PAGE, {"sku": SKU, "cost": "1", "from_month": "2026-10-01", **changes})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not SkuCost.objects.exists()


@pytest.mark.parametrize(("query", "status"), [("month=2026-10", 200), ("month=2026-13", 404), ("month=%00", 404)])
def test_a_month_that_is_none_is_missing(staff, query, status):
    answer = browser_of(staff).get(f"{PAGE}?{query}")
    assert answer.status_code == status
    if status == 200:
        assert "No invoice of this month was issued." in answer.content.decode()


@pytest.mark.parametrize("group", StaffGroup)
def test_only_those_whose_work_it_is_read_and_only_finance_enters(group):
    person = make_staff(group)
    client = browser_of(person)
    assert client.get(PAGE).status_code == (200 if group in READERS else 403)
    if group is not StaffGroup.FINANCE:
        assert client.post(PAGE, {"sku": SKU, "cost": "1", "from_month": "2026-10-01"}).status_code == 403
        with pytest.raises(UnableToEnterCost, match="may not enter costs"):
            enter(person, 1)


def test_who_signed_in_long_ago_is_asked_again(staff):
    client = browser_of(staff, is_recent=False)
    answer = client.post(PAGE, {"sku": SKU, "cost": "1", "from_month": "2026-10-01"})
    assert "confirm-it-is-you" in answer.headers["Location"]
