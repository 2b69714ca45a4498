import django.contrib.postgres.fields
from django.db import migrations, models

# The gateway notes where a key was last used from; the time it may write already.
LAST_USE = migrations.RunSQL(
    "GRANT UPDATE (last_used_address, last_used_agent) ON accounts_apikey TO headroom_gateway;",
    "REVOKE UPDATE (last_used_address, last_used_agent) ON accounts_apikey FROM headroom_gateway;",
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_audit_log")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="allowed_addresses",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=43), blank=True, db_default=[], default=list
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="last_used_address",
            field=models.CharField(blank=True, db_default="", default="", max_length=45),
        ),
        migrations.AddField(
            model_name="apikey",
            name="last_used_agent",
            field=models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
        LAST_USE,
    ]
