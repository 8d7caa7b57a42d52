-- Objects in partitioned tables, in tables with children and in materialized views are
-- read directly: in the partitions that the id and the tenant lead to, else in all.
SET client_min_messages = warning;
CREATE SCHEMA leaf;

-- The ids that are found, by one call each and by one for all, as objects and as related
-- objects.
CREATE FUNCTION test.found(relation regclass, ids text[], external_ids text[], tenant_column name DEFAULT NULL,
                           OUT one text, OUT many text, OUT related text) LANGUAGE plpgsql AS $$
DECLARE
    stored uuid;
    items json;
BEGIN
    PERFORM public.atlas_register_object_type('LEAF', relation, 'id', CASE WHEN external_ids IS NOT NULL THEN 'external_id' END::name, tenant_column);
    SELECT string_agg(id, ' ' ORDER BY n) INTO one FROM unnest(ids || external_ids) WITH ORDINALITY u (id, n)
     WHERE NOT EXISTS (SELECT FROM test.error_of(format('SELECT submit_event(%L, %L, %L, external_id => %L)', 'LEAF',
                                                        CASE WHEN n <= cardinality(ids) THEN id END, 'x', CASE WHEN n > cardinality(ids) THEN id END)));
    items := (SELECT json_agg(json_build_object('objectType', 'LEAF', CASE WHEN n <= cardinality(ids) THEN 'objectId' ELSE 'externalId' END, id, 'name', 'x') ORDER BY n)
                FROM unnest(ids || external_ids) WITH ORDINALITY u (id, n));
    SELECT string_agg((ids || external_ids)[i], ' ' ORDER BY i) INTO many
      FROM json_array_elements(public.submit_events(items) -> 'results') WITH ORDINALITY r (result, i) WHERE result ->> 'status' = '200';
    stored := public.submit_event('CONVERSATION', '1', 'x', related_objects =>
        ARRAY(SELECT ('LEAF', CASE WHEN n <= cardinality(ids) THEN id END, CASE WHEN n > cardinality(ids) THEN id END)::public.atlas_object
                FROM unnest(ids || external_ids) WITH ORDINALITY u (id, n) ORDER BY n));
    PERFORM public.atlas_link_events();
    SELECT string_agg((ids || external_ids)[i], ' ' ORDER BY i) INTO related
      FROM public.atlas_event_logs l, jsonb_array_elements(l.related_objects) WITH ORDINALITY r (item, i) WHERE event_id = stored AND item ->> 'outcome' = 'LINKED';
END
$$;
-- How many tables are searched for an id, and so locked; in a transaction of its own.
CREATE FUNCTION test.searched(id text, is_external boolean DEFAULT false) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM public.submit_event('LEAF', CASE WHEN NOT is_external THEN id END, 'x', external_id => CASE WHEN is_external THEN id END);
    RETURN (SELECT count(DISTINCT c.oid) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
             WHERE pid = pg_backend_pid() AND relnamespace = 'leaf'::regnamespace AND relkind IN ('r', 'm'));
END
$$;
CREATE FUNCTION test.partition(name text, key text, VARIADIC bounds text[]) RETURNS regclass LANGUAGE plpgsql AS $$
DECLARE
    bound text;
    n int := 0;
BEGIN
    EXECUTE format('CREATE TABLE leaf.%I (id int NOT NULL, external_id text, tenant text, day date, extra int) PARTITION BY %s', name, key);
    FOREACH bound IN ARRAY bounds LOOP
        n := n + 1;
        EXECUTE format('CREATE TABLE leaf.%I PARTITION OF leaf.%I %s', name || '_' || n, name, bound);
    END LOOP;
    RETURN format('leaf.%I', name);
END
$$;
SELECT test.partition('hashed', 'HASH (id)', 'FOR VALUES WITH (MODULUS 4, REMAINDER 0)', 'FOR VALUES WITH (MODULUS 4, REMAINDER 1)', 'FOR VALUES WITH (MODULUS 4, REMAINDER 2)', 'FOR VALUES WITH (MODULUS 4, REMAINDER 3)'),
       test.partition('ranged', 'RANGE (id)', 'FOR VALUES FROM (MINVALUE) TO (10)', 'FOR VALUES FROM (10) TO (20)', 'FOR VALUES FROM (30) TO (40)'),
       test.partition('with_default', 'RANGE (id)', 'FOR VALUES FROM (0) TO (2)', 'DEFAULT'),
       test.partition('listed', 'LIST (id)', 'FOR VALUES IN (1, 3)', 'FOR VALUES IN (12, 31)', 'DEFAULT'),
       test.partition('by_tenant', 'LIST (tenant)', 'FOR VALUES IN (''acme'')', 'FOR VALUES IN (''globex'')', 'DEFAULT'),
       test.partition('by_both', 'HASH (tenant, id)', 'FOR VALUES WITH (MODULUS 2, REMAINDER 0)', 'FOR VALUES WITH (MODULUS 2, REMAINDER 1)'),
       test.partition('by_day', 'RANGE (day)', 'FOR VALUES FROM (''2026-01-01'') TO (''2026-02-01'')', 'FOR VALUES FROM (''2026-02-01'') TO (''2027-01-01'')');
-- Partitions of partitions, one with its columns in another order.
SELECT test.partition('deep', 'RANGE (day)', 'FOR VALUES FROM (''2026-01-01'') TO (''2026-02-01'')');
CREATE TABLE leaf.deeper (dropped int, tenant text, extra int, day date, external_id text, id int NOT NULL) PARTITION BY HASH (id);
ALTER TABLE leaf.deeper DROP COLUMN dropped;
ALTER TABLE leaf.deep ATTACH PARTITION leaf.deeper FOR VALUES FROM ('2026-02-01') TO ('2027-01-01');
CREATE TABLE leaf.deepest_0 PARTITION OF leaf.deeper FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE leaf.deepest_1 PARTITION OF leaf.deeper FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE UNIQUE INDEX ON leaf.hashed (id);
CREATE UNIQUE INDEX ON leaf.ranged (id);
CREATE UNIQUE INDEX ON leaf.with_default (id);
CREATE UNIQUE INDEX ON leaf.listed (id);
CREATE UNIQUE INDEX ON leaf.by_tenant (tenant, id);
CREATE UNIQUE INDEX ON leaf.by_both (tenant, id);
CREATE UNIQUE INDEX ON leaf.by_day (id, day);
CREATE UNIQUE INDEX ON leaf.deep (id, day);
SELECT format('CREATE INDEX ON leaf.%I (external_id)', relname) FROM pg_class WHERE relnamespace = 'leaf'::regnamespace AND relkind = 'p' AND NOT relispartition ORDER BY 1 \gexec
SELECT format('INSERT INTO leaf.%I (id, external_id, tenant, day) VALUES (1, ''e1'', ''acme'', ''2026-01-05''), (3, ''e3'', ''acme'', ''2026-03-05''), (12, ''e12'', ''globex'', ''2026-01-06''), (31, ''e31'', ''initech'', ''2026-11-06'')', relname)
  FROM pg_class WHERE relnamespace = 'leaf'::regnamespace AND relkind = 'p' AND NOT relispartition ORDER BY 1 \gexec
SELECT c.relname, f.* FROM pg_class c, test.found(c.oid, '{1,2,3,12,25,31,99}', NULL) f
 WHERE relname = 'hashed' AND relnamespace = 'leaf'::regnamespace;
SELECT test.searched('1') AS by_id;
SELECT c.relname, f.* FROM pg_class c, test.found(c.oid, '{1,2,3,12,25,31,99}', '{e1,e2,e31,E1}') f
 WHERE relname = 'ranged' AND relnamespace = 'leaf'::regnamespace;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SELECT f.* FROM test.found('leaf.with_default', '{1,2,3,12,25,31,99}', '{e1,e2,e31}') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SELECT f.* FROM test.found('leaf.listed', '{1,2,3,12,25,31,99}', '{e1,e2,e31}') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SELECT f.* FROM test.found('leaf.by_day', '{1,2,3,12,25,31,99}', '{e1,e2,e31}') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SELECT f.* FROM test.found('leaf.deep', '{1,2,3,12,25,31,99}', '{e1,e2,e31}') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SET atlas_events.tenant = 'acme';
SELECT f.* FROM test.found('leaf.by_tenant', '{1,2,3,12,31}', '{e1,e12,e31}', 'tenant') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SELECT f.* FROM test.found('leaf.by_both', '{1,2,3,12,31}', '{e1,e12,e31}', 'tenant') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
SET atlas_events.tenant = 'initech';
SELECT f.* FROM test.found('leaf.by_tenant', '{1,2,3,12,31}', '{e1,e12,e31}', 'tenant') f;
SELECT test.searched('31') AS by_id;
SELECT test.searched('e31', true) AS by_external_id;
SELECT f.* FROM test.found('leaf.by_both', '{1,2,3,12,31}', '{e1,e12,e31}', 'tenant') f;
SELECT test.searched('31') AS by_id;
SELECT test.searched('e31', true) AS by_external_id;
RESET atlas_events.tenant;

-- The same id in two partitions is ambiguous.
INSERT INTO leaf.by_day (id, external_id, day) VALUES (1, 'e1', '2026-02-02');
SELECT atlas_register_object_type('LEAF', 'leaf.by_day', external_id_column => 'external_id');
SELECT code, detail FROM test.error_of($$SELECT submit_event('LEAF', '1', 'x')$$);
-- Partitions that come and go.
SELECT code FROM test.error_of($$SELECT submit_event('LEAF', '41', 'x')$$);
CREATE TABLE leaf.later (id int NOT NULL, external_id text, tenant text, day date NOT NULL, extra int);
INSERT INTO leaf.later VALUES (41, 'e41', NULL, '2027-01-01');
ALTER TABLE leaf.by_day ATTACH PARTITION leaf.later FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
SELECT submit_event('LEAF', '41', 'x') IS NOT NULL AS found;
ALTER TABLE leaf.by_day DETACH PARTITION leaf.later;
SELECT code FROM test.error_of($$SELECT submit_event('LEAF', '41', 'x')$$);
-- A partition that is no table.
CREATE FOREIGN DATA WRAPPER regress_atlas_wrapper;
CREATE SERVER regress_atlas_server FOREIGN DATA WRAPPER regress_atlas_wrapper;
BEGIN;
CREATE FOREIGN TABLE leaf.far (id int NOT NULL, external_id text, tenant text, day date, extra int) SERVER regress_atlas_server;
DROP INDEX leaf.by_day_id_day_idx;
ALTER TABLE leaf.by_day ATTACH PARTITION leaf.far FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');
SELECT code, detail, hint FROM test.error_of($$SELECT submit_event('LEAF', '3', 'x')$$);
ALTER TABLE leaf.by_day DETACH PARTITION leaf.far;
SELECT submit_event('LEAF', '3', 'x') IS NOT NULL AS found;
ROLLBACK;

-- Sixty-four partitions are searched if need be, no more, unless the id leads to one.
CREATE TABLE leaf.many (id int, external_id text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE leaf.days (id int, external_id text, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE INDEX ON leaf.many (external_id);
SELECT format('CREATE TABLE leaf.%1$s_%2$s PARTITION OF leaf.%1$s FOR VALUES FROM (%2$s) TO (%2$s + 1)', t, n) FROM unnest('{many,days}'::text[]) t, generate_series(1, 64) n \gexec
INSERT INTO leaf.many VALUES (1, 'one');
INSERT INTO leaf.days VALUES (1, 'one', 1);
SELECT f.* FROM test.found('leaf.many', '{1,2}', NULL) f;
SELECT test.searched('1') AS by_id;
SELECT f.* FROM test.found('leaf.days', '{1,2}', NULL) f;
SELECT test.searched('1') AS by_id;
CREATE TABLE leaf.many_65 PARTITION OF leaf.many FOR VALUES FROM (65) TO (66);
CREATE TABLE leaf.days_65 PARTITION OF leaf.days FOR VALUES FROM (65) TO (66);
-- What is registered goes on.
SELECT submit_event('LEAF', '1', 'x') IS NOT NULL AS found;
SELECT message, hint FROM test.error_of($$SELECT atlas_register_object_type('LEAF', 'leaf.days')$$);
SELECT count(*) AS accepted FROM atlas_register_object_type('LEAF', 'leaf.many');
SELECT message FROM test.error_of($$SELECT atlas_register_object_type('LEAF', 'leaf.many', external_id_column => 'external_id')$$);

-- Children of a table, one of which has no index and columns in another order.
CREATE TABLE leaf.parent (id int PRIMARY KEY, external_id text UNIQUE);
CREATE TABLE leaf.child (PRIMARY KEY (id)) INHERITS (leaf.parent);
CREATE TABLE leaf.other_child (external_id text, more int, id int NOT NULL);
ALTER TABLE leaf.other_child INHERIT leaf.parent;
INSERT INTO leaf.parent VALUES (1, 'e1');
INSERT INTO leaf.child VALUES (2, 'e2');
INSERT INTO leaf.other_child VALUES ('e3', 0, 3);
SELECT one, many, related FROM test.found('leaf.parent', '{1,2,3,4}', '{e1,e2,e3,e4}') f;

-- A materialized view, as it was refreshed.
CREATE MATERIALIZED VIEW leaf.kept AS SELECT id, external_id FROM leaf.parent WHERE id < 3;
CREATE UNIQUE INDEX ON leaf.kept (id);
CREATE INDEX ON leaf.kept (external_id);
SELECT f.* FROM test.found('leaf.kept', '{1,2,3,4}', '{e1,e2,e3,e4}') f;
SELECT test.searched('1') AS by_id;
SELECT test.searched('e1', true) AS by_external_id;
INSERT INTO leaf.parent VALUES (0, 'e0');
SELECT code FROM test.error_of($$SELECT submit_event('LEAF', '0', 'x')$$);
REFRESH MATERIALIZED VIEW CONCURRENTLY leaf.kept;
SELECT submit_event('LEAF', '0', 'x') IS NOT NULL AS found;
REFRESH MATERIALIZED VIEW leaf.kept WITH NO DATA;
SELECT detail, hint FROM test.error_of($$SELECT submit_event('LEAF', '0', 'x')$$);
REFRESH MATERIALIZED VIEW leaf.kept;
SELECT submit_event('LEAF', '0', 'x') IS NOT NULL AS found;

-- ---------------------------------------------------------------------
-- An external id without case: citext, known by what compares it
-- ---------------------------------------------------------------------
CREATE SCHEMA extra;
CREATE EXTENSION citext SCHEMA extra;
CREATE TABLE leaf.people (id int PRIMARY KEY, external_id extra.citext);
CREATE UNIQUE INDEX people_external_id ON leaf.people (external_id);
INSERT INTO leaf.people VALUES (1, 'Priya.Whitfield@Example.com'), (2, 'ØRSTED@example.com');
SELECT f.* FROM test.found('leaf.people', '{1,2,3}', '{priya.whitfield@example.com,PRIYA.WHITFIELD@EXAMPLE.COM,Priya.Whitfield@Example.com,priya@example.com,ØRSTED@EXAMPLE.com}') f;
SELECT test.searched('1') AS by_id;
SELECT external_id, count(*) FROM atlas_events WHERE object_type = 'LEAF' AND object_id = '1' AND external_id ~ '@' GROUP BY external_id;
SELECT submit_event('LEAF', '1', 'both', external_id => 'PRIYA.whitfield@example.com') IS NOT NULL AS same;
SELECT code FROM test.error_of($$SELECT submit_event('LEAF', '2', 'both', external_id => 'PRIYA.whitfield@example.com')$$);
DROP INDEX leaf.people_external_id;
SELECT submit_event('LEAF', NULL, 'x', external_id => 'priya.whitfield@example.com') IS NOT NULL AS without_index;
SELECT message FROM test.error_of($$SELECT atlas_register_object_type('LEAF', 'leaf.people', 'external_id')$$);
-- A type of another make, which the extension was told to have as a member, is none.
CREATE TYPE extra.fake;
CREATE FUNCTION extra.fake_in(cstring) RETURNS extra.fake LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION extra.fake_out(extra.fake) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE extra.fake (INPUT = extra.fake_in, OUTPUT = extra.fake_out, LIKE = text);
CREATE FUNCTION extra.citext_cmp(extra.fake, extra.fake) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 0';
CREATE FUNCTION extra.citext_eq(extra.fake, extra.fake) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
CREATE OPERATOR extra.= (LEFTARG = extra.fake, RIGHTARG = extra.fake, FUNCTION = extra.citext_eq);
CREATE OPERATOR CLASS extra.fake_ops DEFAULT FOR TYPE extra.fake USING btree AS OPERATOR 3 extra.=, FUNCTION 1 extra.citext_cmp(extra.fake, extra.fake);
ALTER EXTENSION citext ADD TYPE extra.fake;
ALTER EXTENSION citext ADD FUNCTION extra.citext_cmp(extra.fake, extra.fake);
CREATE TABLE leaf.fakes (id int PRIMARY KEY, external_id extra.fake UNIQUE);
SELECT message FROM test.error_of($$SELECT atlas_register_object_type('LEAF', 'leaf.fakes', external_id_column => 'external_id')$$);

SELECT atlas_unregister_object_type('LEAF');
DROP FUNCTION test.found, test.searched, test.partition;
DROP SCHEMA leaf, extra CASCADE;
DROP FOREIGN DATA WRAPPER regress_atlas_wrapper CASCADE;
SELECT test.clean();
