import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_foreign_key, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0024_payment_state"),
        ("billing", "0026_bank_transfers"),
    ]

    operations = [
        migrations.AddField(
            model_name="spendcap",
            name="is_suspended",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name="Standing",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("good", "good"),
                            ("past_due", "past_due"),
                            ("grace", "grace"),
                            ("suspended", "suspended"),
                            ("terminated", "terminated"),
                            ("disputed", "disputed"),
                        ],
                        max_length=12,
                    ),
                ),
                ("since", models.DateTimeField()),
                ("done", models.PositiveSmallIntegerField(default=0)),
                ("next_action_at", models.DateTimeField(null=True)),
                ("before_dispute", models.CharField(default="good", max_length=12)),
                ("waits_since", models.DateTimeField(null=True)),
                ("approved_by", models.CharField(blank=True, default="", max_length=32)),
                ("began_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="billing_standing",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "permissions": [("approve_suspension", "Can approve suspensions for debt")],
            },
        ),
        migrations.CreateModel(
            name="StandingLetter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "letter",
                    models.CharField(
                        choices=[
                            ("past_due", "past_due"),
                            ("reminder", "reminder"),
                            ("grace", "grace"),
                            ("last_days", "last_days"),
                            ("suspended", "suspended"),
                            ("first_warning", "first_warning"),
                            ("second_warning", "second_warning"),
                            ("last_warning", "last_warning"),
                            ("terminated", "terminated"),
                            ("disputed", "disputed"),
                            ("good", "good"),
                        ],
                        max_length=16,
                    ),
                ),
                ("owed_cents", models.BigIntegerField()),
                ("noted_at", models.DateTimeField()),
                ("mailed_at", models.DateTimeField(null=True)),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.organization"
                    ),
                ),
                (
                    "standing",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="letters", to="billing.standing"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="standing",
            index=models.Index(
                condition=models.Q(("next_action_at__isnull", False)),
                fields=["next_action_at"],
                name="standing_next_action",
            ),
        ),
        migrations.AddConstraint(
            model_name="standing",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="standing_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="standing",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("began_at", None), ("next_action_at", None), ("state", "good")),
                    models.Q(models.Q(("state", "good"), _negated=True), ("began_at__isnull", False)),
                    _connector="OR",
                ),
                name="standing_good_waits_for_nothing",
            ),
        ),
        migrations.AddConstraint(
            model_name="standing",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("waits_since", None), models.Q(("next_action_at", None), ("state", "grace")), _connector="OR"
                ),
                name="standing_waits_in_grace",
            ),
        ),
        migrations.AddIndex(
            model_name="standingletter",
            index=models.Index(
                condition=models.Q(("mailed_at", None)), fields=["noted_at"], name="standing_letter_unmailed"
            ),
        ),
        migrations.AddConstraint(
            model_name="standingletter",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="standing_letter_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="standingletter",
            constraint=models.CheckConstraint(
                condition=models.Q(("mailed_at", None), ("mailed_at__gte", models.F("noted_at")), _connector="OR"),
                name="standing_letter_noted_first",
            ),
        ),
        tenant_table("billing_standing"),
        tenant_table("billing_standingletter"),
        tenant_foreign_key("billing_standingletter", "standing_id", "billing_standing"),
        migrations.RunSQL(
            "REVOKE DELETE, TRUNCATE ON billing_standing, billing_standingletter FROM headroom_app, headroom_platform;",
            "GRANT DELETE ON billing_standing, billing_standingletter TO headroom_app, headroom_platform;",
        ),
    ]
