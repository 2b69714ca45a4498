"""Statements come in pages with the balance after each entry, and what was changed past every guard is found."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from structlog.testing import capture_logs

from accounts.models import Organization
from billing import tasks
from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.selectors import LedgerProof, prove_ledger, statement, trial_balance
from billing.services.ledger import Journal, Line, post, reverse
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW

pytestmark = pytest.mark.django_db

Code = LedgerEntry.Code
RECEIVABLE, REVENUE = Route(AccountKind.RECEIVABLE), Route(AccountKind.REVENUE, product="model")


def bill(organization: Organization, *amounts: int, first: int = 1) -> None:
    for number, amount_nano in enumerate(amounts, first):
        line = Line(Code.USAGE, RECEIVABLE, REVENUE, amount_nano)
        post(Journal(organization.pk, f"invoice:{number}", NOW, (line,)), now=NOW)


def pay(organization: Organization, amount_nano: int) -> None:
    line = Line(Code.PAYMENT, Route(AccountKind.CASH), RECEIVABLE, amount_nano)
    post(Journal(organization.pk, f"payment:{amount_nano}", NOW, (line,)), now=NOW)


def account(organization: Organization, route: Route) -> LedgerAccount:
    return LedgerAccount.objects.on(organization.pk, [route]).get()


def test_a_statement_has_every_entry_once_with_the_balance_after_it():
    organization, other = make_organization(), make_organization()
    bill(organization, 10, 20, 30)
    bill(other, 1000)
    pay(organization, 25)
    reverse(organization_id=organization.pk, source="invoice:2", effective_at=NOW, now=NOW)

    pages, before = [], None
    while True:
        page = statement(account(organization, RECEIVABLE), before=before, limit=2)
        pages.append([(line.change_nano, line.balance_nano, line.is_reversal) for line in page.lines])
        before = page.before
        if before is None:
            break

    assert pages == [[(-20, 15, True), (-25, 35, False)], [(30, 60, False), (20, 30, False)], [(10, 10, False)]]
    sold = statement(account(organization, REVENUE), limit=10)
    assert [(line.change_nano, line.balance_nano) for line in sold.lines] == [(-20, 40), (30, 60), (20, 30), (10, 10)]
    assert {(line.other_kind, line.code) for line in sold.lines} == {(AccountKind.RECEIVABLE, Code.USAGE)}
    assert sold.before is None


def test_pages_stay_in_step_while_entries_are_added():
    organization = make_organization()
    bill(organization, 10, 20, 30)
    receivable = account(organization, RECEIVABLE)
    first = statement(receivable, limit=2)
    bill(organization, 40, first=4)

    second = statement(receivable, before=first.before, limit=2)

    assert [(line.change_nano, line.balance_nano) for line in second.lines] == [(10, 10)]


def test_an_account_without_entries_has_an_empty_statement():
    organization = make_organization()
    bill(organization, 1)
    cash = LedgerAccount.objects.create(organization=organization, kind="cash", no_overdraft=False, opened_at=NOW)

    assert statement(cash, limit=5).lines == ()


def test_a_word_that_no_page_gave_is_refused():
    organization, other = make_organization(), make_organization()
    bill(organization, 1)
    bill(other, 1)
    pay(organization, 1)
    foreign = statement(account(other, RECEIVABLE), limit=1).lines[0].name
    elsewhere = statement(account(organization, Route(AccountKind.CASH)), limit=1).lines[0].name

    for word in (foreign, elsewhere, "", "txn_", "txn_1-", "-1", "1", "txn_x-1", f"{'9' * 40}-{'9' * 40}", "a-²"):
        with pytest.raises(ValueError, match="no entry"):
            statement(account(organization, REVENUE), before=word, limit=1)


def test_the_trial_balance_sums_every_book():
    for organization in (make_organization(), make_organization()):
        bill(organization, 10, 20)
        pay(organization, 5)

    whole = trial_balance()

    assert [(row.kind, row.product, row.balance_nano) for row in whole.rows] == [
        (AccountKind.RECEIVABLE, "", 50),
        (AccountKind.REVENUE, "model", 60),
        (AccountKind.CASH, "", 10),
    ]
    assert whole.debits_nano == whole.credits_nano == 70


def test_an_empty_ledger_is_whole():
    assert prove_ledger() == LedgerProof(0, 0, 0, 0, 0, ())
    assert prove_ledger().is_whole


def past_every_guard(statement_: str, *values: int) -> None:
    """Run a statement as a superuser who switches triggers, foreign keys among them, off."""
    with connection.cursor() as cursor:
        # What was written before is checked as at its commit; what comes now is not.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement_, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE billing_ledgerentry SET amount_nano = amount_nano + 1 WHERE id = %s", 2),
        ("UPDATE billing_ledgerentry SET debit_id = %s, credit_id = debit_id WHERE credit_id = %s AND line = 1", 2),
        ("DELETE FROM billing_ledgerentry WHERE id = %s", 2),
        (
            "UPDATE billing_ledgeraccount SET debits_nano = 31, credits_nano = credits_nano + 1 WHERE id = %s",
            1,
        ),
        ("UPDATE billing_ledgeraccount SET debits_nano = 0 WHERE id = %s", 1),
        ("DELETE FROM billing_ledgeraccount WHERE id = %s", 1),
        ("UPDATE billing_ledgeraccount SET organization_id = NULL, kind = 'cash' WHERE id = %s", 1),
        ("UPDATE billing_ledgerentry SET organization_id = NULL WHERE id = %s", 2),
    ],
    ids=["amount", "direction", "entry gone", "both sums", "one sum", "account gone", "account moved", "entry moved"],
)
def test_what_a_superuser_changed_is_found_and_the_first_account_named(change, found):
    bill(make_organization(), 7)
    organization = make_organization()
    bill(organization, 10, 20)
    bill(make_organization(), 7)
    ours = LedgerAccount.objects.owned_by(organization).order_by("pk")
    receivable, revenue = account(organization, RECEIVABLE), account(organization, REVENUE)
    entry = LedgerEntry.objects.owned_by(organization).order_by("pk")[0]
    first = ours[0] if found > 1 else receivable
    values = {1: (receivable.pk,), 2: (entry.pk,)}[found] if change.count("%s") == 1 else (revenue.pk, revenue.pk)
    assert prove_ledger().is_whole

    past_every_guard(change, *values)

    proof = prove_ledger()
    assert not proof.is_whole
    assert proof.difference_count == len(proof.differences) == found
    name = f"no account {first.pk}" if "DELETE FROM billing_ledgeraccount" in change else first.public_id
    assert proof.differences[0].account_id == name


def test_the_command_says_what_differs_and_fails():
    organization = make_organization()
    bill(organization, 10, 20)
    out = StringIO()
    call_command("verify_ledger", stdout=out)
    assert "2 accounts, 2 entries\ndebits 0.00000003, credits 0.00000003 USD" in out.getvalue()

    receivable = account(organization, RECEIVABLE)
    past_every_guard("UPDATE billing_ledgeraccount SET debits_nano = 31 WHERE id = %s", receivable.pk)

    with pytest.raises(CommandError, match="1 accounts"):
        call_command("verify_ledger", stdout=out)
    assert f"{receivable.public_id}: debits 31 of 30, credits 0 of 0, 0 stray entries" in out.getvalue()


def test_the_daily_job_raises_an_alarm():
    organization = make_organization()
    bill(organization, 10)
    with capture_logs() as quiet:
        tasks.prove_ledger()
    past_every_guard("UPDATE billing_ledgerentry SET amount_nano = %s", 11)

    with capture_logs() as loud:
        tasks.prove_ledger()

    first = LedgerAccount.objects.order_by("pk")[0].public_id
    assert [(one["event"], one["log_level"]) for one in quiet] == [("billing.ledger.proved", "info")]
    assert [(one["event"], one["log_level"], one["first"]) for one in loud] == [
        ("billing.ledger.differs", "error", first)
    ]
