"""What the tables of billing say of one organization, in one statement each time: for test_whole_machine.py."""

import json
from dataclasses import dataclass
from typing import Any

from django.db import connection

# Lists of lists of numbers and words, so that nothing is turned into rows of Django's.
_FACTS = """
    SELECT jsonb_build_object(
        'caps', (SELECT coalesce(jsonb_agg(jsonb_build_array(
                scope, coalesce(project_id, api_key_id), period, extract(epoch FROM period_start)::bigint,
                extract(epoch FROM period_end)::bigint, stops, limit_nano, is_current, reserved_nano, settled_nano, id
            ) ORDER BY id), '[]') FROM billing_spendcap WHERE organization_id = %(organization)s),
        'holds', (SELECT coalesce(jsonb_agg(jsonb_build_array(
                id, state = 'held', amount_nano, extract(epoch FROM expires_at)::bigint,
                array_prepend(cap_id, limit_ids)
            ) ORDER BY id), '[]') FROM billing_reservation WHERE organization_id = %(organization)s),
        'buckets', (SELECT coalesce(jsonb_agg(jsonb_build_array(
                extract(epoch FROM hour)::bigint, project_id, sku, quantity, amount_nano
            )), '[]') FROM billing_usagebyhour WHERE organization_id = %(organization)s),
        'events', (SELECT coalesce(sum(event_count), 0) FROM billing_usagebyhour
                   WHERE organization_id = %(organization)s),
        'written_off', (SELECT coalesce(sum(amount_nano), 0) FROM billing_writeoff
                        WHERE organization_id = %(organization)s),
        'explained', (SELECT coalesce(sum(quantity), 0) FROM billing_usagebyresource
                      WHERE organization_id = %(organization)s),
        'sums', (SELECT coalesce(jsonb_object_agg(what, nano), '{}') FROM (
                SELECT 'day' AS what, sum(amount_nano) AS nano FROM billing_spendbyday
                WHERE organization_id = %(organization)s
                UNION ALL
                SELECT cause || span_days, sum(amount_nano) FROM billing_spendbycause
                WHERE organization_id = %(organization)s GROUP BY 1
            ) AS sums),
        'billed', (SELECT coalesce(sum(amount_nano), 0) FROM billing_invoiceline AS line
                   JOIN billing_invoice AS i ON i.id = line.invoice_id
                   WHERE line.organization_id = %(organization)s AND i.issued_at IS NOT NULL AND i.status <> 'void'),
        'accounts', (SELECT coalesce(jsonb_agg(jsonb_build_array(
                kind, grant_id, debits_nano, credits_nano, coalesce(d.nano, 0), coalesce(c.nano, 0)
            )), '[]')
            FROM billing_ledgeraccount AS a
            LEFT JOIN (SELECT debit_id AS id, sum(amount_nano) AS nano FROM billing_ledgerentry
                       WHERE organization_id = %(organization)s GROUP BY 1) AS d USING (id)
            LEFT JOIN (SELECT credit_id AS id, sum(amount_nano) AS nano FROM billing_ledgerentry
                       WHERE organization_id = %(organization)s GROUP BY 1) AS c USING (id)
            WHERE organization_id = %(organization)s)
    )::text
"""
# Everything that is kept, but for when somebody looks again.
_TABLES = (
    "spendcap", "reservation", "usageevent", "usagebyhour", "usagebyresource", "spendbyday", "spendbycause",
    "usagefate", "writeoff", "creditgrant", "ledgeraccount", "ledgerentry", "invoice", "invoiceline", "invoicedbucket",
    "creditnote", "payment", "refund", "dispute", "standing",
)  # fmt: skip
_DIGEST = "SELECT " + ", ".join(
    f"(SELECT md5(coalesce(string_agg(row, '' ORDER BY row), '')) FROM"  # names of tables, above
    f" (SELECT md5((to_jsonb(t) - 'look_at' - 'updated_at')::text) AS row FROM billing_{table} AS t"
    f" WHERE organization_id = %(organization)s) AS rows)"
    for table in _TABLES
)


@dataclass(frozen=True, slots=True)
class Facts:
    caps: list[list[Any]]
    holds: list[list[Any]]
    buckets: list[list[Any]]
    events: int
    explained: int  # quantity
    sums: dict[str, int]  # of what was spent, by day, and by each kind of cause and days
    written_off: int
    billed: int  # on lines of live invoices
    accounts: list[list[Any]]


def facts_of(organization_id: int) -> Facts:
    """Return caps, holds, buckets and accounts as they are, instants as seconds since 1970."""
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, {"organization": organization_id})
        return Facts(**json.loads(cursor.fetchone()[0]))


def digest_of(organization_id: int) -> tuple[str, ...]:
    """Return what changes with any row of an organization: one digest for each table."""
    with connection.cursor() as cursor:
        cursor.execute(_DIGEST, {"organization": organization_id})
        digests: tuple[str, ...] = cursor.fetchone()
        return digests
