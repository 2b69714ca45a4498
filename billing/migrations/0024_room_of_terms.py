from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0023_organization_terms"),
        ("billing", "0021_commitments"),
    ]

    operations = [
        migrations.AddField(
            model_name="spendcap",
            name="terms_nano",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddConstraint(
            model_name="spendcap",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("terms_nano", 0),
                    models.Q(("period", "lifetime"), ("scope", "organization"), ("terms_nano__gt", 0)),
                    _connector="OR",
                ),
                name="spend_cap_terms_only_in_credit",
            ),
        ),
    ]
