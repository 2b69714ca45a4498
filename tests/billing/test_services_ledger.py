"""Journals are whole, posted once, never overdraw credit, and are reversed exactly."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from accounts.models import Organization
from billing.models import AccountKind, CreditGrant, LedgerAccount, LedgerEntry, Route
from billing.selectors import balance_of, prove_ledger, trial_balance, trial_balance_of
from billing.services.credits import grant_starter_credit
from billing.services.ledger import Journal, JournalConflict, Line, Overdraft, UnableToReverse, post, reverse
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import set_organization
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_grant
from tests.support import as_served

pytestmark = pytest.mark.django_db

Code = LedgerEntry.Code
LATER = NOW + timedelta(days=1)
RECEIVABLE, CASH = Route(AccountKind.RECEIVABLE), Route(AccountKind.CASH)
REVENUE = Route(AccountKind.REVENUE, product="model")


@pytest.fixture
def organization():
    return make_organization()


def credit(grant: CreditGrant, kind: AccountKind = AccountKind.PREPAID_CREDIT) -> Route:
    return Route(kind, grant_id=grant.pk)


def journal(organization: Organization | None, *lines: Line, source: str = "invoice:1") -> Journal:
    return Journal(None if organization is None else organization.pk, source, NOW, lines)


def usage(debit: Route, amount_nano: int) -> Line:
    return Line(Code.USAGE, debit, REVENUE, amount_nano)


def top_up(organization: Organization, grant: CreditGrant) -> list[LedgerEntry]:
    line = Line(Code.TOP_UP, CASH, credit(grant), grant.amount_nano)
    return post(journal(organization, line, source=f"top-up:{grant.public_id}"), now=NOW)


def facts():
    accounts = LedgerAccount.objects.order_by("pk").values_list("public_id", "debits_nano", "credits_nano")
    return list(accounts), list(LedgerEntry.objects.order_by("pk").values_list("journal_id", "line", "amount_nano"))


def test_a_journal_moves_every_account_by_its_entries(organization):
    grant = make_grant(organization)
    top_up(organization, grant)

    entries = post(journal(organization, usage(credit(grant), 3), usage(RECEIVABLE, 4)), now=LATER)

    assert [(entry.line, entry.amount_nano, entry.effective_at, entry.recorded_at) for entry in entries] == [
        (1, 3, NOW, LATER),
        (2, 4, NOW, LATER),
    ]
    assert len({entry.journal_id for entry in entries}) == 1
    assert entries[1].name == f"{entries[0].journal_id}-2"
    assert entries[0].journal_id.startswith("txn_")
    balances = [balance_of(organization.pk, route) for route in (REVENUE, RECEIVABLE, credit(grant), CASH)]
    assert balances == [7, 4, grant.amount_nano - 3, grant.amount_nano]
    assert prove_ledger().is_whole


def test_the_same_journal_again_has_no_effect(organization):
    first = post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
    before = facts()

    assert post(journal(organization, usage(RECEIVABLE, 4)), now=LATER) == first
    assert facts() == before


@pytest.mark.parametrize(
    "lines",
    [
        (usage(RECEIVABLE, 5),),
        (usage(RECEIVABLE, 4), usage(RECEIVABLE, 4)),
        (usage(RECEIVABLE, 4), Line(Code.TAX, RECEIVABLE, Route(AccountKind.TAX), 1), usage(RECEIVABLE, 1)),
        (Line(Code.PAYMENT, CASH, RECEIVABLE, 4), Line(Code.TAX, RECEIVABLE, Route(AccountKind.TAX), 1)),
        (Line(Code.TAX, RECEIVABLE, Route(AccountKind.TAX), 1), usage(RECEIVABLE, 4)),
        (usage(RECEIVABLE, 4), Line(Code.USAGE, RECEIVABLE, Route(AccountKind.REVENUE, product="instance"), 1)),
    ],
    ids=["amount", "amount of the second", "one more", "accounts", "order", "product"],
)
def test_the_same_source_with_other_entries_is_refused(organization, lines):
    post(journal(organization, usage(RECEIVABLE, 4), Line(Code.TAX, RECEIVABLE, Route(AccountKind.TAX), 1)), now=NOW)
    before = facts()

    with pytest.raises(JournalConflict), transaction.atomic():
        post(journal(organization, *lines), now=NOW)

    assert facts() == before


def test_organizations_may_use_one_word_for_their_sources(organization):
    post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
    other = make_organization()

    post(journal(other, usage(RECEIVABLE, 5)), now=NOW)

    assert (balance_of(organization.pk, RECEIVABLE), balance_of(other.pk, RECEIVABLE)) == (4, 5)
    assert (trial_balance_of(other).debits_nano, trial_balance().debits_nano) == (5, 9)


@pytest.mark.parametrize("kind", [AccountKind.PREPAID_CREDIT, AccountKind.PROMOTIONAL_CREDIT, AccountKind.GRANT_CREDIT])
def test_credit_is_used_to_the_last_and_never_beyond(organization, kind):
    grant = make_grant(organization, 1_000)
    if kind == AccountKind.PREPAID_CREDIT:
        given = Line(Code.TOP_UP, CASH, credit(grant), 1_000)
    else:
        given = Line(Code.AWARD, Route(AccountKind.PROMOTIONS), credit(grant, kind), 1_000)
    post(journal(organization, given, source="given"), now=NOW)
    before = facts()

    with pytest.raises(Overdraft, match="too little") as refused, transaction.atomic():
        post(journal(organization, usage(RECEIVABLE, 5), usage(credit(grant, kind), 1_001)), now=NOW)

    assert refused.value.lacking_nano == 1
    assert facts() == before
    post(journal(organization, usage(credit(grant, kind), 1_000)), now=NOW)
    assert balance_of(organization.pk, credit(grant, kind)) == 0


def test_each_grant_has_only_its_own(organization):
    rich, poor = make_grant(organization), make_grant(organization, 10)
    top_up(organization, rich)
    top_up(organization, poor)

    with pytest.raises(Overdraft), transaction.atomic():
        post(journal(organization, usage(credit(poor), 11)), now=NOW)

    post(journal(organization, usage(credit(poor), 10), usage(credit(rich), 1)), now=NOW)
    assert balance_of(organization.pk, credit(poor)) == 0


def test_the_database_refuses_an_overdraft_too(organization):
    grant = make_grant(organization, 10)
    top_up(organization, grant)
    account = LedgerAccount.objects.get(grant=grant)

    with pytest.raises(IntegrityError, match="ledger_account_not_overdrawn"), transaction.atomic():
        LedgerAccount.objects.filter(pk=account.pk).update(debits_nano=11)


def test_a_receivable_may_fall_below_zero(organization):
    post(journal(organization, Line(Code.PAYMENT, CASH, RECEIVABLE, 7)), now=NOW)

    assert balance_of(organization.pk, RECEIVABLE) == -7


def test_a_reversal_is_the_opposite_of_every_entry(organization):
    grant = make_grant(organization, 10)
    top_up(organization, grant)
    before = {account: balance_of(organization.pk, account) for account in (REVENUE, RECEIVABLE, credit(grant), CASH)}
    posted = post(journal(organization, usage(credit(grant), 3), usage(RECEIVABLE, 4)), now=NOW)

    undone = reverse(organization_id=organization.pk, source="invoice:1", effective_at=LATER, now=LATER)

    assert [(one.debit_id, one.credit_id, one.amount_nano, one.code, one.reverses_id) for one in undone] == [
        (one.credit_id, one.debit_id, one.amount_nano, one.code, one.pk) for one in posted
    ]
    assert {account: balance_of(organization.pk, account) for account in before} == before
    assert {one.effective_at for one in undone} == {LATER}
    again = facts()
    assert reverse(organization_id=organization.pk, source="invoice:1", effective_at=NOW, now=LATER) == undone
    assert facts() == again
    assert prove_ledger().is_whole


def test_what_was_reversed_is_not_posted_again_by_its_source(organization):
    post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
    reverse(organization_id=organization.pk, source="invoice:1", effective_at=NOW, now=NOW)

    post(journal(organization, usage(RECEIVABLE, 4)), now=LATER)

    assert balance_of(organization.pk, RECEIVABLE) == 0


def test_a_reversal_is_not_reversed_and_nothing_posted_neither(organization):
    entries = post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
    reverse(organization_id=organization.pk, source="invoice:1", effective_at=NOW, now=NOW)

    for source in (f"reversal:{entries[0].journal_id}", "invoice:2"):
        with pytest.raises(UnableToReverse):
            reverse(organization_id=organization.pk, source=source, effective_at=NOW, now=NOW)


def test_credit_that_is_used_up_is_not_taken_back(organization):
    grant = make_grant(organization, 10)
    top_up(organization, grant)
    post(journal(organization, usage(credit(grant), 1)), now=NOW)
    before = facts()

    with pytest.raises(Overdraft), transaction.atomic():
        reverse(organization_id=organization.pk, source=f"top-up:{grant.public_id}", effective_at=NOW, now=NOW)

    assert facts() == before


def test_a_journal_of_another_organization_is_not_reversed(organization):
    post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)

    with pytest.raises(UnableToReverse):
        reverse(organization_id=make_organization().pk, source="invoice:1", effective_at=NOW, now=NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lines": ()},
        {"lines": (usage(RECEIVABLE, 0),)},
        {"lines": (usage(RECEIVABLE, -1),)},
        {"lines": (usage(CASH, 1),)},
        {"lines": (Line(Code.PAYMENT, RECEIVABLE, CASH, 1),)},
        {"source": ""},
        {"source": "reversal:txn_1"},
    ],
    ids=["no line", "nothing", "less than nothing", "wrong debit", "exchanged", "no source", "a reversal"],
)
def test_lines_that_make_no_sense_are_refused(organization, wrong):
    right = journal(organization, usage(RECEIVABLE, 1))

    with pytest.raises(ValueError, match=r"journal|does not go|positive"):
        post(replace(right, **wrong), now=NOW)

    assert facts() == ([], [])


def test_the_house_has_a_book_of_its_own():
    payout = journal(None, Line(Code.FEE, Route(AccountKind.FEES), CASH, 9), source="fees:2026-11")

    assert post(payout, now=NOW) == post(payout, now=NOW)

    assert balance_of(None, CASH) == -9
    assert set(LedgerAccount.objects.values_list("organization_id", flat=True)) == {None}
    undone = reverse(organization_id=None, source="fees:2026-11", effective_at=NOW, now=NOW)
    assert reverse(organization_id=None, source="fees:2026-11", effective_at=NOW, now=NOW) == undone
    assert (balance_of(None, CASH), prove_ledger().entry_count) == (0, 2)


def test_no_customers_account_is_in_the_book_of_the_house():
    with pytest.raises(IntegrityError, match="of_a_customer"), transaction.atomic():
        post(journal(None, usage(RECEIVABLE, 1)), now=NOW)


def entry_between(organization_id: int | None, debit: LedgerAccount, credited: LedgerAccount) -> None:
    with transaction.atomic():
        LedgerEntry.objects.create(
            organization_id=organization_id,
            journal_id="txn_planted",
            source="planted",
            line=1,
            code=Code.USAGE,
            debit=debit,
            credit=credited,
            amount_nano=1,
            effective_at=NOW,
            recorded_at=NOW,
        )
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@transaction.atomic
def post_to_the_end(wanted: Journal) -> None:
    """Post, and check what waits for the commit."""
    post(wanted, now=NOW)
    execute_as("headroom_app", "SET CONSTRAINTS ALL IMMEDIATE")


@transaction.atomic
def execute_as(role: str, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {role}")
        cursor.execute(statement)


def test_no_entry_leaves_its_book(organization):
    other = make_organization()
    for one in (organization, other):
        post(journal(one, usage(RECEIVABLE, 1)), now=NOW)
    post(journal(None, Line(Code.FEE, Route(AccountKind.FEES), CASH, 9)), now=NOW)
    ours, theirs = (LedgerAccount.objects.owned_by(one).order_by("pk") for one in (organization, other))
    house = LedgerAccount.objects.of_book(None)

    for book, debit, credited in [
        (organization.pk, ours[0], theirs[1]),
        (organization.pk, theirs[0], theirs[1]),
        (organization.pk, ours[0], house[0]),
        (None, house[0], ours[0]),
        (None, ours[0], ours[1]),
    ]:
        with pytest.raises(DatabaseError, match=r"same_organization|own book"):
            entry_between(book, debit, credited)
    assert prove_ledger().is_whole


def test_a_grant_of_another_organization_opens_no_account(organization):
    foreign = make_grant(make_organization())

    with pytest.raises(IntegrityError, match="same_organization"):
        post_to_the_end(journal(organization, Line(Code.TOP_UP, CASH, credit(foreign), 1)))


@pytest.mark.parametrize(
    "change", ["UPDATE billing_ledgerentry SET amount_nano = 5", "DELETE FROM billing_ledgerentry"]
)
@pytest.mark.parametrize(
    "role", ["headroom_app", "headroom_platform", "headroom_gateway", "headroom_owner", "postgres"]
)
def test_no_role_changes_or_deletes_an_entry(organization, role, change):
    post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
    set_organization(organization.pk)

    with pytest.raises(DatabaseError, match=r"permission denied|append-only"):
        execute_as(role, change)


def test_the_owner_cannot_empty_the_table():
    with pytest.raises(DatabaseError, match="append-only"):
        execute_as("headroom_owner", "TRUNCATE billing_ledgerentry CASCADE")


@pytest.mark.parametrize("role", ["headroom_app", "headroom_platform", "headroom_gateway"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_ledgeraccount SET no_overdraft = false",
        "UPDATE billing_ledgeraccount SET kind = 'cash'",
        "UPDATE billing_ledgeraccount SET organization_id = NULL",
        "DELETE FROM billing_ledgeraccount",
    ],
)
def test_no_role_of_the_portal_changes_what_an_account_is(organization, role, change):
    post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
    set_organization(organization.pk)

    with pytest.raises(DatabaseError, match="permission denied"):
        execute_as(role, change)


def test_a_transaction_of_an_organization_posts_to_its_own_book_only(organization):
    other = make_organization()
    post(journal(other, usage(RECEIVABLE, 1)), now=NOW)
    set_organization(organization.pk)

    with as_served():
        post(journal(organization, usage(RECEIVABLE, 4)), now=NOW)
        assert set(LedgerAccount.objects.values_list("organization_id", flat=True)) == {organization.pk}
        assert trial_balance().debits_nano == 4
        for book in (other, None):
            line = Line(Code.FEE, Route(AccountKind.FEES), CASH, 4)
            with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
                post(journal(book, line, source="planted"), now=NOW)


def test_starter_credit_stands_in_the_ledger_with_its_grant(organization):
    grant_starter_credit(organization=organization, now=NOW)

    grant = CreditGrant.objects.get()
    entry = LedgerEntry.objects.get()
    assert (entry.code, entry.source, entry.amount_nano) == (Code.AWARD, f"grant:{grant.public_id}", 5 * NANO_PER_USD)
    assert balance_of(organization.pk, credit(grant, AccountKind.PROMOTIONAL_CREDIT)) == 5 * NANO_PER_USD
    assert balance_of(organization.pk, Route(AccountKind.PROMOTIONS)) == 5 * NANO_PER_USD
    grant_starter_credit(organization=organization, now=LATER)
    assert LedgerEntry.objects.get() == entry
