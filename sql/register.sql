-- Connecting object types to tables: what is accepted, what is refused, and who
-- may do it. Everything is undone at the end.
BEGIN;
CREATE SCHEMA shop;
SET LOCAL search_path = shop, public;
CREATE EXTENSION citext SCHEMA shop;

-- Registers type THING, and says how that went.
CREATE FUNCTION try(relation regclass, id_column name DEFAULT 'id', external_id_column name DEFAULT NULL,
                    tenant_column name DEFAULT NULL, label_column name DEFAULT NULL)
    RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    SELECT e.code || ' ' || e.message INTO problem
      FROM test.error_of(format('SELECT atlas_register_object_type(%L, %L, %L, %L, %L, label_column => %L)',
                                'THING', relation, id_column, external_id_column, tenant_column,
                                label_column)) e;
    RETURN COALESCE(problem, 'accepted');
END
$$;

-- ---------------------------------------------------------------------
-- Types of ids
-- ---------------------------------------------------------------------
CREATE DOMAIN sku AS varchar(20) CHECK (VALUE <> '');
CREATE DOMAIN short_sku AS sku;
CREATE DOMAIN price AS numeric(10, 2);
CREATE TYPE color AS ENUM ('red', 'green');
CREATE TABLE ids (
    a_uuid uuid UNIQUE, a_smallint smallint UNIQUE, an_integer integer UNIQUE, a_bigint bigint UNIQUE,
    a_text text UNIQUE, a_varchar varchar UNIQUE, a_varchar_10 varchar(10) UNIQUE, a_domain short_sku UNIQUE,
    a_numeric numeric UNIQUE, a_numeric_20 numeric(20) UNIQUE, a_numeric_with_scale numeric(10, 2) UNIQUE,
    a_domain_over_numeric price UNIQUE, a_char char(10) UNIQUE, a_date date UNIQUE,
    an_enum color UNIQUE, a_name name UNIQUE, a_jsonb jsonb UNIQUE, an_array int[] UNIQUE, a_bytea bytea UNIQUE
);
SELECT attname, try('ids', attname) FROM pg_attribute WHERE attrelid = 'ids'::regclass AND attnum > 0 ORDER BY attnum;
-- The same for external ids and tenants.
SELECT try('ids', 'a_uuid', 'an_enum') AS external_id, try('ids', 'a_uuid', NULL, 'a_date') AS tenant;

-- Labels are text. Their column needs no index.
SELECT attname, try('ids', 'an_integer', NULL, NULL, attname) FROM pg_attribute
 WHERE attrelid = 'ids'::regclass AND attnum > 0 ORDER BY attnum;
CREATE TABLE labels (id int PRIMARY KEY, plain text, email citext, tags text[]);
CREATE VIEW labels_view AS SELECT * FROM labels;
SELECT relation, c, try(relation, 'id', NULL, NULL, c)
  FROM unnest(ARRAY['labels', 'labels_view']) relation, unnest(ARRAY['plain', 'email', 'tags', 'missing', 'ctid']) c;
SELECT e.message, e.hint
  FROM unnest(ARRAY['tags', 'missing']) c,
       test.error_of(format('SELECT atlas_register_object_type(%L, %L, label_column => %L)', 'THING', 'labels', c)) e;

-- ---------------------------------------------------------------------
-- Columns
-- ---------------------------------------------------------------------
CREATE TABLE columns ("Id" int PRIMARY KEY, dropped int UNIQUE, external text, tenant text);
ALTER TABLE columns DROP COLUMN dropped;
SELECT try('columns'), try('columns', '........pg.dropped.2........') AS dropped, try('columns', 'ctid') AS system_column;
SELECT try('columns', 'Id'), try('columns', 'Id', 'missing') AS external_id, try('columns', 'Id', NULL, 'missing') AS tenant;

-- ---------------------------------------------------------------------
-- Indexes
-- ---------------------------------------------------------------------
CREATE TABLE unindexed (id int, external_id text);
CREATE TABLE not_unique (id int, external_id text);
CREATE INDEX ON not_unique (id);
CREATE TABLE part_of_two (id int, line int, PRIMARY KEY (id, line));
CREATE TABLE partial (id int, deleted boolean);
CREATE UNIQUE INDEX ON partial (id) WHERE NOT deleted;
CREATE TABLE partial_not_null (id int);
CREATE UNIQUE INDEX ON partial_not_null (id) WHERE id IS NOT NULL;
CREATE TABLE expression (id text);
CREATE UNIQUE INDEX ON expression (lower(id));
CREATE TABLE includes (id int, name text);
CREATE UNIQUE INDEX ON includes (id) INCLUDE (name);
CREATE TABLE postponed (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);
SELECT relation, try(relation) FROM unnest(ARRAY['unindexed', 'not_unique', 'part_of_two', 'partial', 'partial_not_null',
                                                 'expression', 'includes', 'postponed']) relation;

-- With a tenant column, or a partition key, the id may be unique together with it.
CREATE TABLE by_tenant (tenant_id text, id int, PRIMARY KEY (tenant_id, id));
CREATE TABLE by_partition (id int, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE by_all (tenant_id text, id int, day date, PRIMARY KEY (tenant_id, day, id)) PARTITION BY RANGE (day);
CREATE TABLE partitioned_by_id (id int PRIMARY KEY) PARTITION BY HASH (id);
SELECT try('by_tenant') AS without_tenant, try('by_tenant', 'id', NULL, 'tenant_id') AS with_tenant;
SELECT try('by_partition'), try('by_all') AS without_tenant, try('by_all', 'id', NULL, 'tenant_id') AS with_tenant;
SELECT try('partitioned_by_id');

-- An external id needs an index that begins with it, unique or not.
CREATE TABLE external (id int PRIMARY KEY, none text, plain text, uniq text, second text, partial text, hashed text, tenant_id text);
CREATE INDEX ON external (plain, second);
CREATE UNIQUE INDEX ON external (uniq);
CREATE INDEX ON external (partial) WHERE tenant_id IS NULL;
CREATE INDEX ON external USING hash (hashed);
SELECT c, try('external', 'id', c) FROM unnest(ARRAY['none', 'plain', 'uniq', 'second', 'partial', 'hashed']) c;
CREATE INDEX ON external (tenant_id, none);
SELECT try('external', 'id', 'none') AS without_tenant, try('external', 'id', 'none', 'tenant_id') AS with_tenant;

-- ---------------------------------------------------------------------
-- Kinds of relations
-- ---------------------------------------------------------------------
CREATE TEMPORARY TABLE temporary (id int PRIMARY KEY);
CREATE SEQUENCE sequence;
CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);
CREATE VIEW view AS SELECT 1 AS id;
CREATE MATERIALIZED VIEW matview AS SELECT 1 AS id;
CREATE TYPE composite AS (id int);
CREATE FOREIGN DATA WRAPPER regress_atlas_wrapper;
CREATE SERVER regress_atlas_server FOREIGN DATA WRAPPER regress_atlas_wrapper;
CREATE FOREIGN TABLE foreign_table (id int) SERVER regress_atlas_server;
SELECT relation, try(relation) FROM unnest(ARRAY['temporary', 'sequence', 'composite', 'foreign_table', 'by_partition_pkey',
                                                 'unlogged', 'view', 'matview']) relation;
CREATE UNIQUE INDEX ON matview (id);
SELECT try('matview') AS matview_with_index, try('view', 'missing') AS view_without_column;

-- ---------------------------------------------------------------------
-- Arguments
-- ---------------------------------------------------------------------
SELECT try(NULL) AS relation, try('columns', NULL) AS id_column;
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type(NULL, 'view')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('X', 'nowhere')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('X', 'view', aliases => '{Y,NULL}')$$);
SELECT count(*) AS accepted FROM atlas_register_object_type('X', 'view', aliases => NULL);
SELECT name, e.code, e.message, e.detail
  FROM unnest(ARRAY['', ' ', '1X', '_X', 'A.B', 'Größe', 'A;B', repeat('x', 64)]) name,
       test.error_of(format('SELECT atlas_register_object_type(%L, %L)', name, 'view')) e;
SELECT count(*) AS longest_name_accepted FROM atlas_register_object_type(repeat('x', 63), 'view');

-- What can be done about it is in the hint.
SELECT v.*, e.message, e.hint
  FROM (VALUES ('ids', 'a_date', NULL), ('ids', 'a_numeric_with_scale', NULL), ('columns', 'id', NULL), ('unindexed', 'id', NULL), ('external', 'id', 'second')) v (relation, id, external_id),
       test.error_of(format('SELECT atlas_register_object_type(%L, %L, %L, %L)', 'THING', relation, id, external_id)) e;

-- ---------------------------------------------------------------------
-- Registering again changes the connection; unregistering ends it
-- ---------------------------------------------------------------------
CREATE TABLE first_table (id int PRIMARY KEY);
CREATE TABLE second_table (number text PRIMARY KEY, external text UNIQUE, tenant_id text);
INSERT INTO first_table VALUES (1);
INSERT INTO second_table VALUES ('two', '2', '');
SELECT atlas_register_object_type('Thing', 'first_table', aliases => '{Gadget}');
SELECT submit_event('GADGET', '1', 'x') IS NOT NULL;
SELECT atlas_register_object_type('thing', 'second_table', 'number', 'external', 'tenant_id', '{widget}');
SELECT * FROM atlas_object_types WHERE object_type = 'THING';
SELECT submit_event('WIDGET', NULL, 'x', external_id => '2') IS NOT NULL;
SELECT code, detail FROM test.error_of($$SELECT submit_event('GADGET', '1', 'x')$$);
SELECT code, detail FROM test.error_of($$SELECT submit_event('THING', '1', 'x')$$);
-- The label column may go: events are about the object all the same.
ALTER TABLE second_table ADD COLUMN title text;
SELECT atlas_register_object_type('thing', 'second_table', 'number', 'external', 'tenant_id', '{widget}', 'title');
SELECT label_column FROM atlas_object_types WHERE object_type = 'THING';
ALTER TABLE second_table ALTER COLUMN title TYPE int USING 2;
SELECT submit_event('THING', 'two', 'x') IS NOT NULL AS label_is_no_text;
ALTER TABLE second_table DROP COLUMN title;
SELECT submit_event('THING', 'two', 'x') IS NOT NULL AS label_is_gone;
SELECT atlas_register_object_type('thing', 'second_table', 'number', 'external', 'tenant_id', '{widget}');
SELECT label_column FROM atlas_object_types WHERE object_type = 'THING';
-- By an alias, too.
SELECT atlas_unregister_object_type('widget');
SELECT code, detail FROM test.error_of($$SELECT submit_event('THING', 'two', 'x')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_unregister_object_type('THING')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_unregister_object_type(NULL)$$);
-- A built-in type stays known, and its dropped table can be unregistered.
SELECT atlas_register_object_type('CHATBOT', 'first_table');
DROP TABLE first_table;
SELECT atlas_unregister_object_type('CHATBOT');
SELECT code, message FROM test.error_of($$SELECT submit_event('CHATBOT', '1', 'x')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_unregister_object_type('CHATBOT')$$);

-- ---------------------------------------------------------------------
-- Who may: the owner of the table, and nobody else takes a type over
-- ---------------------------------------------------------------------
CREATE ROLE regress_atlas_owner;
CREATE ROLE regress_atlas_other;
GRANT USAGE, CREATE ON SCHEMA shop TO regress_atlas_owner, regress_atlas_other;
GRANT EXECUTE ON FUNCTION atlas_register_object_type, atlas_unregister_object_type TO regress_atlas_owner, regress_atlas_other;
SET ROLE regress_atlas_owner;
CREATE TABLE owned (id int PRIMARY KEY);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('OWNED', 'second_table', 'number')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('OWNED', 'view')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('CUSTOMER', 'owned')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_unregister_object_type('CUSTOMER')$$);
SELECT atlas_register_object_type('OWNED', 'owned', aliases => '{mine}');
SET ROLE regress_atlas_other;
CREATE TABLE other (id int PRIMARY KEY);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('OWNED', 'other')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('MINE', 'other')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('OTHER', 'other', aliases => '{mine}')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_register_object_type('OWNED', 'owned')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_unregister_object_type('OWNED')$$);
-- Not even a privilege on the table helps; being its owner does.
RESET ROLE;
GRANT ALL ON owned TO regress_atlas_other;
SET ROLE regress_atlas_other;
SELECT code, message FROM test.error_of($$SELECT atlas_unregister_object_type('OWNED')$$);
RESET ROLE;
GRANT regress_atlas_owner TO regress_atlas_other;
SET ROLE regress_atlas_other;
SELECT atlas_register_object_type('OWNED', 'other');
RESET ROLE;
SELECT object_type, relation, aliases FROM atlas_object_types WHERE object_type = 'OWNED';
ROLLBACK;

-- All is as it was.
SELECT object_type, relation, id_column, external_id_column, tenant_column, aliases FROM atlas_object_types ORDER BY object_type;
