"""An organization on terms uses before it pays, owes what it used, and can use again when it has paid."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.models import AuditEvent, OrganizationTerms, Project, User
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, CreditGrant, Invoice, Reservation, Route, SpendCap
from billing.selectors import balance_of, prove_ledger
from billing.services.credits import Award, award_credit
from billing.services.invoice_settling import give_up_invoice, settle_invoice
from billing.services.invoices import void_invoice
from billing.services.limits import Payer
from billing.services.month_closing import close_months_of
from billing.services.reservations import BudgetExceeded, reserve
from billing.services.terms import (
    ProposedTerms,
    UnableToChangeTerms,
    approve_terms,
    discard_terms,
    end_terms,
    propose_terms,
    work_terms,
)
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.test_worked_numbers import number, table
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import make_issued_note, make_record
from tests.factories.catalog import make_price
from tests.factories.terms import make_terms, put_terms_in_force

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
USD = NANO_PER_USD
TOKENS = 1_000_000  # a dollar's worth
OCTOBER = datetime(2026, 10, 20, 9, 15, tzinfo=UTC)
NOVEMBER = month_of(datetime(2026, 11, 1, tzinfo=UTC))
ISSUED = NOVEMBER.start + timedelta(hours=24)
DAY = timedelta(days=1)
STARTER = 5


@pytest.fixture
def project() -> Project:
    make_price(SKU, USD, TOKENS, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization())


@pytest.fixture
def sales() -> User:
    return make_staff(StaffGroup.SALES)


@pytest.fixture
def finance() -> User:
    return make_staff(StaffGroup.FINANCE)


def use(project: Project, dollars: int, at: datetime = OCTOBER) -> None:
    record_usage([make_record(project, dollars * TOKENS, sku=SKU, occurred_at=at)], reservation_id=None, now=at)


def hold(project: Project, dollars: int, at: datetime = OCTOBER, holder: str = "inst_1") -> Reservation:
    return reserve(
        payer=Payer(project.organization_id, project.pk),
        purpose=Reservation.Purpose.INSTANCE_LEASE,
        holder=holder,
        amount_nano=dollars * USD,
        now=at,
        expires_at=at + timedelta(minutes=10),
    )


def close(project: Project, now: datetime = ISSUED) -> Invoice:
    [invoice] = close_months_of(organization=project.organization, now=now)
    return invoice


def room(project: Project) -> int:
    """Dollars that may still be used or held."""
    return cap(project).remaining_nano // USD


def given(project: Project) -> int:
    """Dollars of room that terms give."""
    return cap(project).terms_nano // USD


def cap(project: Project) -> SpendCap:
    return SpendCap.objects.of_organization(project.organization_id).get()


def pay(invoice: Invoice, now: datetime = ISSUED) -> Invoice:
    return settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=now)


def owed(project: Project) -> int:
    return balance_of(project.organization_id, Route(AccountKind.RECEIVABLE)) // USD


def test_an_enterprise_without_credit_uses_is_invoiced_owes_pays_and_can_use_again(project):
    use(project, STARTER)
    put_terms_in_force(project.organization, 10_000 * USD, now=OCTOBER)
    assert room(project) == 10_000

    use(project, 9_000)
    with pytest.raises(BudgetExceeded):
        hold(project, 1_001)
    running = hold(project, 1_000)
    assert room(project) == 0
    record_usage(
        [make_record(project, 1_000 * TOKENS, sku=SKU, occurred_at=OCTOBER)], reservation_id=running.pk, now=OCTOBER
    )
    assert (room(project), cap(project).reserved_nano) == (0, 0)

    invoice = close(project)
    assert (invoice.status, invoice.credit_cents, invoice.owed_cents) == ("open", STARTER * 100, 1_000_000)
    assert (invoice.due_at, invoice.house_cents, owed(project)) == (ISSUED + 30 * DAY, 0, 10_000)
    with pytest.raises(BudgetExceeded):
        hold(project, 1, ISSUED)
    assert prove_ledger().is_whole

    pay(invoice)
    assert (owed(project), room(project), given(project)) == (0, 10_000, 10_000)
    use(project, 10_000, ISSUED)
    assert room(project) == 0
    assert prove_ledger().is_whole


def test_the_worked_numbers_of_terms_md(project):
    use(project, STARTER)
    rows, open_invoices = table("terms.md", "step"), list[Invoice]()
    for row in rows:
        step, amount = row["step"], number(row["amount"])
        match step:
            case "terms":
                put_terms_in_force(project.organization, amount * USD, now=OCTOBER)
            case "use":
                use(project, amount, OCTOBER if owed(project) else OCTOBER + DAY)
            case "invoice":
                open_invoices.append(close(project))
                assert open_invoices[0].owed_cents == amount * 100
            case "credit":
                fair = Award(CreditGrant.Kind.PROMOTIONAL, amount * USD, "fair")
                award_credit(organization=project.organization, given=fair, now=ISSUED)
            case "pay":
                pay(open_invoices.pop())
            case _:
                raise AssertionError(step)
        expected = [number(row[column]) for column in ("given", "room left", "owed")]
        assert [given(project), room(project), owed(project)] == expected, row
        assert prove_ledger().is_whole
    assert len(rows) == 8


def test_usage_beyond_the_credit_limit_is_ours_to_pay_and_never_owed(project):
    put_terms_in_force(project.organization, 10 * USD, now=OCTOBER)
    use(project, 20)

    invoice = close(project)

    assert (invoice.credit_cents, invoice.owed_cents, invoice.house_cents) == (500, 1_000, 500)


def test_a_higher_limit_is_room_at_once_and_a_lower_one_as_far_as_nothing_is_used(project):
    put_terms_in_force(project.organization, 100 * USD, now=OCTOBER)
    put_terms_in_force(project.organization, 300 * USD, now=OCTOBER)
    assert (room(project), given(project)) == (305, 300)
    use(project, 205)

    put_terms_in_force(project.organization, 100 * USD, now=OCTOBER)
    assert (room(project), given(project)) == (0, 200)
    invoice = close(project)
    assert (invoice.owed_cents, owed(project)) == (20_000, 200)
    pay(invoice)

    assert (room(project), given(project)) == (100, 100)
    statuses = OrganizationTerms.objects.order_by("version").values_list("status", flat=True)
    assert list(statuses) == ["ended", "ended", "in_force"]


def test_credit_that_is_bought_while_too_much_is_owed_can_be_used(project):
    put_terms_in_force(project.organization, 200 * USD, now=OCTOBER)
    use(project, 205)
    invoice = close(project)
    put_terms_in_force(project.organization, 50 * USD, now=ISSUED)
    award_credit(
        organization=project.organization,
        given=Award(CreditGrant.Kind.PROMOTIONAL, 30 * USD, "fair"),
        now=ISSUED,
    )

    with as_platform():
        work_terms(now=ISSUED)
    assert (room(project), given(project)) == (30, 200)
    pay(invoice)

    assert (room(project), given(project)) == (80, 50)


def test_what_running_work_holds_goes_with_the_next_look(project, finance):
    terms = put_terms_in_force(project.organization, 100 * USD, now=OCTOBER)
    held = hold(project, 60)

    end_terms(terms=terms, by=finance, now=OCTOBER)
    assert (room(project), given(project)) == (0, 55)
    Reservation.objects.filter(pk=held.pk).update(amount_nano=0, state="closed", ended_at=OCTOBER)
    SpendCap.objects.filter(pk=cap(project).pk).update(reserved_nano=0)
    with as_platform():
        work_terms(now=OCTOBER)

    assert (room(project), given(project)) == (5, 0)


def test_what_was_used_under_terms_that_ended_is_owed(project, finance):
    terms = put_terms_in_force(project.organization, 100 * USD, now=OCTOBER)
    use(project, 45)
    end_terms(terms=terms, by=finance, now=OCTOBER)

    invoice = close(project)

    assert (invoice.credit_cents, invoice.owed_cents, invoice.house_cents) == (500, 4_000, 0)
    pay(invoice)
    assert (room(project), given(project)) == (0, 0)
    assert prove_ledger().is_whole


def test_voiding_giving_up_and_crediting_keep_room_and_debt_together(project):
    put_terms_in_force(project.organization, 100 * USD, now=OCTOBER)
    use(project, 45)

    void_invoice(invoice=close(project), now=ISSUED)
    assert (room(project), owed(project)) == (60, 0)
    invoice = close(project)
    make_issued_note(invoice, now=ISSUED)
    assert (room(project), owed(project), given(project)) == (105, 0, 100)

    use(project, 50, ISSUED)
    again = close(project, NOVEMBER.end + DAY)
    give_up_invoice(invoice=again, now=NOVEMBER.end + DAY)
    put_terms_in_force(project.organization, 0, now=NOVEMBER.end + DAY)
    assert (room(project), given(project)) == (0, 45)
    pay(again, NOVEMBER.end + DAY)
    assert (room(project), given(project)) == (0, 0)
    assert prove_ledger().is_whole


def test_terms_go_from_one_pair_of_hands_to_another_and_begin_and_end_in_time(project, sales, finance):
    wanted = ProposedTerms(50 * USD, 15, active_from=OCTOBER + DAY, active_to=OCTOBER + 3 * DAY)
    terms = propose_terms(organization=project.organization, proposed=wanted, by=sales, now=OCTOBER)
    approve_terms(terms=terms, by=finance, now=OCTOBER)
    with as_platform():
        assert work_terms(now=OCTOBER + DAY - timedelta(seconds=1)) == 0
        assert room(project) == STARTER
        assert [work_terms(now=OCTOBER + DAY), work_terms(now=OCTOBER + DAY)] == [1, 0]
        assert room(project) == STARTER + 50
        assert [work_terms(now=OCTOBER + 3 * DAY), work_terms(now=OCTOBER + 3 * DAY)] == [1, 0]

    assert room(project) == STARTER
    events = AuditEvent.objects.filter(target_id=terms.public_id).order_by("sequence")
    assert [(event.action, event.actor_id) for event in events] == [
        ("terms.proposed", sales.public_id),
        ("terms.approved", finance.public_id),
        ("terms.begun", ""),
        ("terms.ended", ""),
    ]
    assert json.loads(events[0].changes)["credit_limit"] == [None, "50.00"]


def test_nobody_agrees_with_themselves_or_without_the_right(project, sales, finance):
    proposed = ProposedTerms(50 * USD, 30, active_from=OCTOBER)
    terms = propose_terms(organization=project.organization, proposed=proposed, by=finance, now=OCTOBER)

    with pytest.raises(UnableToChangeTerms, match="Somebody else"):
        approve_terms(terms=terms, by=finance, now=OCTOBER)
    for step in (approve_terms, end_terms):
        with pytest.raises(UnableToChangeTerms, match="may not"):
            step(terms=terms, by=sales, now=OCTOBER)
    with pytest.raises(UnableToChangeTerms, match="may not"):
        discard_terms(terms=terms, by=make_staff(StaffGroup.SUPPORT), now=OCTOBER)
    with pytest.raises(UnableToChangeTerms, match="may not"):
        propose_terms(
            organization=project.organization, proposed=proposed, by=make_staff(StaffGroup.SUPPORT), now=OCTOBER
        )
    discard_terms(terms=terms, by=sales, now=OCTOBER)
    with pytest.raises(UnableToChangeTerms, match="is discarded"):
        approve_terms(terms=terms, by=make_staff(StaffGroup.FINANCE), now=OCTOBER)
    assert room(project) == STARTER


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"credit_limit_nano": -1}, "not negative"),
        ({"credit_limit_nano": 1}, "whole cents"),
        ({"net_days": 31}, "0, 15, 30 or 60"),
        ({"invoice_above_nano": 51 * USD}, "within the credit limit"),
        ({"invoice_above_nano": 0}, "above nothing"),
        ({"active_to": OCTOBER - DAY}, "in the future"),
    ],
)
def test_terms_that_contradict_themselves_are_refused(project, sales, changes, words):
    good = {"credit_limit_nano": 50 * USD, "net_days": 30, "active_from": OCTOBER}

    with pytest.raises(UnableToChangeTerms, match=words):
        propose_terms(
            organization=project.organization, proposed=ProposedTerms(**good | changes), by=sales, now=OCTOBER
        )
    assert not OrganizationTerms.objects.exists()


def test_terms_whose_time_passed_before_anybody_began_them_never_begin(project, finance):
    status = OrganizationTerms.Status
    late = make_terms(project.organization, status=status.APPROVED, now=OCTOBER, active_to=OCTOBER + DAY)
    waiting = make_terms(project.organization, status=status.PROPOSED, now=OCTOBER, active_to=OCTOBER + DAY)

    with pytest.raises(UnableToChangeTerms, match="is over"):
        approve_terms(terms=waiting, by=finance, now=OCTOBER + DAY)
    with as_platform():
        work_terms(now=OCTOBER + DAY)

    late.refresh_from_db()
    assert late.status == "discarded"


@pytest.mark.parametrize(
    "change",
    [{"credit_limit_nano": 1}, {"net_days": 0}, {"active_to": OCTOBER + DAY}, {"status": "in_force", "version": 9}],
)
def test_not_even_the_owner_of_the_table_edits_terms_that_are_approved(project, change):
    terms = make_terms(project.organization, status=OrganizationTerms.Status.APPROVED, now=OCTOBER)

    with pytest.raises(DatabaseError, match="never edited"), transaction.atomic():
        OrganizationTerms.objects.filter(pk=terms.pk).update(**change)
    with (
        pytest.raises(DatabaseError, match="never deleted"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM accounts_organizationterms")


def test_the_database_keeps_two_people_and_one_version_in_force(project):
    terms = make_terms(project.organization, status=OrganizationTerms.Status.PROPOSED, now=OCTOBER)
    with pytest.raises(IntegrityError, match="terms_by_two_persons"), transaction.atomic():
        OrganizationTerms.objects.filter(pk=terms.pk).update(approved_by=terms.proposed_by)
    make_terms(project.organization, status=OrganizationTerms.Status.IN_FORCE, now=OCTOBER)
    with pytest.raises(IntegrityError, match="terms_one_version_in_force"), transaction.atomic():
        make_terms(project.organization, status=OrganizationTerms.Status.IN_FORCE, now=OCTOBER)
