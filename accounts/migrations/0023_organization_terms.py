import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import tenant_table

# Customers read their terms, staff write them. Once they are approved only how they stand changes.
UNCHANGED = migrations.RunSQL(
    """
    REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON accounts_organizationterms FROM headroom_app;
    REVOKE DELETE, TRUNCATE ON accounts_organizationterms FROM headroom_platform;

    CREATE FUNCTION accounts_keep_terms() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    DECLARE moves text[] := ARRAY['status', 'begun_at', 'ended_at'];
    BEGIN
        IF TG_OP = 'DELETE' THEN
            RAISE EXCEPTION 'terms are never deleted';
        END IF;
        IF OLD.status = 'proposed' THEN
            moves := moves || ARRAY['approved_by_id', 'approved_at'];
        END IF;
        IF OLD.status IN ('ended', 'discarded') OR to_jsonb(NEW) - moves <> to_jsonb(OLD) - moves THEN
            RAISE EXCEPTION 'terms are never edited but proposed anew';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER accounts_organizationterms_unchanged BEFORE UPDATE OR DELETE ON accounts_organizationterms
    FOR EACH ROW EXECUTE FUNCTION accounts_keep_terms();
    """,
    """
    DROP TRIGGER accounts_organizationterms_unchanged ON accounts_organizationterms;
    DROP FUNCTION accounts_keep_terms();
    GRANT INSERT, UPDATE, DELETE ON accounts_organizationterms TO headroom_app, headroom_platform;
    """,
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0022_operator_keys"),
    ]

    operations = [
        migrations.CreateModel(
            name="OrganizationTerms",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_terms_id, editable=False, max_length=32, unique=True
                    ),
                ),
                ("version", models.PositiveIntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("proposed", "Proposed"),
                            ("approved", "Approved"),
                            ("in_force", "In force"),
                            ("ended", "Ended"),
                            ("discarded", "Discarded"),
                        ],
                        default="proposed",
                        max_length=10,
                    ),
                ),
                ("credit_limit_nano", models.BigIntegerField()),
                ("net_days", models.PositiveSmallIntegerField(choices=[(0, "0"), (15, "15"), (30, "30"), (60, "60")])),
                ("needs_purchase_order", models.BooleanField(default=False)),
                ("invoice_above_nano", models.BigIntegerField(blank=True, null=True)),
                ("active_from", models.DateTimeField()),
                ("active_to", models.DateTimeField(blank=True, null=True)),
                ("proposed_at", models.DateTimeField()),
                ("approved_at", models.DateTimeField(blank=True, null=True)),
                ("begun_at", models.DateTimeField(blank=True, null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
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
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="terms", to="accounts.organization"
                    ),
                ),
                (
                    "proposed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "permissions": [
                    ("propose_terms", "Can propose terms of organizations"),
                    ("approve_terms", "Can approve and end terms of organizations"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("organization", "id"), name="terms_organization_id"),
                    models.UniqueConstraint(fields=("organization", "version"), name="terms_version_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "in_force")),
                        fields=("organization",),
                        name="terms_one_version_in_force",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("credit_limit_nano__gte", 0)), name="terms_limit_not_negative"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("net_days__in", (0, 15, 30, 60))), name="terms_known_net_days"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("invoice_above_nano", None), ("invoice_above_nano__gt", 0), _connector="OR"
                        ),
                        name="terms_threshold_positive",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("active_to", None), ("active_to__gt", models.F("active_from")), _connector="OR"
                        ),
                        name="terms_period_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("approved_by", None),
                            models.Q(("approved_by", models.F("proposed_by")), _negated=True),
                            _connector="OR",
                        ),
                        name="terms_by_two_persons",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["proposed", "discarded"]),
                            models.Q(("approved_at__isnull", False), ("approved_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="terms_in_force_are_approved",
                    ),
                ],
            },
        ),
        tenant_table("accounts_organizationterms"),
        UNCHANGED,
    ]
