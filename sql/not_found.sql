-- An object that is absent, hidden by a policy, another tenant's, or named by a
-- malformed id: PT404 with the same bytes in every field of the error, in every
-- form in which an event can be submitted.
SELECT test.clean();
CREATE ROLE regress_atlas_desk;
CREATE ROLE regress_atlas_guest;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_atlas_guest;
CREATE SCHEMA desk AUTHORIZATION regress_atlas_desk;
CREATE TABLE desk.seats (
    id integer PRIMARY KEY,
    external_id text UNIQUE,
    tenant text NOT NULL,
    hidden boolean NOT NULL DEFAULT false
);
INSERT INTO desk.seats VALUES (1, 'one', '', false), (2, 'two', 'globex', false), (3, 'three', '', true);
ALTER TABLE desk.seats OWNER TO regress_atlas_desk;
ALTER TABLE desk.seats ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY not_hidden ON desk.seats USING (NOT hidden);
SELECT atlas_register_object_type('SEAT', 'desk.seats', external_id_column => 'external_id', tenant_column => 'tenant');

-- Every field of the error that a statement raises for an object, or what it returns.
CREATE FUNCTION outcome(statement text, object_id text, external_id text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    result text;
    code text; message text; detail text; hint text; context text;
    in_schema text; in_table text; in_column text; of_type text; of_constraint text;
BEGIN
    EXECUTE statement INTO result USING object_id, external_id;
    RETURN ARRAY['returned', regexp_replace(result, '[0-9a-f]{8}-[0-9a-f-]{27}', '<event id>', 'g')];
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
        hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT, in_schema = SCHEMA_NAME, in_table = TABLE_NAME,
        in_column = COLUMN_NAME, of_type = PG_DATATYPE_NAME, of_constraint = CONSTRAINT_NAME;
    RETURN ARRAY[code, message, detail, hint, context, in_schema, in_table, in_column, of_type, of_constraint];
END
$$;

CREATE TABLE named (why text, object_id text, external_id text);
INSERT INTO named VALUES
    ('absent', '99', NULL), ('of another tenant', '2', NULL), ('hidden', '3', NULL),
    ('no integer', 'x', NULL), ('out of range', '99999999999999999999', NULL), ('not canonical', '01', NULL), ('with a blank', '1 ', NULL),
    ('absent', NULL, 'none'), ('of another tenant', NULL, 'two'), ('hidden', NULL, 'three'), ('in another case', NULL, 'One'),
    ('absent', '99', 'one'), ('of another tenant', '2', 'two'), ('of another tenant', '2', 'one'), ('hidden', '3', 'three'), ('hidden', '3', 'one');

CREATE TABLE forms (form text, statement text);
INSERT INTO forms VALUES
    ('named arguments', $$SELECT submit_event('SEAT', $1, 'x', external_id => $2)$$),
    ('composite', $$SELECT submit_event(('SEAT', $1, $2, 'x', NULL, NULL, NULL, NULL, NULL, NULL)::atlas_event)$$),
    ('composite, with a key', $$SELECT submit_event(('SEAT', $1, $2, 'x', NULL, NULL, NULL, NULL, NULL, 'key')::atlas_event)$$),
    ('array', $$SELECT submit_events(ARRAY[('SEAT', $1, $2, 'x', NULL, NULL, NULL, NULL, NULL, NULL)]::atlas_event[])$$),
    ('array, behind a good one', $$SELECT submit_events(ARRAY[('SEAT', '1', NULL, 'x', NULL, NULL, NULL, NULL, NULL, NULL),
                                       ('SEAT', $1, $2, 'x', NULL, NULL, NULL, NULL, NULL, NULL)]::atlas_event[])$$);
INSERT INTO forms
SELECT form, replace(statement, 'EVENT', $$json_strip_nulls(json_build_object('objectType', 'SEAT', 'objectId', $1, 'externalId', $2, 'name', 'x'))$$)
  FROM (VALUES
    ('text', 'SELECT submit_event(EVENT::text)'), ('text, with a key beside it', $$SELECT submit_event(EVENT::text, 'key')$$),
    ('json', 'SELECT submit_event(EVENT)'), ('jsonb', 'SELECT submit_event(EVENT::jsonb)'),
    ('batch of text', 'SELECT submit_events(json_build_array(EVENT)::text)'), ('batch of json', 'SELECT submit_events(json_build_array(EVENT))'),
    ('batch of jsonb', 'SELECT submit_events(json_build_array(EVENT)::jsonb)'),
    ('batch, behind a good one', $$SELECT submit_events(json_build_array('{"objectType":"SEAT","objectId":"1","name":"x"}'::json, EVENT)::text)$$)) v (form, statement);
GRANT SELECT ON named, forms TO regress_atlas_guest;

-- As the submitter who has a right on nothing. One line a form.
SET ROLE regress_atlas_guest;
SELECT form, count(*) AS objects, count(DISTINCT o) AS outcomes, min(o[1]) AS code, min(o[2]) AS message, min(o[3]) AS detail, min(o[4]) AS hint,
       min(concat(o[6], o[7], o[8], o[9], o[10])) = '' AS names_nothing
  FROM forms, named, outcome(statement, object_id, external_id) o
 WHERE form !~ '^batch' GROUP BY form ORDER BY form COLLATE "C";
SELECT form, count(*) AS objects, count(DISTINCT o) AS outcomes, min(o[2]) AS result
  FROM forms, named, outcome(statement, object_id, external_id) o
 WHERE form ~ '^batch' GROUP BY form ORDER BY form COLLATE "C";
-- The context says where the caller was, and nothing else.
SELECT DISTINCT regexp_replace(o[5], '.*(PL/pgSQL function)', '\1') AS context FROM forms, named, outcome(statement, object_id, external_id) o WHERE form = 'composite';
RESET ROLE;

-- The tenant whose object it is finds it.
SET atlas_events.tenant = 'globex';
SELECT (outcome(statement, '2', NULL))[1] FROM forms WHERE form = 'text';
RESET atlas_events.tenant;

-- As related objects: one outcome, one reason.
SELECT test.clean();
SELECT submit_event('SEAT', '1', 'related', related_objects => (SELECT array_agg(('SEAT', object_id, external_id)::atlas_object) FROM named)) IS NOT NULL;
SELECT atlas_link_events();
SELECT outcome, reason, count(*) FROM atlas_event_unresolved GROUP BY 1, 2;
SELECT count(*) FROM atlas_event_links;

SELECT test.clean();
SELECT atlas_unregister_object_type('SEAT');
DROP FUNCTION outcome;
DROP TABLE named, forms;
SET client_min_messages = warning;
DROP SCHEMA desk CASCADE;
DROP OWNED BY regress_atlas_desk, regress_atlas_guest;
DROP ROLE regress_atlas_desk, regress_atlas_guest;
