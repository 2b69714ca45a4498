import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import grant_to_gateway, tenant_foreign_key, tenant_table

# A former secret names its organization like a present one does; whether it still works is looked at inside.
LOOKUP = migrations.RunSQL(
    """
    CREATE POLICY accounts_retiredsecret_lookup ON accounts_retiredsecret FOR SELECT TO headroom_owner USING (true);

    CREATE OR REPLACE FUNCTION accounts_organization_of_key(wanted bytea) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS 'SELECT organization_id FROM accounts_apikey WHERE digest = wanted
        UNION ALL SELECT organization_id FROM accounts_retiredsecret WHERE digest = wanted
        LIMIT 1';
    """,
    """
    CREATE OR REPLACE FUNCTION accounts_organization_of_key(wanted bytea) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS 'SELECT organization_id FROM accounts_apikey WHERE digest = wanted';

    DROP POLICY accounts_retiredsecret_lookup ON accounts_retiredsecret;
    """,
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_key_limits")]

    operations = [
        migrations.CreateModel(
            name="RetiredSecret",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("digest", models.BinaryField(unique=True)),
                ("last_four", models.CharField(max_length=4)),
                ("retired_at", models.DateTimeField()),
                ("valid_until", models.DateTimeField()),
                (
                    "api_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="retired_secrets",
                        to="accounts.apikey",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="retired_secret_organization_id"),
                    models.CheckConstraint(
                        condition=models.Q(("valid_until__gte", models.F("retired_at"))),
                        name="retired_secret_ends_after_it_was_retired",
                    ),
                ],
            },
        ),
        tenant_table("accounts_retiredsecret"),
        tenant_foreign_key("accounts_retiredsecret", "api_key_id", "accounts_apikey"),
        LOOKUP,
        grant_to_gateway("accounts_retiredsecret", "SELECT"),
    ]
