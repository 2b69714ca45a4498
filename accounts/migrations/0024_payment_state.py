from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0023_organization_terms"),
    ]

    operations = [
        migrations.AddField(
            model_name="organization",
            name="payment_state",
            field=models.CharField(
                choices=[
                    ("good", "Good"),
                    ("past_due", "Past due"),
                    ("grace", "Grace"),
                    ("suspended", "Suspended"),
                    ("terminated", "Terminated"),
                    ("disputed", "Disputed"),
                ],
                db_default="good",
                default="good",
                max_length=12,
            ),
        ),
    ]
