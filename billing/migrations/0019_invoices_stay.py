from django.db import migrations

from portal.lib.tenancy import append_only, tenant_foreign_key, tenant_table

# Which events a bucket had counted when an invoice was issued: both draw from here while they hold the organization's
# credit, so that for one organization the numbers are in the order of the commits. One at a time for that (no cache).
COUNTED = migrations.RunSQL(
    """
    CREATE SEQUENCE billing_counted_order CACHE 1;
    GRANT USAGE ON SEQUENCE billing_counted_order TO headroom_app, headroom_platform, headroom_gateway;
    ALTER TABLE billing_usageevent ADD COLUMN counted_order bigint;
    ALTER TABLE billing_usageevent ALTER COLUMN counted_order SET DEFAULT nextval('billing_counted_order');
    """,
    """
    ALTER TABLE billing_usageevent DROP COLUMN counted_order;
    DROP SEQUENCE billing_counted_order;
    """,
)

# Partitions that were made before have the column and take the default of the table that the rows come in by.
UNCHANGED = migrations.RunSQL(
    """
    CREATE FUNCTION billing_refuse_invoice_change() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'what was invoiced does not change'; END $$;

    CREATE FUNCTION billing_keep_invoice() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    DECLARE moves text[] := ARRAY['status', 'paid_at', 'mailed_at'];
    BEGIN
        IF to_jsonb(NEW) - moves <> to_jsonb(OLD) - moves THEN
            RAISE EXCEPTION 'an issued invoice does not change';
        END IF;
        RETURN NEW;
    END
    $$;

    CREATE TRIGGER billing_invoice_unchanged BEFORE UPDATE ON billing_invoice
    FOR EACH ROW WHEN (OLD.issued_at IS NOT NULL) EXECUTE FUNCTION billing_keep_invoice();
    CREATE TRIGGER billing_invoice_kept BEFORE DELETE OR TRUNCATE ON billing_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_invoice_change();

    CREATE FUNCTION billing_refuse_late_lines() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    BEGIN
        IF EXISTS (SELECT FROM added JOIN billing_invoice AS i ON i.id = added.invoice_id
                   WHERE i.issued_at IS NOT NULL) THEN
            RAISE EXCEPTION 'an issued invoice does not change';
        END IF;
        RETURN NULL;
    END
    $$;

    CREATE TRIGGER billing_invoiceline_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_invoiceline
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_invoice_change();
    CREATE TRIGGER billing_invoiceline_in_time AFTER INSERT ON billing_invoiceline
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_late_lines();
    CREATE TRIGGER billing_invoicedbucket_unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON billing_invoicedbucket
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_invoice_change();
    CREATE TRIGGER billing_invoicedbucket_in_time AFTER INSERT ON billing_invoicedbucket
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_late_lines();

    CREATE TRIGGER billing_creditnote_unchanged BEFORE UPDATE ON billing_creditnote
    FOR EACH ROW WHEN (OLD.status <> 'proposed') EXECUTE FUNCTION billing_refuse_invoice_change();
    CREATE TRIGGER billing_creditnote_kept BEFORE DELETE OR TRUNCATE ON billing_creditnote
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_invoice_change();
    """,
    """
    DROP TRIGGER billing_creditnote_kept ON billing_creditnote;
    DROP TRIGGER billing_creditnote_unchanged ON billing_creditnote;
    DROP TRIGGER billing_invoicedbucket_in_time ON billing_invoicedbucket;
    DROP TRIGGER billing_invoicedbucket_unchanged ON billing_invoicedbucket;
    DROP TRIGGER billing_invoiceline_in_time ON billing_invoiceline;
    DROP TRIGGER billing_invoiceline_unchanged ON billing_invoiceline;
    DROP FUNCTION billing_refuse_late_lines();
    DROP TRIGGER billing_invoice_kept ON billing_invoice;
    DROP TRIGGER billing_invoice_unchanged ON billing_invoice;
    DROP FUNCTION billing_keep_invoice();
    DROP FUNCTION billing_refuse_invoice_change();
    """,
)

# Numbers, amounts and what was agreed are written once, with the issue; nothing of it is ever deleted.
PRIVILEGES = migrations.RunSQL(
    """
    REVOKE DELETE, TRUNCATE ON billing_invoice, billing_creditnote, billing_invoiceseries
    FROM headroom_app, headroom_platform, headroom_gateway;
    """,
    "GRANT DELETE ON billing_invoice, billing_creditnote, billing_invoiceseries TO headroom_app, headroom_platform;",
)


# Usage that is settled after its month was invoiced is noted as late, by the gateway too.
GATEWAY_ASKS_WHAT_IS_CLOSED = migrations.RunSQL(
    "GRANT SELECT (organization_id, period_end, issued_at, status) ON billing_invoice TO headroom_gateway;",
    "REVOKE SELECT (organization_id, period_end, issued_at, status) ON billing_invoice FROM headroom_gateway;",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0018_invoices")]

    operations = [
        tenant_table("billing_invoice"),
        GATEWAY_ASKS_WHAT_IS_CLOSED,
        tenant_table("billing_invoiceline"),
        tenant_table("billing_invoicedbucket"),
        tenant_table("billing_creditnote"),
        tenant_foreign_key("billing_invoice", "supersedes_id", "billing_invoice"),
        tenant_foreign_key("billing_invoiceline", "invoice_id", "billing_invoice"),
        tenant_foreign_key("billing_invoiceline", "project_id", "accounts_project"),
        tenant_foreign_key("billing_invoicedbucket", "invoice_id", "billing_invoice"),
        tenant_foreign_key("billing_invoicedbucket", "project_id", "accounts_project"),
        tenant_foreign_key("billing_creditnote", "invoice_id", "billing_invoice"),
        append_only("billing_invoiceline"),
        append_only("billing_invoicedbucket"),
        PRIVILEGES,
        UNCHANGED,
        COUNTED,
    ]
