from django.db import migrations

from portal.lib.tenancy import grant_to_gateway


class Migration(migrations.Migration):
    dependencies = [("catalog", "0003_listed_shapes_and_images")]
    operations = [
        grant_to_gateway("catalog_meter", "SELECT"),
        grant_to_gateway("catalog_sku", "SELECT"),
        grant_to_gateway("catalog_price", "SELECT"),
        grant_to_gateway("catalog_servedmodel", "SELECT"),
    ]
