-- An event that cannot be linked does not hold up the others: it is tried again
-- with growing delays, and is FAILED after atlas_events.max_attempts.
SELECT test.clean();

CREATE FUNCTION submit(name text) RETURNS uuid LANGUAGE sql AS $$
    SELECT submit_event('CONVERSATION', '1', name, related_objects => ARRAY[('USER', '7', NULL), ('USER', '8', NULL)]::atlas_object[])
$$;
SELECT submit('good 1') IS NOT NULL;
SELECT submit('poison') AS poison \gset
SELECT submit('good ' || n) IS NOT NULL AS stored FROM generate_series(2, 3) n;

-- One event whose unresolved reference cannot be written.
CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.event_id = TG_ARGV[0]::uuid THEN
        RAISE EXCEPTION 'this event is poison';
    END IF;
    RETURN NEW;
END
$$;
SELECT format('CREATE TRIGGER refuse_poison BEFORE INSERT ON atlas_event_unresolved
    FOR EACH ROW EXECUTE FUNCTION refuse_poison(%L)', :'poison') AS command \gset
:command;

CREATE VIEW logs AS
    SELECT name, processing_status AS status, attempts, last_error, linked_at IS NOT NULL AS linked,
           related_objects -> 0 ->> 'outcome' AS outcome, related_objects -> 0 ->> 'reason' AS reason,
           (SELECT count(*) FROM atlas_event_links l WHERE l.event_id = logs.event_id) AS links
      FROM atlas_event_logs logs;

-- All but one.
SELECT atlas_link_events();
SELECT * FROM logs ORDER BY name;
SELECT next_attempt_at IS NOT NULL AND next_attempt_at <> 'infinity' AS tried_again_later FROM atlas_event_queue;

-- Not before its time, ...
UPDATE atlas_event_queue SET next_attempt_at = now() + interval '1 hour';
SELECT atlas_link_events();
SELECT attempts FROM logs WHERE name = 'poison';

-- ... and then until it has failed for good.
SET atlas_events.max_attempts = 3;
UPDATE atlas_event_queue SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT status, attempts, last_error FROM logs WHERE name = 'poison';
UPDATE atlas_event_queue SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT status, attempts, last_error, linked, outcome, reason FROM logs WHERE name = 'poison';
SELECT next_attempt_at FROM atlas_event_queue;

-- FAILED is left alone, ...
SELECT atlas_link_events();
SELECT status, attempts FROM logs WHERE name = 'poison';
SELECT processing_status, name FROM atlas_timeline('CONVERSATION', '1') ORDER BY name;
SELECT failed, queue_depth FROM atlas_events_status;
-- ... and counts from the start when it is put back.
SELECT atlas_retry_failed();
SELECT status, attempts, last_error, outcome FROM logs WHERE name = 'poison';
SELECT failed, queue_depth, oldest_pending_age > interval '0' AS waits FROM atlas_events_status;
SELECT atlas_link_events();
UPDATE atlas_event_queue SET next_attempt_at = now() + interval '1 hour';
SELECT status, attempts, last_error FROM logs WHERE name = 'poison';
-- PENDING events are none of its business.
SELECT atlas_retry_failed();

-- One of several, by its id.
SET atlas_events.max_attempts = 1;
UPDATE atlas_event_queue SET next_attempt_at = now();
SELECT submit('poison too') AS second \gset
SELECT format('CREATE TRIGGER refuse_second BEFORE INSERT ON atlas_event_unresolved
    FOR EACH ROW EXECUTE FUNCTION refuse_poison(%L)', :'second') AS command \gset
:command;
SELECT atlas_link_events();
SELECT name, status, attempts FROM logs WHERE name LIKE 'poison%' ORDER BY name;
SELECT atlas_retry_failed('00000000-0000-7000-8000-000000000000');
SELECT atlas_retry_failed(:'second');
SELECT name, status, attempts FROM logs WHERE name LIKE 'poison%' ORDER BY name;

-- When the cause is gone, all are linked.
DROP TRIGGER refuse_poison ON atlas_event_unresolved;
DROP TRIGGER refuse_second ON atlas_event_unresolved;
SELECT atlas_retry_failed(NULL);
SELECT atlas_link_events();
SELECT name, status, attempts, last_error, links FROM logs ORDER BY name;
RESET atlas_events.max_attempts;

-- ---------------------------------------------------------------------
-- A reference that fails only when it is looked up again
-- ---------------------------------------------------------------------
CREATE FUNCTION refuse_links() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'no links today';
END
$$;
INSERT INTO crm.agents VALUES (8, 'Late');
UPDATE atlas_event_unresolved SET attempts = 1;
SELECT format('CREATE TRIGGER refuse BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION refuse_links()', tableoid::regclass) AS command
  FROM atlas_event_links LIMIT 1 \gset
:command;
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT DISTINCT outcome, reason, attempts, next_attempt_at > first_attempt_at AS tried_again_later FROM atlas_event_unresolved;
SELECT format('DROP TRIGGER refuse ON %s', tableoid::regclass) AS command FROM atlas_event_links LIMIT 1 \gset
:command;
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT count(*) FROM atlas_event_unresolved;
SELECT name, links FROM logs ORDER BY name;

DELETE FROM crm.agents WHERE id = 8;
DROP VIEW logs;
DROP FUNCTION submit, refuse_poison, refuse_links;
