-- A type is connected to a table, not to a name: the table can be renamed and
-- moved, and whatever takes its old name is not read.
SELECT test.clean();
CREATE SCHEMA yard;
CREATE TABLE yard.ships (id int PRIMARY KEY, external_id text UNIQUE);
INSERT INTO yard.ships VALUES (1, 'one');
SELECT atlas_register_object_type('SHIP', 'yard.ships', external_id_column => 'external_id');

-- Which of two ships are there, as primary object by either id, and as related object?
CREATE FUNCTION ships() RETURNS TABLE (id int, by_id text, by_external_id text, related text) LANGUAGE plpgsql AS $$
DECLARE
    event uuid := submit_event('CONVERSATION', '1', 'related', related_objects => ARRAY[('SHIP', '1', NULL), ('SHIP', '2', NULL)]::atlas_object[]);
BEGIN
    PERFORM atlas_link_events();
    RETURN QUERY
        SELECT n, COALESCE((SELECT e.code FROM test.error_of(format('SELECT submit_event(%L, %L, %L)', 'SHIP', n, 'x')) e), 'found'),
               COALESCE((SELECT e.code FROM test.error_of(format('SELECT submit_event(%L, NULL, %L, external_id => %L)', 'SHIP', 'x', names[n])) e), 'found'),
               (SELECT concat_ws(': ', r ->> 'outcome', r ->> 'reason') FROM atlas_event_logs, jsonb_array_elements(related_objects) r
                 WHERE event_id = event AND r ->> 'objectId' = n::text)
          FROM generate_series(1, 2) n, (VALUES (ARRAY['one', 'two'])) v (names);
END
$$;
SELECT * FROM ships();

-- Renamed, and another table takes its name.
ALTER TABLE yard.ships RENAME TO vessels;
SELECT * FROM ships();
CREATE TABLE yard.ships (id int PRIMARY KEY, external_id text UNIQUE);
INSERT INTO yard.ships VALUES (2, 'two');
SELECT * FROM ships();
SELECT object_type, relation FROM atlas_object_types WHERE object_type = 'SHIP';

-- Or a view, whose columns are of other types.
DROP TABLE yard.ships;
CREATE VIEW yard.ships AS SELECT '2'::text AS id, 'two'::text AS external_id;
SELECT * FROM ships();

-- Two tables that swap their names.
DROP VIEW yard.ships;
ALTER TABLE yard.vessels RENAME TO ships;
CREATE TABLE yard.other (LIKE yard.ships INCLUDING ALL);
INSERT INTO yard.other VALUES (2, 'two');
SELECT * FROM ships();
BEGIN;
ALTER TABLE yard.ships RENAME TO swap;
ALTER TABLE yard.other RENAME TO ships;
ALTER TABLE yard.swap RENAME TO other;
SELECT * FROM ships();
COMMIT;
SELECT * FROM ships();
BEGIN;
ALTER TABLE yard.ships RENAME TO swap;
SELECT * FROM ships();
ROLLBACK;
SELECT * FROM ships();
SELECT relation FROM atlas_object_types WHERE object_type = 'SHIP';
DROP TABLE yard.ships;
ALTER TABLE yard.other RENAME TO ships;

-- The schema is renamed, and another takes its name.
ALTER SCHEMA yard RENAME TO dock;
SELECT * FROM ships();
CREATE SCHEMA yard;
CREATE TABLE yard.ships (id int PRIMARY KEY, external_id text UNIQUE);
INSERT INTO yard.ships VALUES (2, 'two');
SELECT * FROM ships();
-- The table is moved.
CREATE SCHEMA sea;
ALTER TABLE dock.ships SET SCHEMA sea;
SELECT * FROM ships();
SELECT relation FROM atlas_object_types WHERE object_type = 'SHIP';

-- ---------------------------------------------------------------------
-- Columns
-- ---------------------------------------------------------------------

-- Another type that ids can have: the ids are what they are now.
ALTER TABLE sea.ships ALTER id TYPE text USING lpad(id::text, 3, '0');
SELECT * FROM ships();
SELECT submit_event('SHIP', '001', 'retyped') IS NOT NULL;
ALTER TABLE sea.ships ALTER id TYPE bigint USING id::bigint;
SELECT * FROM ships();
-- One that they cannot have.
ALTER TABLE sea.ships ALTER id TYPE double precision;
SELECT * FROM ships();
SELECT message, detail, hint FROM test.error_of($$SELECT submit_event('SHIP', '1', 'x')$$);
ALTER TABLE sea.ships ALTER id TYPE int;
SELECT * FROM ships();
-- Columns are known by their names.
ALTER TABLE sea.ships RENAME external_id TO code;
SELECT * FROM ships();
SELECT detail, hint FROM test.error_of($$SELECT submit_event('SHIP', '1', 'x')$$);
SELECT atlas_register_object_type('SHIP', 'sea.ships', external_id_column => 'code');
SELECT * FROM ships();
ALTER TABLE sea.ships DROP COLUMN code;
SELECT * FROM ships();
ALTER TABLE sea.ships ADD COLUMN code text;
UPDATE sea.ships SET code = 'one';
SELECT * FROM ships();
-- A column more does not matter, nor does a lost index.
ALTER TABLE sea.ships ADD COLUMN flag text;
ALTER TABLE sea.ships DROP CONSTRAINT ships_pkey;
SELECT * FROM ships();
INSERT INTO sea.ships VALUES (1, 'uno');
SELECT * FROM ships();

-- ---------------------------------------------------------------------
-- Dropped, and made again: that is another table
-- ---------------------------------------------------------------------
DROP TABLE sea.ships;
SELECT * FROM ships();
CREATE TABLE sea.ships (id int PRIMARY KEY, code text UNIQUE);
INSERT INTO sea.ships VALUES (1, 'one'), (2, 'two');
SELECT * FROM ships();
SELECT message, detail, hint FROM test.error_of($$SELECT submit_event('SHIP', '1', 'x')$$);
SELECT atlas_register_object_type('SHIP', 'sea.ships', external_id_column => 'code');
SELECT * FROM ships();

-- The owner changes, and with him what can be seen: the new one is subject to
-- the table's policy.
CREATE ROLE regress_atlas_captain;
GRANT USAGE ON SCHEMA sea TO regress_atlas_captain;
ALTER TABLE sea.ships ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY first_only ON sea.ships USING (id = 1);
SELECT * FROM ships();
SELECT atlas_register_object_type('SHIP', 'sea.ships', external_id_column => 'code');
SELECT * FROM ships();
-- Nobody has vouched for the code of the new owner.
ALTER TABLE sea.ships OWNER TO regress_atlas_captain;
SELECT * FROM ships();
SELECT detail, hint FROM test.error_of($$SELECT submit_event('SHIP', '1', 'x')$$);
SELECT atlas_register_object_type('SHIP', 'sea.ships', external_id_column => 'code');
SELECT * FROM ships();

SELECT atlas_unregister_object_type('SHIP');
DROP FUNCTION ships;
SET client_min_messages = warning;
DROP SCHEMA yard, dock, sea CASCADE;
DROP ROLE regress_atlas_captain;
