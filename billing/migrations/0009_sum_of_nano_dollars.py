from django.db import migrations

# PostgreSQL's own sum of bigints makes a numeric of every group, which takes longer than the adding where there are
# thousands. This one stays a bigint, and refuses to pass its end as every addition of bigints does.
SUM = migrations.RunSQL(
    """
    CREATE AGGREGATE billing_sum_nano(bigint) (
        SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE
    );
    """,
    "DROP AGGREGATE billing_sum_nano(bigint);",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0008_spend_by_week")]

    operations = [SUM]
