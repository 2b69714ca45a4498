from django.db import migrations

# PostgreSQL looks into pg_temp first unless it is named, and these functions run as the owner: a table that the
# app role made there would have stood in for ours.
LOOKUPS = migrations.RunSQL(
    """
    ALTER FUNCTION accounts_organization_of_key(bytea) SET search_path = public, pg_temp;
    ALTER FUNCTION accounts_slug_is_taken(text) SET search_path = public, pg_temp;
    """,
    """
    ALTER FUNCTION accounts_organization_of_key(bytea) SET search_path = public;
    ALTER FUNCTION accounts_slug_is_taken(text) SET search_path = public;
    """,
)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0004_gateway_notes_last_use")]

    operations = [LOOKUPS]
