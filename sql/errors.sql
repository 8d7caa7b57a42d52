-- The errors of the Events API. The message is constant, since PostgREST puts
-- it into the status line; what varies is in detail and hint. An event that is
-- refused leaves nothing behind.
SELECT test.clean();

SELECT code, message FROM test.error_of($$SELECT submit_event('{}')$$);
SELECT code, message FROM test.error_of($$SELECT submit_event('CONVERSATION', '404', 'x')$$);
SELECT code, message FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', external_id => '9002')$$);
SELECT code, message FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', description => repeat('x', 300000))$$);

-- ---------------------------------------------------------------------
-- PT404: what cannot be seen does not exist
-- ---------------------------------------------------------------------

-- One table, with rows of two tenants, and one row that a policy hides even
-- from the table's owner.
CREATE ROLE regress_atlas_desk;
CREATE SCHEMA desk AUTHORIZATION regress_atlas_desk;
GRANT USAGE ON SCHEMA public TO regress_atlas_desk;
GRANT EXECUTE ON FUNCTION atlas_register_object_type TO regress_atlas_desk;
SET ROLE regress_atlas_desk;
CREATE TABLE desk.seats (
    id integer PRIMARY KEY,
    external_id text UNIQUE,
    tenant text NOT NULL,
    hidden boolean NOT NULL DEFAULT false
);
INSERT INTO desk.seats VALUES (1, 'one', '', false), (2, 'two', 'globex', false), (3, 'three', '', true);
ALTER TABLE desk.seats ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY not_hidden ON desk.seats USING (NOT hidden);
RESET ROLE;
SELECT atlas_register_object_type('SEAT', 'desk.seats', external_id_column => 'external_id', tenant_column => 'tenant');

SELECT submit_event('SEAT', '1', 'is there') IS NOT NULL;

-- Whatever the reason, the same bytes.
SELECT count(*), e.code, e.message, e.detail, e.hint
  FROM (VALUES
    ('absent',               '99', NULL),
    ('another tenant''s',    '2', NULL),
    ('hidden by a policy',   '3', NULL),
    ('no integer',           'x', NULL),
    ('out of range',         '99999999999', NULL),
    ('not canonical',        '01', NULL),
    ('a sign',               '+1', NULL),
    ('a blank',              '1 ', NULL),
    ('absent',               NULL, 'none'),
    ('another tenant''s',    NULL, 'two'),
    ('hidden by a policy',   NULL, 'three'),
    ('absent, and external', '99', 'one'),
    ('hidden, and external', '3', 'three')) v (why, id, external_id),
    test.error_of(format('SELECT submit_event(%L, %L, %L, external_id => %L)', 'SEAT', id, 'x', external_id)) e
 GROUP BY e.code, e.message, e.detail, e.hint;

-- With another tenant the tables are turned.
SET atlas_events.tenant = 'globex';
SELECT id, e.code FROM (VALUES ('1'), ('2')) v (id)
  LEFT JOIN LATERAL test.error_of(format('SELECT submit_event(%L, %L, %L)', 'SEAT', id, 'x')) e ON true;
RESET atlas_events.tenant;

-- A collation may find equal what is not the same id; it is not found.
CREATE COLLATION desk.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE desk.codes (id text COLLATE desk.any_case PRIMARY KEY, external_id varchar COLLATE desk.any_case UNIQUE);
INSERT INTO desk.codes VALUES ('Code', 'External');
SELECT atlas_register_object_type('CODE', 'desk.codes', external_id_column => 'external_id');
SELECT id, external_id, e.code
  FROM (VALUES ('Code', NULL), ('CODE', NULL), (NULL, 'External'), (NULL, 'EXTERNAL'), ('Code', 'external')) v (id, external_id)
  LEFT JOIN LATERAL test.error_of(format('SELECT submit_event(%L, %L, %L, external_id => %L)', 'CODE', id, 'x', external_id)) e ON true;
SELECT atlas_unregister_object_type('CODE');

-- A type without an external id column has no object with an external id.
SELECT * FROM test.error_of($$SELECT submit_event('USER', NULL, 'x', external_id => '7')$$);

-- A type that is not connected, or whose table has gone: the hint says how.
BEGIN;
SELECT atlas_unregister_object_type('CHATBOT');
SELECT * FROM test.error_of($$SELECT submit_event('CHATBOT', '3', 'x')$$);
ROLLBACK;
BEGIN;
DROP TABLE crm.chatbots;
SELECT * FROM test.error_of($$SELECT submit_event('CHATBOT', '3', 'x')$$);
ROLLBACK;
BEGIN;
ALTER TABLE crm.chatbots RENAME COLUMN id TO number;
SELECT * FROM test.error_of($$SELECT submit_event('CHATBOT', '3', 'x')$$);
ROLLBACK;
BEGIN;
ALTER TABLE crm.chatbots ALTER COLUMN id TYPE double precision;
SELECT * FROM test.error_of($$SELECT submit_event('CHATBOT', '3', 'x')$$);
ROLLBACK;
SELECT submit_event('CHATBOT', '3', 'is there again') IS NOT NULL;

-- ---------------------------------------------------------------------
-- PT409
-- ---------------------------------------------------------------------
SELECT * FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', external_id => '9002')$$);
-- An external id that nobody has differs as well; a row without one does not.
SELECT * FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', external_id => 'nobody')$$);
SELECT * FROM test.error_of($$SELECT submit_event('CONVERSATION', '9223372036854775807', 'x', external_id => '9002')$$);

-- A view is taken as it is, and may give an id to two rows.
CREATE VIEW desk.twins AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, 'c'), (3, 'd'), (4, 'd')) v (id, external_id);
SELECT atlas_register_object_type('TWIN', 'desk.twins', external_id_column => 'external_id');
SELECT submit_event('TWIN', '1', 'is one') IS NOT NULL;
SELECT * FROM test.error_of($$SELECT submit_event('TWIN', '2', 'x')$$);
SELECT * FROM test.error_of($$SELECT submit_event('TWIN', NULL, 'x', external_id => 'd')$$);
SELECT atlas_unregister_object_type('TWIN');

SELECT submit_event('CONVERSATION', '1', 'first', idempotency_key => 'errors-1') IS NOT NULL;
SELECT * FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'second', idempotency_key => 'errors-1')$$);

-- ---------------------------------------------------------------------
-- PT413
-- ---------------------------------------------------------------------

-- A JSON event counts as a whole, in bytes: just at the limit, and just over.
SET atlas_events.max_event_size = 1024;
CREATE FUNCTION sized(bytes int, filler text) RETURNS text LANGUAGE sql AS $$
    SELECT replace(event, '@', repeat(filler, (bytes - length(event) + 1) / octet_length(filler)))
      FROM (VALUES ('{"objectType":"CUSTOMER","externalId":"195959","name":"sized","description":"@"}')) v (event)
$$;
SELECT bytes, octet_length(sized(bytes, 'x')), p.code, p.message
  FROM (VALUES (1024), (1025)) v (bytes), test.problems(sized(bytes, 'x')) p;
SELECT octet_length(sized(1026, 'ø')), p.code, p.message FROM test.problems(sized(1026, 'ø')) p;

-- The other forms count the bytes of all fields.
SELECT length, e.* FROM (VALUES (1006), (1007)) v (length) LEFT JOIN LATERAL test.error_of(format(
    'SELECT submit_event(%L, %L, %L, description => repeat(%L, %s))', 'CONVERSATION', '1', 'sized', 'x', length)) e ON true;
SELECT code, hint FROM test.error_of(
    $$SELECT submit_event('CONVERSATION', '1', 'x', payload => jsonb_build_object('text', repeat('x', 1024)))$$);
SELECT code, hint FROM test.error_of(
    $$SELECT submit_event('CONVERSATION', '1', 'x', related_objects => array_fill(('USER', repeat('7', 90), NULL)::atlas_object, ARRAY[11]))$$);
-- Size is checked when the event is invalid too, but what is invalid is said.
SELECT code FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', repeat('x', 2000))$$);
RESET atlas_events.max_event_size;

SET atlas_events.max_related_objects = 2;
CREATE FUNCTION related(number int) RETURNS text LANGUAGE sql AS $$
    SELECT json_build_object('objectType', 'CUSTOMER', 'externalId', '195959', 'name', 'related', 'relatedObjects',
               (SELECT json_agg(json_build_object('objectType', 'USER', 'objectId', n::text)) FROM generate_series(1, number) n))::text
$$;
SELECT number, p.code, p.message FROM (VALUES (2), (3)) v (number), test.problems(related(number)) p;
SELECT code, detail, hint FROM test.error_of(
    $$SELECT submit_event('CONVERSATION', '1', 'x', related_objects => array_fill(('USER', '7', NULL)::atlas_object, ARRAY[3]))$$);
SET atlas_events.max_related_objects = 0;
SELECT number, p.code, p.message FROM (VALUES (0), (1)) v (number), test.problems(related(number)) p;
RESET atlas_events.max_related_objects;
SELECT number, p.code, p.message FROM (VALUES (100), (101)) v (number), test.problems(related(number)) p;

SET atlas_events.max_batch_size = 2;
CREATE FUNCTION batch(number int) RETURNS text LANGUAGE sql AS $$
    SELECT json_agg('{"objectType":"CUSTOMER","externalId":"195959","name":"batch"}'::json)::text FROM generate_series(1, number)
$$;
SELECT number, e.* FROM (VALUES (2), (3)) v (number)
  LEFT JOIN LATERAL test.error_of(format('SELECT submit_events(%L::text)', batch(number))) e ON true;
SELECT number, e.* FROM (VALUES (2), (3)) v (number)
  LEFT JOIN LATERAL test.error_of(format(
    $$SELECT submit_events(array_fill(('CUSTOMER', NULL, '195959', 'x', NULL, NULL, NULL, NULL, NULL, NULL)::atlas_event, ARRAY[%s]))$$, number)) e ON true;
RESET atlas_events.max_batch_size;

-- ---------------------------------------------------------------------
-- Nothing is left of what was refused, also without test.error_of()
-- ---------------------------------------------------------------------
SELECT submit_event('CONVERSATION', '404', 'refused', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[],
                    idempotency_key => 'errors-2', occurred_at => '2019-07-01');
SELECT submit_event('CONVERSATION', '1', 'refused', external_id => '9002', idempotency_key => 'errors-2');
SELECT name FROM atlas_events ORDER BY event_id;
SELECT idempotency_key FROM atlas_event_keys;
SELECT count(*) FROM atlas_event_queue;
-- Not even a partition.
SELECT to_regclass('atlas_events_2019');

SELECT atlas_unregister_object_type('SEAT');
DROP FUNCTION sized, related, batch;
SET client_min_messages = warning;
DROP SCHEMA desk CASCADE;
DROP OWNED BY regress_atlas_desk;
DROP ROLE regress_atlas_desk;
