from importlib import import_module

from django.db import migrations

from portal.lib.tenancy import append_only, tenant_foreign_key, tenant_table

_FORMER = import_module("billing.migrations.0007_forget_usage").FORGET.sql
_AGAIN = _FORMER.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
# Events that an issued invoice counted stay until the file that it is computed again from is kept. Row-level security
# binds the owner too, so it enters one organization after the other, and leaves the setting as it was.
_DECLARED = "gone integer := 0;"
_BEGUN = "PERFORM pg_advisory_xact_lock(hashtext('billing_make_usage_partition'));"
_UNKEPT = """FOR wanted IN SELECT id FROM accounts_organization ORDER BY id LOOP
            PERFORM set_config('app.organization_id', wanted::text, true);
            SELECT least(oldest, date_trunc('day', min(step.hour), 'UTC')) INTO oldest
            FROM billing_invoice AS i JOIN billing_invoicedbucket AS step ON step.invoice_id = i.id
            WHERE i.organization_id = wanted AND i.issued_at IS NOT NULL
                AND NOT EXISTS (SELECT FROM billing_invoicefile AS f WHERE f.invoice_id = i.id);
        END LOOP;
        PERFORM set_config('app.organization_id', before, true);"""

FORGET_WHAT_IS_KEPT = migrations.RunSQL(
    _AGAIN.replace(
        _DECLARED,
        f"{_DECLARED} wanted bigint; before text := coalesce(current_setting('app.organization_id', true), '');",
    ).replace(_BEGUN, f"{_BEGUN}\n{_UNKEPT}"),
    _AGAIN,
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0036_invoice_files")]

    operations = [
        tenant_table("billing_invoicefile"),
        tenant_foreign_key("billing_invoicefile", "invoice_id", "billing_invoice"),
        append_only("billing_invoicefile"),
        FORGET_WHAT_IS_KEPT,
    ]
