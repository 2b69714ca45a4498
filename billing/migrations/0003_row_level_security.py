from django.db import migrations

from portal.lib.tenancy import append_only, grant_to_gateway, tenant_foreign_key, tenant_table

TENANT_TABLES = (
    "billing_usageevent",
    "billing_usagebyhour",
    "billing_usagebyresource",
    "billing_spendcap",
    "billing_reservation",
    "billing_writeoff",
    "billing_creditgrant",
)

# Hot rows: room on the page keeps their updates off the indexes.
HOT_ROWS = migrations.RunSQL(
    """
    ALTER TABLE billing_spendcap SET (
        fillfactor = 20, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
    ALTER TABLE billing_reservation SET (fillfactor = 80);
    ALTER TABLE billing_usagebyhour SET (fillfactor = 80);
    ALTER TABLE billing_usagebyresource SET (fillfactor = 80);
    """,
    """
    ALTER TABLE billing_spendcap RESET (
        fillfactor, autovacuum_vacuum_scale_factor, autovacuum_vacuum_cost_delay);
    ALTER TABLE billing_reservation RESET (fillfactor);
    ALTER TABLE billing_usagebyhour RESET (fillfactor);
    ALTER TABLE billing_usagebyresource RESET (fillfactor);
    """,
)

# These rows change, but nothing of the portal ever deletes one.
KEPT = migrations.RunSQL(
    """
    REVOKE DELETE ON billing_usagebyhour, billing_usagebyresource, billing_spendcap, billing_reservation
        FROM headroom_app, headroom_platform;
    """,
    """
    GRANT DELETE ON billing_usagebyhour, billing_usagebyresource, billing_spendcap, billing_reservation
        TO headroom_app, headroom_platform;
    """,
)

# The gateway opens an organization's cap on first need, but can never raise a limit: it updates by column.
GATEWAY = [
    grant_to_gateway("billing_usageevent", "SELECT, INSERT"),
    grant_to_gateway("billing_usagebyhour", "SELECT, INSERT, UPDATE (quantity, event_count, amount_nano, updated_at)"),
    grant_to_gateway("billing_usagebyresource", "SELECT, INSERT, UPDATE (quantity)"),
    grant_to_gateway("billing_spendcap", "SELECT, INSERT, UPDATE (settled_nano, reserved_nano)"),
    grant_to_gateway("billing_reservation", "SELECT, INSERT, UPDATE (amount_nano, state, expires_at, ended_at)"),
    grant_to_gateway("billing_creditgrant", "SELECT, INSERT"),
    grant_to_gateway("billing_writeoff", "SELECT, INSERT"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0002_usage_events"),
        ("accounts", "0002_row_level_security"),
        ("catalog", "0004_gateway_reads"),
    ]

    operations = [
        *[tenant_table(table) for table in TENANT_TABLES],
        tenant_foreign_key("billing_usagebyhour", "project_id", "accounts_project"),
        tenant_foreign_key("billing_usagebyresource", "project_id", "accounts_project"),
        tenant_foreign_key("billing_reservation", "project_id", "accounts_project"),
        tenant_foreign_key("billing_reservation", "cap_id", "billing_spendcap"),
        tenant_foreign_key("billing_writeoff", "cap_id", "billing_spendcap"),
        tenant_foreign_key("billing_writeoff", "reservation_id", "billing_reservation"),
        append_only("billing_usageevent"),
        append_only("billing_creditgrant"),
        append_only("billing_writeoff"),
        KEPT,
        HOT_ROWS,
        *GATEWAY,
    ]
