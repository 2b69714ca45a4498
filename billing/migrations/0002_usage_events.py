from django.db import migrations

# Nano-dollars are rounded in the statement that counts usage. Equal to portal.lib.money.divide_half_even, and
# tests/billing/test_rounding.py proves it.
HALF_EVEN = migrations.RunSQL(
    """
    CREATE FUNCTION billing_divide_half_even(numerator numeric, denominator numeric) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
        SELECT quotient + CASE
            WHEN 2 * remainder > denominator OR (2 * remainder = denominator AND mod(quotient, 2) <> 0) THEN 1
            ELSE 0
        END
        FROM (SELECT mod(mod(numerator, denominator) + denominator, denominator) AS remainder) AS r,
             LATERAL (SELECT div(numerator - remainder, denominator) AS quotient) AS q
    $$;
    """,
    "DROP FUNCTION billing_divide_half_even(numeric, numeric);",
)

EVENTS = migrations.RunSQL(
    """
    CREATE TABLE billing_usageevent (
        event_id uuid NOT NULL,
        occurred_at timestamptz NOT NULL,
        organization_id bigint NOT NULL,
        project_id bigint NOT NULL,
        sku varchar(160) NOT NULL,
        quantity bigint NOT NULL,
        resource_id varchar(160) NOT NULL,
        api_key_id bigint,
        user_id bigint,
        request_id varchar(64) NOT NULL,
        corrects uuid,
        recorded_at timestamptz NOT NULL,
        PRIMARY KEY (occurred_at, event_id),
        CONSTRAINT usage_event_negative_only_to_correct CHECK (quantity >= 0 OR corrects IS NOT NULL)
    ) PARTITION BY RANGE (occurred_at);

    -- The export and the API list an organization's events in order of time.
    CREATE INDEX billing_usageevent_of_organization ON billing_usageevent (organization_id, occurred_at, event_id);

    -- A day without a partition must not stop billing; the hourly task reports what lies here and moves it.
    CREATE TABLE billing_usageevent_default PARTITION OF billing_usageevent DEFAULT;
    REVOKE ALL ON billing_usageevent_default FROM headroom_app, headroom_platform, headroom_gateway;
    GRANT SELECT ON billing_usageevent_default TO headroom_platform;
    """,
    "DROP TABLE billing_usageevent;",
)

# The platform role owns no table and may create none, so a function of the owner makes the partition, closes it
# to direct access (row-level security holds on the way through the parent), and moves in what the default
# partition already holds of that day.
PARTITIONS = migrations.RunSQL(
    """
    CREATE FUNCTION billing_make_usage_partition(wanted date) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public
    AS $$
    DECLARE
        partition text := 'billing_usageevent_' || to_char(wanted, 'YYYYMMDD');
        day_start timestamptz := wanted::timestamp AT TIME ZONE 'UTC';
        day_end timestamptz := (wanted + 1)::timestamp AT TIME ZONE 'UTC';
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('billing_make_usage_partition'));
        IF to_regclass(partition) IS NOT NULL THEN
            RETURN false;
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE billing_usageevent INCLUDING ALL)', partition);
        EXECUTE format(
            'REVOKE ALL ON %I FROM headroom_app, headroom_platform, headroom_gateway', partition);
        LOCK TABLE billing_usageevent_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format(
            'WITH moved AS (DELETE FROM billing_usageevent_default WHERE occurred_at >= %L AND occurred_at < %L'
            ' RETURNING *) INSERT INTO %I SELECT * FROM moved', day_start, day_end, partition);
        EXECUTE format(
            'ALTER TABLE billing_usageevent ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
            partition, day_start, day_end);
        RETURN true;
    END
    $$;
    REVOKE ALL ON FUNCTION billing_make_usage_partition(date) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION billing_make_usage_partition(date) TO headroom_platform;

    SELECT billing_make_usage_partition((now() AT TIME ZONE 'UTC')::date + day) FROM generate_series(-1, 8) AS day;
    """,
    "DROP FUNCTION billing_make_usage_partition(date);",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_usage_caps_and_credit")]

    operations = [HALF_EVEN, EVENTS, PARTITIONS]
