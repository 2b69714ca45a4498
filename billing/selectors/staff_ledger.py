"""The ledger as pages of staff print it: exact dollars as strings. For the platform role."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.models import AccountKind, LedgerAccount, LedgerEntry
from billing.selectors.ledger import TrialBalance, statement, trial_balance, trial_balance_of
from portal.lib.money import decimal_string

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class TotalRow:
    name: str
    debits: str
    credits: str
    balance: str


@dataclass(frozen=True, slots=True)
class AccountRow:
    public_id: str
    name: str
    grant: str  # public id of the credit grant that it is of, or nothing
    balance: str


@dataclass(frozen=True, slots=True)
class BookPage:
    """One organization's book with its accounts, or the sums over all books without."""

    totals: list[TotalRow]
    debits: str
    credits: str
    accounts: list[AccountRow]


@dataclass(frozen=True, slots=True)
class EntryRow:
    name: str
    organization: str  # its address (slug); nothing for the house's own book
    what: str
    source: str
    debit: str
    debit_id: str
    credit: str
    credit_id: str
    amount: str
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class EntryPage:
    """Newest first. before: where the page behind it starts, None on the last."""

    entries: list[EntryRow]
    before: int | None


def book_page(organization: Organization | None) -> BookPage:
    """Return an organization's book; all books together for None."""
    if organization is None:
        return _book(trial_balance(), [])
    accounts = LedgerAccount.objects.owned_by(organization).select_related("grant").order_by("pk")
    return _book(trial_balance_of(organization), [_account(account) for account in accounts])


def _book(whole: TrialBalance, accounts: list[AccountRow]) -> BookPage:
    totals = [
        TotalRow(
            _name(row.kind, row.product),
            decimal_string(row.debits_nano),
            decimal_string(row.credits_nano),
            decimal_string(row.balance_nano),
        )
        for row in whole.rows
    ]
    return BookPage(totals, decimal_string(whole.debits_nano), decimal_string(whole.credits_nano), accounts)


def _account(account: LedgerAccount) -> AccountRow:
    grant = "" if account.grant is None else account.grant.public_id
    return AccountRow(account.public_id, account_name(account), grant, decimal_string(account.balance_nano))


def account_name(account: LedgerAccount) -> str:
    return _name(AccountKind(account.kind), account.product)


def _name(kind: AccountKind, product: str) -> str:
    return f"{kind.label}: {product}" if product else str(kind.label)


def entry_page(organization: Organization | None, *, before: int | None) -> EntryPage:
    """Return a page of the entries of an organization, or of all books for None. before: `EntryPage.before`."""
    entries = LedgerEntry.objects.select_related("organization", "debit", "credit").order_by("-pk")
    if organization is not None:
        entries = entries.owned_by(organization)
    if before is not None:
        entries = entries.filter(pk__lt=before)
    found = list(entries[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    return EntryPage([_entry(entry) for entry in page], page[-1].pk if len(found) > PAGE_SIZE else None)


def _entry(entry: LedgerEntry) -> EntryRow:
    code = str(LedgerEntry.Code(entry.code).label)
    return EntryRow(
        name=entry.name,
        organization="" if entry.organization is None else entry.organization.slug,
        what=code if entry.reverses_id is None else f"Reversal: {code}",
        source=entry.source,
        debit=account_name(entry.debit),
        debit_id=entry.debit.public_id,
        credit=account_name(entry.credit),
        credit_id=entry.credit.public_id,
        amount=decimal_string(entry.amount_nano),
        effective_at=entry.effective_at,
    )


@dataclass(frozen=True, slots=True)
class StatementRow:
    name: str
    what: str
    source: str
    other: str
    other_id: str
    change: str
    balance: str
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class StatementPage:
    account: AccountRow
    organization: str  # its address (slug); nothing for the house's own book
    rows: list[StatementRow]
    before: str | None


def statement_page(public_id: str, *, before: str | None) -> StatementPage | None:
    """Return a page of an account's statement, None where there is no such account.

    Raises ValueError for a `before` that no page gave.
    """
    account = LedgerAccount.objects.select_related("organization", "grant").filter(public_id=public_id).first()
    if account is None:
        return None
    page = statement(account, before=before, limit=PAGE_SIZE)
    rows = [
        StatementRow(
            name=line.name,
            what=f"Reversal: {line.code.label}" if line.is_reversal else str(line.code.label),
            source=line.source,
            other=str(line.other_kind.label),
            other_id=line.other_account,
            change=decimal_string(line.change_nano),
            balance=decimal_string(line.balance_nano),
            effective_at=line.effective_at,
        )
        for line in page.lines
    ]
    slug = "" if account.organization is None else account.organization.slug
    return StatementPage(_account(account), slug, rows, page.before)
