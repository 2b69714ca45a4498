from django.db import migrations

from portal.lib.tenancy import (
    CURRENT_USER,
    grant_to_gateway,
    tenant_foreign_key,
    tenant_table,
)

# A person sees their memberships and the organizations behind them before an organization is entered.
BOOTSTRAP = migrations.RunSQL(
    f"""
    CREATE POLICY accounts_membership_of_user ON accounts_membership FOR SELECT USING (user_id = {CURRENT_USER});
    CREATE POLICY accounts_organization_of_user ON accounts_organization FOR SELECT
        USING (id IN (SELECT organization_id FROM accounts_membership WHERE user_id = {CURRENT_USER}));
    """,
    """
    DROP POLICY accounts_membership_of_user ON accounts_membership;
    DROP POLICY accounts_organization_of_user ON accounts_organization;
    """,
)

# What must be found before an organization is known: one row each, through functions that run as the owner,
# whom a policy of its own lets read these two tables.
LOOKUPS = migrations.RunSQL(
    """
    CREATE POLICY accounts_apikey_lookup ON accounts_apikey FOR SELECT TO headroom_owner USING (true);
    CREATE POLICY accounts_organization_lookup ON accounts_organization FOR SELECT TO headroom_owner USING (true);

    CREATE FUNCTION accounts_organization_of_key(wanted bytea) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS 'SELECT organization_id FROM accounts_apikey WHERE digest = wanted';

    CREATE FUNCTION accounts_slug_is_taken(wanted text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public
    AS 'SELECT EXISTS (SELECT FROM accounts_organization WHERE slug = wanted)';
    """,
    """
    DROP FUNCTION accounts_slug_is_taken(text);
    DROP FUNCTION accounts_organization_of_key(bytea);
    DROP POLICY accounts_organization_lookup ON accounts_organization;
    DROP POLICY accounts_apikey_lookup ON accounts_apikey;
    """,
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_users_and_organizations")]

    operations = [
        tenant_table("accounts_organization", column="id"),
        tenant_table("accounts_project"),
        tenant_table("accounts_membership"),
        tenant_table("accounts_apikey"),
        tenant_foreign_key("accounts_apikey", "project_id", "accounts_project"),
        BOOTSTRAP,
        LOOKUPS,
        *[
            grant_to_gateway(table, "SELECT")
            for table in ("accounts_apikey", "accounts_project", "accounts_organization")
        ],
    ]
