-- The four roles of the portal. Run once per server as a superuser, then give each a login and a password
-- (ALTER ROLE headroom_app LOGIN PASSWORD '...'). Safe to repeat.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headroom_owner') THEN
        CREATE ROLE headroom_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headroom_app') THEN
        CREATE ROLE headroom_app NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headroom_platform') THEN
        CREATE ROLE headroom_platform NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headroom_gateway') THEN
        CREATE ROLE headroom_gateway NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS;
    END IF;
END
$$;
