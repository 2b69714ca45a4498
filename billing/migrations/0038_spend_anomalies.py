import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0024_payment_state"),
        ("billing", "0037_files_before_forgetting"),
    ]

    operations = [
        migrations.CreateModel(
            name="SpendAnomaly",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("day", models.DateTimeField()),
                ("findings", models.JSONField()),
                ("found_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("mailed_at", None)), fields=["found_at"], name="spend_anomaly_unmailed"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="spend_anomaly_organization_id"),
                    models.UniqueConstraint(fields=("organization", "day"), name="spend_anomaly_once_per_day"),
                ],
            },
        ),
        migrations.CreateModel(
            name="AnomalyMails",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("is_on", models.BooleanField()),
                ("changed_at", models.DateTimeField()),
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="anomaly_mails",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="anomaly_mails_organization_id")
                ],
            },
        ),
        tenant_table("billing_spendanomaly"),
        tenant_table("billing_anomalymails"),
    ]
