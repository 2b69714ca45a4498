"""Costs as FOCUS 1.2: every row fits the table of columns, and rows of an invoice sum to what is due."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.urls import reverse

from accounts.models import Project, Role
from accounts.services.staff import StaffGroup
from billing.invoicing.focus import FocusRow, Kind, columns, quantity_of, unit_of
from billing.management.commands.focus_table import focus_table
from billing.models import Invoice
from billing.selectors.focus import focus_of_days, focus_of_invoice
from billing.selectors.invoice_export import usd
from billing.selectors.spend import spend_lines
from billing.services.contracts import AgreedCommitment, AgreedPrice
from billing.services.credit_notes import issue_credit_note
from billing.services.invoices import draft_invoice, void_invoice
from billing.services.month_closing import close_months_of, invoice_above_thresholds
from billing.services.usage import record_usage
from dev.paths import ROOT
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import Period, day_of, month_of
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.test_invoice_tiers import publish
from tests.billing.test_services_invoices import (
    DOLLAR,
    DUE,
    NOVEMBER,
    OCTOBER,
    ON_TERMS,
    SKU,
    allow,
    close,
    take_back,
    use,
)
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_bought_credit, make_contract, make_credit_note, make_record
from tests.factories.catalog import make_price
from tests.factories.terms import put_terms_in_force
from tests.visits import signed_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
FORMS = {
    Kind.DECIMAL: r"-?\d+(\.\d+)?",
    Kind.TIME: r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    Kind.STRING: r"\S(.*\S)?",
}


@pytest.fixture
def project() -> Project:
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization("Acme"), "Search")


def rows_of(invoice: Invoice) -> list[FocusRow]:
    """Return the rows of an invoice, each of which fits the table; they sum to what is due."""
    rows = list(focus_of_invoice(invoice.organization, invoice))
    assert all(misfits(row) == [] for row in rows), [misfits(row) for row in rows]
    assert {row.InvoiceId for row in rows} == {invoice.number}
    assert total(rows) == Decimal(usd(invoice.due_cents))
    return rows


def misfits(row: FocusRow) -> list[str]:
    """Return what of a row breaks the table of columns or a rule of FOCUS between columns."""
    found = []
    for name, column, nullable in columns():
        cell = getattr(row, name)
        if cell is None:
            found += [] if nullable else [f"{name} is null"]
        elif column.kind is Kind.TAGS:
            found += [] if all(isinstance(one, str) for one in json.loads(cell).values()) else [f"{name}: {cell}"]
        elif not re.fullmatch(FORMS[column.kind], cell) or (column.allowed and cell not in column.allowed):
            found.append(f"{name}: {cell}")
    is_usage = row.ChargeCategory == "Usage"
    needed = ["PricingQuantity", "PricingUnit", "PricingCategory", "ListUnitPrice", "ContractedUnitPrice", "SkuPriceId"]
    found += [f"{name} with {row.ChargeCategory}" for name in needed if (getattr(row, name) is not None) != is_usage]
    if not is_usage and {row.ListCost, row.ContractedCost, row.EffectiveCost} != {row.BilledCost}:
        found.append("costs of what has no price differ")
    if not row.ChargePeriodStart < row.ChargePeriodEnd <= row.BillingPeriodEnd:
        found.append("charged after it is billed")
    if (row.ChargePeriodStart < row.BillingPeriodStart) and row.ChargeClass is None:
        found.append("an earlier month without a correction")
    return found


def total(rows: Iterable[FocusRow]) -> Decimal:
    return sum((Decimal(row.BilledCost) for row in rows), Decimal())


def by_kind(rows: Iterable[FocusRow]) -> dict[str, Decimal]:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row.x_ChargeKind] += Decimal(row.BilledCost)
    return dict(sums)


def test_the_document_has_the_table_of_columns():
    written = (ROOT / "docs" / "how-to" / "read-costs-as-focus.md").read_text()

    assert focus_table() in written, "put what `manage.py focus_table` prints into it"


def test_the_table_has_every_mandatory_column_of_the_specification():
    mandatory = {name for name, column, _ in columns() if column.level == "Mandatory"}

    assert mandatory == {
        *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd"),
        *("BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd"),
        *("ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity"),
        *("PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
    }
    ours = {name for name, column, _ in columns() if column.level == "ours"}
    assert ours == {name for name, *_ in columns() if name.startswith("x_")} != set()


@pytest.mark.parametrize(
    ("quantity", "size", "words"),
    [
        (1_500_000, 1_000_000, "1.5"),
        (-7, 1_000_000, "-0.000007"),
        (3_600, 3_600, "1.0"),
        (1, 3_600, "0.000277777777777778"),
        (0, 1, "0.0"),
    ],
)
def test_quantities_are_exact_where_they_end(quantity, size, words):
    assert quantity_of(quantity, size) == words


@pytest.mark.parametrize(
    ("unit", "size", "words"),
    [
        ("token", 1_000_000, "1000000 Tokens"),
        ("token", 1, "Tokens"),
        ("second", 3_600, "Hours"),
        ("second", 1, "Seconds"),
        ("GiB-hour", 1, "GiB-Hours"),
    ],
)
def test_units_are_those_of_the_specification(unit, size, words):
    assert unit_of(unit, size) == words


def test_usage_credit_tax_and_rounding_sum_to_what_is_due(project):
    allow(project, 100)
    use(project, DOLLAR * 15 + 7)
    use(project, 3, OCTOBER + DAY)

    rows = rows_of(close(project, terms=ON_TERMS))

    assert by_kind(rows) == {
        "usage": Decimal("15.00001"),
        "credit": Decimal(-5),
        "rounding": Decimal("-0.00001"),
        "tax": Decimal("1.90"),
    }
    first, second = (row for row in rows if row.x_ChargeKind == "usage")
    assert (first.BilledCost, first.PricingQuantity, first.PricingUnit) == ("15.000007", "15.000007", "1000000 Tokens")
    assert (first.ConsumedQuantity, first.ConsumedUnit, first.ListCost) == ("15000007.0", "Tokens", "15.000007")
    assert (first.ChargePeriodStart, first.ChargePeriodEnd) == ("2026-10-20T00:00:00Z", "2026-10-21T00:00:00Z")
    assert (first.BillingPeriodStart, second.BillingPeriodEnd) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    assert (first.SubAccountId, first.SubAccountName, first.SkuId) == (project.public_id, "Search", SKU)
    assert {row.ChargeClass for row in rows} == {None}
    [credit] = (row for row in rows if row.ChargeCategory == "Credit")
    assert (credit.x_GrantKind, credit.SubAccountName, credit.EffectiveCost) == ("given", "Search", "-5.00")
    assert [row.ChargeCategory for row in rows[2:]] == ["Credit", "Adjustment", "Tax"]


def test_a_sum_that_is_paid_from_credit_is_nothing(project):
    use(project, DOLLAR * 3)

    assert by_kind(rows_of(close(project))) == {"usage": Decimal(3), "credit": Decimal(-3)}


def test_what_we_pay_is_an_adjustment(project):
    use(project, DOLLAR * 6)  # a dollar beyond the starter credit

    rows = rows_of(close(project))

    assert by_kind(rows) == {"usage": Decimal(6), "credit": Decimal(-5), "house": Decimal(-1)}
    assert [row.ChargeCategory for row in rows] == ["Usage", "Adjustment", "Credit"]


def test_late_usage_corrects_the_month_before(project):
    use(project, DOLLAR)
    early = use(project, DOLLAR * 2, OCTOBER + DAY)
    close(project)
    use(project, 500_000, now=NOVEMBER.start + 3 * DAY)
    take_back(early, NOVEMBER.start + 4 * DAY)
    use(project, DOLLAR * 3, NOVEMBER.start + 5 * DAY)

    rows = rows_of(close(project, now=NOVEMBER.end + 2 * DAY))

    usage = [
        (row.ChargeClass, row.ChargePeriodStart[:10], row.BilledCost) for row in rows if row.x_ChargeKind == "usage"
    ]
    assert usage == [
        ("Correction", "2026-10-20", "0.50"),
        ("Correction", "2026-10-21", "-2.00"),
        (None, "2026-11-06", "3.00"),
    ]
    assert {row.BillingPeriodStart for row in rows} == {"2026-11-01T00:00:00Z"}


def test_tiers_are_rows_of_their_own():
    publish()
    project = make_project(make_organization())
    use(project, 25 * 1_000_000)
    first = close(project)
    use(project, 5 * 1_000_000, now=NOVEMBER.start + 3 * DAY)

    # 25 million at 0.10, of which ten save 0.02 and five 0.04.
    assert by_kind(rows_of(first)) == {"usage": Decimal("2.5"), "tiers": Decimal("-0.4"), "credit": Decimal("-2.1")}
    late = rows_of(close(project, now=NOVEMBER.end + 2 * DAY))
    assert {(row.x_ChargeKind, row.BilledCost, row.ChargeClass) for row in late} == {
        ("usage", "0.50", "Correction"),
        ("tiers", "-0.20", "Correction"),
        ("credit", "-0.30", None),
    }


def test_what_was_not_used_of_a_commitment_names_its_contract(project):
    begin = month_of(OCTOBER).start
    contract = make_contract(
        project.organization, active_from=begin, commitment=AgreedCommitment(10_00, begin, NOVEMBER.start)
    )
    use(project, DOLLAR)

    rows = rows_of(close(project))

    [missing] = (row for row in rows if row.x_ChargeKind == "true_up")
    assert (missing.BilledCost, missing.CommitmentDiscountId) == ("9.00", contract.public_id)
    assert (missing.CommitmentDiscountStatus, missing.ServiceName, missing.SubAccountId) == ("Unused", "Billing", None)


def test_a_contracts_price_stands_beside_that_of_the_list(project):
    make_contract(project.organization, AgreedPrice(SKU, 600_000_000), active_from=month_of(OCTOBER).start)
    use(project, DOLLAR)

    [usage, *_] = rows_of(close(project))

    assert (usage.ContractedUnitPrice, usage.ListUnitPrice) == ("0.60", "1.00")
    assert (usage.BilledCost, usage.ContractedCost, usage.ListCost) == ("0.60", "0.60", "1.00")


def test_bought_credit_says_so(project):
    make_bought_credit(project.organization, amount_cents=25_00, now=OCTOBER)
    use(project, DOLLAR * 6)

    rows = rows_of(close(project))

    kinds = {row.x_GrantKind: row.BilledCost for row in rows if row.ChargeCategory == "Credit"}
    assert kinds == {"given": "-5.00", "bought": "-1.00"}


def test_a_credit_note_is_rows_of_its_own_under_its_number(project):
    allow(project, 100)
    use(project, DOLLAR * 15)
    invoice = close(project, terms=ON_TERMS)
    before = rows_of(invoice)
    proposed = make_credit_note(invoice, now=DUE)
    assert rows_of(invoice) == before

    note = issue_credit_note(note=proposed, by=make_staff(StaffGroup.FINANCE), now=DUE)

    rows = list(focus_of_invoice(project.organization, invoice))
    assert [row for row in rows if row.InvoiceId == invoice.number] == before
    taken = [row for row in rows if row.InvoiceId == note.number]
    assert [misfits(row) for row in taken] == [[]] * 3
    assert by_kind(taken) == {"credit_note": Decimal(-15), "credit": Decimal(5), "tax": Decimal("-1.90")}
    assert total(rows) == 0
    assert {(row.ChargeClass, row.BillingPeriodStart[:7], row.ChargePeriodStart[:7]) for row in taken} == {
        ("Correction", "2026-11", "2026-10")
    }
    assert {row.ChargeCategory: row.SubAccountName for row in taken} == {
        "Adjustment": "Search",
        "Credit": "Search",
        "Tax": None,
    }
    october = focus_of_days(project.organization, month_of(OCTOBER))
    assert [row for row in october if row.InvoiceId == note.number] == taken


def test_parts_of_a_month_have_rows_of_their_own(project):
    begin = month_of(OCTOBER).start
    put_terms_in_force(project.organization, 1_000 * NANO_PER_USD, now=begin, invoice_above_nano=50 * NANO_PER_USD)
    use(project, DOLLAR * 60, begin + 10 * DAY)
    with as_platform():
        assert invoice_above_thresholds(now=begin + 11 * DAY) == 1
    use(project, DOLLAR * 3, begin + 10 * DAY, now=begin + 12 * DAY)
    use(project, DOLLAR * 4, begin + 12 * DAY)
    close_months_of(organization=project.organization, now=DUE)

    first, second = Invoice.objects.owned_by(project.organization).order_by("period_start")

    rows_of(first)
    assert [(row.ChargeClass, row.BilledCost) for row in rows_of(second) if row.x_ChargeKind == "usage"] == [
        # Within the month that is billed, however late: no correction.
        (None, "3.00"),
        (None, "4.00"),
    ]


def test_a_range_has_what_is_billed_and_what_is_not_yet(project):
    use(project, DOLLAR, OCTOBER)
    use(project, DOLLAR * 2, OCTOBER + 2 * DAY)
    invoice = close(project)
    use(project, 500_000, OCTOBER, now=NOVEMBER.start + 3 * DAY)
    use(project, DOLLAR, NOVEMBER.start + 4 * DAY)
    october, november = month_of(OCTOBER), NOVEMBER

    rows = list(focus_of_days(project.organization, Period(october.start, november.end)))

    assert all(misfits(row) == [] for row in rows), [misfits(row) for row in rows]
    usage = [row for row in rows if row.x_ChargeKind == "usage"]
    assert [(row.InvoiceId or "", row.ChargeClass or "", row.BilledCost) for row in usage] == [
        (invoice.number, "", "1.00"),
        # Of the same hour: what no invoice billed yet comes last.
        ("", "Correction", "0.50"),
        (invoice.number, "", "2.00"),
        ("", "", "1.00"),
    ]
    spent = sum(line.amount_nano for line in spend_lines(project.organization, Period(october.start, november.end)))
    assert total(usage) == Decimal(spent).scaleb(-9)
    assert total(row for row in rows if row.InvoiceId == invoice.number) == Decimal(usd(invoice.due_cents))
    later = focus_of_days(project.organization, Period(day_of(OCTOBER) + DAY, november.start))
    assert [(row.x_ChargeKind, row.BilledCost) for row in later] == [("usage", "2.00")]


def download(address: str, client) -> tuple[list[dict[str, str]], str]:
    answer = client.get(address)
    assert answer.status_code == 200
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text, newline=""))), answer["Content-Disposition"]


def test_both_files_are_downloaded(project):
    client = signed_in(make_membership(project.organization, role=Role.BILLING).user)
    use(project, DOLLAR * 3)
    invoice = close(project)
    slug = project.organization.slug

    rows, name = download(reverse("billing:invoice-focus", args=[slug, invoice.public_id]), client)
    assert list(rows[0]) == [name for name, *_ in columns()]
    assert [row["BilledCost"] for row in rows] == ["3.00", "-3.00"]
    assert f'filename="{invoice.number}-focus.csv"' in name
    with time_machine.travel(OCTOBER + DAY, tick=False):
        rows, name = download(reverse("billing:spend-focus", args=[slug]) + "?range=7d", client)
        assert client.get(reverse("billing:spend-focus", args=[slug]) + "?range=9d").status_code == 404
    assert [row["BilledCost"] for row in rows] == ["3.00"]
    assert f'filename="{slug}-focus-7d.csv"' in name


def test_a_draft_and_a_void_invoice_have_no_costs(project):
    client = signed_in(make_membership(project.organization, role=Role.BILLING).user)
    allow(project, 100)
    use(project, DOLLAR * 15)
    slug = project.organization.slug
    draft = draft_invoice(organization=project.organization, period=month_of(OCTOBER), now=DUE, terms=ON_TERMS)
    assert draft is not None
    address = reverse("billing:invoice-focus", args=[slug, draft.public_id])
    assert client.get(address).status_code == 404

    invoice = close(project, terms=ON_TERMS)
    assert len(download(address, client)[0]) == 3
    void_invoice(invoice=invoice, now=DUE)

    assert client.get(address).status_code == 404


def test_names_that_begin_like_formulas_are_text(project):
    client = signed_in(make_membership(project.organization, role=Role.BILLING).user)
    Project.objects.filter(pk=project.pk).update(name="=1+1")
    use(project, DOLLAR)
    invoice = close(project)

    address = reverse("billing:invoice-focus", args=[project.organization.slug, invoice.public_id])
    [usage, _credit], _name = download(address, client)

    assert usage["SubAccountName"] == "'=1+1"


def test_machine_time_is_in_hours(project):
    sku = "instance.gpu_1x.surplus"
    make_price(sku, 2_490_000_000, 3_600, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    record_usage([make_record(project, 1_800, sku=sku, occurred_at=OCTOBER)], reservation_id=None, now=OCTOBER)

    [usage, *_] = rows_of(close(project))

    assert (usage.PricingQuantity, usage.PricingUnit, usage.ConsumedQuantity) == ("0.5", "Hours", "1800.0")
    assert (usage.BilledCost, usage.ServiceName) == ("1.245", "Instances")
