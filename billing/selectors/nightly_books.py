"""Caps against holds and usage, and invoices against the ledger. For the platform role."""

from typing import Any

from django.db import connection

from billing.reconcile import Findings, Found, Thing, compare_amounts
from billing.selectors.ledger_proof import prove_ledger
from portal.lib.money import decimal_string

_HELD = """
    SELECT o.public_id, c.public_id, c.reserved_nano, coalesce(held.amount_nano, 0)::bigint
    FROM billing_spendcap AS c
    JOIN accounts_organization AS o ON o.id = c.organization_id
    LEFT JOIN (
        SELECT cap_id, sum(amount_nano) AS amount_nano FROM (
            SELECT cap_id, amount_nano FROM billing_reservation WHERE state = 'held'
            UNION ALL SELECT unnest(limit_ids), amount_nano FROM billing_reservation WHERE state = 'held'
        ) AS holds GROUP BY cap_id
    ) AS held ON held.cap_id = c.id
"""
# Of an organization's credit: what usage has cost it is what its buckets come to, less what we paid ourselves. What
# tiers had taken off and corrections undid was settled all the while.
_SETTLED = """
    SELECT o.public_id, c.public_id, c.settled_nano,
           (coalesce(used.amount_nano, 0) - coalesce(ours.amount_nano, 0))::bigint
    FROM billing_spendcap AS c
    JOIN accounts_organization AS o ON o.id = c.organization_id
    LEFT JOIN (
        SELECT organization_id, sum(billing_divide_half_even(quantity::numeric * price_nano, unit_size)) AS amount_nano
        FROM billing_usagebyhour GROUP BY 1
    ) AS used ON used.organization_id = c.organization_id
    LEFT JOIN (
        SELECT cap_id, sum(amount_nano) AS amount_nano FROM billing_writeoff WHERE reason <> 'tiers' GROUP BY 1
    ) AS ours ON ours.cap_id = c.id
    WHERE c.scope = 'organization' AND c.period = 'lifetime'
"""


def compare_caps() -> Findings:
    """Compare what caps say is held with the reservations, and what the credit says was used with the buckets."""
    ours: dict[Thing, int] = {}
    theirs: dict[Thing, int] = {}
    for word, statement in (("held of", _HELD), ("settled of", _SETTLED)):
        for organization, cap, kept_nano, summed_nano in _rows(statement):
            thing = Thing(f"{word} {cap}", organization)
            ours[thing], theirs[thing] = kept_nano, summed_nano
    return compare_amounts(ours, theirs)


# Whose book an account is in: its name, for what the proof of the ledger names.
_BOOKS = """
    SELECT a.public_id, o.public_id FROM billing_ledgeraccount AS a
    JOIN accounts_organization AS o ON o.id = a.organization_id WHERE a.public_id = ANY (%(accounts)s)
"""


def compare_ledger() -> Findings:
    """Sum every entry of the ledger again and compare it with what the accounts keep; the first ten that differ."""
    proof = prove_ledger()
    accounts = [found.account_id for found in proof.differences]
    books = dict(_rows(_BOOKS, {"accounts": accounts})) if accounts else {}
    differences = tuple(
        Found(
            Thing(found.account_id, books.get(found.account_id, "")),
            _sides(found.kept_debits_nano, found.kept_credits_nano),
            f"{_sides(found.entry_debits_nano, found.entry_credits_nano)}, {found.stray_count} of other books",
            max(
                abs(found.kept_debits_nano - found.entry_debits_nano),
                abs(found.kept_credits_nano - found.entry_credits_nano),
            ),
        )
        for found in proof.differences
    )
    return Findings(proof.account_count, differences)


def _sides(debits_nano: int, credits_nano: int) -> str:
    return f"{decimal_string(debits_nano)} debited, {decimal_string(credits_nano)} credited"


# What an invoice put on the receivable of its buyer and took from its credit, against what it says.
_POSTED = """
    SELECT o.public_id, i.number, i.due_cents * 10000000, i.credit_cents * 10000000,
           coalesce(posted.owed_nano, 0)::bigint, coalesce(posted.credit_nano, 0)::bigint
    FROM billing_invoice AS i
    JOIN accounts_organization AS o ON o.id = i.organization_id
    LEFT JOIN LATERAL (
        SELECT sum(e.amount_nano) FILTER (WHERE d.kind = 'receivable')
                   - coalesce(sum(e.amount_nano) FILTER (WHERE c.kind = 'receivable'), 0) AS owed_nano,
               sum(e.amount_nano) FILTER (WHERE d.grant_id IS NOT NULL) AS credit_nano
        FROM billing_ledgerentry AS e
        JOIN billing_ledgeraccount AS d ON d.id = e.debit_id JOIN billing_ledgeraccount AS c ON c.id = e.credit_id
        WHERE e.organization_id = i.organization_id AND e.source = 'invoice:' || i.public_id
    ) AS posted ON true
    WHERE i.issued_at IS NOT NULL
"""


def compare_postings() -> Findings:
    """Compare what every issued invoice says is due and paid from credit with what it posted to the ledger."""
    ours: dict[Thing, int] = {}
    theirs: dict[Thing, int] = {}
    for organization, number, due_nano, credit_nano, owed_posted, credit_posted in _rows(_POSTED):
        for word, says, posted in (("due", due_nano, owed_posted), ("paid from credit", credit_nano, credit_posted)):
            thing = Thing(f"invoice {number}, {word}", organization)
            ours[thing], theirs[thing] = says, posted
    return compare_amounts(ours, theirs)


# What lost disputes put on the receivable, and payments of it took away, against what their rows say.
_DEBTS = """
    SELECT o.public_id, says.name, (says.cents * 10000000)::bigint, coalesce(posted.amount_nano, 0)::bigint
    FROM (
        SELECT d.organization_id, 'lost dispute ' || d.public_id AS name, 'dispute-lost:' || d.public_id AS source,
               d.amount_cents - d.frozen_cents AS cents
        FROM billing_dispute AS d WHERE d.state = 'lost'
        UNION ALL
        SELECT p.organization_id, 'payment of a debt ' || p.public_id, 'payment:' || p.public_id, -p.amount_cents
        FROM billing_payment AS p WHERE p.purpose = 'debt' AND p.state = 'succeeded'
        UNION ALL
        SELECT t.organization_id, 'transfer for a debt ' || t.public_id, 'transfer:' || t.public_id,
               -t.debt_cents - coalesce((SELECT sum(m.amount_cents) FROM billing_transfermatch AS m
                   WHERE m.organization_id = t.organization_id AND m.transfer_id = t.id), 0)
        FROM billing_banktransfer AS t WHERE t.status = 'confirmed' AND t.debt_cents > 0
        UNION ALL
        SELECT g.organization_id, 'debt given up ' || g.public_id, 'debt-given-up:' || g.public_id, -g.amount_cents
        FROM billing_givenupdebt AS g WHERE g.status = 'given_up'
    ) AS says
    JOIN accounts_organization AS o ON o.id = says.organization_id
    LEFT JOIN LATERAL (
        SELECT sum(CASE WHEN d.kind = 'receivable' THEN e.amount_nano ELSE 0 END)
               - sum(CASE WHEN c.kind = 'receivable' THEN e.amount_nano ELSE 0 END) AS amount_nano
        FROM billing_ledgerentry AS e
        JOIN billing_ledgeraccount AS d ON d.id = e.debit_id JOIN billing_ledgeraccount AS c ON c.id = e.credit_id
        WHERE e.organization_id = says.organization_id AND e.source = says.source
    ) AS posted ON true
"""


def compare_debts() -> Findings:
    """Compare what lost disputes leave owed, and what was paid of it, with what they posted to the ledger."""
    ours: dict[Thing, int] = {}
    theirs: dict[Thing, int] = {}
    for organization, name, says_nano, posted_nano in _rows(_DEBTS):
        thing = Thing(name, organization)
        ours[thing], theirs[thing] = says_nano, posted_nano
    return compare_amounts(ours, theirs)


def _rows(statement: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
