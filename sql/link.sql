-- Linking: the related objects of an event are looked up after it was stored,
-- best effort. atlas_link_events() does by hand what the linker does.
SELECT test.clean();

-- Submits an event about conversation 1 that names these objects.
CREATE FUNCTION submit(name text, VARIADIC related atlas_object[]) RETURNS text LANGUAGE sql AS $$
    SELECT 'stored' FROM submit_event('CONVERSATION', '1', name, related_objects => related) e WHERE e IS NOT NULL
$$;
-- The related objects of the log, as far as they are the same in every run.
CREATE VIEW outcomes AS
    SELECT l.name, l.processing_status AS status, r ->> 'objectType' AS object_type,
           COALESCE(r ->> 'objectId', 'external ' || (r ->> 'externalId')) AS object,
           r ->> 'outcome' AS outcome, r ->> 'reason' AS reason
      FROM atlas_event_logs l, jsonb_array_elements(related_objects) WITH ORDINALITY AS o (r, position)
     ORDER BY event_id, position;
CREATE VIEW links AS
    SELECT e.name, l.object_type, l.object_id
      FROM atlas_event_links l JOIN atlas_events e USING (event_id)
     ORDER BY l.event_id, l.object_type COLLATE "C", l.object_id;

-- ---------------------------------------------------------------------
-- Every type of id, and either id
-- ---------------------------------------------------------------------
SELECT submit('ids', ('CUSTOMER', 'C2222222-0000-4000-8000-000000000002', NULL), ('CUSTOMER', NULL, '195959'),
              ('ACCOUNT', 'a1111111-0000-4000-8000-000000000001', 'ACME-1'), ('ACCOUNT', NULL, 'BOLT-2'),
              ('TICKET', '9223372036854775807', NULL), ('CONVERSATION', NULL, '9002'), ('AGENT', '-7', NULL), ('CHATBOT', '3', NULL),
              ('COMPANY', 'Øresund A/S', NULL), ('HELPCENTER', 'en-US', NULL),
              ('SESSION_RECORDING', '5e551011-0000-4000-8000-000000000001', NULL));
SELECT name, processing_status, attempts, last_error, linked_at FROM atlas_event_logs;
SELECT DISTINCT status, outcome FROM outcomes;
SELECT count(*) FROM atlas_event_links;
SELECT atlas_link_events();
SELECT name, processing_status, attempts, last_error, linked_at >= received_at AS linked_later FROM atlas_event_logs;
SELECT * FROM outcomes;
SELECT * FROM links;
-- There is nothing more to do.
SELECT atlas_link_events();

-- ---------------------------------------------------------------------
-- What is not found is recorded, and is no error
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT submit('not found', ('USER', '7', NULL), ('USER', '8', NULL), ('USER', 'seven', NULL), ('USER', '07', NULL), ('USER', NULL, '7'),
              ('CHATBOT', '99999', NULL), ('CUSTOMER', '{c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e}', NULL),
              ('CUSTOMER', NULL, 'nobody'), ('COMPANY', 'ACME', NULL), ('HELPCENTER', 'en-US ', NULL));
SELECT atlas_link_events();
SELECT * FROM outcomes;
SELECT * FROM links;

-- Both ids must name the same object, unless it has no external id.
SELECT test.clean();
SELECT submit('both', ('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', '200002'), ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', '200002'),
              ('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', 'theirs'));
SELECT atlas_link_events();
SELECT * FROM outcomes;

-- An object is linked once, and not to its own event.
SELECT test.clean();
SELECT submit('repeated', ('USER', '7', NULL), ('AGENT', '7', NULL), ('CUSTOMER', NULL, '195959'), ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', NULL),
              ('CONVERSATION', '1', NULL), ('TICKET', NULL, '9001'));
SELECT atlas_link_events();
SELECT * FROM outcomes;
SELECT * FROM links;

-- ---------------------------------------------------------------------
-- What cannot be looked up is an ERROR of the reference, with the reason
-- ---------------------------------------------------------------------
SELECT test.clean();
CREATE SCHEMA lab;
CREATE TABLE lab.bugs (id int PRIMARY KEY);
CREATE TABLE lab.parts (id int PRIMARY KEY);
CREATE TABLE lab.tools (id int PRIMARY KEY);
CREATE VIEW lab.twins AS SELECT id FROM (VALUES (1), (2), (2)) v (id);
INSERT INTO lab.bugs VALUES (1);
INSERT INTO lab.parts VALUES (1);
INSERT INTO lab.tools VALUES (1);
SELECT atlas_register_object_type('BUG', 'lab.bugs'), atlas_register_object_type('PART', 'lab.parts'),
       atlas_register_object_type('TOOL', 'lab.tools'), atlas_register_object_type('TWIN', 'lab.twins');
SELECT submit('errors', ('USER', '7', NULL), ('BUG', '1', NULL), ('PART', '1', NULL), ('TOOL', '1', NULL), ('TWIN', '1', NULL), ('TWIN', '2', NULL));
DROP TABLE lab.bugs;
SELECT atlas_unregister_object_type('PART');
ALTER TABLE lab.tools DROP COLUMN id;
BEGIN;
SELECT atlas_unregister_object_type('CHATBOT');
SELECT submit('not connected', ('CHATBOT', '3', NULL), ('USER', '7', NULL));
SELECT atlas_link_events();
SELECT * FROM outcomes;
SELECT * FROM links;
ROLLBACK;

SELECT atlas_link_events();

-- An error of the table itself: its owner may not read what the view reads.
CREATE TABLE lab.secret AS SELECT 1 AS id;
CREATE OR REPLACE VIEW lab.twins AS SELECT id FROM lab.secret;
CREATE ROLE regress_atlas_lab;
GRANT USAGE, CREATE ON SCHEMA lab TO regress_atlas_lab;
ALTER VIEW lab.twins OWNER TO regress_atlas_lab;
SELECT atlas_register_object_type('TWIN', 'lab.twins');
SELECT submit('not permitted', ('TWIN', '1', NULL), ('USER', '7', NULL));
SELECT atlas_link_events();
SELECT * FROM outcomes WHERE name = 'not permitted';

-- ---------------------------------------------------------------------
-- A later lookup
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT submit('early', ('COMPANY', 'late', NULL), ('COMPANY', 'later', NULL), ('CUSTOMER', NULL, '777'));
SELECT atlas_link_events();
SELECT count(*), min(attempts), max(attempts), bool_and(next_attempt_at > first_attempt_at) AS to_be_tried_again FROM atlas_event_unresolved;
INSERT INTO crm.companies VALUES ('late', 'Late');
INSERT INTO crm."Customers" VALUES ('c7777777-0000-4000-8000-000000000007', '777', 'Late too');
-- Not before it is due.
UPDATE atlas_event_unresolved SET next_attempt_at = now() + interval '1 hour';
SELECT atlas_link_events();
SELECT * FROM outcomes;
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT * FROM outcomes;
SELECT * FROM links;
SELECT position, object_id, outcome, attempts, next_attempt_at > first_attempt_at AS to_be_tried_again FROM atlas_event_unresolved;
-- The delays grow, and end with relink_window.
UPDATE atlas_event_unresolved SET next_attempt_at = now(), attempts = 20;
SELECT atlas_link_events();
SELECT attempts, next_attempt_at > first_attempt_at + interval '30 minutes' AS much_later FROM atlas_event_unresolved;
UPDATE atlas_event_unresolved SET next_attempt_at = now(), first_attempt_at = now() - interval '1 day';
SELECT atlas_link_events();
SELECT attempts, outcome, reason, next_attempt_at FROM atlas_event_unresolved;
-- A window of zero looks up once.
SET atlas_events.relink_window = 0;
SELECT submit('once', ('COMPANY', 'never', NULL));
SELECT atlas_link_events();
SELECT object_id, outcome, next_attempt_at FROM atlas_event_unresolved ORDER BY object_id;
RESET atlas_events.relink_window;
-- A late object that is linked already, or is the primary one, makes no second link.
SELECT test.clean();
SELECT submit('twice', ('CUSTOMER', 'c7777777-0000-4000-8000-000000000007', NULL), ('CUSTOMER', NULL, '888'), ('CONVERSATION', NULL, '9111'));
SELECT atlas_link_events();
UPDATE crm."Customers" SET "externalId" = '888' WHERE "externalId" = '777';
UPDATE crm.conversations SET external_id = 9111 WHERE id = 1;
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
UPDATE crm.conversations SET external_id = 9001 WHERE id = 1;
SELECT * FROM outcomes;
SELECT * FROM links;

-- ---------------------------------------------------------------------
-- How many
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT submit('event ' || n, ('USER', '7', NULL)) FROM generate_series(1, 5) n;
SELECT atlas_link_events(2);
SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1;
SET atlas_events.batch_size = 1;
SELECT atlas_link_events(2);
SELECT atlas_link_events(NULL);
SELECT atlas_link_events(0);
SELECT atlas_link_events(-1);
RESET atlas_events.batch_size;
-- In the transaction that submits, too.
BEGIN;
SELECT submit('same transaction', ('USER', '7', NULL));
SELECT atlas_link_events();
SELECT status, outcome FROM outcomes WHERE name = 'same transaction';
ROLLBACK;

SELECT atlas_unregister_object_type('BUG'), atlas_unregister_object_type('TOOL'), atlas_unregister_object_type('TWIN');
DELETE FROM crm.companies WHERE id = 'late';
DELETE FROM crm."Customers" WHERE name = 'Late too';
DROP FUNCTION submit;
DROP VIEW outcomes, links;
SET client_min_messages = warning;
DROP SCHEMA lab CASCADE;
DROP ROLE regress_atlas_lab;
