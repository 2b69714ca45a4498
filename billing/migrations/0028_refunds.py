import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import tenant_foreign_key, tenant_table

# What went back is never forgotten.
PRIVILEGES = migrations.RunSQL(
    "REVOKE DELETE, TRUNCATE ON billing_refund FROM headroom_app, headroom_platform;",
    "GRANT DELETE ON billing_refund TO headroom_app, headroom_platform;",
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0022_operator_keys"),
        ("billing", "0027_standing"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Refund",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_refund_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("amount_cents", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("asked", "Asked for"),
                            ("approved", "Approved"),
                            ("pending", "On its way"),
                            ("succeeded", "Paid back"),
                            ("failed", "Failed"),
                            ("declined", "Declined"),
                        ],
                        default="asked",
                        max_length=12,
                    ),
                ),
                ("reason", models.CharField(max_length=300)),
                ("is_of_customer", models.BooleanField()),
                ("asked_by", models.CharField(max_length=32)),
                ("decided_by", models.CharField(blank=True, default="", max_length=32)),
                ("stripe_refund_id", models.CharField(max_length=64, null=True, unique=True)),
                ("generation", models.PositiveSmallIntegerField(default=0)),
                ("sent_at", models.DateTimeField(null=True)),
                ("asked_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("look_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(null=True)),
            ],
            options={
                "permissions": [("propose_refund", "Can propose refunds"), ("approve_refund", "Can approve refunds")],
            },
        ),
        migrations.AddField(
            model_name="payment",
            name="refunded_cents",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("refunded_cents", 0),
                    models.Q(
                        ("refunded_cents__gt", 0),
                        ("refunded_cents__lte", models.F("amount_cents")),
                        ("state", "succeeded"),
                    ),
                    _connector="OR",
                ),
                name="payment_refunded_at_most_what_is_paid",
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="accounts.organization"
            ),
        ),
        migrations.AddField(
            model_name="refund",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="refunds", to="billing.payment"
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(fields=["organization", "-id"], name="refund_newest"),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("state__in", ["approved", "pending"])), fields=["look_at"], name="refund_due"
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("mailed_at", None), ("state__in", ["succeeded", "failed"])),
                fields=["ended_at"],
                name="refund_unmailed",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="refund_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["asked", "approved", "pending"])),
                fields=("payment",),
                name="refund_one_open_per_payment",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(condition=models.Q(("amount_cents__gt", 0)), name="refund_positive"),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at", None), ("decided_by", ""), ("state", "asked")),
                    models.Q(
                        models.Q(("state", "asked"), _negated=True),
                        models.Q(("decided_by", ""), _negated=True),
                        ("decided_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="refund_decided_once_it_is_not_asked_for",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("state", "declined"),
                    models.Q(("asked_by", models.F("decided_by")), _negated=True),
                    _connector="OR",
                ),
                name="refund_by_two_people",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("state__in", ["asked", "approved", "pending"])),
                    models.Q(("ended_at__isnull", False), ("state__in", ["succeeded", "failed", "declined"])),
                    _connector="OR",
                ),
                name="refund_ends_once_it_is_final",
            ),
        ),
        tenant_table("billing_refund"),
        tenant_foreign_key("billing_refund", "payment_id", "billing_payment"),
        PRIVILEGES,
    ]
