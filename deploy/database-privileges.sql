-- What the roles may do with the tables that migrations create. Run once in the portal's database as a
-- superuser, before the first migration. Safe to repeat. The gateway gets its few rights table by table, in
-- the migrations of the apps that own them.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO headroom_owner;
-- Needed by exclusion constraints; only a superuser may add it.
CREATE EXTENSION IF NOT EXISTS btree_gist;
GRANT USAGE ON SCHEMA public TO headroom_app, headroom_platform, headroom_gateway;
ALTER DEFAULT PRIVILEGES FOR ROLE headroom_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO headroom_app, headroom_platform;
ALTER DEFAULT PRIVILEGES FOR ROLE headroom_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO headroom_app, headroom_platform;
