from django.db import migrations

# The counterpart of billing_make_usage_partition: one day per call, the oldest first, and only days that ended 13
# months ago. A day that holds events of an organization under a legal hold loses the others' only. What lies in the
# default partition is the same age by its own time. Returns how many rows went; a day that is dropped counts as one.
FORGET = migrations.RunSQL(
    """
    CREATE FUNCTION billing_forget_usage(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
    DECLARE
        oldest timestamptz := now() - interval '13 months';
        held bigint[] := ARRAY(SELECT id FROM accounts_organization WHERE legal_hold);
        day_name text;
        is_held boolean;
        gone integer := 0;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('billing_make_usage_partition'));
        -- Dropping waits for nobody for long: what writes usage would wait behind it.
        PERFORM set_config('lock_timeout', '5s', true);
        FOR day_name IN
            SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'
                AND oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'billing_usageevent'::regclass)
                AND relname ~ '^billing_usageevent_[0-9]{8}$' ORDER BY relname
        LOOP
            EXIT WHEN (to_date(right(day_name, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' > oldest;
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE organization_id = ANY ($1))', day_name)
                INTO is_held USING held;
            IF NOT is_held THEN
                EXECUTE format('DROP TABLE %I', day_name);
                RETURN 1;
            END IF;
            EXECUTE format(
                'DELETE FROM %I WHERE ctid = ANY (ARRAY('
                'SELECT ctid FROM %I WHERE organization_id <> ALL ($1) LIMIT $2))', day_name, day_name)
                USING held, most;
            GET DIAGNOSTICS gone = ROW_COUNT;
            IF gone > 0 THEN
                RETURN gone;
            END IF;
        END LOOP;
        DELETE FROM billing_usageevent_default WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM billing_usageevent_default
            WHERE occurred_at <= oldest AND organization_id <> ALL (held) LIMIT most));
        GET DIAGNOSTICS gone = ROW_COUNT;
        RETURN gone;
    END
    $$;
    REVOKE ALL ON FUNCTION billing_forget_usage(integer) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION billing_forget_usage(integer) TO headroom_platform;
    """,
    "DROP FUNCTION billing_forget_usage(integer);",
)


class Migration(migrations.Migration):
    dependencies = [("billing", "0006_spend_by_cause"), ("accounts", "0012_data_and_privacy")]

    operations = [FORGET]
