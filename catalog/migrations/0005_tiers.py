from django.db import migrations, models

# A version in force is what was sold at it: only its end is ever set. Privileges hold the portal's roles back, the
# trigger also the owner of the table. One that has not begun is withdrawn as a whole.
UNCHANGED = migrations.RunSQL(
    """
    REVOKE UPDATE, TRUNCATE ON catalog_price FROM headroom_app, headroom_platform;
    GRANT UPDATE (active_to) ON catalog_price TO headroom_app, headroom_platform;

    CREATE FUNCTION catalog_refuse_price_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp
    AS $$
    BEGIN
        OLD.active_to := NEW.active_to;
        IF OLD IS DISTINCT FROM NEW THEN
            RAISE EXCEPTION 'a price version is never edited';
        END IF;
        RETURN NEW;
    END
    $$;

    CREATE TRIGGER catalog_price_unchanged BEFORE UPDATE ON catalog_price
    FOR EACH ROW EXECUTE FUNCTION catalog_refuse_price_change();
    """,
    """
    DROP TRIGGER catalog_price_unchanged ON catalog_price;
    DROP FUNCTION catalog_refuse_price_change();
    GRANT UPDATE, TRUNCATE ON catalog_price TO headroom_app, headroom_platform;
    """,
)


class Migration(migrations.Migration):
    dependencies = [
        ("catalog", "0004_gateway_reads"),
    ]

    operations = [
        migrations.AddField(
            model_name="price",
            name="tier_mode",
            field=models.CharField(
                choices=[("flat", "flat"), ("graduated", "graduated"), ("volume", "volume")],
                db_default="flat",
                default="flat",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="price",
            name="tiers",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("tier_mode", "flat"), ("tiers", [])),
                    models.Q(models.Q(("tier_mode", "flat"), _negated=True), models.Q(("tiers", []), _negated=True)),
                    _connector="OR",
                ),
                name="price_has_tiers_unless_flat",
            ),
        ),
        UNCHANGED,
    ]
