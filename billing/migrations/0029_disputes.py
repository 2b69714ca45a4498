import django.db.models.deletion
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import tenant_foreign_key, tenant_table

# What a bank did to a payment is never forgotten.
PRIVILEGES = migrations.RunSQL(
    "REVOKE DELETE, TRUNCATE ON billing_dispute FROM headroom_app, headroom_platform;",
    "GRANT DELETE ON billing_dispute TO headroom_app, headroom_platform;",
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0022_operator_keys"),
        ("billing", "0028_refunds"),
    ]

    operations = [
        migrations.CreateModel(
            name="Dispute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_dispute_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("stripe_dispute_id", models.CharField(max_length=64, unique=True)),
                ("reason", models.CharField(max_length=64)),
                ("amount_cents", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("inquiry", "The bank asks"),
                            ("disputed", "Disputed"),
                            ("answered", "Being decided"),
                            ("won", "Won"),
                            ("lost", "Lost"),
                            ("closed", "Closed"),
                        ],
                        max_length=8,
                    ),
                ),
                ("is_withdrawn", models.BooleanField(default=False)),
                ("frozen_cents", models.BigIntegerField(default=0)),
                ("due_by", models.DateTimeField(null=True)),
                ("answered_at", models.DateTimeField(null=True)),
                ("answered_by", models.CharField(blank=True, default="", max_length=32)),
                ("opened_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
                ("look_at", models.DateTimeField()),
                ("mailed_state", models.CharField(blank=True, default="", max_length=8)),
            ],
            options={
                "permissions": [("answer_dispute", "Can send evidence to the payment provider")],
            },
        ),
        migrations.AddField(
            model_name="creditgrant",
            name="frozen_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="creditgrant",
            constraint=models.CheckConstraint(
                condition=models.Q(("frozen_nano__gte", 0), ("frozen_nano__lte", models.F("amount_nano"))),
                name="credit_grant_frozen_within_it",
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="organization",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="disputes", to="accounts.organization"
            ),
        ),
        migrations.AddField(
            model_name="dispute",
            name="payment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="disputes", to="billing.payment"
            ),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(fields=["organization", "-id"], name="dispute_newest"),
        ),
        migrations.AddIndex(
            model_name="dispute",
            index=models.Index(
                condition=models.Q(("state__in", ["inquiry", "disputed", "answered"])),
                fields=["look_at"],
                name="dispute_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="dispute_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(condition=models.Q(("amount_cents__gt", 0)), name="dispute_positive"),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("frozen_cents", 0),
                    models.Q(
                        ("frozen_cents__gt", 0), ("frozen_cents__lte", models.F("amount_cents")), ("is_withdrawn", True)
                    ),
                    _connector="OR",
                ),
                name="dispute_freezes_at_most_what_was_taken",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("ended_at", None), ("state__in", ["inquiry", "disputed", "answered"])),
                    models.Q(("ended_at__isnull", False), ("state__in", ["won", "lost", "closed"])),
                    _connector="OR",
                ),
                name="dispute_ends_once_it_is_decided",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispute",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_withdrawn", True), ("state__in", ["inquiry", "closed"]), _connector="OR"),
                name="dispute_has_taken_money",
            ),
        ),
        tenant_table("billing_dispute"),
        tenant_foreign_key("billing_dispute", "payment_id", "billing_payment"),
        PRIVILEGES,
    ]
