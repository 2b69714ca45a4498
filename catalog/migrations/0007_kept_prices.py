import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalog", "0006_price_proposals")]

    operations = [
        migrations.AddField(
            model_name="sku",
            name="keeps",
            field=models.OneToOneField(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="kept_by",
                to="catalog.price",
            ),
        ),
    ]
