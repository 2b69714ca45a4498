import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_foreign_key, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0008_retired_secrets"),
    ]

    operations = [
        migrations.CreateModel(
            name="KeyLeak",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("is_former_secret", models.BooleanField()),
                ("last_four", models.CharField(max_length=4)),
                ("url", models.CharField(blank=True, max_length=500)),
                ("source", models.CharField(blank=True, max_length=80)),
                ("reported_by", models.CharField(max_length=80)),
                ("reported_at", models.DateTimeField()),
                ("told_at", models.DateTimeField(blank=True, null=True)),
                (
                    "api_key",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="leaks", to="accounts.apikey"
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
                "indexes": [
                    models.Index(condition=models.Q(("told_at", None)), fields=["reported_at"], name="key_leak_untold")
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="key_leak_organization_id")
                ],
            },
        ),
        tenant_table("accounts_keyleak"),
        tenant_foreign_key("accounts_keyleak", "api_key_id", "accounts_apikey"),
    ]
