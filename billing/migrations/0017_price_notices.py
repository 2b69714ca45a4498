import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0021_saml"),
        ("billing", "0016_contracts"),
    ]

    operations = [
        migrations.CreateModel(
            name="PriceNotice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sku", models.CharField(max_length=160)),
                ("list_price_id", models.CharField(max_length=32)),
                ("before_nano", models.BigIntegerField()),
                ("price_nano", models.BigIntegerField()),
                ("unit_size", models.BigIntegerField()),
                ("active_from", models.DateTimeField()),
                ("noted_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(blank=True, null=True)),
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
                        condition=models.Q(("mailed_at", None)), fields=["noted_at"], name="price_notice_unmailed"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="price_notice_organization_id"),
                    models.UniqueConstraint(
                        fields=("organization", "list_price_id"), name="price_notice_once_per_version"
                    ),
                ],
            },
        ),
        tenant_table("billing_pricenotice"),
    ]
