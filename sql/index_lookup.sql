-- An object is found or not, exactly as a query of the owner of its table would
-- find it, whatever indexes, columns and rows the table has. Everything is undone
-- at the end.
SET client_min_messages = warning;
BEGIN;
SELECT test.clean();
CREATE ROLE regress_atlas_keeper;
CREATE SCHEMA keep AUTHORIZATION regress_atlas_keeper;
GRANT USAGE ON SCHEMA keep, test TO regress_atlas_keeper;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_atlas_keeper;

-- ---------------------------------------------------------------------
-- Two answers
-- ---------------------------------------------------------------------
-- What a query of the owner says, which reads the whole table. An id is found in
-- one form only, the one that is printed; but an Atlas id of type uuid in any case.
CREATE FUNCTION of_query(type text, given text, is_external boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    registered public.atlas_object_types;
    looked_at name; as_type text; same text;
    tenant text := current_setting('atlas_events.tenant');
    answer text;
BEGIN
    SELECT * INTO registered FROM public.atlas_object_types t WHERE object_type = type;
    looked_at := CASE WHEN is_external THEN registered.external_id_column ELSE registered.id_column END;
    SELECT CASE WHEN t.oid = 'bpchar'::regtype THEN 'bpchar' ELSE replace(format_type(CASE WHEN typbasetype = 0 THEN t.oid ELSE typbasetype END, -1), 'character varying', 'text') END INTO as_type
      FROM pg_attribute JOIN pg_type t ON t.oid = atttypid WHERE attrelid = registered.relation AND attname = looked_at;
    same := CASE WHEN as_type = 'uuid' AND NOT is_external THEN 'lower($1)' ELSE '$1' END;
    PERFORM set_config('role', (SELECT relowner::regrole::text FROM pg_class WHERE oid = registered.relation), true);
    EXECUTE format('SELECT CASE count(*) WHEN 0 THEN ''not found'' WHEN 1 THEN ''found '' || min(%I::text) ELSE ''ambiguous'' END
                      FROM %s WHERE %I = $1::%s AND %I IS NOT NULL AND %I::text COLLATE "C" = %s AND %s', registered.id_column, registered.relation, looked_at, as_type, registered.id_column, looked_at, same,
                   CASE WHEN registered.tenant_column IS NULL THEN '$2 = $2' ELSE format('%I::text = $2', registered.tenant_column) END)
       INTO answer USING given, tenant;
    PERFORM set_config('role', 'none', true);
    RETURN answer;
EXCEPTION
    WHEN invalid_text_representation OR numeric_value_out_of_range THEN RETURN 'not found';
    WHEN OTHERS THEN RETURN SQLERRM;
END
$$;
-- What submitting one event says.
CREATE FUNCTION of_one(type text, given text, is_external boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    stored uuid;
BEGIN
    stored := public.submit_event(type, CASE WHEN NOT is_external THEN given END, 'x', external_id => CASE WHEN is_external THEN given END);
    RETURN (SELECT 'found ' || object_id FROM public.atlas_events WHERE event_id = stored);
EXCEPTION
    WHEN SQLSTATE 'PT404' THEN RETURN 'not found';
    WHEN SQLSTATE 'PT409' THEN RETURN 'ambiguous';
    WHEN OTHERS THEN RETURN SQLERRM;
END
$$;
-- What submitting many says of each.
CREATE FUNCTION of_many(type text, ids text[], is_external boolean) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    results json;
BEGIN
    SELECT public.submit_events(json_agg(json_build_object('objectType', type, CASE WHEN is_external THEN 'externalId' ELSE 'objectId' END, id, 'name', 'x') ORDER BY n)::text) -> 'results'
      INTO results FROM unnest(ids) WITH ORDINALITY AS i (id, n);
    RETURN ARRAY(SELECT CASE r ->> 'status' WHEN '404' THEN 'not found' WHEN '409' THEN 'ambiguous'
                             ELSE (SELECT 'found ' || object_id FROM public.atlas_events WHERE event_id = (r ->> 'eventId')::uuid) END
                   FROM json_array_elements(results) WITH ORDINALITY AS j (r, n) ORDER BY n);
EXCEPTION WHEN OTHERS THEN
    RETURN array_fill(SQLERRM, ARRAY[cardinality(ids)]);
END
$$;
-- What linking them as related objects says of each.
CREATE FUNCTION of_related(type text, ids text[], is_external boolean) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
    stored uuid := public.submit_event('CONVERSATION', '1', 'x', related_objects => (SELECT array_agg((type, CASE WHEN NOT is_external THEN id END,
                                       CASE WHEN is_external THEN id END)::public.atlas_object ORDER BY n) FROM unnest(ids) WITH ORDINALITY AS i (id, n)));
BEGIN
    PERFORM public.atlas_link_events();
    RETURN ARRAY(SELECT CASE r ->> 'outcome' WHEN 'LINKED' THEN 'found' WHEN 'NOT_FOUND' THEN 'not found'
                             ELSE replace(r ->> 'reason', 'the id names more than one object', 'ambiguous') END
                   FROM public.atlas_event_logs, jsonb_array_elements(related_objects) WITH ORDINALITY AS j (r, n) WHERE event_id = stored ORDER BY n);
END
$$;
-- All of them for each id: how often what was said, and where they differ.
CREATE FUNCTION compare(type text, ids text[], is_external boolean DEFAULT false, OUT present bigint, OUT absent bigint, OUT ambiguous bigint,
                        OUT others text, OUT differing text) LANGUAGE sql AS $$
    SELECT count(*) FILTER (WHERE query ~ '^found'), count(*) FILTER (WHERE query = 'not found'), count(*) FILTER (WHERE query = 'ambiguous'),
           min(query) FILTER (WHERE query !~ 'found|ambiguous'),
           string_agg(format('%s: query %s, one %s, many %s, related %s', id, query, one, many, related), '; ' ORDER BY id)
               FILTER (WHERE query <> one OR query <> many OR regexp_replace(query, '^found .*', 'found') <> related OR (query || one || many || related) IS NULL)
      FROM (SELECT id, many, related, public.of_query(type, id, is_external) AS query, public.of_one(type, id, is_external) AS one
              FROM unnest(ids, public.of_many(type, ids, is_external), public.of_related(type, ids, is_external)) AS u (id, many, related) OFFSET 0) answers
$$;

-- ---------------------------------------------------------------------
-- Types of ids
-- ---------------------------------------------------------------------
SET LOCAL ROLE regress_atlas_keeper;
CREATE DOMAIN keep.code AS varchar(40) CHECK (VALUE <> '');
CREATE TABLE keep.typed (a_uuid uuid UNIQUE, an_int2 int2 UNIQUE, an_int4 int4 UNIQUE, an_int8 int8 UNIQUE, a_text text UNIQUE, a_varchar varchar(40) UNIQUE,
    a_domain keep.code UNIQUE, "A c" text COLLATE "C" UNIQUE, a_numeric numeric UNIQUE, a_char char(40) UNIQUE);
INSERT INTO keep.typed
SELECT uuid, int2, int4, int8, text, text, NULLIF(text, ''), text, int8, NULLIF(rtrim(text), 'a')
  FROM unnest('{aaaaaaaa-0000-4000-8000-00000000000f,00000000-0000-0000-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff,bbbbbbbb-0000-4000-8000-00000000000b,NULL,NULL}'::uuid[],
              '{1,0,-32768,32767,-1,NULL}'::int2[], '{1,0,-2147483648,2147483647,-1,NULL}'::int4[], '{1,0,-9223372036854775808,9223372036854775807,-1,NULL}'::int8[],
              '{a,A,"a ",ø,"",NULL}'::text[]) AS t (uuid, int2, int4, int8, text);
RESET ROLE;
CREATE FUNCTION compare_columns(relation regclass, ids text[]) RETURNS TABLE (id_column name, type text, present bigint, absent bigint, ambiguous bigint, others text, differing text)
    LANGUAGE plpgsql AS $$
BEGIN
    FOR id_column, type IN SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = relation AND attnum > 0 ORDER BY attnum LOOP
        PERFORM public.atlas_register_object_type('KEPT', relation, id_column, id_column);
        FOR is_external IN 0..1 LOOP
            SELECT c.* INTO present, absent, ambiguous, others, differing FROM public.compare('KEPT', ids, is_external = 1) c;
            RETURN NEXT;
        END LOOP;
    END LOOP;
END
$$;
SELECT * FROM compare_columns('keep.typed', '{1,0,-1,01,+1,-0," 1",1.0,-32768,32767,32768,-2147483648,2147483647,2147483648,9223372036854775807,9223372036854775808,
    -9223372036854775808,-9223372036854775809,a,A,"a ",b,ø,Ø,aaaaaaaa-0000-4000-8000-00000000000f,AAAAAAAA-0000-4000-8000-00000000000F,
    aaaaaaaa00004000800000000000000f,00000000-0000-0000-0000-000000000000,ffffffff-ffff-ffff-ffff-ffffffffffff,bbbbbbbb-0000-4000-8000-00000000000c}');

-- ---------------------------------------------------------------------
-- Indexes: each in turn is the only one
-- ---------------------------------------------------------------------
CREATE COLLATION keep.any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE keep.things (id text, external_id text, tenant text, other int);
CREATE TABLE keep.loose (id text COLLATE keep.any_case, external_id varchar(20) COLLATE keep.any_case, tenant text COLLATE keep.any_case, other int);
INSERT INTO keep.things VALUES ('1', 'one', 'acme', 1), ('2', 'two', 'acme', NULL), ('2', 'two', 'globex', 1), ('3', 'three', 'globex', 2), ('4', 'two', 'acme', 2),
    ('5', 'five', NULL, 1), ('6', NULL, 'acme', 1), (NULL, 'seven', 'acme', 1), ('x', 'Two', 'acme', 1), ('X', 'tWO', 'globex', 1), ('7', 'dup', 'acme', 1), ('7', 'dup', 'acme', 2),
    ('8', 'eight', 'ACME', 1), ('9', 'nine', 'acme', 3), ('9', 'nine', 'acme', NULL);
INSERT INTO keep.loose SELECT * FROM keep.things;
INSERT INTO keep.things SELECT 'n' || n, 'e' || n, CASE n % 3 WHEN 0 THEN 'acme' WHEN 1 THEN 'globex' END, n FROM generate_series(1, 40) n;
ALTER TABLE keep.things OWNER TO regress_atlas_keeper;
ALTER TABLE keep.loose OWNER TO regress_atlas_keeper;

-- The type is connected once; what is said is compared with each of the indexes,
-- without a tenant, with one, and with one of another name.
CREATE FUNCTION compare_indexes(name text, table_name regclass, VARIADIC indexes text[])
    RETURNS TABLE (index text, tenant text, key text, present bigint, absent bigint, ambiguous bigint, others text, differing text) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM public.atlas_object_types WHERE object_type = name;
    FOREACH tenant IN ARRAY ARRAY[NULL, 'acme', 'Acme'] LOOP
        IF tenant IS NULL OR tenant = 'acme' THEN
            INSERT INTO public.atlas_object_types VALUES (name, table_name, 'id', 'external_id', CASE WHEN tenant IS NOT NULL THEN 'tenant' END)
                ON CONFLICT (object_type) DO UPDATE SET tenant_column = 'tenant';
        END IF;
        PERFORM set_config('atlas_events.tenant', COALESCE(tenant, ''), true);
        FOREACH index IN ARRAY indexes LOOP
            EXECUTE format(replace(index, 'INDEX', 'INDEX only_one'), table_name);
            FOREACH key IN ARRAY ARRAY['id', 'external_id'] LOOP
                CONTINUE WHEN index !~ ('[( ]' || key || '[ ,)]');
                SELECT c.* INTO present, absent, ambiguous, others, differing
                  FROM public.compare(name, CASE key WHEN 'id' THEN '{1,2,3,5,6,7,8,9,x,X,n1,n3,99}' ELSE '{one,two,Two,TWO,three,five,seven,dup,eight,nine,e1,e3,none}' END::text[],
                                      key = 'external_id') c;
                RETURN NEXT;
            END LOOP;
            DROP INDEX keep.only_one;
        END LOOP;
    END LOOP;
    PERFORM set_config('atlas_events.tenant', '', true);
END
$$;
CREATE FUNCTION keep.same(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
-- An index whose equality is not that of the type.
CREATE FUNCTION keep.folded_equal(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) = lower($2)';
CREATE FUNCTION keep.folded_compare(text, text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT bttextcmp(lower($1), lower($2))';
CREATE OPERATOR keep.= (LEFTARG = text, RIGHTARG = text, FUNCTION = keep.folded_equal);
CREATE OPERATOR CLASS keep.folded FOR TYPE text USING btree AS OPERATOR 3 keep.=, FUNCTION 1 keep.folded_compare(text, text);
CREATE TEMPORARY TABLE compared AS
SELECT n, t.* FROM (VALUES ('THING', 'keep.things'::regclass), ('LOOSE', 'keep.loose')) v (n, r), compare_indexes(n, r,
    'CREATE INDEX ON %s (id)', 'CREATE INDEX ON %s (external_id)', 'CREATE INDEX ON %s (id, tenant)', 'CREATE INDEX ON %s (tenant, id)',
    'CREATE INDEX ON %s (tenant, external_id)', 'CREATE INDEX ON %s (external_id DESC NULLS LAST, tenant DESC)', 'CREATE INDEX ON %s (other, id)', 'CREATE INDEX ON %s (id, other, tenant)',
    'CREATE INDEX ON %s (id) INCLUDE (tenant, external_id)', 'CREATE INDEX ON %s (tenant) INCLUDE (id, external_id)', 'CREATE INDEX ON %s (id) WHERE other = 1',
    'CREATE INDEX ON %s (external_id, tenant) WHERE external_id IS NOT NULL', 'CREATE INDEX ON %s (keep.same(id))', 'CREATE INDEX ON %s (external_id, lower(tenant))',
    'CREATE INDEX ON %s (id, tenant keep.folded)', 'CREATE INDEX ON %s (tenant keep.folded, external_id)', 'CREATE INDEX ON %s (id COLLATE "C" text_pattern_ops)', 'CREATE INDEX ON %s USING hash (id)', 'CREATE INDEX ON %s USING brin (external_id)', 'CREATE INDEX ON %s (id COLLATE "C", external_id COLLATE "C")',
    'CREATE INDEX ON %s (external_id COLLATE "C", tenant)', 'CREATE INDEX ON %s (id COLLATE keep.any_case)', 'CREATE INDEX ON %s (tenant COLLATE keep.any_case, external_id)',
    'CREATE INDEX ON %s (external_id COLLATE keep.any_case, tenant COLLATE keep.any_case)') t;
SELECT n AS type, tenant, key, count(*) AS indexes, min(present) AS present, min(absent) AS absent, min(ambiguous) AS ambiguous, count(DISTINCT (present, absent, ambiguous)) AS different,
       string_agg(index || ' ' || differing, E'\n') AS differing
  FROM compared GROUP BY n, tenant, key ORDER BY n, tenant NULLS FIRST, key;
DROP TABLE compared;
-- Pattern operators, of which a loose collation has none.
SELECT * FROM compare_indexes('THING', 'keep.things', 'CREATE INDEX ON %s (id text_pattern_ops)', 'CREATE INDEX ON %s (external_id varchar_pattern_ops, tenant)');

-- ---------------------------------------------------------------------
-- Tables: what the owner does with one between two calls
-- ---------------------------------------------------------------------
-- The answers for id and external id, after a statement of the owner.
CREATE FUNCTION after(statement text, ids text[] DEFAULT '{0,1,2,3,4,5,6}') RETURNS TABLE (key text, present bigint, absent bigint, ambiguous bigint, others text, differing text)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', 'regress_atlas_keeper', true);
    EXECUTE statement;
    PERFORM set_config('role', 'none', true);
    RETURN QUERY SELECT 'id', c.* FROM public.compare('KEPT', ids) c;
    RETURN QUERY SELECT 'external id', c.* FROM public.compare('KEPT', ids, true) c;
END
$$;
CREATE FUNCTION make(name text, kind text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE %2$s TABLE %1$s (id int PRIMARY KEY, external_id text UNIQUE, hidden boolean DEFAULT false);
        INSERT INTO %1$s VALUES (1, ''6'', false), (2, ''5'', true), (3, ''4'', false), (4, NULL, false);
        ALTER TABLE %1$s OWNER TO regress_atlas_keeper', name, kind);
    DELETE FROM public.atlas_object_types WHERE object_type = 'KEPT';
    INSERT INTO public.atlas_object_types VALUES ('KEPT', name::regclass, 'id', 'external_id');
END
$$;
-- Kinds
SELECT make('keep.plain', '');
SELECT * FROM after('');
SELECT make('keep.unlogged', 'UNLOGGED');
SELECT * FROM after('');
SELECT make('keep.parent', '');
SELECT * FROM after('CREATE TABLE keep.child (PRIMARY KEY (id)) INHERITS (keep.parent)');
SELECT * FROM after('INSERT INTO keep.child VALUES (1, ''0'', false), (5, ''6'', false), (6, ''2'', false)');
SELECT * FROM after('ALTER TABLE keep.child NO INHERIT keep.parent');
-- A view, a materialized view, a partitioned table and one of its partitions
SET LOCAL ROLE regress_atlas_keeper;
CREATE VIEW keep.view AS SELECT * FROM keep.plain WHERE NOT hidden UNION ALL VALUES (3, '3', false);
CREATE MATERIALIZED VIEW keep.seen AS SELECT * FROM keep.view;
CREATE INDEX ON keep.seen (id);
CREATE INDEX ON keep.seen (external_id);
CREATE TABLE keep.parted (id int, external_id text, hidden boolean) PARTITION BY LIST (hidden);
CREATE TABLE keep.part PARTITION OF keep.parted (PRIMARY KEY (id), UNIQUE (external_id)) FOR VALUES IN (false);
CREATE TABLE keep.other_part PARTITION OF keep.parted (PRIMARY KEY (id)) FOR VALUES IN (true);
INSERT INTO keep.parted SELECT * FROM keep.plain UNION ALL VALUES (1, '2', true);
CREATE INDEX ON keep.parted (id);
RESET ROLE;
CREATE FUNCTION of_relation(relation regclass) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public.atlas_object_types t
       SET relation = of_relation.relation,
           owner = (SELECT relowner::regrole::text FROM pg_class WHERE oid = of_relation.relation AND relkind = 'v')
     WHERE object_type = 'KEPT';
    RETURN QUERY SELECT * FROM public.after('');
END
$$;
SELECT r AS relation, a.* FROM unnest('{keep.view,keep.seen,keep.parted,keep.part}'::regclass[]) r,
       of_relation(r) a (key text, present bigint, absent bigint, ambiguous bigint, others text, differing text);
SELECT a.* FROM of_relation('keep.plain') a (key text, present bigint, absent bigint, ambiguous bigint, others text, differing text);

-- Row security and privileges
SELECT * FROM after('CREATE POLICY not_hidden ON keep.plain USING (NOT hidden); ALTER TABLE keep.plain ENABLE ROW LEVEL SECURITY');
-- Forced on the owner, it takes a statement that a superuser has vouched for.
UPDATE atlas_object_types SET owner = 'regress_atlas_keeper' WHERE object_type = 'KEPT';
SELECT * FROM after('ALTER TABLE keep.plain FORCE ROW LEVEL SECURITY');
SELECT * FROM after('DROP POLICY not_hidden ON keep.plain');
UPDATE atlas_object_types SET owner = NULL WHERE object_type = 'KEPT';
SELECT * FROM after('ALTER TABLE keep.plain DISABLE ROW LEVEL SECURITY');
SELECT * FROM after('REVOKE SELECT ON keep.plain FROM regress_atlas_keeper');
SELECT * FROM after('GRANT SELECT (id, external_id) ON keep.plain TO regress_atlas_keeper');
SELECT * FROM after('REVOKE SELECT (id) ON keep.plain FROM regress_atlas_keeper');
SELECT * FROM after('GRANT SELECT ON keep.plain TO regress_atlas_keeper');
SELECT * FROM after('REVOKE USAGE ON SCHEMA keep FROM regress_atlas_keeper');
SELECT * FROM after('GRANT USAGE ON SCHEMA keep TO regress_atlas_keeper');
-- Rights that the owner has through another role, and a superuser who is none any more.
CREATE ROLE regress_atlas_keepers;
GRANT SELECT ON keep.plain TO regress_atlas_keepers;
REVOKE SELECT ON keep.plain FROM regress_atlas_keeper;
GRANT regress_atlas_keepers TO regress_atlas_keeper;
SELECT * FROM after('');
REVOKE regress_atlas_keepers FROM regress_atlas_keeper;
SELECT * FROM after('');
ALTER ROLE regress_atlas_keeper SUPERUSER;
SELECT * FROM after('');
ALTER ROLE regress_atlas_keeper NOSUPERUSER;
SELECT * FROM after('');
GRANT SELECT ON keep.plain TO regress_atlas_keeper;

-- Indexes
SELECT * FROM after('ALTER TABLE keep.plain DROP CONSTRAINT plain_pkey');
SELECT * FROM after('INSERT INTO keep.plain VALUES (1, ''1'', false), (2, ''2'', false)');
SELECT * FROM after('ALTER TABLE keep.plain DROP CONSTRAINT plain_external_id_key; INSERT INTO keep.plain VALUES (6, ''6'', false)');
SELECT * FROM after('CREATE INDEX plain_id_idx ON keep.plain (id); CREATE INDEX plain_external_id_idx ON keep.plain (external_id)');
SELECT * FROM after('REINDEX TABLE keep.plain');
SELECT * FROM after('CLUSTER keep.plain USING plain_id_idx');
SELECT * FROM after('DROP INDEX keep.plain_id_idx; CREATE INDEX plain_id_idx ON keep.plain (id DESC NULLS LAST) INCLUDE (hidden)');
DROP VIEW keep.view CASCADE;
SELECT * FROM after('DELETE FROM keep.plain WHERE external_id IN (''1'', ''2'') OR id = 6; ALTER TABLE keep.plain ALTER id TYPE bigint, ALTER external_id TYPE varchar');
SELECT * FROM after('ALTER TABLE keep.plain ALTER id TYPE text, ALTER external_id TYPE int USING external_id::int');
SELECT * FROM after('ALTER TABLE keep.plain ALTER id TYPE int USING id::int, ALTER external_id TYPE text');
SELECT * FROM after('TRUNCATE keep.plain');

-- ---------------------------------------------------------------------
-- Rows, all of this transaction
-- ---------------------------------------------------------------------
SELECT * FROM after('INSERT INTO keep.plain SELECT n, n, false FROM generate_series(1, 5) n');
SELECT * FROM after('DELETE FROM keep.plain WHERE id = 1');
-- Versions: updated in place, with another key, and back again.
SELECT * FROM after('UPDATE keep.plain SET hidden = NOT hidden; UPDATE keep.plain SET hidden = NOT hidden');
SELECT * FROM after('UPDATE keep.plain SET id = id + 1, external_id = id - 1');
SELECT * FROM after('UPDATE keep.plain SET id = id - 1, external_id = NULL; UPDATE keep.plain SET external_id = id');
-- After an index is built on a column that was updated in place.
SELECT * FROM after('DROP INDEX keep.plain_external_id_idx; UPDATE keep.plain SET external_id = id % 3; CREATE INDEX plain_external_id_idx ON keep.plain (external_id)');
SAVEPOINT here;
SELECT * FROM after('UPDATE keep.plain SET id = 6 WHERE id = 2; INSERT INTO keep.plain VALUES (0, ''4'', false); DELETE FROM keep.plain WHERE id = 3');
ROLLBACK TO here;
SELECT * FROM after('');
SELECT count(*) FROM (SELECT FROM keep.plain FOR UPDATE) locked;
SELECT * FROM after('');

-- Inserted, changed and deleted by the statement that submits.
WITH new AS (INSERT INTO keep.plain VALUES (10, '10', false), (11, '11', false) RETURNING id) SELECT id, c.* FROM new, compare('KEPT', ARRAY[id::text, '11']) c;
WITH changed AS (UPDATE keep.plain SET id = id + 10 WHERE id IN (10, 11) RETURNING id) SELECT id, c.* FROM changed, compare('KEPT', ARRAY[id::text, (id - 10)::text]) c;
WITH gone AS (DELETE FROM keep.plain WHERE id > 9 RETURNING id) SELECT id, c.* FROM gone, compare('KEPT', ARRAY[id::text, '20']) c;
WITH new AS (INSERT INTO keep.plain VALUES (12), (13) RETURNING id) SELECT id, submit_event('KEPT', id::text, 'x') IS NOT NULL AS found FROM new;
-- By triggers of the table.
CREATE TABLE test.heard (n serial, what text, id int, present bigint, absent bigint, ambiguous bigint, others text, differing text);
CREATE FUNCTION test.hear() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO test.heard (what, id, present, absent, ambiguous, others, differing)
    SELECT concat_ws(' ', lower(TG_WHEN), lower(TG_OP)), (CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END).id, c.* FROM public.compare('KEPT', '{30,31,32,33}') c;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE TRIGGER before BEFORE INSERT OR UPDATE OR DELETE ON keep.plain FOR EACH ROW EXECUTE FUNCTION test.hear();
CREATE TRIGGER after AFTER INSERT OR UPDATE OR DELETE ON keep.plain FOR EACH ROW EXECUTE FUNCTION test.hear();
INSERT INTO keep.plain VALUES (30), (31);
UPDATE keep.plain SET id = id + 2 WHERE id IN (30, 31);
DELETE FROM keep.plain WHERE id IN (32, 33);
SELECT what, id, present, absent, ambiguous, others, differing FROM test.heard ORDER BY n;
ROLLBACK;

-- ---------------------------------------------------------------------
-- With the snapshot of the transaction
-- ---------------------------------------------------------------------
CREATE TABLE crm.lasting (id int PRIMARY KEY, external_id text, note text);
CREATE INDEX ON crm.lasting (external_id);
INSERT INTO crm.lasting VALUES (1, 'one'), (2, 'two'), (3, 'three');
SELECT atlas_register_object_type('LASTING', 'crm.lasting', external_id_column => 'external_id');
CREATE FUNCTION lasting(OUT by_id text, OUT by_external_id text) LANGUAGE sql AS $$
    SELECT string_agg(n::text, ',') FILTER (WHERE NOT EXISTS (SELECT FROM test.error_of(format('SELECT submit_event(%L, %L, %L)', 'LASTING', n, 'x')))),
           (SELECT string_agg(e, ',') FROM unnest('{one,two,three,four}'::text[]) e
             WHERE NOT EXISTS (SELECT FROM test.error_of(format('SELECT submit_event(%L, NULL, %L, external_id => %L)', 'LASTING', 'x', e))))
      FROM generate_series(1, 4) n
$$;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM lasting();
DELETE FROM crm.lasting WHERE id = 1;
UPDATE crm.lasting SET id = 4, external_id = 'four' WHERE id = 2;
SELECT * FROM lasting();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO crm.lasting VALUES (4, 'four');
UPDATE crm.lasting SET note = 'x';
SELECT * FROM lasting();
COMMIT;
SELECT * FROM lasting();
-- Dead rows, before and after they are cleared away.
DELETE FROM crm.lasting WHERE id < 3;
SELECT * FROM lasting();
INSERT INTO crm.lasting VALUES (1, 'two');
VACUUM crm.lasting;
SELECT * FROM lasting();
REINDEX TABLE CONCURRENTLY crm.lasting;
SELECT * FROM lasting();
DROP INDEX CONCURRENTLY crm.lasting_external_id_idx;
SELECT * FROM lasting();
-- An index that could not be built is not used.
INSERT INTO crm.lasting VALUES (2, 'two');
CREATE UNIQUE INDEX CONCURRENTLY not_built ON crm.lasting (external_id);
SELECT * FROM lasting();
DROP INDEX crm.not_built;
DELETE FROM crm.lasting WHERE id = 2;
CREATE INDEX CONCURRENTLY ON crm.lasting (external_id);
VACUUM FULL crm.lasting;
SELECT * FROM lasting();

SELECT atlas_unregister_object_type('LASTING');
DROP FUNCTION lasting;
DROP TABLE crm.lasting;
SELECT test.clean();
