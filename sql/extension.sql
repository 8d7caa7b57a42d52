-- The extension as an object of the database: its members, their comments and
-- privileges, another schema, and dropping it. Everything is undone at the end.

-- ---------------------------------------------------------------------
-- Members
-- ---------------------------------------------------------------------
-- Row types of tables and array types are members from PostgreSQL 17 on.
CREATE VIEW members AS
    SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS description
      FROM pg_depend d JOIN pg_extension e ON d.refobjid = e.oid
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'atlas_events'
       AND NOT (d.classid = 'pg_type'::regclass AND d.objid IN (
                SELECT t.oid FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                 WHERE c.relkind IS DISTINCT FROM 'c'));
SELECT description FROM members ORDER BY description COLLATE "C";
SELECT extrelocatable, extversion, array_length(extconfig, 1) AS dumped_tables FROM pg_extension WHERE extname = 'atlas_events';
SELECT c.oid::regclass AS dumped, condition
  FROM pg_extension, unnest(extconfig, extcondition) AS x (oid, condition) JOIN pg_class c USING (oid)
 WHERE extname = 'atlas_events' ORDER BY c.relname;

-- All of it has a comment, every function, table, view, type and column.
SELECT description FROM members
 WHERE obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)) IS NULL
   AND description !~ '^type ' ORDER BY 1;
SELECT description FROM members JOIN pg_type t ON t.oid = objid AND classid = 'pg_type'::regclass
 WHERE typtype = 'c' AND typrelid IN (SELECT oid FROM pg_class WHERE relkind = 'c') AND obj_description(objid, 'pg_type') IS NULL;
SELECT c.oid::regclass AS relation, attname
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND attnum > 0 AND NOT attisdropped
 WHERE (c.oid IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)
        OR c.oid IN (SELECT typrelid FROM members JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass))
   AND c.relkind IN ('r', 'p', 'v', 'c') AND c.relname NOT IN ('atlas_event_logs', 'atlas_pending_events') AND col_description(c.oid, attnum) IS NULL;
-- A column of the views of events has a comment, or that of its table is its own.
SELECT attrelid::regclass, attname FROM pg_attribute a
 WHERE attrelid IN ('atlas_event_logs'::regclass, 'atlas_pending_events'::regclass) AND attnum > 0 AND col_description(attrelid, attnum) IS NULL
   AND attname NOT IN (SELECT attname FROM pg_attribute WHERE attrelid = 'atlas_events'::regclass);
-- The first line of a comment is a summary.
SELECT description FROM members
 WHERE length(split_part(obj_description(objid, (SELECT relname FROM pg_class WHERE oid = classid)), E'\n', 1)) > 160;

-- ---------------------------------------------------------------------
-- Privileges
-- ---------------------------------------------------------------------
SELECT p.oid::regprocedure AS executable_by_public
  FROM pg_proc p JOIN members ON objid = p.oid AND classid = 'pg_proc'::regclass,
       aclexplode(COALESCE(proacl, acldefault('f', proowner))) acl
 WHERE grantee = 0 ORDER BY 1;
SELECT c.oid::regclass AS relation, privilege_type, grantee
  FROM pg_class c JOIN members ON objid = c.oid AND classid = 'pg_class'::regclass, aclexplode(relacl) acl
 WHERE grantee <> relowner AND grantee <> 'pg_monitor'::regrole;
SELECT prosrc FROM pg_proc p JOIN members ON objid = p.oid AND classid = 'pg_proc'::regclass WHERE prosecdef;
SELECT relname, relrowsecurity FROM pg_class JOIN members ON objid = oid AND classid = 'pg_class'::regclass
 WHERE relkind IN ('r', 'p') ORDER BY relname;

-- ---------------------------------------------------------------------
-- Another schema, outside of the search_path
-- ---------------------------------------------------------------------
SELECT submit_event('CONVERSATION', '1', 'before', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;
BEGIN;
SET LOCAL client_min_messages = warning;
DROP VIEW members;
-- Dropping takes the partitions along, and asks for no CASCADE.
SELECT count(*) > 0 AS partitions FROM pg_class WHERE relname ~ '^atlas_event(s|_links)_[0-9]{4}';
DROP EXTENSION atlas_events;
SELECT relname FROM pg_class WHERE relname LIKE 'atlas%';
SELECT proname FROM pg_proc WHERE proname LIKE 'atlas%' OR proname LIKE 'submit_event%';

CREATE SCHEMA "Support Events";
CREATE EXTENSION atlas_events SCHEMA "Support Events";
SELECT DISTINCT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname LIKE 'atlas\_%';
SHOW search_path;
SELECT object_type, registered FROM "Support Events".atlas_discover_object_types('crm');
CREATE TABLE orders (id int PRIMARY KEY);
SELECT "Support Events".atlas_register_object_type('ORDER', 'orders');
SELECT "Support Events".submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"elsewhere","occurredAt":"2024-02-03T04:05:06Z",
    "relatedObjects":[{"objectType":"USER","objectId":"7"},{"objectType":"ORDER","objectId":"1"}],"idempotencyKey":"k"}') ->> 'processingStatus';
SELECT array_length("Support Events".submit_events(ARRAY[('CONVERSATION', '1', NULL, 'one', NULL, NULL, NULL, NULL, NULL, NULL),
    ('CONVERSATION', '2', NULL, 'two', NULL, NULL, NULL, NULL, NULL, NULL)]::"Support Events".atlas_event[]), 1);
SELECT "Support Events".atlas_link_events();
SELECT role, name, processing_status FROM "Support Events".atlas_timeline('USER', '7');
SELECT name, processing_status FROM "Support Events".atlas_event_logs ORDER BY event_id;
INSERT INTO orders VALUES (1);
UPDATE "Support Events".atlas_event_unresolved SET next_attempt_at = now();
SELECT "Support Events".atlas_link_events();
SELECT count(*) FROM "Support Events".atlas_event_links;
SELECT "Support Events".atlas_retry_failed();
SELECT queue_depth FROM "Support Events".atlas_events_status;
SELECT relname FROM pg_class WHERE relname ~ '2024$' AND relnamespace = '"Support Events"'::regnamespace ORDER BY 1;
-- The schema may be renamed, the extension not be moved.
ALTER SCHEMA "Support Events" RENAME TO elsewhere;
SELECT elsewhere.submit_event('CONVERSATION', '1', 'renamed', occurred_at => '2024-08-01') IS NOT NULL;
SELECT name FROM elsewhere.atlas_event_logs ORDER BY event_id;
SELECT code, message FROM test.error_of('ALTER EXTENSION atlas_events SET SCHEMA public');
DROP EXTENSION atlas_events;
SELECT code, message FROM test.error_of($$SELECT submit_event('{}')$$);
-- A call that had found its function before says what is missing.
CREATE FUNCTION begun_before(text) RETURNS json LANGUAGE C AS 'atlas_events', 'submit_event_text';
SELECT * FROM test.error_of($$SELECT begun_before('{"objectType":"CONVERSATION","objectId":"1","name":"late"}')$$);
DROP TABLE orders;
ROLLBACK;

-- All is there again.
SELECT submit_event('CONVERSATION', '1', 'after', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;
SELECT atlas_link_events() >= 2 AS linked;
SELECT name, processing_status FROM atlas_event_logs WHERE name IN ('before', 'after') ORDER BY event_id;
DROP VIEW members;
