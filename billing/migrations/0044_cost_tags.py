import django.db.models.deletion
from django.db import migrations, models

from portal.lib.tenancy import tenant_foreign_key, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0025_words_for_terms"),
        ("billing", "0043_words_for_staff"),
    ]

    operations = [
        migrations.CreateModel(
            name="CostTags",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("from_day", models.DateTimeField()),
                ("tags", models.JSONField(default=dict)),
                ("changed_at", models.DateTimeField()),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.organization",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="accounts.project",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="cost_tags_organization_id"),
                    models.UniqueConstraint(
                        fields=("organization", "project", "from_day"), name="cost_tags_of_project_once_per_day"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("from_day__hour", 0), ("from_day__minute", 0), ("from_day__second", 0)),
                        name="cost_tags_begin_with_a_day",
                    ),
                ],
            },
        ),
        tenant_table("billing_costtags"),
        tenant_foreign_key("billing_costtags", "project_id", "accounts_project"),
    ]
