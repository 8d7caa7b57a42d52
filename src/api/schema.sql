/* atlas_events_api--1.0.sql: made by make from src/api/ */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION atlas_events_api" to load this file. \quit

-- ---------------------------------------------------------------------
-- The Events API as PostgREST serves it. The schema atlas_api holds what a
-- client can reach, and nothing else. The parts that it is made of are in
-- atlas_api_private, and the events themselves are those of atlas_events.
--
-- Callers run with their own rights (atlas_submitter, atlas_reader and
-- atlas_admin, the roles that create_roles() makes). A function that needs more
-- rights is SECURITY DEFINER, and small. The parser binds calls into atlas_events
-- while this script runs, wherever the schema of atlas_events is; they are not
-- looked up when they run.
-- ---------------------------------------------------------------------

-- No name in this script is looked up where somebody may have put a better match.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- The API is not put into a schema that belongs to somebody else, or into which
-- somebody else can put things. Whatever is in a schema depends on it, and so does
-- this extension.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
                WHERE nspname = 'atlas_api' AND nspowner <> current_user::regrole AND NOT rolsuper) OR
       EXISTS (SELECT FROM pg_namespace n, aclexplode(nspacl)
                WHERE nspname = 'atlas_api' AND privilege_type = 'CREATE' AND grantee <> nspowner) OR
       EXISTS (SELECT FROM pg_depend
                WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'atlas_api'::regnamespace
                  AND classid <> 'pg_extension'::regclass) THEN
        RAISE EXCEPTION 'schema atlas_api exists already, and is not empty or not yours alone'
            USING ERRCODE = 'duplicate_schema', HINT = 'Drop or rename it.';
    END IF;
END
$$;

CREATE SCHEMA atlas_api_private;

COMMENT ON SCHEMA atlas_api IS 'Events API
Events on the timelines of support objects: submit them, search them, read timelines, logs and refused requests, and make rules that notice events.';
COMMENT ON SCHEMA atlas_api_private IS 'The parts of the Events API that are not for clients';
