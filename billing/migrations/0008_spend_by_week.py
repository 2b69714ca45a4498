from django.db import migrations, models

# Weeks are sums of days: filled once, and moved with them by the statement that counts usage.
WEEKS = migrations.RunSQL(
    """
    ALTER TABLE billing_spendbycause ADD COLUMN span_days smallint NOT NULL DEFAULT 1;
    ALTER TABLE billing_spendbycause ALTER COLUMN span_days DROP DEFAULT;
    ALTER TABLE billing_spendbycause
        DROP CONSTRAINT billing_spendbycause_pkey,
        ADD PRIMARY KEY (organization_id, cause, span_days, day, cause_id),
        ADD CONSTRAINT spend_by_cause_is_of_a_day_or_a_week CHECK (
            span_days = 1 OR span_days = 7 AND extract(isodow FROM day AT TIME ZONE 'UTC') = 1);
    -- The owner of a table that forces its policies sees no rows either, unless it says otherwise.
    ALTER TABLE billing_spendbycause NO FORCE ROW LEVEL SECURITY;
    INSERT INTO billing_spendbycause (organization_id, cause, span_days, day, cause_id, amount_nano)
    SELECT organization_id, cause, 7, date_trunc('week', day, 'UTC'), cause_id, sum(amount_nano)
    FROM billing_spendbycause GROUP BY 1, 2, 4, 5;
    -- What waits for the end of the transaction would keep the table from being altered.
    SET CONSTRAINTS ALL IMMEDIATE;
    ALTER TABLE billing_spendbycause FORCE ROW LEVEL SECURITY;
    """,
    """
    ALTER TABLE billing_spendbycause NO FORCE ROW LEVEL SECURITY;
    DELETE FROM billing_spendbycause WHERE span_days <> 1;
    ALTER TABLE billing_spendbycause FORCE ROW LEVEL SECURITY;
    ALTER TABLE billing_spendbycause
        DROP CONSTRAINT spend_by_cause_is_of_a_day_or_a_week,
        DROP CONSTRAINT billing_spendbycause_pkey,
        ADD PRIMARY KEY (organization_id, cause, day, cause_id),
        DROP COLUMN span_days;
    """,
    state_operations=[
        migrations.AddField("spendbycause", "span_days", models.SmallIntegerField(), preserve_default=False),
        migrations.AlterField(
            "spendbycause",
            "pk",
            models.CompositePrimaryKey(
                "organization_id",
                "cause",
                "span_days",
                "day",
                "cause_id",
                blank=True,
                editable=False,
                primary_key=True,
                serialize=False,
            ),
        ),
        migrations.AddConstraint(
            "spendbycause",
            models.CheckConstraint(
                condition=models.Q(span_days=1) | models.Q(span_days=7, day__iso_week_day=1),
                name="spend_by_cause_is_of_a_day_or_a_week",
            ),
        ),
    ],
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0007_forget_usage")]

    operations = [WEEKS]
