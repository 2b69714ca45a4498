import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from portal.lib.tenancy import tenant_foreign_key, tenant_table

# Terms of payments are changed and never forgotten.
PRIVILEGES = migrations.RunSQL(
    "REVOKE DELETE, TRUNCATE ON billing_autoreload FROM headroom_app, headroom_platform;",
    "GRANT DELETE ON billing_autoreload TO headroom_app, headroom_platform;",
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0022_operator_keys"),
        ("billing", "0030_saved_cards"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="AutoReload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("is_on", models.BooleanField(default=False)),
                ("threshold_cents", models.BigIntegerField()),
                ("amount_cents", models.BigIntegerField()),
                ("ceiling_cents", models.BigIntegerField()),
                ("failure_count", models.PositiveSmallIntegerField(default=0)),
                (
                    "off_because",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("person", "turned off by a member"),
                            ("failures", "turned off because payments failed"),
                        ],
                        default="",
                        max_length=8,
                    ),
                ),
                ("changed_at", models.DateTimeField()),
                ("tried_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RemoveIndex(
            model_name="payment",
            name="payment_unmailed",
        ),
        migrations.AddField(
            model_name="payment",
            name="card",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="payments",
                to="billing.paymentmethod",
            ),
        ),
        migrations.AddField(
            model_name="payment",
            name="failure",
            field=models.CharField(blank=True, default="", max_length=64),
        ),
        migrations.AddField(
            model_name="payment",
            name="invoice",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="payments", to="billing.invoice"
            ),
        ),
        migrations.AlterField(
            model_name="payment",
            name="purpose",
            field=models.CharField(
                choices=[("top_up", "Credit"), ("reload", "Credit, bought automatically"), ("invoice", "Invoice")],
                max_length=8,
            ),
        ),
        migrations.AddIndex(
            model_name="payment",
            index=models.Index(
                condition=models.Q(("mailed_at", None), ("state__in", ["succeeded", "failed"])),
                fields=["ended_at"],
                name="payment_unmailed",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("invoice__isnull", False), ("purpose", "invoice")),
                    models.Q(models.Q(("purpose", "invoice"), _negated=True), ("invoice", None)),
                    _connector="OR",
                ),
                name="payment_of_an_invoice_has_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("purpose", "reload"), ("state__in", ["created", "pending", "processing"])),
                fields=("organization",),
                name="payment_one_reload_in_flight",
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["created", "pending", "processing"])),
                fields=("invoice",),
                name="payment_one_in_flight_per_invoice",
            ),
        ),
        migrations.AddField(
            model_name="autoreload",
            name="changed_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="autoreload",
            name="organization",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT, related_name="auto_reload", to="accounts.organization"
            ),
        ),
        migrations.AddIndex(
            model_name="autoreload",
            index=models.Index(condition=models.Q(("is_on", True)), fields=["tried_at"], name="auto_reload_on"),
        ),
        migrations.AddConstraint(
            model_name="autoreload",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="auto_reload_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="autoreload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_cents__gt", 0),
                    ("ceiling_cents__gte", models.F("amount_cents")),
                    ("threshold_cents__gt", 0),
                ),
                name="auto_reload_amounts_make_sense",
            ),
        ),
        migrations.AddConstraint(
            model_name="autoreload",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("is_on", True), ("off_because", "")),
                    models.Q(("is_on", False), models.Q(("off_because", ""), _negated=True)),
                    _connector="OR",
                ),
                name="auto_reload_off_for_a_reason",
            ),
        ),
        tenant_table("billing_autoreload"),
        tenant_foreign_key("billing_payment", "invoice_id", "billing_invoice"),
        tenant_foreign_key("billing_payment", "card_id", "billing_paymentmethod"),
        PRIVILEGES,
    ]
