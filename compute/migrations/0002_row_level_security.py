from django.db import migrations

from portal.lib.tenancy import append_only, tenant_foreign_key, tenant_table

# The conditional update of the services is the rule; this is the net under it. Owner demand may rise above what
# is sold at any time (that is what reclaims are for), so only a change that sells more is checked.
NEVER_OVERSOLD = migrations.RunSQL(
    """
    CREATE FUNCTION compute_pool_refuse_overselling() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.sold_units + NEW.owner_demand + NEW.safety_margin > NEW.total_units THEN
            RAISE EXCEPTION 'pool % would sell more than is free', NEW.id USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER compute_pool_never_oversold BEFORE UPDATE OF sold_units ON compute_pool
        FOR EACH ROW WHEN (NEW.sold_units > OLD.sold_units) EXECUTE FUNCTION compute_pool_refuse_overselling();
    """,
    """
    DROP TRIGGER compute_pool_never_oversold ON compute_pool;
    DROP FUNCTION compute_pool_refuse_overselling();
    """,
)


class Migration(migrations.Migration):
    dependencies = [("compute", "0001_machines_and_capacity"), ("accounts", "0002_row_level_security")]

    operations = [
        *[tenant_table(f"compute_{model}") for model in ("sshkey", "instance", "healthinterval", "instanceevent")],
        tenant_foreign_key("compute_instance", "project_id", "accounts_project"),
        tenant_foreign_key("compute_instance", "launched_with_id", "accounts_apikey"),
        tenant_foreign_key("compute_healthinterval", "instance_id", "compute_instance"),
        tenant_foreign_key("compute_instanceevent", "instance_id", "compute_instance"),
        append_only("compute_instanceevent"),
        NEVER_OVERSOLD,
    ]
