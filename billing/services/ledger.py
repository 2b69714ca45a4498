"""Post journals to the ledger: the only writer of entries and of accounts' sums. Rules: docs/algorithms/ledger.md.

Locks: the accounts of a journal in the order in which they were made, after the spend cap, before the audit log.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from django.db import connection, transaction
from django.utils.translation import gettext as _

from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.ledger import CREDIT
from portal.lib.errors import DomainError
from portal.lib.money import display_usd
from portal.lib.public_ids import new_txn_id

type Kinds = tuple[AccountKind, ...]

_PAID_WITH: Kinds = (AccountKind.CASH, AccountKind.CASH_IN_TRANSIT)
_GIVEN: Kinds = (AccountKind.PROMOTIONAL_CREDIT, AccountKind.GRANT_CREDIT)
Code = LedgerEntry.Code

# Code -> the kinds that it debits and those that it credits.
PAIRS: dict[LedgerEntry.Code, tuple[Kinds, Kinds]] = {
    Code.AWARD: ((AccountKind.PROMOTIONS,), _GIVEN),
    Code.TOP_UP: (_PAID_WITH, (AccountKind.PREPAID_CREDIT,)),
    Code.USAGE: ((AccountKind.RECEIVABLE, *CREDIT), (AccountKind.REVENUE,)),
    Code.TAX: ((AccountKind.RECEIVABLE,), (AccountKind.TAX,)),
    Code.PAYMENT: (_PAID_WITH, (AccountKind.RECEIVABLE,)),
    # Both ways: where more of a customer's money went back than came in, a payout is smaller for it.
    Code.PAYOUT: (_PAID_WITH, _PAID_WITH),
    Code.FEE: ((AccountKind.FEES,), _PAID_WITH),
    Code.FEE_BACK: (_PAID_WITH, (AccountKind.FEES,)),
    Code.CREDIT_NOTE: ((AccountKind.REVENUE, AccountKind.TAX), (AccountKind.RECEIVABLE, *CREDIT)),
    Code.REFUND: ((AccountKind.RECEIVABLE, AccountKind.PREPAID_CREDIT), _PAID_WITH),
    Code.EXPIRY: ((AccountKind.PREPAID_CREDIT,), (AccountKind.BREAKAGE,)),
    Code.RETURN: (_GIVEN, (AccountKind.PROMOTIONS,)),
    Code.DISPUTE: ((AccountKind.DISPUTES,), _PAID_WITH),
    Code.DISPUTE_LOST: (
        (AccountKind.RECEIVABLE, AccountKind.PREPAID_CREDIT, AccountKind.WRITE_OFF),
        (AccountKind.DISPUTES,),
    ),
    Code.WRITE_OFF: ((AccountKind.WRITE_OFF,), (AccountKind.RECEIVABLE,)),
}


class Overdraft(DomainError):
    """A journal takes more out of a credit account than it has."""

    code: ClassVar[str] = "overdraft"

    def __init__(self, account: LedgerAccount, lacking_nano: int) -> None:
        self.account_id = account.public_id
        self.lacking_nano = lacking_nano
        super().__init__(
            _("%(kind)s has %(balance)s left, which is %(lacking)s too little.")
            % {
                "kind": account.get_kind_display(),
                "balance": display_usd(account.balance_nano),
                "lacking": display_usd(lacking_nano),
            }
        )


class JournalConflict(DomainError):
    """The source has been posted with other entries."""

    code: ClassVar[str] = "journal_conflict"


class UnableToReverse(DomainError):
    code: ClassVar[str] = "unable_to_reverse"


@dataclass(frozen=True, slots=True)
class Line:
    """One entry to be: amount_nano, in nano-dollars and positive, from `credit` to `debit`."""

    code: LedgerEntry.Code
    debit: Route
    credit: Route
    amount_nano: int


@dataclass(frozen=True, slots=True)
class Journal:
    """All entries of one cause in one book.

    organization_id: None for the house's own book. source: names the cause, at most 120 characters.
    """

    organization_id: int | None
    source: str
    effective_at: datetime
    lines: tuple[Line, ...]


_REVERSAL = "reversal:"
# An entry as it is compared and written: code, debited and credited account, amount, the entry that it reverses.
type _Values = tuple[str, int, int, int, int | None]


@transaction.atomic
def post(journal: Journal, *, now: datetime) -> list[LedgerEntry]:
    """Write the journal's entries, move the sums of their accounts, and return the entries in order.

    Accounts that the book does not have yet are opened. Safe to repeat: the same source with the same lines returns
    what was written then. Changes nothing and raises JournalConflict for a source that has other lines,
    Overdraft where credit would go below zero, ValueError for lines that no journal may have.
    """
    _check(journal)
    wanted = {route for line in journal.lines for route in (line.debit, line.credit)}
    accounts = _lock_accounts(_open_accounts(journal.organization_id, wanted, now))
    ids = {Route(AccountKind(one.kind), one.product, one.grant_id): one.pk for one in accounts}
    values: list[_Values] = [
        (line.code.value, ids[line.debit], ids[line.credit], line.amount_nano, None) for line in journal.lines
    ]
    return _write(journal, values, accounts, now)


@transaction.atomic
def reverse(*, organization_id: int | None, source: str, effective_at: datetime, now: datetime) -> list[LedgerEntry]:
    """Write the opposite of every entry of a source's journal, and return the new entries in order.

    Safe to repeat: what is reversed already stays so, and the reversal is returned. Raises UnableToReverse if the
    source is not posted or is a reversal itself, Overdraft where the credit that it gave is used up.
    """
    entries = list(LedgerEntry.objects.of_source(organization_id, source))
    if not entries:
        raise UnableToReverse(_("Nothing was posted for this cause, so there is nothing to reverse."))
    if entries[0].reverses_id is not None:
        raise UnableToReverse(_("A reversal is not reversed; post what is right instead."))
    accounts = _lock_accounts({pk for entry in entries for pk in (entry.debit_id, entry.credit_id)})
    values: list[_Values] = [
        (entry.code, entry.credit_id, entry.debit_id, entry.amount_nano, entry.pk) for entry in entries
    ]
    undone = Journal(organization_id, _REVERSAL + entries[0].journal_id, effective_at, ())
    return _write(undone, values, accounts, now)


def _check(journal: Journal) -> None:
    if not journal.lines or not journal.source or journal.source.startswith(_REVERSAL):
        raise ValueError("a journal has a source, which is no reversal, and at least one line")
    for line in journal.lines:
        debits, credits_ = PAIRS[line.code]
        if line.debit.kind not in debits or line.credit.kind not in credits_:
            raise ValueError(f"{line.code} does not go from {line.credit.kind} to {line.debit.kind}")
        if line.amount_nano <= 0:
            raise ValueError("an entry moves a positive amount")


def _open_accounts(organization_id: int | None, routes: set[Route], now: datetime) -> Iterable[int]:
    """Return the ids of the accounts on these routes, and open those that are missing."""
    of_book = LedgerAccount.objects.on(organization_id, routes)
    found = {Route(AccountKind(kind), *rest): pk for pk, kind, *rest in of_book.values_list(*_ROUTE)}
    missing = sorted(routes - set(found), key=lambda route: (route.kind, route.product, route.grant_id or 0))
    if not missing:
        return found.values()
    # Nothing is locked yet, and all open in one order: two journals that open the same ones wait, and never in a ring.
    LedgerAccount.objects.bulk_create(
        [
            LedgerAccount(
                organization_id=organization_id,
                kind=route.kind,
                product=route.product,
                grant_id=route.grant_id,
                no_overdraft=route.kind in CREDIT,
                opened_at=now,
            )
            for route in missing
        ],
        ignore_conflicts=True,
    )
    return of_book.values_list("pk", flat=True)


_ROUTE = ("pk", "kind", "product", "grant_id")


def _lock_accounts(ids: Iterable[int]) -> list[LedgerAccount]:
    accounts = LedgerAccount.objects.filter(pk__in=list(ids)).order_by("pk")
    return list(accounts.select_for_update(no_key=True))


# The sums move by what was really inserted, so a source that somebody posts at the same moment moves nothing twice.
_POST = """
    WITH added AS (
        INSERT INTO billing_ledgerentry (organization_id, journal_id, source, line, code, debit_id, credit_id,
                                         amount_nano, reverses_id, effective_at, recorded_at)
        SELECT %(organization)s, %(journal)s, %(source)s, line, code, debit, credit, amount, reverses, %(effective_at)s,
               %(now)s
        FROM unnest(%(codes)s::text[], %(debits)s::bigint[], %(credits)s::bigint[], %(amounts)s::bigint[],
                    %(reversed)s::bigint[])
            WITH ORDINALITY AS lines (code, debit, credit, amount, reverses, line)
        ORDER BY line
        ON CONFLICT (organization_id, source, line) DO NOTHING
        RETURNING debit_id, credit_id, amount_nano
    ), sums AS (
        SELECT account_id, sum(debit)::bigint AS debits, sum(credit)::bigint AS credits FROM (
            SELECT debit_id, amount_nano, 0 FROM added UNION ALL SELECT credit_id, 0, amount_nano FROM added
        ) AS sides (account_id, debit, credit) GROUP BY account_id
    ), moved AS (
        UPDATE billing_ledgeraccount AS a
        SET debits_nano = a.debits_nano + sums.debits, credits_nano = a.credits_nano + sums.credits
        FROM sums WHERE a.id = sums.account_id
    )
    SELECT count(*) FROM added
"""


def _write(
    journal: Journal, values: Sequence[_Values], accounts: Sequence[LedgerAccount], now: datetime
) -> list[LedgerEntry]:
    """Write the entries of locked accounts, unless they are there."""
    written = _posted(journal, values)
    if written:
        return written
    _refuse_overdraft(values, accounts)
    codes, debits, credits_, amounts, reversed_ = (list(column) for column in zip(*values, strict=True))
    with connection.cursor() as cursor:
        cursor.execute(
            _POST,
            {
                "organization": journal.organization_id,
                "journal": new_txn_id(),
                "source": journal.source,
                "effective_at": journal.effective_at,
                "now": now,
                "codes": codes,
                "debits": debits,
                "credits": credits_,
                "amounts": amounts,
                "reversed": reversed_,
            },
        )
    # Somebody with other accounts may have posted the source since we looked.
    return _posted(journal, values)


def _posted(journal: Journal, values: Sequence[_Values]) -> list[LedgerEntry]:
    """Return the entries of the source, none if there are none. Raises JournalConflict for others than `values`."""
    entries = list(LedgerEntry.objects.of_source(journal.organization_id, journal.source))
    there = [(one.code, one.debit_id, one.credit_id, one.amount_nano, one.reverses_id) for one in entries]
    if entries and there != list(values):
        raise JournalConflict(_("This cause has been posted with other amounts or accounts."))
    return entries


def _refuse_overdraft(values: Sequence[_Values], accounts: Sequence[LedgerAccount]) -> None:
    growth: dict[int, int] = defaultdict(int)
    for _code, debit, credit, amount_nano, _reverses in values:
        growth[credit] += amount_nano
        growth[debit] -= amount_nano
    for account in accounts:
        left_nano = account.credits_nano - account.debits_nano + growth[account.pk]
        if account.no_overdraft and left_nano < 0:
            raise Overdraft(account, -left_nano)
