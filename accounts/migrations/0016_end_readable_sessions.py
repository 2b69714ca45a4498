from django.db import migrations

# Rows that are called what the browser holds would open a session for whoever reads the table: everybody signs in once
# more. What the present program makes has 40 letters.
END = migrations.RunSQL(
    """
    DELETE FROM django_session WHERE length(session_key) = 32;
    DELETE FROM usersessions_usersession WHERE length(session_key) = 32;
    """,
    migrations.RunSQL.noop,
)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0015_audit_endpoints"),
        ("sessions", "0001_initial"),
        ("usersessions", "0001_initial"),
    ]

    operations = [END]
