from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("billing", "0019_invoices_stay")]

    operations = [
        migrations.AddField(model_name="invoice", name="tiered", field=models.JSONField(db_default=[], default=list)),
        migrations.AddField(
            model_name="invoiceline", name="tier_nano", field=models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="spendcap", name="tier_room_nano", field=models.BigIntegerField(db_default=0, default=0)
        ),
        migrations.AlterField(
            model_name="writeoff",
            name="reason",
            field=models.CharField(
                choices=[
                    ("overrun_write_off", "Usage settled beyond the cap"),
                    ("correction", "Correction of written-off usage"),
                    ("tiers", "What tiers had taken off and no room was left to charge"),
                ],
                max_length=20,
            ),
        ),
        migrations.RemoveConstraint(model_name="writeoff", name="write_off_sign_follows_reason"),
        migrations.AddConstraint(
            model_name="writeoff",
            constraint=models.CheckConstraint(
                condition=Q(reason__in=["overrun_write_off", "tiers"], amount_nano__gt=0)
                | Q(reason="correction", amount_nano__lt=0),
                name="write_off_sign_follows_reason",
            ),
        ),
    ]
