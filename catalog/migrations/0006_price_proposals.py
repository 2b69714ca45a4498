import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.lib.public_ids


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0005_tiers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="PriceProposal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_prop_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("price_nano", models.BigIntegerField(blank=True, null=True)),
                (
                    "tier_mode",
                    models.CharField(
                        choices=[("flat", "flat"), ("graduated", "graduated"), ("volume", "volume")],
                        default="flat",
                        max_length=10,
                    ),
                ),
                ("tiers", models.JSONField(blank=True, default=list)),
                ("active_from", models.DateTimeField()),
                ("reason", models.CharField(max_length=500)),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "Open"), ("published", "Published"), ("declined", "Declined")],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("proposed_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(blank=True, null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "sku",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="proposals", to="catalog.sku"
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("propose_price", "Can propose prices"),
                    ("approve_price", "Can publish proposed prices"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status", "declined"),
                            ("decided_by", None),
                            models.Q(("decided_by", models.F("proposed_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="price_proposal_has_two_persons",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("decided_at", None), ("decided_by", None), ("status", "open")),
                            models.Q(
                                models.Q(("status", "open"), _negated=True),
                                ("decided_at__isnull", False),
                                ("decided_by__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="price_proposal_is_decided_by_somebody",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("price_nano", None), ("price_nano__gte", 0), _connector="OR"),
                        name="price_proposal_not_negative",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "open")), fields=("sku",), name="price_proposal_one_open_per_sku"
                    ),
                ],
            },
        ),
    ]
