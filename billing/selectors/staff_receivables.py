"""What organizations owe, by how long it is due, and what the ledger says of it. For the platform role.

Invoices, and what lost disputes leave owed, which is due from the day on that they were lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from django.db import connection

from accounts.models import Organization
from billing.selectors.debts import Debts, debts_by_organization
from portal.lib.money import NANO_PER_CENT, decimal_string

# Days past the due date at which another column begins.
AGES = (0, 30, 60, 90)
COLUMNS = len(AGES) + 1


@dataclass(frozen=True, slots=True)
class ReceivableRow:
    """Decimals in USD. ages: not due yet, then past due up to 30, 60 and 90 days, then longer.

    to_repay: what credit notes left over on invoices that are paid, and what was paid beyond debts, below zero. ledger:
    balance of the receivable; difference: what of it no invoice and no debt says, which must be nothing.
    """

    organization: str
    ages: Sequence[str]
    to_repay: str
    owed: str
    ledger: str
    difference: str


@dataclass(frozen=True, slots=True)
class Receivables:
    rows: Sequence[ReceivableRow]
    total: ReceivableRow


# Open: what is due, less what notes took back, and what transfers and other payments paid that were not taken back.
# Written off and void ones are owed by nobody.
_OPEN = """
    SELECT o.id, o.slug, i.due_at, i.status = 'paid',
           (i.due_cents - coalesce((
               SELECT sum(n.owed_cents + n.tax_cents) FROM billing_creditnote AS n
               WHERE n.organization_id = i.organization_id AND n.invoice_id = i.id AND n.status = 'issued'), 0)
           - coalesce((
               SELECT sum(m.amount_cents) FROM billing_transfermatch AS m
               JOIN billing_banktransfer AS t ON t.id = m.transfer_id
               WHERE m.organization_id = i.organization_id AND m.invoice_id = i.id AND t.status = 'confirmed'), 0)
           )::bigint * 10000000 - coalesce((
               SELECT sum(e.amount_nano) FROM billing_ledgerentry AS e
               WHERE e.organization_id = i.organization_id
                   AND split_part(e.source, ':', 1) = 'invoice-paid' AND split_part(e.source, ':', 2) = i.public_id
                   AND NOT EXISTS (SELECT FROM billing_ledgerentry AS r WHERE r.reverses_id = e.id)), 0)::bigint
    FROM billing_invoice AS i JOIN accounts_organization AS o ON o.id = i.organization_id
    WHERE i.status IN ('open', 'paid')
    ORDER BY o.slug
"""
_LEDGER = """
    SELECT o.id, o.slug, (a.debits_nano - a.credits_nano)::bigint
    FROM billing_ledgeraccount AS a JOIN accounts_organization AS o ON o.id = a.organization_id
    WHERE a.kind = 'receivable' AND a.debits_nano <> a.credits_nano
"""


@dataclass(slots=True)
class _Sums:
    """Of one organization, in nano-dollars."""

    slug: str
    ages: list[int]
    to_repay: int = 0
    ledger: int = 0


def receivables(now: datetime) -> Receivables:
    """Return what is owed now, organization by organization, and in all."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN)
        open_ones = cursor.fetchall()
        cursor.execute(_LEDGER)
        ledger = {organization_id: (slug, nano) for organization_id, slug, nano in cursor.fetchall()}
    debts = debts_by_organization()
    slugs = dict(Organization.objects.filter(pk__in=debts).values_list("pk", "slug"))
    found: dict[int, _Sums] = {}
    for (organization_id, slug), rows in groupby(open_ones, key=lambda row: row[:2]):
        sums = found[organization_id] = _Sums(slug, [0] * COLUMNS)
        for _id, _slug, due_at, is_paid, left_nano in rows:
            if is_paid:
                sums.to_repay += left_nano
            else:
                sums.ages[column_of(due_at, now)] += left_nano
    for organization_id, owed in debts.items():
        _add_debts(found.setdefault(organization_id, _Sums(slugs[organization_id], [0] * COLUMNS)), owed, now)
    for organization_id, (slug, nano) in ledger.items():
        found.setdefault(organization_id, _Sums(slug, [0] * COLUMNS)).ledger = nano
    shown = [one for one in found.values() if any(one.ages) or one.to_repay or one.ledger]
    total = _Sums(
        "",
        [sum(column) for column in zip(*(one.ages for one in shown), strict=True)] or [0] * COLUMNS,
        sum(one.to_repay for one in shown),
        sum(one.ledger for one in shown),
    )
    return Receivables([_row(one) for one in sorted(shown, key=lambda one: one.slug)], _row(total))


def _add_debts(sums: _Sums, owed: Debts, now: datetime) -> None:
    for debt in owed.left:
        sums.ages[column_of(debt.since, now)] += debt.cents * NANO_PER_CENT
    sums.to_repay -= owed.too_much_cents * NANO_PER_CENT


def column_of(due_at: datetime, now: datetime) -> int:
    """Return the column of what is due at an instant: 0 until it is past due, then 1 to 30 days, and so on."""
    if now <= due_at:
        return 0
    days = (now - due_at).days
    return sum(days >= age for age in AGES)


def _row(sums: _Sums) -> ReceivableRow:
    owed_nano = sum(sums.ages) + sums.to_repay
    return ReceivableRow(
        organization=sums.slug,
        ages=[decimal_string(nano) for nano in sums.ages],
        to_repay=decimal_string(sums.to_repay),
        owed=decimal_string(owed_nano),
        ledger=decimal_string(sums.ledger),
        difference=decimal_string(sums.ledger - owed_nano),
    )
