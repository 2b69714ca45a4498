"""Balances, statements and the trial balance of the ledger, in nano-dollars. Rules: docs/algorithms/ledger.md."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Sum

from accounts.models import Organization
from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.ledger import GROWS_BY_CREDIT


def balance_of(organization_id: int | None, route: Route) -> int:
    """Return the balance of an account of a book; 0 while nothing was posted to it."""
    account = LedgerAccount.objects.on(organization_id, [route]).first()
    return 0 if account is None else account.balance_nano


@dataclass(frozen=True, slots=True)
class TrialRow:
    """All accounts of one kind, and for revenue of one product."""

    kind: AccountKind
    product: str
    debits_nano: int
    credits_nano: int

    @property
    def balance_nano(self) -> int:
        growth_nano = self.credits_nano - self.debits_nano
        return growth_nano if self.kind in GROWS_BY_CREDIT else -growth_nano


@dataclass(frozen=True, slots=True)
class TrialBalance:
    """Rows in the order of the chart of accounts. Debits equal credits, or the ledger is broken."""

    rows: tuple[TrialRow, ...]

    @property
    def debits_nano(self) -> int:
        return sum(row.debits_nano for row in self.rows)

    @property
    def credits_nano(self) -> int:
        return sum(row.credits_nano for row in self.rows)


def trial_balance_of(organization: Organization) -> TrialBalance:
    """Return the trial balance of one organization's book."""
    return _trial_balance(LedgerAccount.objects.owned_by(organization).values_list(*_COLUMNS))


def trial_balance() -> TrialBalance:
    """Return the trial balance of all books together. For the platform role."""
    sums = LedgerAccount.objects.values("kind", "product").annotate(
        debits=Sum("debits_nano"), credits=Sum("credits_nano")
    )
    return _trial_balance(sums.values_list("kind", "product", "debits", "credits"))


_COLUMNS = ("kind", "product", "debits_nano", "credits_nano")


def _trial_balance(rows: Iterable[tuple[str, str, int, int]]) -> TrialBalance:
    sums: dict[tuple[AccountKind, str], tuple[int, int]] = {}
    for kind, product, debits_nano, credits_nano in rows:
        before = sums.get((AccountKind(kind), product), (0, 0))
        sums[AccountKind(kind), product] = before[0] + int(debits_nano), before[1] + int(credits_nano)
    chart = list(AccountKind)
    in_order = sorted(sums, key=lambda key: (chart.index(key[0]), key[1]))
    return TrialBalance(tuple(TrialRow(*key, *sums[key]) for key in in_order))


@dataclass(frozen=True, slots=True)
class StatementLine:
    """An entry as one of its two accounts sees it: the change of its balance, and the balance after it."""

    name: str
    code: LedgerEntry.Code
    source: str
    other_account: str  # public id
    other_kind: AccountKind
    is_reversal: bool
    change_nano: int
    balance_nano: int
    effective_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Statement:
    """A page, newest first. before: the cursor of the page behind it, None on the last."""

    lines: tuple[StatementLine, ...]
    before: str | None


# Balances count backwards from today's, so the page that people look at costs no more than its own lines.
_STATEMENT = """
    WITH both_sides AS NOT MATERIALIZED (
        SELECT id, %(side)s * amount_nano AS change, debit_id AS other_id FROM billing_ledgerentry
        WHERE credit_id = %(account)s
        UNION ALL
        SELECT id, -(%(side)s) * amount_nano, credit_id FROM billing_ledgerentry WHERE debit_id = %(account)s
    ), page AS (
        SELECT * FROM both_sides WHERE id < %(before)s ORDER BY id DESC LIMIT %(limit)s
    ), newest AS (
        SELECT %(side)s * (credits_nano - debits_nano)
            - (SELECT coalesce(sum(change), 0) FROM both_sides WHERE id >= %(before)s) AS balance
        FROM billing_ledgeraccount WHERE id = %(account)s
    )
    SELECT e.journal_id || '-' || e.line, e.code, e.source, o.public_id, o.kind, e.reverses_id IS NOT NULL, p.change,
        n.balance + p.change - sum(p.change) OVER (ORDER BY p.id DESC), e.effective_at, e.recorded_at
    FROM page AS p JOIN billing_ledgerentry AS e USING (id) JOIN billing_ledgeraccount AS o ON o.id = p.other_id
    CROSS JOIN newest AS n
    ORDER BY p.id DESC
"""
_NEWEST = 2**63 - 1


def statement(account: LedgerAccount, *, before: str | None = None, limit: int) -> Statement:
    """Return at most `limit` entries of an account, newest first, each with the balance after it.

    before: `Statement.before` of the page in front. Raises ValueError for any other word.
    """
    newest = _NEWEST if before is None else _entry_id(account, before)
    values = {
        "account": account.pk,
        "side": 1 if account.grows_by_credit else -1,
        "before": newest,
        "limit": limit + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STATEMENT, values)
        rows = cursor.fetchall()
    lines = [
        StatementLine(
            name=name,
            code=LedgerEntry.Code(code),
            source=source,
            other_account=other,
            other_kind=AccountKind(kind),
            is_reversal=is_reversal,
            change_nano=int(change),
            balance_nano=int(balance),
            effective_at=effective_at,
            recorded_at=recorded_at,
        )
        for name, code, source, other, kind, is_reversal, change, balance, effective_at, recorded_at in rows[:limit]
    ]
    return Statement(tuple(lines), lines[-1].name if len(rows) > limit else None)


def _entry_id(account: LedgerAccount, name: str) -> int:
    journal_id, _, line = name.rpartition("-")
    if line.isascii() and line.isdigit() and len(line) <= len("32767"):
        of_book = LedgerEntry.objects.of_book(account.organization_id)
        entry = of_book.filter(journal_id=journal_id, line=int(line)).first()
        if entry is not None and account.pk in (entry.debit_id, entry.credit_id):
            return entry.pk
    raise ValueError("no entry of this account is called that")
