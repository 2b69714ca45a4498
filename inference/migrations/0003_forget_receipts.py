from django.db import migrations

# Receipts are append-only for every role of the portal, and stay so: the owner deletes, and only what is past its
# time and under no legal hold, whoever asks. Row-level security binds the owner too, so it enters one organization
# after the other, and leaves the setting as it was.
FORGET = migrations.RunSQL(
    """
    CREATE FUNCTION inference_forget_receipts(most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
    DECLARE
        before text := coalesce(current_setting('app.organization_id', true), '');
        wanted bigint;
        gone integer := 0;
        went integer;
    BEGIN
        FOR wanted IN SELECT id FROM accounts_organization WHERE NOT legal_hold ORDER BY id LOOP
            EXIT WHEN gone >= most;
            PERFORM set_config('app.organization_id', wanted::text, true);
            DELETE FROM inference_receipt WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM inference_receipt
                WHERE organization_id = wanted AND requested_at <= now() - interval '13 months'
                LIMIT most - gone));
            GET DIAGNOSTICS went = ROW_COUNT;
            gone := gone + went;
        END LOOP;
        PERFORM set_config('app.organization_id', before, true);
        RETURN gone;
    END
    $$;
    REVOKE ALL ON FUNCTION inference_forget_receipts(integer) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION inference_forget_receipts(integer) TO headroom_platform;
    """,
    "DROP FUNCTION inference_forget_receipts(integer);",
)


class Migration(migrations.Migration):
    dependencies = [("inference", "0002_row_level_security"), ("accounts", "0012_data_and_privacy")]

    operations = [FORGET]
