import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0023_organization_terms"),
        ("billing", "0024_room_of_terms"),
    ]

    operations = [
        migrations.CreateModel(
            name="BillingDetails",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("legal_name", models.CharField(max_length=160, verbose_name="legal name")),
                ("address", models.TextField(max_length=400, verbose_name="address")),
                ("country", models.CharField(max_length=2, verbose_name="country")),
                ("tax_id", models.CharField(blank=True, default="", max_length=32, verbose_name="tax id")),
                (
                    "purchase_order",
                    models.CharField(blank=True, default="", max_length=60, verbose_name="purchase-order number"),
                ),
                (
                    "invoice_emails",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.EmailField(max_length=254), blank=True, default=list
                    ),
                ),
                ("tax_id_confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("exemption", models.CharField(blank=True, default="", max_length=60)),
                ("changed_at", models.DateTimeField()),
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="billing_details",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "permissions": [("confirm_tax_details", "Can confirm tax ids and exemptions")],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="billing_details_organization_id"),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("tax_id_confirmed_at", None), models.Q(("tax_id", ""), _negated=True), _connector="OR"
                        ),
                        name="billing_details_confirmed_id_is_one",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("country__regex", "^[A-Z]{2}$")), name="billing_details_country_code"
                    ),
                ],
            },
        ),
        tenant_table("billing_billingdetails"),
        migrations.RunSQL(
            "REVOKE DELETE, TRUNCATE ON billing_billingdetails FROM headroom_app, headroom_platform;",
            "GRANT DELETE ON billing_billingdetails TO headroom_app, headroom_platform;",
        ),
    ]
