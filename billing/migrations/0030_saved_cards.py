import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import tenant_table

# Payments were made with them.
PRIVILEGES = migrations.RunSQL(
    "REVOKE DELETE, TRUNCATE ON billing_paymentmethod FROM headroom_app, headroom_platform;",
    "GRANT DELETE ON billing_paymentmethod TO headroom_app, headroom_platform;",
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0022_operator_keys"),
        ("billing", "0029_disputes"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="billingaccount",
            name="setup_number",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.CreateModel(
            name="PaymentMethod",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_card_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("stripe_payment_method_id", models.CharField(max_length=64, unique=True)),
                ("brand", models.CharField(max_length=24)),
                ("last_four", models.CharField(max_length=4)),
                ("expires_month", models.PositiveSmallIntegerField()),
                ("expires_year", models.PositiveSmallIntegerField()),
                ("is_default", models.BooleanField(default=False)),
                ("is_attached", models.BooleanField(default=True)),
                ("created_at", models.DateTimeField()),
                ("removed_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment_methods",
                        to="accounts.organization",
                    ),
                ),
                (
                    "removed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("is_attached", True), ("removed_at__isnull", False)),
                        fields=["id"],
                        name="payment_method_to_detach",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="payment_method_organization_id"),
                    models.UniqueConstraint(
                        condition=models.Q(("is_default", True)),
                        fields=("organization",),
                        name="payment_method_one_default",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("is_default", False),
                            models.Q(("is_attached", True), ("removed_at", None)),
                            _connector="OR",
                        ),
                        name="payment_method_default_can_be_charged",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("expires_month__gte", 1), ("expires_month__lte", 12)),
                        name="payment_method_expires_in_a_month",
                    ),
                ],
            },
        ),
        tenant_table("billing_paymentmethod"),
        PRIVILEGES,
    ]
