from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("billing", "0038_spend_anomalies")]

    operations = [
        migrations.AlterField(
            model_name="payment",
            name="purpose",
            field=models.CharField(
                choices=[
                    ("top_up", "Credit"),
                    ("reload", "Credit, bought automatically"),
                    ("invoice", "Invoice"),
                    ("debt", "What a payment that was taken back left owed"),
                ],
                max_length=8,
            ),
        ),
        migrations.AddConstraint(
            model_name="payment",
            constraint=models.UniqueConstraint(
                condition=models.Q(("purpose", "debt"), ("state__in", ["created", "pending", "processing"])),
                fields=("organization",),
                name="payment_one_for_debts_in_flight",
            ),
        ),
    ]
