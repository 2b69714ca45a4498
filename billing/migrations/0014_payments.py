import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import tenant_table

# A message belongs to nobody until the provider is asked whose it is; money that came in is never forgotten.
PRIVILEGES = migrations.RunSQL(
    """
    REVOKE ALL ON billing_stripeevent FROM headroom_app;
    REVOKE DELETE ON billing_payment, billing_billingaccount FROM headroom_app, headroom_platform;
    """,
    """
    GRANT SELECT, INSERT, UPDATE, DELETE ON billing_stripeevent TO headroom_app;
    GRANT DELETE ON billing_payment, billing_billingaccount TO headroom_app, headroom_platform;
    """,
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0021_saml"),
        ("billing", "0013_award_grants"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="creditgrant",
            name="kind",
            field=models.CharField(
                choices=[("starter", "Starter credit"), ("prepaid", "Bought credit")], max_length=12
            ),
        ),
        migrations.CreateModel(
            name="StripeEvent",
            fields=[
                ("id", models.CharField(max_length=96, primary_key=True, serialize=False)),
                ("type", models.CharField(max_length=80)),
                ("object_id", models.CharField(max_length=96)),
                ("api_version", models.CharField(max_length=40)),
                ("is_live", models.BooleanField()),
                ("created_at", models.DateTimeField()),
                ("received_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("received", "To be looked at"),
                            ("done", "Done"),
                            ("ignored", "Of no concern to us"),
                            ("parked", "Of another version or mode"),
                            ("dead", "Given up"),
                        ],
                        default="received",
                        max_length=8,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("try_at", models.DateTimeField()),
                ("problem", models.CharField(blank=True, default="", max_length=300)),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("state", "received")), fields=["try_at"], name="stripe_event_due")
                ],
            },
        ),
        migrations.CreateModel(
            name="BillingAccount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("stripe_customer_id", models.CharField(max_length=64, null=True, unique=True)),
                ("generation", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="billing_account",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="billing_account_organization_id")
                ],
            },
        ),
        migrations.CreateModel(
            name="Payment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_pay_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("purpose", models.CharField(choices=[("top_up", "Credit")], max_length=8)),
                ("amount_cents", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("created", "Started"),
                            ("pending", "Waiting for you"),
                            ("processing", "Being processed"),
                            ("succeeded", "Paid"),
                            ("failed", "Failed"),
                            ("canceled", "Not paid"),
                        ],
                        default="created",
                        max_length=12,
                    ),
                ),
                ("stripe_session_id", models.CharField(max_length=96, null=True, unique=True)),
                ("stripe_payment_intent_id", models.CharField(max_length=64, null=True, unique=True)),
                ("generation", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("look_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(null=True)),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="payments", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["organization", "-id"], name="payment_newest"),
                    models.Index(
                        condition=models.Q(("state__in", ["created", "pending", "processing"])),
                        fields=["look_at"],
                        name="payment_due",
                    ),
                    models.Index(
                        condition=models.Q(("mailed_at", None), ("state", "succeeded")),
                        fields=["ended_at"],
                        name="payment_unmailed",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="payment_organization_id"),
                    models.CheckConstraint(condition=models.Q(("amount_cents__gt", 0)), name="payment_positive"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at", None), ("state__in", ["created", "pending", "processing"])),
                            models.Q(("ended_at__isnull", False), ("state__in", ["succeeded", "failed", "canceled"])),
                            _connector="OR",
                        ),
                        name="payment_ends_once_it_is_final",
                    ),
                ],
            },
        ),
        tenant_table("billing_billingaccount"),
        tenant_table("billing_payment"),
        PRIVILEGES,
    ]
