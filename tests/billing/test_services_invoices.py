"""Months become invoices once, whole, and for ever."""

from datetime import UTC, datetime, timedelta
from uuid import uuid5

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.models import AuditEvent, Project
from billing.invoicing import Party, Terms
from billing.models import AccountKind, CreditGrant, Invoice, InvoicedBucket, InvoiceLine, Route, SpendCap, WriteOff
from billing.selectors import balance_of, prove_ledger
from billing.selectors.unbilled import unbilled_buckets
from billing.services.credit_expiry import expire_credits
from billing.services.credits import Award, UnableToAward, award_credit, lock_cap
from billing.services.invoice_settling import give_up_invoice, settle_invoice
from billing.services.invoice_states import UnableToInvoice
from billing.services.invoices import begin_closing, draft_invoice, issue_invoice, reopen_invoice, void_invoice
from billing.services.month_closing import close_due_months, close_month, close_months_of
from billing.services.usage import UsageRecord, record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
OCTOBER = datetime(2026, 10, 20, 9, 15, tzinfo=UTC)
NOVEMBER = month_of(datetime(2026, 11, 1, tzinfo=UTC))
DUE = NOVEMBER.start + timedelta(hours=24)
ON_TERMS = Terms(
    seller=Party("Headroom GmbH", country="DE"),
    buyer=Party("Acme", country="DE"),
    credit_limit_nano=100 * NANO_PER_USD,
    net_days=30,
    purchase_order="PO-7",
)
DOLLAR = 1_000_000  # tokens


@pytest.fixture
def project() -> Project:
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization())


def use(project: Project, quantity: int, at: datetime = OCTOBER, *, now: datetime | None = None) -> UsageRecord:
    record = make_record(project, quantity, sku=SKU, occurred_at=at)
    record_usage([record], reservation_id=None, now=now or at)
    return record


def take_back(record: UsageRecord, now: datetime) -> None:
    undone = {
        field: getattr(record, field)
        for field in ("occurred_at", "organization_id", "project_id", "sku", "resource_id", "api_key_id", "user_id")
    }
    correction = UsageRecord(
        event_id=uuid5(record.event_id, "correct"), quantity=-record.quantity, corrects=record.event_id, **undone
    )
    record_usage([correction], reservation_id=None, now=now)


def close(project: Project, now: datetime = DUE, terms: Terms | None = None) -> Invoice:
    [invoice] = close_months_of(organization=project.organization, now=now, terms=terms)
    return invoice


def cap_of(project: Project) -> SpendCap:
    return SpendCap.objects.of_organization(project.organization_id).get()


def allow(project: Project, dollars: int) -> None:
    """Give the room that a credit limit will give."""
    cap = lock_cap(organization_id=project.organization_id, now=OCTOBER)
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=cap.limit_nano + dollars * NANO_PER_USD)


def balances(project: Project, *routes: Route) -> list[int]:
    return [balance_of(project.organization_id, route) // (NANO_PER_USD // 100) for route in routes]


def starter(project: Project) -> Route:
    grant = CreditGrant.objects.get(organization=project.organization, kind="starter")
    return Route(AccountKind.PROMOTIONAL_CREDIT, grant_id=grant.pk)


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


REVENUE = Route(AccountKind.REVENUE, product="models")
RECEIVABLE = Route(AccountKind.RECEIVABLE)


def test_an_organization_that_pays_from_credit_gets_an_invoice_with_nothing_due(project):
    use(project, DOLLAR * 3)

    invoice = close(project)

    assert (invoice.status, invoice.number, invoice.revision) == ("paid", "HR-000001", 1)
    assert (invoice.total_cents, invoice.credit_cents, invoice.due_cents) == (300, 300, 0)
    line = InvoiceLine.objects.get()
    assert (line.position, line.quantity, line.amount_nano, line.amount_cents) == (1, DOLLAR * 3, 3 * NANO_PER_USD, 300)
    assert [(part["payer"], part["cents"]) for part in line.parts] == [("credit", 300)]
    assert balances(project, starter(project), REVENUE, RECEIVABLE) == [200, 300, 0]
    assert prove_ledger().is_whole
    assert unbilled_buckets(project.organization_id, before=NOVEMBER.end) == []
    assert AuditEvent.objects.filter(action="invoice.issued", target_id=invoice.public_id).count() == 1


def test_a_month_is_closed_once_however_often(project):
    use(project, DOLLAR)
    organization = project.organization

    first = close(project)

    assert close_months_of(organization=organization, now=DUE) == []
    assert close_month(organization=organization, period=month_of(OCTOBER), now=DUE) is None
    assert issue_invoice(invoice=first, now=DUE) == first
    assert Invoice.objects.count() == InvoiceLine.objects.count() == 1


def test_nothing_is_closed_within_the_grace_nor_before_a_month_is_over(project):
    use(project, DOLLAR)

    assert close_months_of(organization=project.organization, now=DUE - timedelta(microseconds=1)) == []
    with pytest.raises(UnableToInvoice, match="that are over"):
        draft_invoice(organization=project.organization, period=month_of(OCTOBER), now=OCTOBER)
    assert not Invoice.objects.exists()


def test_the_task_closes_what_is_due_for_everybody(project):
    use(project, DOLLAR)
    other = make_project(make_organization())
    use(other, DOLLAR)

    with as_platform():
        assert close_due_months(now=DUE) == 2
        assert close_due_months(now=DUE) == 0

    assert set(Invoice.objects.values_list("number", flat=True)) == {"HR-000001", "HR-000002"}


def test_usage_that_comes_late_is_an_adjustment_of_the_next_invoice(project):
    use(project, DOLLAR)
    close(project)
    use(project, DOLLAR // 2, now=DUE + timedelta(days=3))
    use(project, DOLLAR // 4, NOVEMBER.start)

    invoice = close(project, NOVEMBER.end + timedelta(days=1))

    assert invoice.period_start == NOVEMBER.start
    assert list(
        InvoiceLine.objects.of_invoice(invoice).values_list("is_adjustment", "month__month", "amount_cents")
    ) == [(False, 11, 25), (True, 10, 50)]
    assert list(InvoicedBucket.objects.of_invoice(invoice).values_list("quantity_before", "quantity_after")) == [
        (DOLLAR, DOLLAR * 3 // 2),
        (0, DOLLAR // 4),
    ]


def test_more_taken_back_than_charged_waits_for_charges(project):
    event = use(project, DOLLAR)
    close(project)
    take_back(event, DUE + timedelta(days=3))

    december = NOVEMBER.end + timedelta(days=1)
    assert close_months_of(organization=project.organization, now=december) == []
    use(project, DOLLAR * 3, NOVEMBER.end)
    invoice = close(project, month_of(december).end + timedelta(days=1))

    assert (invoice.period_start, invoice.total_cents) == (NOVEMBER.end, 200)
    assert balances(project, starter(project), REVENUE) == [200, 300]
    assert prove_ledger().is_whole


def test_terms_let_the_rest_be_owed_with_tax_and_give_room_back_when_it_is_paid(project):
    allow(project, 100)
    use(project, DOLLAR * 15)

    invoice = close(project, terms=ON_TERMS)

    assert (invoice.status, invoice.credit_cents, invoice.owed_cents, invoice.tax_cents) == ("open", 500, 1000, 190)
    assert (invoice.due_cents, invoice.due_at, invoice.terms["purchase_order"]) == (1190, DUE + timedelta(30), "PO-7")
    assert balances(project, RECEIVABLE, REVENUE, Route(AccountKind.TAX)) == [1190, 1500, 190]
    room = cap_of(project).remaining_nano

    for _twice in range(2):
        paid = settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=DUE)

    assert (paid.status, paid.paid_at) == ("paid", DUE)
    assert balances(project, RECEIVABLE, Route(AccountKind.CASH)) == [0, 1190]
    assert cap_of(project).remaining_nano == room + 10 * NANO_PER_USD
    assert prove_ledger().is_whole


def test_an_unpaid_invoice_is_voided_and_billed_again(project):
    allow(project, 100)
    use(project, DOLLAR * 15)
    invoice = close(project, terms=ON_TERMS)

    void_invoice(invoice=invoice, now=DUE)
    assert balances(project, RECEIVABLE, REVENUE, starter(project)) == [0, 0, 500]
    again = close(project, terms=ON_TERMS)

    assert (again.revision, again.supersedes, again.number, again.total_cents) == (2, invoice, "HR-000002", 1500)
    with pytest.raises(UnableToInvoice, match="is void"):
        settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=DUE)


def test_an_invoice_under_a_later_one_is_not_voided(project):
    allow(project, 100)
    use(project, DOLLAR * 15)
    invoice = close(project, terms=ON_TERMS)
    use(project, DOLLAR, NOVEMBER.start)
    close(project, NOVEMBER.end + timedelta(days=1), ON_TERMS)

    with pytest.raises(UnableToInvoice, match="write a credit note"):
        void_invoice(invoice=invoice, now=DUE)


def test_what_nobody_will_pay_is_given_up_and_may_still_be_paid(project):
    allow(project, 100)
    use(project, DOLLAR * 15)
    invoice = close(project, terms=ON_TERMS)

    give_up_invoice(invoice=invoice, now=DUE)
    assert balances(project, RECEIVABLE, Route(AccountKind.WRITE_OFF)) == [0, 1190]
    settle_invoice(invoice=invoice, paid_into=AccountKind.CASH_IN_TRANSIT, now=DUE)

    assert balances(project, RECEIVABLE, Route(AccountKind.WRITE_OFF), Route(AccountKind.CASH_IN_TRANSIT)) == [
        0,
        0,
        1190,
    ]
    assert prove_ledger().is_whole


def test_usage_beyond_the_cap_is_ours_to_pay(project):
    use(project, DOLLAR * 7)
    assert WriteOff.objects.get().amount_nano == 2 * NANO_PER_USD

    invoice = close(project)

    assert (invoice.credit_cents, invoice.house_cents, invoice.due_cents) == (500, 200, 0)
    assert balances(project, starter(project), RECEIVABLE, Route(AccountKind.WRITE_OFF), REVENUE) == [0, 0, 200, 700]


def test_an_overrun_is_taken_once(project):
    use(project, DOLLAR * 7)
    close(project)
    allow(project, 100)
    use(project, DOLLAR * 2, NOVEMBER.start)

    invoice = close(project, NOVEMBER.end + timedelta(days=1), ON_TERMS)

    assert (invoice.house_cents, invoice.owed_cents) == (0, 200)


def test_a_closing_invoice_is_reopened(project):
    use(project, DOLLAR)
    invoice = draft_invoice(organization=project.organization, period=month_of(OCTOBER), now=DUE)
    assert invoice is not None
    with pytest.raises(UnableToInvoice, match="Only an invoice that is closing"):
        issue_invoice(invoice=invoice, now=DUE)

    closing = begin_closing(invoice=begin_closing(invoice=invoice, now=DUE), now=DUE)
    assert reopen_invoice(invoice=closing, now=DUE).status == "draft"
    assert close(project).public_id == invoice.public_id


@pytest.mark.parametrize(
    "change",
    [
        lambda invoice: Invoice.objects.filter(pk=invoice.pk).update(total_cents=1, credit_cents=1),
        lambda invoice: Invoice.objects.filter(pk=invoice.pk).update(number="HR-1"),
        lambda invoice: execute("DELETE FROM billing_invoice"),
        lambda invoice: InvoiceLine.objects.update(amount_cents=299),
        lambda invoice: execute("DELETE FROM billing_invoiceline"),
        lambda invoice: InvoiceLine.objects.create(
            **{
                field.attname: getattr(InvoiceLine.objects.get(), field.attname)
                for field in InvoiceLine._meta.fields
                if field.name != "id"
            }
            | {"position": 2}
        ),
        lambda invoice: InvoicedBucket.objects.update(quantity_after=1),
        lambda invoice: execute("DELETE FROM billing_invoicedbucket"),
    ],
)
def test_not_even_the_owner_of_the_tables_changes_what_was_issued(project, change):
    use(project, DOLLAR * 3)
    invoice = close(project)

    with pytest.raises(DatabaseError, match="not change"), transaction.atomic():
        change(invoice)


def test_credit_is_given_once_for_a_cause_and_makes_room(project):
    given = Award(CreditGrant.Kind.PROMOTIONAL, 20 * NANO_PER_USD, "fair 2026", priority=10)

    first = award_credit(organization=project.organization, given=given, now=OCTOBER)
    assert award_credit(organization=project.organization, given=given, now=OCTOBER) == first

    assert cap_of(project).limit_nano == 25 * NANO_PER_USD
    with pytest.raises(UnableToAward, match="given credit already"):
        award_credit(organization=make_organization(), given=given, now=OCTOBER)
    for wrong in (0, 1):
        with pytest.raises(UnableToAward, match="whole cents"):
            award_credit(
                organization=project.organization, given=Award(CreditGrant.Kind.RESEARCH, wrong, "x"), now=OCTOBER
            )


def test_credit_that_ends_keeps_what_usage_before_its_end_needs(project):
    end = OCTOBER + timedelta(days=1)
    given = Award(CreditGrant.Kind.RESEARCH, 20 * NANO_PER_USD, "award 7", priority=10, expires_at=end)
    grant = award_credit(organization=project.organization, given=given, now=OCTOBER)
    route = Route(AccountKind.GRANT_CREDIT, grant_id=grant.pk)
    use(project, DOLLAR * 8)
    use(project, DOLLAR, end + timedelta(hours=1))

    with_usage_after = end + timedelta(hours=1)
    assert expire_credits(now=end - timedelta(seconds=1)) == 0
    assert expire_credits(now=with_usage_after) == 1
    assert expire_credits(now=with_usage_after) == 0

    assert balances(project, route, Route(AccountKind.PROMOTIONS)) == [800, 1300]
    assert cap_of(project).limit_nano == 13 * NANO_PER_USD
    invoice = close(project)
    assert (invoice.credit_cents, invoice.due_cents) == (900, 0)
    assert balances(project, route, starter(project)) == [0, 400]
    assert prove_ledger().is_whole
