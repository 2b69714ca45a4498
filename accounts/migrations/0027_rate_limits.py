import django.db.models.deletion
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import grant_to_gateway, tenant_foreign_key, tenant_table


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0026_quotas_and_regions"),
    ]

    operations = [
        migrations.CreateModel(
            name="RateLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_rate_id, editable=False, max_length=32, unique=True
                    ),
                ),
                (
                    "requests_per_minute",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="requests per minute"),
                ),
                (
                    "tokens_per_minute",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="tokens per minute"),
                ),
                (
                    "concurrent_requests",
                    models.PositiveIntegerField(blank=True, null=True, verbose_name="requests at once"),
                ),
                ("changed_at", models.DateTimeField()),
                (
                    "api_key",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.apikey",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="rate_limits",
                        to="accounts.organization",
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="accounts.project",
                    ),
                ),
            ],
            options={
                "verbose_name": "rate limit",
                "verbose_name_plural": "rate limits",
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="rate_limit_organization_id"),
                    models.UniqueConstraint(
                        fields=("organization", "project", "api_key"), name="rate_limit_once", nulls_distinct=False
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("project", None), ("api_key", None), _connector="OR"),
                        name="rate_limit_over_one",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("requests_per_minute", None),
                            ("requests_per_minute__range", (1, 1000000000)),
                            _connector="OR",
                        ),
                        name="rate_limit_requests",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("tokens_per_minute", None), ("tokens_per_minute__range", (1, 1000000000)), _connector="OR"
                        ),
                        name="rate_limit_tokens",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("concurrent_requests", None),
                            ("concurrent_requests__range", (1, 1000000000)),
                            _connector="OR",
                        ),
                        name="rate_limit_at_once",
                    ),
                ],
            },
        ),
        tenant_table("accounts_ratelimit"),
        tenant_foreign_key("accounts_ratelimit", "project_id", "accounts_project"),
        tenant_foreign_key("accounts_ratelimit", "api_key_id", "accounts_apikey"),
        grant_to_gateway("accounts_ratelimit", "SELECT"),
    ]
