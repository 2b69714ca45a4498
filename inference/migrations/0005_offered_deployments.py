import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0007_kept_prices"),
        ("inference", "0004_endpoints_of_dialects"),
    ]

    operations = [
        migrations.AddField(
            model_name="deployment",
            name="changed_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
        ),
        migrations.AddField(
            model_name="deployment",
            name="concurrent_requests",
            field=models.PositiveIntegerField(blank=True, null=True, verbose_name="requests at once"),
        ),
        migrations.AddField(
            model_name="deployment",
            name="is_draining",
            field=models.BooleanField(db_default=False, default=False, verbose_name="draining"),
        ),
        migrations.AddField(
            model_name="deployment",
            name="offered_percent",
            field=models.PositiveSmallIntegerField(db_default=100, default=100, verbose_name="offered, percent"),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.CheckConstraint(
                condition=models.Q(("concurrent_requests", None), ("concurrent_requests__gte", 1), _connector="OR"),
                name="deployment_requests_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.CheckConstraint(
                condition=models.Q(("offered_percent__lte", 100)), name="deployment_offered_at_most_whole"
            ),
        ),
    ]
