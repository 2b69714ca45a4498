import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.db import migrations, models
from django.db.models import F, Q

import billing.models.contract
from portal.lib.tenancy import tenant_foreign_key


class Migration(migrations.Migration):
    dependencies = [("billing", "0020_tiers_on_invoices")]

    operations = [
        migrations.AddField(
            model_name="contract", name="committed_cents", field=models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="contract", name="committed_from", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddField(
            model_name="contract", name="committed_until", field=models.DateTimeField(blank=True, null=True)
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=models.CheckConstraint(
                condition=Q(committed_cents=0, committed_from=None, committed_until=None)
                | Q(committed_cents__gt=0, committed_until__gt=F("committed_from"), committed_from__isnull=False),
                name="contract_commitment_has_its_term",
            ),
        ),
        migrations.AddConstraint(
            model_name="contract",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                condition=Q(status="published", committed_cents__gt=0),
                expressions=[
                    (
                        billing.models.contract._ActiveRange(
                            "committed_from",
                            "committed_until",
                            django.contrib.postgres.fields.ranges.RangeBoundary(),
                        ),
                        "&&",
                    ),
                    ("organization", "="),
                ],
                name="contract_one_commitment_at_a_time",
            ),
        ),
        migrations.AddField(
            model_name="invoice", name="commitments", field=models.JSONField(db_default=[], default=list)
        ),
        migrations.AddField(
            model_name="invoiceline",
            name="contract",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="billing.contract"
            ),
        ),
        migrations.AlterField(
            model_name="invoiceline",
            name="project",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.project"
            ),
        ),
        migrations.AlterField(model_name="invoiceline", name="sku", field=models.CharField(blank=True, max_length=160)),
        migrations.AlterField(
            model_name="invoiceline", name="price_id", field=models.CharField(blank=True, max_length=32)
        ),
        migrations.AddConstraint(
            model_name="invoiceline",
            constraint=models.CheckConstraint(
                condition=Q(contract=None, project__isnull=False)
                | Q(contract__isnull=False, project=None, sku="", price_id="", quantity=0, tier_nano=0),
                name="invoice_line_of_usage_or_of_a_commitment",
            ),
        ),
        tenant_foreign_key("billing_invoiceline", "contract_id", "billing_contract"),
    ]
