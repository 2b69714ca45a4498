from django.db import migrations

# The gateway notes when a key was last used, and can change nothing else of it.
LAST_USE = migrations.RunSQL(
    "GRANT UPDATE (last_used_at) ON accounts_apikey TO headroom_gateway;",
    "REVOKE UPDATE (last_used_at) ON accounts_apikey FROM headroom_gateway;",
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_kept_answers")]

    operations = [LAST_USE]
