-- The second step of linking: rows of the work table become documents.
SELECT test.clean();

-- Searching is off here, so nothing is queued, and that is noted once.
SELECT submit_event('CUSTOMER', NULL, 'Refund Requested', external_id => '195959', description => '<b>Order</b> ORD-4711') IS NOT NULL AS stored;
SELECT submit_event('CUSTOMER', NULL, 'Refund Requested', external_id => '195959') IS NOT NULL AS stored;
SELECT count(*) AS work FROM atlas_event_work;
SELECT count(*) AS gaps, min(since) = date_trunc('day', now(), 'UTC') AS of_today FROM atlas_search_gaps;

-- An older event is noted as well, a later one is not.
SELECT submit_event('CUSTOMER', NULL, 'Old', external_id => '195959', occurred_at => '2025-03-01 12:00+00') IS NOT NULL AS stored;
SELECT submit_event('CUSTOMER', NULL, 'Old', external_id => '195959', occurred_at => '2025-03-02 12:00+00') IS NOT NULL AS stored;
SELECT count(*) AS gaps, min(since) AT TIME ZONE 'UTC' AS since FROM atlas_search_gaps;

-- What a savepoint rolls back is not remembered.
SELECT test.clean();
BEGIN;
SAVEPOINT s;
SELECT submit_event('CUSTOMER', NULL, 'n', external_id => '195959') IS NOT NULL AS stored;
ROLLBACK TO s;
SELECT count(*) AS gaps FROM atlas_search_gaps;
SELECT submit_event('CUSTOMER', NULL, 'n', external_id => '195959') IS NOT NULL AS stored;
COMMIT;
SELECT count(*) AS gaps FROM atlas_search_gaps;

-- So is one whose related objects are linked.
SELECT test.clean();
SELECT submit_event('CUSTOMER', NULL, 'n', external_id => '195959', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL AS stored;
SELECT count(*) AS gaps FROM atlas_search_gaps;
SELECT atlas_link_events();
SELECT count(*) AS gaps FROM atlas_search_gaps;

-- Documents are made once, in the same partitions as the log.
SELECT test.clean();
SELECT count(submit_event('CUSTOMER', NULL, 'Event ' || n, external_id => '195959', payload => jsonb_build_object('n', n),
                          occurred_at => timestamptz '2026-01-31 12:00+00' + n * interval '1 min'))
  FROM generate_series(1, 1000) n;
SELECT test.index();
SELECT count(*), count(DISTINCT event_id), count(problem) FROM atlas_event_search;
SELECT replace(s.tableoid::regclass::text, 'search', '…') = replace(e.tableoid::regclass::text, 'events', 'event_…') AS same, count(*)
  FROM atlas_event_search s JOIN atlas_events e USING (event_id) GROUP BY 1;
SELECT count(*) FROM atlas_event_search WHERE document @@ 'event & 500';
SELECT count(*) AS work FROM atlas_event_work;

-- One that is there is left as it is, also if its event has two rows.
INSERT INTO atlas_event_work (event_id, submitted_xid, what) SELECT event_id, '3', 1 FROM atlas_events, generate_series(1, 2);
SELECT atlas_link_events(2000);
SELECT count(*) AS work FROM atlas_event_work;
SELECT count(*), count(DISTINCT event_id) FROM atlas_event_search;

-- Or is made anew, if that is asked for, and written if it differs.
UPDATE atlas_event_search SET document = 'x', problem = 'p' WHERE document @@ 'event & 500';
CREATE TEMPORARY TABLE before AS SELECT event_id, ctid AS place FROM atlas_event_search;
INSERT INTO atlas_event_work (event_id, submitted_xid, what) SELECT event_id, '3', 3 FROM atlas_events;
SELECT atlas_link_events(2000);
SELECT count(*) AS written FROM before b JOIN atlas_event_search s USING (event_id) WHERE b.place <> s.ctid;
SELECT count(problem) AS problems FROM atlas_event_search;
SELECT count(*) FROM atlas_event_search WHERE document @@ 'event & 500';

-- Where there is no direct access
SET atlas_events.direct_access = off;
TRUNCATE atlas_event_search;
SELECT test.index();
SELECT count(*) AS work FROM atlas_event_work;
RESET atlas_events.direct_access;

-- An event that is not there is looked for for a day; then its row goes.
DELETE FROM atlas_events WHERE name = 'Event 7';
INSERT INTO atlas_event_work (event_id, submitted_xid, what) SELECT event_id, '3', 1 FROM atlas_event_search WHERE document @@ 'event & 7:*';
DELETE FROM atlas_event_search WHERE document @@ 'event & 7';
SELECT atlas_link_events();
SELECT attempts, last_error, next_attempt_at > now() + interval '30 s' AS waits FROM atlas_event_work;
UPDATE atlas_event_work SET attempts = 30, next_attempt_at = now();
SELECT atlas_link_events();
SELECT count(*) AS work FROM atlas_event_work;

-- One document that cannot be stored does not keep the others from being made. It is tried
-- again, and then it is stored empty.
TRUNCATE atlas_event_search;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.document @@ 'event & 500' THEN
        RAISE EXCEPTION 'not this one';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON atlas_event_search FOR EACH ROW EXECUTE FUNCTION refuse();
SET atlas_events.max_attempts = 2;
SELECT test.index();
SELECT attempts, last_error, next_attempt_at > now() AS waits FROM atlas_event_work;
UPDATE atlas_event_work SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT count(*) AS work FROM atlas_event_work;
SELECT document, problem FROM atlas_event_search WHERE problem IS NOT NULL;
SELECT count(*) FROM atlas_event_search;

-- An event that has FAILED is found as well, and when it is linked after all it still has one document.
SELECT test.clean();
DROP TRIGGER refuse ON atlas_event_search;
CREATE FUNCTION refuse_links() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no links'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON atlas_event_links FOR EACH ROW EXECUTE FUNCTION refuse_links();
SET atlas_events.max_attempts = 1;
SELECT submit_event('CUSTOMER', NULL, 'n', external_id => '195959', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL AS stored;
SELECT atlas_link_events();
SELECT test.index();
DROP TRIGGER refuse ON atlas_event_links;
SELECT atlas_retry_failed();
INSERT INTO atlas_event_work (event_id, submitted_xid, what) SELECT event_id, '3', 1 FROM atlas_events;
SELECT atlas_link_events();
SELECT processing_status FROM atlas_event_logs;
SELECT count(*) FROM atlas_event_search;
SELECT count(*) AS work FROM atlas_event_work;
RESET atlas_events.max_attempts;

-- A rebuild needs search to be in effect, and an ordinary role may not ask for one.
SELECT code, message FROM test.error_of('SELECT atlas_rebuild_search(now())');
SELECT proacl IS NOT NULL AND NOT has_function_privilege('public', oid, 'EXECUTE') AS is_revoked
  FROM pg_proc WHERE proname IN ('atlas_rebuild_search', 'atlas_search_progress');

DROP FUNCTION refuse, refuse_links;
SELECT test.clean();
