import django.db.models.deletion
from django.db import migrations, models

import portal.lib.public_ids
from portal.lib.tenancy import append_only, tenant_foreign_key, tenant_table

# Customers read what they paid, staff write it. What arrived never changes, nor what it pays, but how it stands.
UNCHANGED = migrations.RunSQL(
    """
    REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON billing_banktransfer, billing_transfermatch FROM headroom_app;
    REVOKE DELETE, TRUNCATE ON billing_banktransfer FROM headroom_platform;

    CREATE FUNCTION billing_keep_transfer() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    DECLARE moves text[] := ARRAY['status', 'mailed_at', 'disputed_by', 'disputed_because', 'taken_back_by',
                                  'taken_back_at'];
    BEGIN
        IF TG_OP = 'DELETE' THEN
            RAISE EXCEPTION 'a bank transfer is never deleted';
        END IF;
        IF OLD.status = 'recorded' THEN
            moves := moves || ARRAY['confirmed_by', 'confirmed_at', 'credit_grant_id'];
        END IF;
        IF OLD.status IN ('taken_back', 'discarded') OR to_jsonb(NEW) - moves <> to_jsonb(OLD) - moves THEN
            RAISE EXCEPTION 'a bank transfer is never edited but recorded anew';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER billing_banktransfer_unchanged BEFORE UPDATE OR DELETE ON billing_banktransfer
    FOR EACH ROW EXECUTE FUNCTION billing_keep_transfer();

    CREATE FUNCTION billing_keep_transfer_match() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN
            RAISE EXCEPTION 'what a transfer pays is never edited';
        END IF;
        IF EXISTS (SELECT FROM billing_banktransfer WHERE id = NEW.transfer_id AND status <> 'recorded') THEN
            RAISE EXCEPTION 'what a transfer pays is said when it is recorded';
        END IF;
        RETURN NEW;
    END
    $$;
    CREATE TRIGGER billing_transfermatch_unchanged BEFORE INSERT OR UPDATE OR DELETE ON billing_transfermatch
    FOR EACH ROW EXECUTE FUNCTION billing_keep_transfer_match();
    """,
    """
    DROP TRIGGER billing_transfermatch_unchanged ON billing_transfermatch;
    DROP FUNCTION billing_keep_transfer_match();
    DROP TRIGGER billing_banktransfer_unchanged ON billing_banktransfer;
    DROP FUNCTION billing_keep_transfer();
    GRANT INSERT, UPDATE, DELETE ON billing_banktransfer, billing_transfermatch TO headroom_app, headroom_platform;
    """,
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0023_organization_terms"),
        ("billing", "0025_billing_details"),
    ]

    operations = [
        migrations.CreateModel(
            name="BankTransfer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "public_id",
                    models.CharField(
                        default=portal.lib.public_ids.new_transfer_id, editable=False, max_length=32, unique=True
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("recorded", "Waits for a second person"),
                            ("confirmed", "Confirmed"),
                            ("taken_back", "Taken back"),
                            ("discarded", "Discarded"),
                        ],
                        default="recorded",
                        max_length=10,
                    ),
                ),
                ("statement_line", models.CharField(max_length=80)),
                ("amount_cents", models.BigIntegerField()),
                ("value_date", models.DateField()),
                ("payer", models.CharField(max_length=160)),
                ("reference", models.CharField(blank=True, max_length=200)),
                ("recorded_by", models.CharField(max_length=32)),
                ("recorded_at", models.DateTimeField()),
                ("confirmed_by", models.CharField(blank=True, default="", max_length=32)),
                ("confirmed_at", models.DateTimeField(null=True)),
                ("disputed_by", models.CharField(blank=True, default="", max_length=32)),
                ("disputed_because", models.CharField(blank=True, default="", max_length=300)),
                ("taken_back_by", models.CharField(blank=True, default="", max_length=32)),
                ("taken_back_at", models.DateTimeField(null=True)),
                ("mailed_at", models.DateTimeField(null=True)),
                (
                    "credit_grant",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="billing.creditgrant",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="bank_transfers",
                        to="accounts.organization",
                    ),
                ),
            ],
            options={
                "permissions": [("record_transfer", "Can record, confirm and take back bank transfers")],
            },
        ),
        migrations.CreateModel(
            name="TransferMatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("amount_cents", models.BigIntegerField()),
                (
                    "invoice",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="transfer_matches",
                        to="billing.invoice",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.organization"
                    ),
                ),
                (
                    "transfer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="matches", to="billing.banktransfer"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="banktransfer",
            index=models.Index(
                condition=models.Q(("mailed_at", None), ("status", "confirmed")),
                fields=["confirmed_at"],
                name="transfer_unmailed",
            ),
        ),
        migrations.AddConstraint(
            model_name="banktransfer",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="transfer_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="banktransfer",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ["recorded", "confirmed"])),
                fields=("statement_line",),
                name="transfer_statement_line_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="banktransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_cents__gt", 0)), name="transfer_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="banktransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("confirmed_at", None), ("confirmed_by", ""), ("status__in", ["recorded", "discarded"])),
                    models.Q(
                        models.Q(("confirmed_by", ""), _negated=True),
                        ("confirmed_at__isnull", False),
                        ("status__in", ["confirmed", "taken_back"]),
                    ),
                    _connector="OR",
                ),
                name="transfer_confirmed_by_somebody",
            ),
        ),
        migrations.AddConstraint(
            model_name="banktransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("confirmed_by", ""),
                    models.Q(("confirmed_by", models.F("recorded_by")), _negated=True),
                    _connector="OR",
                ),
                name="transfer_by_two_people",
            ),
        ),
        migrations.AddConstraint(
            model_name="banktransfer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("taken_back_at", None),
                        ("taken_back_by", ""),
                        models.Q(("status", "taken_back"), _negated=True),
                    ),
                    models.Q(
                        ("status", "taken_back"),
                        ("taken_back_at__isnull", False),
                        models.Q(("taken_back_by", ""), _negated=True),
                        models.Q(("taken_back_by", models.F("disputed_by")), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="transfer_taken_back_by_two_people",
            ),
        ),
        migrations.AddConstraint(
            model_name="transfermatch",
            constraint=models.UniqueConstraint(fields=("organization", "id"), name="transfer_match_organization_id"),
        ),
        migrations.AddConstraint(
            model_name="transfermatch",
            constraint=models.UniqueConstraint(fields=("transfer", "invoice"), name="transfer_match_once_per_invoice"),
        ),
        migrations.AddConstraint(
            model_name="transfermatch",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount_cents__gt", 0)), name="transfer_match_positive"
            ),
        ),
        tenant_table("billing_banktransfer"),
        tenant_table("billing_transfermatch"),
        tenant_foreign_key("billing_banktransfer", "credit_grant_id", "billing_creditgrant"),
        tenant_foreign_key("billing_transfermatch", "transfer_id", "billing_banktransfer"),
        tenant_foreign_key("billing_transfermatch", "invoice_id", "billing_invoice"),
        append_only("billing_transfermatch"),
        UNCHANGED,
    ]
