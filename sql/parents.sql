-- A DBA adds to the log and the links: constraints, generated columns, storage,
-- indexes, keys, triggers. A new partition has all of it, and takes its events.
SET timezone = 'UTC';
SET client_min_messages = warning;
SET atlas_events.oldest_event = '24000 d';
BEGIN;
SELECT test.clean();
CREATE TABLE notes (note text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.notes VALUES (format('%s %s on %s', TG_WHEN, TG_LEVEL, TG_TABLE_NAME));
    RETURN NEW;
END
$$;
CREATE TABLE tenants (tenant_id text COLLATE "C" PRIMARY KEY);
INSERT INTO tenants VALUES ('');

-- An event of a month, with an object to link, and where it and its link are.
CREATE FUNCTION submitted(month text, OUT stored regclass, OUT linked regclass, OUT last_error text) LANGUAGE plpgsql AS $$
DECLARE
    id uuid := public.submit_event('CONVERSATION', '1', month, occurred_at => (month || '-15')::timestamptz,
                                   related_objects => '{"(USER,7,)"}');
BEGIN
    PERFORM public.atlas_link_events();
    SELECT e.tableoid, l.tableoid, q.last_error INTO stored, linked, last_error
      FROM public.atlas_events e LEFT JOIN public.atlas_event_links l USING (event_id) LEFT JOIN public.atlas_event_queue q USING (event_id)
     WHERE e.event_id = id;
END
$$;
SELECT * FROM submitted('2011-01');

-- The two parents, each with everything; the partition before has it as well.
CREATE FUNCTION add(statement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(statement, 'atlas_events');
    EXECUTE format(statement, 'atlas_event_links');
END
$$;
SELECT add('ALTER TABLE %1$s ADD CONSTRAINT has_tenant CHECK (tenant_id IS NOT NULL)');
SELECT add('ALTER TABLE %1$s ADD CONSTRAINT from_now_on CHECK (length(object_id) < 256) NOT VALID');
SELECT add('COMMENT ON CONSTRAINT has_tenant ON %1$s IS ''as we say''');
SELECT * FROM submitted('2012-01');
SELECT add('ALTER TABLE %1$s ADD COLUMN type_and_id text GENERATED ALWAYS AS (object_type || '':'' || object_id) STORED');
SELECT * FROM submitted('2013-01');
SELECT add('ALTER TABLE %1$s ADD COLUMN note text COLLATE "C" NOT NULL DEFAULT ''none''');
SELECT add('ALTER TABLE %1$s ADD COLUMN dropped int; ALTER TABLE %1$s DROP COLUMN dropped');
SELECT * FROM submitted('2014-01');
SELECT add('ALTER TABLE %1$s ALTER COLUMN object_id SET STORAGE EXTERNAL, ALTER COLUMN object_id SET COMPRESSION pglz');
-- Not every version gives this to the partitions that are there.
ALTER TABLE atlas_events_2011 ALTER COLUMN object_id SET COMPRESSION pglz;
ALTER TABLE atlas_event_links_2011 ALTER COLUMN object_id SET COMPRESSION pglz;
SELECT * FROM submitted('2015-01');
SELECT add('CREATE INDEX ON %1$s (note, event_id)');
SELECT add('CREATE UNIQUE INDEX ON %1$s (event_id, object_type, object_id, tenant_id) INCLUDE (note)');
SELECT add('CREATE INDEX ON %1$s (lower(object_id)) WHERE note <> ''none''');
SELECT add('CREATE STATISTICS %1$s_stats ON tenant_id, object_type FROM %1$s');
SELECT * FROM submitted('2016-01');
SELECT add('ALTER TABLE %1$s ADD FOREIGN KEY (tenant_id) REFERENCES tenants');
SELECT * FROM submitted('2017-01');
SELECT add('CREATE TRIGGER by_row AFTER INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION note()');
SELECT add('CREATE TRIGGER by_statement AFTER INSERT ON %1$s EXECUTE FUNCTION note()');
SELECT add('COMMENT ON COLUMN %1$s.note IS ''anything''');
SELECT * FROM submitted('2018-01');
SELECT note FROM notes ORDER BY note;

-- The first partition, which got all of it later, and the last one.
CREATE FUNCTION parts(relation regclass) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('column %s %s%s%s%s, storage %s, compression %s%s', attname, format_type(atttypid, atttypmod),
                  ' collate ' || nullif(attcollation, 0)::regcollation, CASE WHEN attnotnull THEN ' not null' END,
                  CASE attgenerated WHEN '' THEN ' default ' ELSE ' generated ' END || pg_get_expr(adbin, adrelid),
                  attstorage, nullif(attcompression, ''), ': ' || col_description(attrelid, attnum))
      FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
     WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
     UNION ALL
    SELECT format('constraint %s', pg_get_constraintdef(oid, true)) FROM pg_constraint WHERE conrelid = relation AND contype IN ('c', 'f')
     UNION ALL
    SELECT format('index %s', regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '')) FROM pg_index WHERE indrelid = relation
     UNION ALL
    SELECT format('trigger %s', tgname) FROM pg_trigger WHERE tgrelid = relation AND NOT tgisinternal
     UNION ALL
    SELECT format('statistics %s', stxkeys) FROM pg_statistic_ext WHERE stxrelid = relation
$$;
SELECT * FROM (
    SELECT 'older' AS side, * FROM (SELECT parts('atlas_events_2011') EXCEPT ALL SELECT parts('atlas_events_2018')) p
     UNION ALL
    SELECT 'newer', * FROM (SELECT parts('atlas_events_2018') EXCEPT ALL SELECT parts('atlas_events_2011')) p) AS all_parts (side, part) ORDER BY side, part COLLATE "C";
SELECT * FROM (
    SELECT 'older' AS side, * FROM (SELECT parts('atlas_event_links_2011') EXCEPT ALL SELECT parts('atlas_event_links_2018')) p
     UNION ALL
    SELECT 'newer', * FROM (SELECT parts('atlas_event_links_2018') EXCEPT ALL SELECT parts('atlas_event_links_2011')) p) AS all_parts (side, part) ORDER BY side, part COLLATE "C";
SELECT p FROM parts('atlas_event_links_2018') p ORDER BY p COLLATE "C";

-- What the constraints forbid is refused in the new partition as well.
SAVEPOINT here;
ALTER TABLE atlas_events ADD CONSTRAINT no_such_name CHECK (name <> '2019-01');
SELECT code, message FROM test.error_of($$SELECT submitted('2019-01')$$);
ROLLBACK TO here;

-- Numbers that the parent gives: before 17 only a parent without partitions can have them.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END
$$;
SELECT add('ALTER TABLE %1$s ADD COLUMN n int GENERATED ALWAYS AS IDENTITY');
SELECT s.* FROM unnest('{2019-01,2020-01}'::text[]) month, submitted(month) s;
SELECT array_agg(e.n ORDER BY event_id) AS events, array_agg(l.n ORDER BY event_id) AS links FROM atlas_events e JOIN atlas_event_links l USING (event_id);
ROLLBACK;
