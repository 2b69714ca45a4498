"""The proof of the ledger: sum all entries from scratch and compare. What it finds: docs/algorithms/ledger.md."""

from dataclasses import dataclass

from django.db import connection

# How many accounts that differ are named; all are counted.
NAMED = 10
TOTALS = 5  # columns in front of the named account


@dataclass(frozen=True, slots=True)
class Difference:
    """An account whose kept sums are not those of its entries, or whose entries are of another book."""

    account_id: str  # public id, or what an entry says where there is no such account
    kept_debits_nano: int
    kept_credits_nano: int
    entry_debits_nano: int
    entry_credits_nano: int
    stray_count: int  # entries with an account of another book on this side

    def __str__(self) -> str:
        return (
            f"{self.account_id}: debits {self.kept_debits_nano} of {self.entry_debits_nano},"
            f" credits {self.kept_credits_nano} of {self.entry_credits_nano}, {self.stray_count} stray entries"
        )


@dataclass(frozen=True, slots=True)
class LedgerProof:
    """What the whole ledger comes to, in nano-dollars, and the first accounts that differ, oldest first."""

    account_count: int
    entry_count: int
    debits_nano: int
    credits_nano: int
    difference_count: int
    differences: tuple[Difference, ...]

    @property
    def is_whole(self) -> bool:
        return self.difference_count == 0 and self.debits_nano == self.credits_nano


# One statement, so that writers in its midst are seen whole or not at all.
_PROVE = """
    WITH sides AS (
        SELECT debit_id AS account_id, organization_id, amount_nano AS debit, 0 AS credit FROM billing_ledgerentry
        UNION ALL
        SELECT credit_id, organization_id, 0, amount_nano FROM billing_ledgerentry
    ), sums AS (
        SELECT s.account_id, sum(s.debit) AS debits, sum(s.credit) AS credits,
            count(*) FILTER (WHERE s.organization_id IS DISTINCT FROM a.organization_id) AS strays
        FROM sides AS s LEFT JOIN billing_ledgeraccount AS a ON a.id = s.account_id GROUP BY s.account_id
    ), compared AS (
        SELECT coalesce(a.id, s.account_id) AS id, coalesce(a.public_id, 'no account ' || s.account_id) AS name,
            coalesce(a.debits_nano, 0) AS kept_debits, coalesce(a.credits_nano, 0) AS kept_credits,
            coalesce(s.debits, 0) AS debits, coalesce(s.credits, 0) AS credits, coalesce(s.strays, 0) AS strays,
            a.id IS NOT NULL AS is_account
        FROM billing_ledgeraccount AS a FULL JOIN sums AS s ON s.account_id = a.id
    ), differing AS (
        SELECT * FROM compared
        WHERE (kept_debits, kept_credits) <> (debits, credits) OR strays > 0 OR NOT is_account
    ), named AS (
        SELECT * FROM differing ORDER BY id LIMIT %(named)s
    )
    SELECT t.*, n.name, n.kept_debits, n.kept_credits, n.debits, n.credits, n.strays
    FROM (
        SELECT count(*) FILTER (WHERE is_account), (SELECT count(*) FROM billing_ledgerentry),
            coalesce(sum(kept_debits), 0), coalesce(sum(kept_credits), 0), (SELECT count(*) FROM differing)
        FROM compared
    ) AS t LEFT JOIN named AS n ON true ORDER BY n.id
"""


def prove_ledger() -> LedgerProof:
    """Sum every entry of every book again and compare it with what the accounts keep. For the platform role."""
    with connection.cursor() as cursor:
        cursor.execute(_PROVE, {"named": NAMED})
        rows = cursor.fetchall()
    accounts, entries, debits_nano, credits_nano, difference_count = (int(value) for value in rows[0][:TOTALS])
    # Where nothing differs the totals come alone.
    named = [row[TOTALS:] for row in rows if row[TOTALS] is not None]
    differences = tuple(Difference(name, *(int(value) for value in sums)) for name, *sums in named)
    return LedgerProof(accounts, entries, debits_nano, credits_nano, difference_count, differences)
