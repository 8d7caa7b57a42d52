-- Many events that cannot be linked, among others that can: the others are linked,
-- and what finding them out has done is undone. The rows bear the transaction ids of
-- the subtransactions that are kept; a session may have 64 of those before the
-- snapshots of all sessions become expensive.
SELECT test.clean();

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.object_id LIKE '%' || TG_ARGV[0] THEN
        RAISE EXCEPTION 'not this one';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON atlas_event_unresolved FOR EACH ROW EXECUTE FUNCTION refuse('3');
CREATE FUNCTION submit(first int, last int) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(submit_event('CONVERSATION', '1', 'n', related_objects => ARRAY[('USER', n::text, NULL)]::atlas_object[]))
      FROM generate_series(first, last) n
$$;
CREATE VIEW transaction_ids AS
    SELECT count(DISTINCT id::text)
      FROM (SELECT xmin AS id FROM atlas_event_unresolved UNION ALL SELECT xmin FROM atlas_event_queue) ids;

SELECT submit(1001, 1300);
SELECT atlas_link_events();
SELECT count < 10 AS few_are_kept FROM transaction_ids;
SELECT processing_status, attempts, last_error, count(*) FROM atlas_event_logs GROUP BY 1, 2, 3 ORDER BY 1;
SELECT count(*), count(DISTINCT event_id), min(attempts), max(attempts) FROM atlas_event_unresolved;

-- The same when they are looked up again.
DELETE FROM atlas_event_queue;
DROP TRIGGER refuse ON atlas_event_unresolved;
CREATE TRIGGER refuse BEFORE UPDATE ON atlas_event_unresolved FOR EACH ROW
    WHEN (NEW.outcome = 'NOT_FOUND') EXECUTE FUNCTION refuse('7');
UPDATE atlas_event_unresolved SET outcome = 'ERROR', next_attempt_at = now();
SELECT atlas_link_events();
SELECT count < 10 AS few_are_kept FROM transaction_ids;
SELECT outcome, reason, count(*), min(attempts), max(attempts) FROM atlas_event_unresolved GROUP BY 1, 2 ORDER BY 1;
DROP TRIGGER refuse ON atlas_event_unresolved;

-- Events that fail together, though none does alone.
SELECT test.clean();
CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(*) FROM rows) > 1 THEN
        RAISE EXCEPTION 'one at a time';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER refuse_many AFTER INSERT ON atlas_event_unresolved REFERENCING NEW TABLE AS rows
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_many();
SELECT submit(1001, 1005);
SELECT atlas_link_events();
SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1;
SELECT count(*) FROM atlas_event_unresolved;

DROP TRIGGER refuse_many ON atlas_event_unresolved;
DROP VIEW transaction_ids;
DROP FUNCTION refuse, refuse_many, submit(int, int);
SELECT test.clean();
