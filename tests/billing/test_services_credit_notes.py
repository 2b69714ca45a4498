"""Credit notes take lines back from whoever paid them, by two people, and all of an invoice sums to nothing."""

from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, transaction

from accounts.models import Project, User
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, CreditNote, Invoice, Route
from billing.selectors import prove_ledger
from billing.services.credit_notes import (
    UnableToCredit,
    decline_credit_note,
    issue_credit_note,
    propose_credit_note,
)
from billing.services.invoice_settling import settle_invoice
from billing.services.invoices import void_invoice
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_USD
from tests.accounts.test_legal_holds import make_staff
from tests.billing.test_services_invoices import (
    DOLLAR,
    DUE,
    ON_TERMS,
    RECEIVABLE,
    REVENUE,
    allow,
    balances,
    cap_of,
    close,
    starter,
    use,
)
from tests.factories.accounts import make_organization, make_project, make_user
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db
TAX = Route(AccountKind.TAX)


@pytest.fixture
def project() -> Project:
    make_price("model.demo.input", NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization())


@pytest.fixture
def invoice(project: Project) -> Invoice:
    """Two lines, $7.33 and $5.55; the starter credit pays $5.00, and 19 % are on the rest of $7.88: $1.50."""
    allow(project, 100)
    use(project, DOLLAR * 733 // 100)
    use(make_project(project.organization, "Second"), DOLLAR * 555 // 100)
    invoice = close(project, terms=ON_TERMS)
    assert (invoice.owed_cents, invoice.tax_cents) == (788, 150)
    return invoice


def clerk() -> User:
    return make_staff(StaffGroup.FINANCE)


def propose(invoice: Invoice, *positions: int, by: User | None = None) -> CreditNote:
    return propose_credit_note(invoice=invoice, positions=positions, reason="Outage", by=by or clerk(), now=DUE)


def issue(invoice: Invoice, *positions: int) -> CreditNote:
    return issue_credit_note(note=propose(invoice, *positions), by=clerk(), now=DUE)


def test_notes_over_all_lines_leave_nothing(project, invoice):
    room = cap_of(project).remaining_nano

    notes = [issue(invoice, 1), issue(invoice, 2)]

    assert [note.number for note in notes] == ["HR-CN-000001", "HR-CN-000002"]
    assert sum(note.tax_cents for note in notes) == 150
    assert sum(note.amount_cents for note in notes) == 1288
    assert balances(project, RECEIVABLE, REVENUE, TAX, starter(project)) == [0, 0, 0, 500]
    assert cap_of(project).remaining_nano == room + 1288 * NANO_PER_USD // 100
    assert prove_ledger().is_whole


def test_what_a_note_took_back_is_not_paid_any_more(project, invoice):
    note = issue(invoice, 2)
    room = cap_of(project).remaining_nano

    settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=DUE)

    paid = invoice.due_cents - note.owed_cents - note.tax_cents
    assert balances(project, RECEIVABLE, Route(AccountKind.CASH)) == [0, paid]
    assert cap_of(project).remaining_nano == room + (invoice.owed_cents - note.owed_cents) * NANO_PER_USD // 100


def test_what_was_paid_is_owed_back(project, invoice):
    settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=DUE)
    room = cap_of(project).remaining_nano

    note = issue(invoice, 1)

    assert balances(project, RECEIVABLE) == [-(note.owed_cents + note.tax_cents)]
    assert cap_of(project).remaining_nano == room + (note.amount_cents - note.owed_cents) * NANO_PER_USD // 100


def test_a_note_is_issued_once_and_by_somebody_else(invoice):
    proposer, issuer = clerk(), clerk()
    note = propose(invoice, 1, by=proposer)
    with pytest.raises(UnableToCredit, match="Somebody else"):
        issue_credit_note(note=note, by=proposer, now=DUE)

    first = issue_credit_note(note=note, by=issuer, now=DUE)
    assert issue_credit_note(note=note, by=issuer, now=DUE) == first
    assert prove_ledger().is_whole
    with pytest.raises(UnableToCredit, match="decided already"):
        decline_credit_note(note=note, by=issuer, now=DUE)
    with pytest.raises(DatabaseError, match="not change"), transaction.atomic():
        CreditNote.objects.update(amount_cents=1)


def test_a_declined_note_frees_its_lines(invoice):
    proposer = clerk()
    decline_credit_note(note=propose(invoice, 1, by=proposer), by=proposer, now=DUE)

    assert issue(invoice, 1).number == "HR-CN-000001"


@pytest.mark.parametrize("group", [None, *StaffGroup])
def test_only_finance_proposes_and_decides(invoice, group):
    note, somebody = propose(invoice, 1), make_staff(group) if group else make_user()
    if group is StaffGroup.FINANCE:
        issue_credit_note(note=note, by=somebody, now=DUE)
        decline_credit_note(note=propose(invoice, 2, by=somebody), by=somebody, now=DUE)
        return

    for step in (
        lambda: propose(invoice, 2, by=somebody),
        lambda: issue_credit_note(note=note, by=somebody, now=DUE),
        lambda: decline_credit_note(note=note, by=somebody, now=DUE),
    ):
        with pytest.raises(UnableToCredit, match="You may not do this with credit notes"):
            step()
    assert CreditNote.objects.values_list("status", flat=True).get() == "proposed"


def test_who_left_the_staff_decides_nothing(invoice):
    note, left = propose(invoice, 1), clerk()
    left.is_staff = False

    with pytest.raises(UnableToCredit, match="may not"):
        issue_credit_note(note=note, by=left, now=DUE)


@pytest.mark.parametrize("positions", [(), (3,), (1, 1)])
def test_only_lines_of_the_invoice_are_taken_back(invoice, positions):
    with pytest.raises(UnableToCredit, match="Name lines"):
        propose(invoice, *positions)


def test_a_line_is_taken_back_once_and_for_a_reason(invoice):
    propose(invoice, 1)

    with pytest.raises(UnableToCredit, match="Another credit note"):
        propose(invoice, 1, 2)
    with pytest.raises(UnableToCredit, match="Say why"):
        propose_credit_note(invoice=invoice, positions=[2], reason=" ", by=clerk(), now=DUE)


def test_a_credited_invoice_is_not_voided_and_a_void_one_not_credited(invoice):
    issue(invoice, 1)
    with pytest.raises(DomainError, match="credit note has taken"):
        void_invoice(invoice=invoice, now=DUE)


def test_a_void_invoice_is_not_credited(invoice):
    void_invoice(invoice=invoice, now=DUE)
    with pytest.raises(UnableToCredit, match="open or paid"):
        propose(invoice, 1)
