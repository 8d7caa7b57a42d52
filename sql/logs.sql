-- The views atlas_event_logs and atlas_pending_events: one row per event, with its status
-- and the outcome of each related object.
SET datestyle = 'ISO';
SET timezone = 'UTC';
SELECT test.clean();

SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
 WHERE attrelid = 'atlas_event_logs'::regclass AND attnum > 0 ORDER BY attnum;
-- Both have the same columns.
SELECT count(*) FROM (SELECT attnum, attname, atttypid FROM pg_attribute WHERE attrelid = 'atlas_event_logs'::regclass
               EXCEPT SELECT attnum, attname, atttypid FROM pg_attribute WHERE attrelid = 'atlas_pending_events'::regclass) d;
SELECT relname, reloptions FROM pg_class WHERE relname IN ('atlas_event_logs', 'atlas_pending_events') ORDER BY 1;

-- ---------------------------------------------------------------------
-- One event of each status, and each outcome
-- ---------------------------------------------------------------------
CREATE SCHEMA lab;
CREATE TABLE lab.bugs (id int PRIMARY KEY);
SELECT atlas_register_object_type('BUG', 'lab.bugs');
SELECT submit_event('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'plain', 'd', '📖', payload => '{"n":1}', occurred_at => '2025-02-03 04:05:06+00') IS NOT NULL;
SELECT submit_event('CONVERSATION', '1', 'linked', related_objects => ARRAY[('USER', '7', NULL), ('USER', '8', NULL), ('BUG', '1', NULL),
                    ('CUSTOMER', NULL, '195959'), ('ACCOUNT', 'a1111111-0000-4000-8000-000000000001', 'ACME-1')]::atlas_object[]) IS NOT NULL;
DROP TABLE lab.bugs;
SELECT atlas_link_events();
SELECT submit_event('CONVERSATION', '1', 'failed', related_objects => ARRAY[('USER', '7', NULL), ('USER', '8', NULL)]::atlas_object[]) AS failed \gset
UPDATE atlas_event_queue SET next_attempt_at = 'infinity', submitted_xid = (hashtextextended(tenant_id, 0) & 9223372036854775807)::text::xid8, attempts = 5, last_error = 'it was poison';
SELECT submit_event('CONVERSATION', '1', 'waiting', related_objects => ARRAY[('USER', '7', NULL), ('USER', '8', NULL)]::atlas_object[]) AS waiting \gset
UPDATE atlas_event_queue SET next_attempt_at = now() + interval '1 hour', attempts = 2, last_error = 'it was locked' WHERE event_id = :'waiting';
SELECT submit_event('CONVERSATION', '1', 'pending', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;

SELECT name, processing_status, attempts, last_error, linked_at IS NOT NULL AS linked, linked_at = received_at AS linked_at_once
  FROM atlas_event_logs ORDER BY event_id;
SELECT name, r ->> 'objectType' AS type, r ->> 'objectId' AS id, r ->> 'externalId' AS external_id, r ->> 'outcome' AS outcome, r ->> 'reason' AS reason
  FROM (SELECT * FROM atlas_event_logs ORDER BY event_id) l, jsonb_array_elements(related_objects) WITH ORDINALITY o (r, n)
 ORDER BY event_id, n;
-- What is not LINKED is in the other view as well, and is the same there.
CREATE VIEW differences AS
    (SELECT * FROM atlas_event_logs WHERE processing_status <> 'LINKED' EXCEPT SELECT * FROM atlas_pending_events)
    UNION ALL
    (SELECT * FROM atlas_pending_events EXCEPT SELECT * FROM atlas_event_logs);
SELECT name, processing_status FROM atlas_pending_events ORDER BY event_id;
SELECT count(*) FROM differences;
\x on
SELECT tenant_id, object_type, object_id, external_id, name, description, icon, payload, related_objects, processing_status,
       attempts, last_error, occurred_at FROM atlas_event_logs WHERE name = 'plain';
\x off

-- A conflict, an unknown id and a late hit show up as they come.
INSERT INTO crm.agents VALUES (8, 'Late');
UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL;
SELECT atlas_link_events() AS pending_ones;
DELETE FROM crm.agents WHERE id = 8;
SELECT name, processing_status, (SELECT array_agg(r ->> 'outcome' ORDER BY n) FROM jsonb_array_elements(related_objects) WITH ORDINALITY o (r, n)) AS outcomes
  FROM atlas_event_logs ORDER BY event_id;
SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM atlas_event_logs WHERE linked_at < received_at;

-- A queue row whose event is not there (yet), as in a restore, is no event.
INSERT INTO atlas_event_queue (event_id, submitted_xid) VALUES ('01940000-0000-7000-8000-000000000000', '3');
SELECT count(*) FROM atlas_event_logs;
SELECT count(*) FROM differences;
SELECT atlas_link_events();
SELECT count(*) FROM atlas_event_queue WHERE event_id = '01940000-0000-7000-8000-000000000000';

DROP VIEW differences;
SELECT atlas_unregister_object_type('BUG');
DROP SCHEMA lab;

-- ---------------------------------------------------------------------
-- A page reads little more than itself, however long the log is
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT count(submit_event('CONVERSATION', '1', 'event ' || n, occurred_at => timestamptz '2024-10-01' + n * interval '1 hour',
                          related_objects => CASE WHEN n % 3 = 0 THEN ARRAY[('USER', '7', NULL)]::atlas_object[] END))
  FROM generate_series(1, 3000) n;
SELECT atlas_link_events();
SELECT count(submit_event('CONVERSATION', '1', 'pending ' || n, occurred_at => timestamptz '2024-11-01' + n * interval '1 hour',
                          related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]))
  FROM generate_series(1, 20) n;
UPDATE atlas_event_queue SET next_attempt_at = 'infinity', submitted_xid = (hashtextextended(tenant_id, 0) & 9223372036854775807)::text::xid8, last_error = 'x' WHERE event_id IN (SELECT event_id FROM atlas_event_queue ORDER BY event_id LIMIT 5);
-- Few rows would be read in whole.
ANALYZE atlas_events, atlas_event_queue, atlas_event_links;
SET enable_seqscan = off;
SET enable_bitmapscan = off;

-- Counts a page's events, and whether no more than so many rows were read.
CREATE FUNCTION page(condition text, at_most int, view_name text DEFAULT 'atlas_event_logs', OUT events bigint, OUT newest text, OUT reads_a_page boolean) LANGUAGE plpgsql AS $$
DECLARE
    before bigint := test.rows_read();
BEGIN
    EXECUTE format('SELECT count(*), (array_agg(name ORDER BY event_id DESC))[1]
                      FROM (SELECT * FROM %s WHERE %s ORDER BY event_id DESC LIMIT 10) page', view_name, condition) INTO events, newest;
    reads_a_page := test.rows_read() - before <= at_most;
END
$$;
SELECT * FROM page('true', 60);
SELECT * FROM page('event_id < ''01940000-0000-7000-8000-000000000000''', 60);
SELECT * FROM page('processing_status = ''LINKED''', 60);
SELECT * FROM page('true', 60, 'atlas_pending_events');
SELECT * FROM page('processing_status = ''PENDING''', 60, 'atlas_pending_events');
SELECT * FROM page('processing_status = ''FAILED''', 60, 'atlas_pending_events');
SELECT * FROM page('processing_status = ''PENDING'' AND event_id < ''01930000-0000-7000-8000-000000000000''', 60, 'atlas_pending_events');
-- The event with an id.
SELECT event_id AS one_event FROM atlas_events WHERE name = 'event 1500' \gset
SELECT * FROM page(format('event_id = %L', :'one_event'), 50);
-- Whereas this reads everything, so the measure can tell.
SELECT reads_a_page FROM page('name = ''event 1''', 60);
DROP FUNCTION page;
