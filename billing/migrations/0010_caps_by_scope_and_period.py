import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models

from portal.lib.tenancy import tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0021_saml"),
        ("billing", "0009_sum_of_nano_dollars"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="spendcap",
            name="spend_cap_once_per_scope_and_period",
        ),
        migrations.RemoveConstraint(
            model_name="spendcap",
            name="spend_cap_holds",
        ),
        migrations.RemoveConstraint(
            model_name="spendcap",
            name="spend_cap_period_not_empty",
        ),
        migrations.RemoveConstraint(
            model_name="spendcap",
            name="spend_cap_names_its_scope",
        ),
        migrations.AddField(
            model_name="reservation",
            name="api_key",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.apikey"
            ),
        ),
        migrations.AddField(
            model_name="reservation",
            name="limit_ids",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.BigIntegerField(), db_default=[], default=list
            ),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="api_key",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="spend_caps", to="accounts.apikey"
            ),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="found_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="is_current",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="period",
            field=models.CharField(
                choices=[
                    ("day", "Each day"),
                    ("week", "Each week"),
                    ("month", "Each month"),
                    ("lifetime", "Once, for all time"),
                ],
                db_default="lifetime",
                default="lifetime",
                max_length=8,
            ),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="project",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="spend_caps", to="accounts.project"
            ),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="stops",
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name="spendcap",
            name="warned_percent",
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name="spendcap",
            name="scope",
            field=models.CharField(
                choices=[("organization", "Organization"), ("project", "Project"), ("key", "API key")], max_length=12
            ),
        ),
        migrations.AddConstraint(
            model_name="spendcap",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_current", True)),
                fields=("organization", "scope", "project", "api_key", "period"),
                name="spend_cap_one_current",
                nulls_distinct=False,
            ),
        ),
        migrations.AddConstraint(
            model_name="spendcap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("stops", False),
                    (
                        "settled_nano__lte",
                        django.db.models.expressions.CombinedExpression(
                            models.F("limit_nano"), "-", models.F("reserved_nano")
                        ),
                    ),
                    _connector="OR",
                ),
                name="spend_cap_holds",
            ),
        ),
        migrations.AddConstraint(
            model_name="spendcap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("period", "lifetime"), ("period_end", None), ("period_start", None)),
                    models.Q(
                        models.Q(("period", "lifetime"), _negated=True), ("period_end__gt", models.F("period_start"))
                    ),
                    _connector="OR",
                ),
                name="spend_cap_has_its_period",
            ),
        ),
        migrations.AddConstraint(
            model_name="spendcap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("api_key", None), ("project", None), ("scope", "organization")),
                    models.Q(("api_key", None), ("project__isnull", False), ("scope", "project")),
                    models.Q(("api_key__isnull", False), ("project", None), ("scope", "key")),
                    _connector="OR",
                ),
                name="spend_cap_names_its_scope",
            ),
        ),
        migrations.RemoveField(
            model_name="spendcap",
            name="scope_id",
        ),
        tenant_foreign_key("billing_spendcap", "project_id", "accounts_project"),
        tenant_foreign_key("billing_spendcap", "api_key_id", "accounts_apikey"),
        tenant_foreign_key("billing_reservation", "api_key_id", "accounts_apikey"),
        # Whoever comes first in a new period ends the row of the last one, and holds move to the new.
        migrations.RunSQL(
            "GRANT UPDATE (is_current) ON billing_spendcap TO headroom_gateway;",
            "REVOKE UPDATE (is_current) ON billing_spendcap FROM headroom_gateway;",
        ),
        migrations.RunSQL(
            "GRANT UPDATE (limit_ids) ON billing_reservation TO headroom_gateway;",
            "REVOKE UPDATE (limit_ids) ON billing_reservation FROM headroom_gateway;",
        ),
    ]
