from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("compute", "0002_row_level_security")]

    operations = [
        migrations.AddField(
            model_name="instance",
            name="kept_sku",
            field=models.CharField(blank=True, db_default="", default="", max_length=160),
        ),
    ]
