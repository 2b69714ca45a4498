from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0027_rate_limits"),
    ]

    operations = [
        migrations.AddField(
            model_name="project",
            name="region_name",
            field=models.CharField(blank=True, db_default="", default="", max_length=40, verbose_name="region"),
        ),
    ]
