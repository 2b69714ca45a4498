from django.db import migrations

# As in accounts 0005: what runs as the owner never looks into pg_temp before our own tables.
PARTITIONS = migrations.RunSQL(
    "ALTER FUNCTION billing_make_usage_partition(date) SET search_path = public, pg_temp;",
    "ALTER FUNCTION billing_make_usage_partition(date) SET search_path = public;",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0004_spend_by_day")]

    operations = [PARTITIONS]
