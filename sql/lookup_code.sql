-- Looking an object up runs nobody's code, or code that a superuser has vouched for:
-- as its owner, with nothing of a third role beneath it, with nothing of the caller's
-- in sight, and leaving nothing behind.
SET client_min_messages = warning;
CREATE ROLE regress_atlas_ann;
CREATE ROLE regress_atlas_bob;
CREATE SCHEMA ann AUTHORIZATION regress_atlas_ann;
CREATE SCHEMA bob AUTHORIZATION regress_atlas_bob;
GRANT USAGE ON SCHEMA ann, bob TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_atlas_ann, regress_atlas_bob;

-- What is tried, and the answer.
CREATE FUNCTION test.try_to_register(relation text, id_column name DEFAULT 'id', OUT relation_ text, OUT message text, OUT detail text) LANGUAGE plpgsql AS $$
BEGIN
    relation_ := relation;
    PERFORM public.atlas_register_object_type('CODE', relation::regclass, id_column);
    message := 'accepted';
    PERFORM public.atlas_unregister_object_type('CODE');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
END
$$;
GRANT EXECUTE ON FUNCTION test.try_to_register TO PUBLIC;

-- ---------------------------------------------------------------------
-- Who may connect what
-- ---------------------------------------------------------------------
SET ROLE regress_atlas_ann;
CREATE TABLE ann.plain (id int PRIMARY KEY, flag int);
CREATE TABLE ann.guarded (id int PRIMARY KEY);
ALTER TABLE ann.guarded ENABLE ROW LEVEL SECURITY;
CREATE TABLE ann.forced (LIKE ann.guarded INCLUDING ALL);
ALTER TABLE ann.forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE VIEW ann.view AS SELECT id FROM ann.plain;
CREATE MATERIALIZED VIEW ann.kept AS SELECT id FROM ann.plain;
CREATE UNIQUE INDEX ON ann.kept (id);
CREATE MATERIALIZED VIEW ann.empty AS SELECT id FROM ann.plain WITH NO DATA;
CREATE UNIQUE INDEX ON ann.empty (id);
CREATE TABLE ann.parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE ann.parted_1 PARTITION OF ann.parted FOR VALUES FROM (0) TO (100);
SELECT t.* FROM unnest('{ann.plain,ann.guarded,ann.forced,ann.view,ann.kept,ann.empty,ann.parted}'::text[]) r, test.try_to_register(r) t;
RESET ROLE;
SELECT t.* FROM unnest('{ann.forced,ann.view,ann.empty}'::text[]) r, test.try_to_register(r) t;

-- A superuser cannot vouch for what belongs to a third role, wherever it is.
SET ROLE regress_atlas_bob;
CREATE TABLE bob.plain (id int PRIMARY KEY, flag int);
CREATE VIEW bob.view AS SELECT id FROM bob.plain;
CREATE FUNCTION bob.yes(int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE FUNCTION bob.eq(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 OPERATOR(pg_catalog.=) $2';
CREATE OPERATOR bob.= (LEFTARG = int, RIGHTARG = int, FUNCTION = bob.eq);
CREATE DOMAIN bob.number AS int CHECK (bob.yes(VALUE));
CREATE TYPE bob.pair AS (a int, b int);
CREATE AGGREGATE bob.any_of(int) (SFUNC = int4pl, STYPE = int);
CREATE COLLATION bob.c (locale = 'C');
CREATE FUNCTION bob.ne(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 OPERATOR(pg_catalog.<>) $2';
GRANT ALL ON ALL TABLES IN SCHEMA bob TO PUBLIC;
RESET ROLE;
CREATE FUNCTION test.hers(name text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    EXECUTE format('ALTER TABLE ann.%I OWNER TO regress_atlas_ann', name);
    RETURN 'ann.' || name;
END
$$;
SELECT t.* FROM (VALUES
    ('of_view', 'CREATE VIEW ann.of_view AS SELECT id FROM bob.view'),
    ('of_table', 'CREATE VIEW ann.of_table AS SELECT id FROM bob.plain'),
    ('of_view_of_mine', 'CREATE VIEW ann.mine AS SELECT id FROM bob.plain; CREATE VIEW ann.of_view_of_mine AS SELECT id FROM ann.mine'),
    ('subquery', 'CREATE VIEW ann.subquery AS SELECT 1 AS id WHERE EXISTS (SELECT FROM bob.plain)'),
    ('function', 'CREATE VIEW ann.function AS SELECT 1 AS id WHERE bob.yes(1)'),
    ('operator', 'CREATE VIEW ann.operator AS SELECT 1 AS id WHERE 1 OPERATOR(bob.=) 1'),
    ('domain', 'CREATE VIEW ann.domain AS SELECT id FROM (SELECT 1 AS id, 1::bob.number) x'),
    ('composite', 'CREATE VIEW ann.composite AS SELECT id FROM (SELECT 1 AS id, NULL::bob.pair) x'),
    ('aggregate', 'CREATE VIEW ann.aggregate AS SELECT bob.any_of(1) AS id'),
    ('row_type', 'CREATE TYPE ann.pair AS (a int, b bob.number); ALTER TYPE ann.pair OWNER TO regress_atlas_ann;
                  CREATE VIEW ann.row_type AS SELECT 1 AS id WHERE json_populate_record(NULL::ann.pair, ''{"b": 1}'') IS NOT NULL'),
    ('negated', 'CREATE FUNCTION ann.eq(int, int) RETURNS boolean LANGUAGE sql IMMUTABLE AS ''SELECT true''; ALTER FUNCTION ann.eq OWNER TO regress_atlas_ann;
                 CREATE OPERATOR ann.== (LEFTARG = int, RIGHTARG = int, FUNCTION = ann.eq, NEGATOR = OPERATOR(ann.!==));
                 CREATE OPERATOR ann.!== (LEFTARG = int, RIGHTARG = int, FUNCTION = bob.ne, NEGATOR = OPERATOR(ann.==));
                 CREATE VIEW ann.negated AS SELECT id FROM ann.plain WHERE NOT (id OPERATOR(ann.==) 3)'),
    ('sorted', 'CREATE TYPE ann.key AS (a int); ALTER TYPE ann.key OWNER TO regress_atlas_ann;
                CREATE FUNCTION bob.compare(ann.key, ann.key) RETURNS int LANGUAGE sql IMMUTABLE AS ''SELECT 0''; ALTER FUNCTION bob.compare OWNER TO regress_atlas_bob;
                CREATE FUNCTION ann.less(ann.key, ann.key) RETURNS boolean LANGUAGE sql IMMUTABLE AS ''SELECT false''; ALTER FUNCTION ann.less OWNER TO regress_atlas_ann;
                CREATE OPERATOR ann.< (LEFTARG = ann.key, RIGHTARG = ann.key, FUNCTION = ann.less);
                CREATE OPERATOR ann.= (LEFTARG = ann.key, RIGHTARG = ann.key, FUNCTION = ann.less);
                CREATE OPERATOR CLASS ann.keys DEFAULT FOR TYPE ann.key USING btree AS OPERATOR 1 ann.<, OPERATOR 3 ann.=, FUNCTION 1 bob.compare(ann.key, ann.key);
                CREATE VIEW ann.sorted AS SELECT id FROM (SELECT 1 AS id, ''(1)''::ann.key AS k ORDER BY k USING OPERATOR(ann.<)) x'),
    ('as_json', 'CREATE TYPE ann.doc AS (a int); ALTER TYPE ann.doc OWNER TO regress_atlas_ann;
                 CREATE FUNCTION bob.as_json(ann.doc) RETURNS json LANGUAGE sql IMMUTABLE AS ''SELECT NULL::json''; ALTER FUNCTION bob.as_json OWNER TO regress_atlas_bob;
                 CREATE CAST (ann.doc AS json) WITH FUNCTION bob.as_json(ann.doc);
                 CREATE VIEW ann.as_json AS SELECT 1 AS id WHERE to_json(''(1)''::ann.doc) IS NULL'),
    ('collated', 'CREATE VIEW ann.collated AS SELECT 1 AS id WHERE ''a'' COLLATE bob.c = ''a''')) v (name, statement),
    test.hers(name, statement) AS r, test.try_to_register(r) t;
-- Beneath a table of the owner's own: an index, a policy, a constraint, statistics, a child.
CREATE FUNCTION test.forced(name text, addition text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE ann.%I (id int PRIMARY KEY, flag int); ALTER TABLE ann.%1$I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', name);
    EXECUTE addition;
    EXECUTE format('ALTER TABLE ann.%I OWNER TO regress_atlas_ann', name);
    RETURN 'ann.' || name;
END
$$;
SELECT t.* FROM (VALUES
    ('nothing', ''),
    ('predicate', 'CREATE INDEX ON ann.predicate (flag) WHERE bob.yes(1)'),
    ('expression', 'CREATE INDEX ON ann.expression (bob.yes(flag))'),
    ('policy', 'CREATE POLICY p ON ann.policy USING (bob.yes(id))'),
    ('policy_of_table', 'CREATE POLICY p ON ann.policy_of_table USING (id IN (SELECT id FROM bob.plain))'),
    ('constrained', 'ALTER TABLE ann.constrained ADD CHECK (bob.yes(id))'),
    ('referring', 'ALTER TABLE ann.referring ADD FOREIGN KEY (flag) REFERENCES bob.plain'),
    ('statistic', 'CREATE STATISTICS ann.s ON (bob.yes(flag)), id FROM ann.statistic'),
    ('child', 'CREATE TABLE bob.child (PRIMARY KEY (id)) INHERITS (ann.child); ALTER TABLE bob.child OWNER TO regress_atlas_bob')) v (name, addition),
    test.forced(name, addition) AS r, test.try_to_register(r) t;
-- The partition of another role is read directly: nothing of it is evaluated.
CREATE TABLE bob.parted_2 PARTITION OF ann.parted FOR VALUES FROM (100) TO (200);
ALTER TABLE bob.parted_2 OWNER TO regress_atlas_bob;
INSERT INTO ann.parted VALUES (1), (100);
SET ROLE regress_atlas_bob;
CREATE FUNCTION bob.evaluated(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RAISE WARNING 'evaluated as %', current_user;
    RETURN true;
END
$$;
SET client_min_messages = error;
CREATE INDEX ON bob.parted_2 (id) WHERE bob.evaluated(1);
SET client_min_messages = warning;
RESET ROLE;
SELECT atlas_register_object_type('CODE', 'ann.parted');
SELECT id, e.code FROM (VALUES ('1'), ('100'), ('101'), ('1000')) v (id) LEFT JOIN LATERAL test.error_of(format('SELECT submit_event(''CODE'', %L, ''x'')', id)) e ON true;

-- ---------------------------------------------------------------------
-- What changes hands afterwards
-- ---------------------------------------------------------------------
CREATE FUNCTION test.code_of(statement text) RETURNS TABLE (by_one text, by_many text, related text) LANGUAGE plpgsql AS $$
DECLARE
    stored uuid;
BEGIN
    EXECUTE statement;
    by_one := coalesce((SELECT concat_ws(' ', e.code, e.message, CASE WHEN e.code = 'PT404' THEN e.detail END)
                          FROM test.error_of($c$SELECT public.submit_event('CODE', '1', 'x')$c$) e), 'found');
    by_many := coalesce((SELECT e.code FROM test.error_of($c$SELECT public.submit_events(ARRAY[('CODE', '1', NULL, 'x', NULL, NULL, NULL, NULL, NULL, NULL),
                             ('CODE', '1', NULL, 'x', NULL, NULL, NULL, NULL, NULL, NULL)]::public.atlas_event[])$c$) e), 'found');
    stored := public.submit_event('CONVERSATION', '1', 'x', related_objects => ARRAY[('CODE', '1', NULL)]::public.atlas_object[]);
    PERFORM public.atlas_link_events();
    related := (SELECT concat_ws(' ', r ->> 'outcome', r ->> 'reason') FROM public.atlas_event_logs l, jsonb_array_elements(l.related_objects) r WHERE event_id = stored);
    RETURN NEXT;
END
$$;
SET ROLE regress_atlas_ann;
INSERT INTO ann.plain VALUES (1);
CREATE FUNCTION ann.yes(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT true';
CREATE VIEW ann.inner_view AS SELECT id FROM ann.plain WHERE ann.yes(id);
CREATE VIEW ann.outer_view AS SELECT id FROM ann.inner_view;
RESET ROLE;
SELECT atlas_register_object_type('CODE', 'ann.outer_view');
BEGIN;
SELECT * FROM test.code_of('');
SELECT * FROM test.code_of('ALTER VIEW ann.inner_view OWNER TO regress_atlas_bob');
SELECT * FROM test.code_of('ALTER VIEW ann.inner_view OWNER TO regress_atlas_ann');
SELECT * FROM test.code_of('ALTER TABLE ann.plain OWNER TO regress_atlas_bob; GRANT SELECT ON ann.plain TO regress_atlas_ann');
SELECT * FROM test.code_of('ALTER TABLE ann.plain OWNER TO regress_atlas_ann');
SELECT * FROM test.code_of('ALTER FUNCTION ann.yes OWNER TO regress_atlas_bob');
SELECT * FROM test.code_of('ALTER FUNCTION ann.yes OWNER TO regress_atlas_ann');
SELECT * FROM test.code_of('CREATE OR REPLACE VIEW ann.inner_view AS SELECT id FROM bob.plain');
SELECT * FROM test.code_of('CREATE OR REPLACE VIEW ann.inner_view AS SELECT id FROM ann.plain');
SELECT * FROM test.code_of('CREATE INDEX more ON ann.plain (flag) WHERE bob.yes(1)');
SELECT * FROM test.code_of('DROP INDEX ann.more');
-- A superuser's code is trusted, until he is none any more.
SELECT * FROM test.code_of('ALTER ROLE regress_atlas_bob SUPERUSER; ALTER VIEW ann.inner_view OWNER TO regress_atlas_bob; GRANT SELECT ON ann.inner_view TO regress_atlas_ann');
SELECT * FROM test.code_of('ALTER ROLE regress_atlas_bob NOSUPERUSER');
ROLLBACK;
-- Given to a superuser, as a whole: nobody has vouched for it running as him.
BEGIN;
REASSIGN OWNED BY regress_atlas_ann TO CURRENT_USER;
SELECT * FROM test.code_of('');
ROLLBACK;
SELECT * FROM test.code_of('');
-- What was read directly, and cannot be any more.
SELECT atlas_register_object_type('CODE', 'ann.guarded');
INSERT INTO ann.guarded VALUES (1);
BEGIN;
SELECT * FROM test.code_of('');
SELECT * FROM test.code_of('ALTER TABLE ann.guarded FORCE ROW LEVEL SECURITY');
SELECT * FROM test.code_of('ALTER TABLE ann.guarded NO FORCE ROW LEVEL SECURITY');
-- A table that is only read has no code, whoever has it.
SELECT * FROM test.code_of('ALTER TABLE ann.guarded OWNER TO regress_atlas_bob');
ROLLBACK;

-- ---------------------------------------------------------------------
-- What code that was vouched for sees of the caller, and leaves to him
-- ---------------------------------------------------------------------
SET ROLE regress_atlas_ann;
CREATE SEQUENCE ann.calls;
CREATE FUNCTION ann.look() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    victim refcursor := 'victim';
    other refcursor := 'other';
    caller record;
    context text;
BEGIN
    GET DIAGNOSTICS context = PG_CONTEXT;
    RAISE WARNING 'seen as %: tenant "%", headers "%", claims "%", secret "%", statement "%", of the database "%"', current_user,
        current_setting('atlas_events.tenant'), current_setting('request.headers', true), current_setting('request.jwt.claims', true),
        current_setting('pgrst.jwt_secret', true), current_query(), current_setting('shop.region', true);
    IF context ~ 'submit_event' THEN
        RAISE WARNING 'seen in the context: %', context;
    END IF;
    PERFORM nextval('ann.calls');
    SET CONSTRAINTS ALL DEFERRED;
    PERFORM set_config('request.jwt.claims', '{"role":"forged"}', false), pg_advisory_xact_lock(4711);
    FOREACH victim IN ARRAY ARRAY(SELECT name FROM pg_cursors) LOOP
        BEGIN
            FETCH victim INTO caller;
            RAISE WARNING 'seen in a cursor: %', caller;
        EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL;
        END;
        BEGIN
            CLOSE victim;
            OPEN victim FOR SELECT 'forged'::text;
        EXCEPTION WHEN invalid_cursor_state OR object_in_use THEN NULL;
        END;
    END LOOP;
    OPEN other FOR SELECT 'forged'::text;
    RETURN true;
END
$$;
CREATE VIEW ann.curious AS SELECT 1 AS id WHERE ann.look();
RESET ROLE;
SELECT format('ALTER DATABASE %I SET shop.region = ''eu''', current_database()) \gexec
SELECT atlas_register_object_type('CODE', 'ann.curious');
\c -
SET client_min_messages = warning;
CREATE TABLE test.deferrable (id int PRIMARY KEY DEFERRABLE);
SET pgrst.jwt_secret = 'secret';
BEGIN;
SET LOCAL "request.headers" = '{"authorization":"Bearer token"}';
SET LOCAL "request.jwt.claims" = '{"role":"shop"}';
SET LOCAL atlas_events.tenant = 'acme';
DECLARE victim CURSOR FOR SELECT 'mine'::text;
SELECT submit_event('CODE', '1', 'x') IS NOT NULL AS stored;
-- The caller's cursor is where it was; there is no other, and no lock.
SELECT name FROM pg_cursors WHERE name IN ('victim', 'other');
FETCH victim;
SELECT count(*) AS locks FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT current_setting('request.headers') AS headers, current_setting('request.jwt.claims') AS claims, atlas_tenant() AS tenant,
       current_setting('pgrst.jwt_secret') AS secret, current_query() ~ 'jwt_secret' AS own_statement;
-- Constraints are checked when the caller wants it.
INSERT INTO test.deferrable VALUES (1);
SELECT code FROM test.error_of('INSERT INTO test.deferrable VALUES (1)');
-- Nor is a loop of the caller's ended, which is a cursor, too; its statement is not seen.
DO $$
DECLARE
    looped int := 0;
    r record;
BEGIN
    FOR r IN SELECT i FROM generate_series(1, 3) i LOOP
        EXECUTE 'SELECT submit_event(''CODE'', ''1'', ''secret'')';
        looped := looped + 1;
    END LOOP;
    RAISE WARNING 'looped % times', looped;
END
$$;
ROLLBACK;
-- What a sequence has counted stays.
SELECT last_value AS calls FROM ann.calls;

-- ---------------------------------------------------------------------
-- citext compares by the functions of its library, also when somebody has them
-- ---------------------------------------------------------------------
CREATE SCHEMA library;
CREATE EXTENSION citext SCHEMA library;
CREATE TABLE ann.mailed (id int PRIMARY KEY, mail library.citext UNIQUE);
INSERT INTO ann.mailed VALUES (1, 'Ann@Example.org'), (2, 'Bob@Example.org');
SELECT atlas_register_object_type('CODE', 'ann.mailed', 'id', 'mail');
SELECT * FROM test.error_of($$SELECT submit_event('CODE', NULL, 'x', external_id => 'ann@example.org')$$);
CREATE VIEW ann.mailed_view AS SELECT id, mail FROM ann.mailed;
SELECT atlas_register_object_type('CODE', 'ann.mailed_view', 'id', 'mail');
SELECT mail, e.code FROM (VALUES ('ann@example.org'), ('Ann@Example.org'), ('cid@example.org')) v (mail)
  LEFT JOIN LATERAL test.error_of(format('SELECT submit_event(''CODE'', NULL, ''x'', external_id => %L)', mail)) e ON true;
SELECT json_agg(r ->> 'status') FROM json_array_elements(submit_events('[{"objectType":"CODE","externalId":"ann@example.org","name":"x"},
    {"objectType":"CODE","externalId":"bob@example.ORG","name":"x"},{"objectType":"CODE","objectId":"1","name":"x"},{"objectType":"CODE","externalId":"cid@example.org","name":"x"}]'::json) -> 'results') r;
SELECT atlas_register_object_type('CODE', 'ann.mailed', 'id', 'mail');
ALTER FUNCTION library.citext_eq OWNER TO regress_atlas_bob;
ALTER FUNCTION library.citext_cmp OWNER TO regress_atlas_bob;
GRANT ALL ON SCHEMA library TO regress_atlas_bob;
SELECT * FROM test.error_of($$SELECT submit_event('CODE', NULL, 'x', external_id => 'ann@example.org')$$);
BEGIN;
SET ROLE regress_atlas_bob;
CREATE OR REPLACE FUNCTION library.citext_eq(library.citext, library.citext) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RAISE WARNING 'compared as %', current_user;
    RETURN true;
END
$$;
RESET ROLE;
SELECT * FROM test.error_of($$SELECT submit_event('CODE', NULL, 'x', external_id => 'ann@example.org')$$);
ROLLBACK;
SELECT * FROM test.error_of($$SELECT submit_event('CODE', NULL, 'x', external_id => 'ann@example.org')$$);

-- ---------------------------------------------------------------------
SELECT atlas_unregister_object_type('CODE');
SELECT format('ALTER DATABASE %I RESET shop.region', current_database()) \gexec
DROP FUNCTION test.try_to_register, test.hers, test.forced, test.code_of;
DROP TABLE test.deferrable;
DROP SCHEMA ann, bob, library CASCADE;
DROP OWNED BY regress_atlas_ann, regress_atlas_bob;
DROP ROLE regress_atlas_ann, regress_atlas_bob;
SELECT test.clean();
