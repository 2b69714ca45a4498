import django.db.models.deletion
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import tenant_table

# Staff alone write it, as the platform's role, and what is decided does not change; customers only owe less by it.
WRITTEN_BY_STAFF = migrations.RunSQL(
    """
    REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON billing_givenupdebt FROM headroom_app;
    REVOKE DELETE, TRUNCATE ON billing_givenupdebt FROM headroom_platform;

    CREATE FUNCTION billing_keep_given_up_debt() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'a debt about which is decided does not change'; END $$;

    CREATE TRIGGER billing_givenupdebt_unchanged BEFORE UPDATE ON billing_givenupdebt
    FOR EACH ROW WHEN (OLD.status <> 'proposed') EXECUTE FUNCTION billing_keep_given_up_debt();
    CREATE TRIGGER billing_givenupdebt_kept BEFORE DELETE OR TRUNCATE ON billing_givenupdebt
    FOR EACH STATEMENT EXECUTE FUNCTION billing_keep_given_up_debt();
    """,
    """
    DROP TRIGGER billing_givenupdebt_kept ON billing_givenupdebt;
    DROP TRIGGER billing_givenupdebt_unchanged ON billing_givenupdebt;
    DROP FUNCTION billing_keep_given_up_debt();
    GRANT INSERT, UPDATE, DELETE ON billing_givenupdebt TO headroom_app;
    GRANT DELETE ON billing_givenupdebt TO headroom_platform;
    """,
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0026_quotas_and_regions"),
        ("billing", "0047_fraud_warnings"),
    ]

    operations = [
        migrations.CreateModel(
            name="GivenUpDebt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_adj_id, editable=False, max_length=32, unique=True
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("proposed", "Proposed"), ("given_up", "Given up"), ("declined", "Declined")],
                        default="proposed",
                        max_length=8,
                    ),
                ),
                ("amount_cents", models.BigIntegerField()),
                ("reason", models.CharField(max_length=300)),
                ("proposed_by", models.CharField(max_length=32)),
                ("decided_by", models.CharField(blank=True, default="", max_length=32)),
                ("proposed_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "verbose_name": "debt given up",
                "verbose_name_plural": "debts given up",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="given_up_debt_organization_id"),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "proposed")),
                        fields=("organization",),
                        name="given_up_debt_one_open",
                    ),
                    models.CheckConstraint(condition=models.Q(("amount_cents__gt", 0)), name="given_up_debt_positive"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at", None), ("decided_by", ""), ("status", "proposed")),
                            models.Q(
                                models.Q(("status", "proposed"), _negated=True),
                                models.Q(("decided_by", ""), _negated=True),
                                ("decided_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="given_up_debt_decided_by_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status", "declined"),
                            models.Q(("proposed_by", models.F("decided_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="given_up_debt_by_two_people",
                    ),
                ],
            },
        ),
        tenant_table("billing_givenupdebt"),
        WRITTEN_BY_STAFF,
    ]
