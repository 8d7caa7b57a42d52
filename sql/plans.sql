-- Kept plans of our statements: when the schema is renamed they are made anew, and
-- the old ones are freed, whatever happened to them before.
\set VERBOSITY terse
SELECT test.clean();
SELECT submit_event('CONVERSATION', '1', 'n', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;
UPDATE atlas_event_queue SET next_attempt_at = 'infinity';
CREATE VIEW kept_plans AS
    SELECT count(*) FROM pg_backend_memory_contexts
     WHERE name = 'CachedPlanSource' AND ident LIKE 'UPDATE %.atlas_event_queue %attempts = 0%';

-- It raises an error, and another one in a savepoint.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON atlas_event_queue FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT atlas_retry_failed();
BEGIN;
SAVEPOINT s;
SELECT atlas_retry_failed();
ROLLBACK TO s;
COMMIT;
DROP TRIGGER refuse ON atlas_event_queue;

ALTER SCHEMA public RENAME TO moved;
SELECT moved.atlas_retry_failed();
ALTER SCHEMA moved RENAME TO public;
UPDATE atlas_event_queue SET next_attempt_at = 'infinity';
SELECT atlas_retry_failed();
SELECT count AS kept FROM kept_plans;

-- A trigger of it comes back to it when the schema has another name.
CREATE FUNCTION come_back() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF pg_trigger_depth() = 1 THEN
        ALTER SCHEMA public RENAME TO moved;
        PERFORM moved.atlas_retry_failed();
        ALTER SCHEMA moved RENAME TO public;
        PERFORM public.atlas_retry_failed();
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER come_back AFTER UPDATE ON atlas_event_queue FOR EACH ROW WHEN (OLD.next_attempt_at = 'infinity') EXECUTE FUNCTION come_back();
ALTER TABLE atlas_event_queue DISABLE TRIGGER come_back;
UPDATE atlas_event_queue SET next_attempt_at = 'infinity';
ALTER TABLE atlas_event_queue ENABLE TRIGGER come_back;
SELECT atlas_retry_failed();
SELECT next_attempt_at, attempts FROM atlas_event_queue;
SELECT count AS kept FROM kept_plans;
DROP TRIGGER come_back ON atlas_event_queue;

DROP VIEW kept_plans;
DROP FUNCTION refuse, come_back;
SELECT test.clean();
