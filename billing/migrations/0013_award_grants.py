from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from portal.lib.public_ids import new_acct_id, new_txn_id

TABLES = ("billing_creditgrant", "billing_ledgeraccount", "billing_ledgerentry")
BATCH = 1_000

# What billing.services.credits posts with a grant, for grants from before there was a ledger.
_WAITING = """
    SELECT g.id FROM billing_creditgrant AS g WHERE NOT EXISTS (
        SELECT FROM billing_ledgerentry AS e
        WHERE e.organization_id = g.organization_id AND e.source = 'grant:' || g.public_id)
    ORDER BY g.id LIMIT %s
"""
_CREDIT = """
    INSERT INTO billing_ledgeraccount (organization_id, public_id, kind, currency, product, grant_id, no_overdraft,
        debits_nano, credits_nano, opened_at)
    SELECT g.organization_id, n.public_id, 'promotional_credit', 'USD', '', g.id, true, 0, g.amount_nano, g.granted_at
    FROM billing_creditgrant AS g JOIN unnest(%s::bigint[], %s::text[]) AS n (id, public_id) USING (id)
"""
_PROMOTIONS = """
    INSERT INTO billing_ledgeraccount AS a (organization_id, public_id, kind, currency, product, no_overdraft,
        debits_nano, credits_nano, opened_at)
    SELECT g.organization_id, min(n.public_id), 'promotions', 'USD', '', false, sum(g.amount_nano), 0, min(g.granted_at)
    FROM billing_creditgrant AS g JOIN unnest(%s::bigint[], %s::text[]) AS n (id, public_id) USING (id)
    GROUP BY g.organization_id
    ON CONFLICT (organization_id, kind, currency, product, grant_id)
    DO UPDATE SET debits_nano = a.debits_nano + excluded.debits_nano
"""
_ENTRIES = """
    INSERT INTO billing_ledgerentry (organization_id, journal_id, source, line, code, debit_id, credit_id, amount_nano,
        effective_at, recorded_at)
    SELECT g.organization_id, n.journal_id, 'grant:' || g.public_id, 1, 'award', p.id, c.id, g.amount_nano,
        g.granted_at, now()
    FROM billing_creditgrant AS g JOIN unnest(%s::bigint[], %s::text[]) AS n (id, journal_id) USING (id)
    JOIN billing_ledgeraccount AS p ON p.organization_id = g.organization_id AND p.kind = 'promotions'
    JOIN billing_ledgeraccount AS c ON c.grant_id = g.id
"""


def award_grants(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    # The owner of a table that forces its policies sees no rows either, unless it says otherwise.
    for table in TABLES:
        schema_editor.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    with schema_editor.connection.cursor() as cursor:
        while True:
            cursor.execute(_WAITING, [BATCH])
            grants = [grant for (grant,) in cursor.fetchall()]
            if not grants:
                break
            for statement, new_id in ((_CREDIT, new_acct_id), (_PROMOTIONS, new_acct_id), (_ENTRIES, new_txn_id)):
                cursor.execute(statement, [grants, [new_id() for _ in grants]])
        # What waits for the end of the transaction would keep the tables from being altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in TABLES:
        schema_editor.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


class Migration(migrations.Migration):
    dependencies = [("billing", "0012_ledger")]

    # Backwards the entries stay until their table goes; forwards again finds them there.
    operations = [migrations.RunPython(award_grants, migrations.RunPython.noop)]
