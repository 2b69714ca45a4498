import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import billing.models.contract
import portal.lib.public_ids
from portal.lib.tenancy import grant_to_gateway, tenant_foreign_key, tenant_table

# Customers read their contract, staff write it. Once it is approved it only becomes published, and then only its end
# is ever set; its prices are written with the draft.
UNCHANGED = migrations.RunSQL(
    """
    REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON billing_contract, billing_contractprice FROM headroom_app;
    REVOKE DELETE, TRUNCATE ON billing_contract, billing_contractprice FROM headroom_platform;
    REVOKE UPDATE ON billing_contractprice FROM headroom_platform;

    CREATE FUNCTION billing_keep_contract() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            RAISE EXCEPTION 'a contract is never deleted once it is approved';
        END IF;
        IF OLD.status = 'published' THEN
            OLD.active_to := NEW.active_to;
        ELSE
            OLD.status := NEW.status;
            OLD.published_at := NEW.published_at;
        END IF;
        IF OLD IS DISTINCT FROM NEW THEN
            RAISE EXCEPTION 'a contract is never edited once it is approved';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER billing_contract_unchanged BEFORE UPDATE OR DELETE ON billing_contract
    FOR EACH ROW WHEN (OLD.status <> 'draft') EXECUTE FUNCTION billing_keep_contract();

    CREATE FUNCTION billing_keep_contract_price() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    BEGIN
        IF TG_OP <> 'INSERT'
           AND EXISTS (SELECT FROM billing_contract WHERE id = OLD.contract_id AND status <> 'draft') THEN
            RAISE EXCEPTION 'the prices of a contract are never edited';
        END IF;
        IF TG_OP = 'DELETE' THEN
            RETURN OLD;
        END IF;
        IF EXISTS (SELECT FROM billing_contract WHERE id = NEW.contract_id AND status <> 'draft') THEN
            RAISE EXCEPTION 'only a draft takes prices';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER billing_contractprice_unchanged BEFORE INSERT OR UPDATE OR DELETE ON billing_contractprice
    FOR EACH ROW EXECUTE FUNCTION billing_keep_contract_price();
    """,
    """
    DROP TRIGGER billing_contractprice_unchanged ON billing_contractprice;
    DROP FUNCTION billing_keep_contract_price();
    DROP TRIGGER billing_contract_unchanged ON billing_contract;
    DROP FUNCTION billing_keep_contract();
    GRANT INSERT, UPDATE, DELETE ON billing_contract, billing_contractprice TO headroom_app, headroom_platform;
    """,
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0021_saml"),
        ("billing", "0015_usage_fates"),
        ("catalog", "0005_tiers"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="usagebyhour",
            name="list_price_id",
            field=models.CharField(blank=True, db_default="", default="", max_length=32),
        ),
        migrations.AddField(
            model_name="usagebyhour",
            name="list_price_nano",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="Contract",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_ctr_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                ("name", models.CharField(max_length=120)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("draft", "Draft"),
                            ("approved", "Approved"),
                            ("published", "Published"),
                            ("discarded", "Discarded"),
                        ],
                        default="draft",
                        max_length=10,
                    ),
                ),
                ("discount_basis_points", models.PositiveIntegerField(default=0)),
                ("active_from", models.DateTimeField()),
                ("active_to", models.DateTimeField(blank=True, null=True)),
                ("drafted_at", models.DateTimeField()),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("published_at", models.DateTimeField(blank=True, null=True)),
                (
                    "approved_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "drafted_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="contracts",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("draft_contract", "Can draft contracts"),
                    ("approve_contract", "Can approve, publish and end contracts"),
                ]
            },
        ),
        migrations.CreateModel(
            name="ContractPrice",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_price_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("price_nano", models.BigIntegerField()),
                ("unit_size", models.BigIntegerField()),
                (
                    "tier_mode",
                    models.CharField(
                        choices=[("flat", "flat"), ("graduated", "graduated"), ("volume", "volume")],
                        default="flat",
                        max_length=10,
                    ),
                ),
                ("tiers", models.JSONField(blank=True, default=list)),
                (
                    "contract",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="prices", to="billing.contract"
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.organization"
                    ),
                ),
                (
                    "sku",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="catalog.sku"),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="contract_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.UniqueConstraint(fields=("organization", "version"), name="contract_version_once"),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(("discount_basis_points__lte", 10000)), name="contract_discount_is_a_part"
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(("active_to", None), ("active_to__gt", models.F("active_from")), _connector="OR"),
                name="contract_period_not_empty",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("active_from__minute", 0),
                    ("active_from__second", 0),
                    models.Q(
                        ("active_to", None),
                        models.Q(("active_to__minute", 0), ("active_to__second", 0)),
                        _connector="OR",
                    ),
                ),
                name="contract_changes_on_the_hour",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("approved_by", None),
                    models.Q(("approved_by", models.F("drafted_by")), _negated=True),
                    _connector="OR",
                ),
                name="contract_has_two_persons",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status__in", ["approved", "published"]), _negated=True),
                    models.Q(("approved_at__isnull", False), ("approved_by__isnull", False)),
                    _connector="OR",
                ),
                name="contract_in_force_is_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("published_at__isnull", False), ("status", "published")),
                    models.Q(models.Q(("status", "published"), _negated=True), ("published_at", None)),
                    _connector="OR",
                ),
                name="contract_published_at_once_published",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                condition=models.Q(("status", "published")),
                expressions=[
                    (
                        billing.models.contract._ActiveRange(
                            "active_from", "active_to", django.contrib.postgres.fields.ranges.RangeBoundary()
                        ),
                        "&&",
                    ),
                    ("organization", "="),
                ],
                name="contract_one_in_force",
            ),
        ),
        migrations.AddConstraint(
            model_name="contractprice",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="contract_price_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="contractprice",
            constraint=models.UniqueConstraint(fields=("contract", "sku"), name="contract_price_once_per_sku"),
        ),
        migrations.AddConstraint(
            model_name="contractprice",
            constraint=models.CheckConstraint(
                condition=models.Q(("price_nano__gte", 0), ("unit_size__gt", 0)), name="contract_price_not_negative"
            ),
        ),
        migrations.AddConstraint(
            model_name="contractprice",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("tier_mode", "flat"), ("tiers", [])),
                    models.Q(models.Q(("tier_mode", "flat"), _negated=True), models.Q(("tiers", []), _negated=True)),
                    _connector="OR",
                ),
                name="contract_price_has_tiers_unless_flat",
            ),
        ),
        tenant_table("billing_contract"),
        tenant_table("billing_contractprice"),
        tenant_foreign_key("billing_contractprice", "contract_id", "billing_contract"),
        UNCHANGED,
        # What the gateway reserves, bills and says in x-cost is what was agreed.
        grant_to_gateway("billing_contract", "SELECT"),
        grant_to_gateway("billing_contractprice", "SELECT"),
    ]
