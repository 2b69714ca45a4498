import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_foreign_key, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0021_saml"),
        ("billing", "0010_caps_by_scope_and_period"),
    ]

    operations = [
        migrations.AddField(
            model_name="spendcap",
            name="is_forecast_warned",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="CapWarning",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("percent", models.PositiveSmallIntegerField()),
                ("limit_nano", models.BigIntegerField()),
                ("settled_nano", models.BigIntegerField()),
                ("warned_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "cap",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="warnings", to="billing.spendcap"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("mailed_at", None)), fields=["warned_at"], name="cap_warning_unmailed"
                    ),
                    models.Index(fields=["organization", "-warned_at"], name="cap_warning_newest"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="cap_warning_organization_id"),
                    models.CheckConstraint(
                        condition=models.Q(("percent__in", [0, 50, 80, 100])), name="cap_warning_known_percent"
                    ),
                ],
            },
        ),
        tenant_table("billing_capwarning"),
        tenant_foreign_key("billing_capwarning", "cap_id", "billing_spendcap"),
    ]
