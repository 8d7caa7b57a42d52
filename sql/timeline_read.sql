-- How a page of a timeline is read: partition by partition from the newest on, no
-- further than the page, by index and without a statement; by a statement where that is
-- not possible. Either way the page is the same.
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
SET atlas_events.oldest_event = '24000 d';
SELECT test.clean();
CREATE PROCEDURE drop_partitions() LANGUAGE plpgsql AS $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits
                      WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END
$$;
CALL drop_partitions();

-- Of each year from 2015 to 2024 the chatbot has 24 events, every third one as a related
-- object. The agent has one of each year from 2016 to 2018.
SELECT count(submit_event(CASE WHEN n % 3 = 0 THEN 'CONVERSATION' ELSE 'CHATBOT' END, CASE WHEN n % 3 = 0 THEN '1' ELSE '3' END, 'name ' || n % 4,
                          payload => jsonb_build_object('n', n), occurred_at => timestamptz '2015-01-01' + make_interval(months => n / 2, days => n % 2),
                          related_objects => CASE WHEN n % 3 = 0 THEN '{"(CHATBOT,3,)","(COMPANY,acme,)"}'::atlas_object[] END))
  FROM generate_series(0, 239) n;
SELECT count(submit_event('USER', '7', 'rare', occurred_at => make_timestamptz(year, 7, 1, 0, 0, 0, 'UTC'), related_objects => '{"(USER,-7,)"}'))
  FROM generate_series(2016, 2018) year;
SELECT atlas_link_events();
SELECT inhparent::regclass AS parent, count(*) FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) GROUP BY 1 ORDER BY 1;

-- ---------------------------------------------------------------------
-- What a page locks: the partitions that it needs, and of each the index that it uses
-- ---------------------------------------------------------------------
CREATE VIEW locked AS
    SELECT relation::regclass::text FROM pg_locks
     WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation::regclass::text ~ '^atlas_event' ORDER BY 1;
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 16);
SELECT * FROM locked;
COMMIT;
-- The page that goes on reads from where it begins, and not what is newer.
BEGIN;
SELECT count(*), min(occurred_at) FROM atlas_timeline('CHATBOT', '3', '0160aaaa-0000-0000-0000-000000000000', 12);
SELECT * FROM locked;
COMMIT;
-- A period reads the partitions that have it.
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', since => '2019-03-01', until => '2020-02-01');
SELECT * FROM locked;
COMMIT;
-- For an object with three events all partitions are read.
BEGIN;
SELECT count(*) FROM atlas_timeline('USER', '-7');
SELECT count(*), count(*) FILTER (WHERE relation ~ 'pkey') AS keys, count(*) FILTER (WHERE relation ~ 'idx') AS others FROM locked;
COMMIT;
-- By a statement all partitions are locked, whatever the page needs.
SET atlas_events.direct_access = off;
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 16);
SELECT count(*) > 60 AS many, bool_or(relation = 'atlas_events_2015') AS oldest FROM locked;
COMMIT;
RESET atlas_events.direct_access;

-- It reads little more than itself.
CREATE VIEW rows_read AS
    SELECT sum(pg_stat_get_xact_tuples_returned(oid))::int AS n FROM pg_class WHERE relname ~ '^atlas_(events|event_links)_[0-9]';
BEGIN;
SELECT n AS before FROM rows_read \gset
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 16);
SELECT n - :before AS index_entries FROM rows_read;
COMMIT;

-- ---------------------------------------------------------------------
-- The same page in both ways
-- ---------------------------------------------------------------------
CREATE TABLE calls AS
    SELECT row_number() OVER () AS n, c.*
      FROM (SELECT o.*, b.before, m.max_events, f.name, p.since, p.until
              FROM (VALUES ('CHATBOT', '3'), ('USER', '7'), ('USER', '-7'), ('CONVERSATION', '1'), ('COMPANY', 'acme'), ('USER', '99')) o (object_type, object_id),
                   (VALUES (NULL::uuid), ('0160aaaa-0000-0000-0000-000000000000'), ('00000000-0000-0000-0000-000000000000')) b (before),
                   (VALUES (1), (7), (50), (1000)) m (max_events),
                   (VALUES (NULL), ('name 1'), ('name 3'), ('rare'), ('x')) f (name),
                   (VALUES (NULL::timestamptz, NULL::timestamptz), ('2017-05-01', NULL), (NULL, '2017-05-01'), ('2016-12-01', '2017-05-01')) p (since, until)) c;
CREATE FUNCTION pages() RETURNS TABLE (n bigint, events text) LANGUAGE sql AS $$
    SELECT n, (SELECT string_agg(e::text, '; ' ORDER BY ordinality)
                 FROM ROWS FROM (atlas_timeline(c.object_type, c.object_id, c.before, c.max_events, NULL, c.name, c.since, c.until)) WITH ORDINALITY AS e)
      FROM calls c
$$;
CREATE FUNCTION differing(OUT calls bigint, OUT empty bigint, OUT different bigint) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE direct ON COMMIT DROP AS SELECT * FROM pages();
    SET LOCAL atlas_events.direct_access = off;
    CREATE TEMP TABLE by_statement ON COMMIT DROP AS SELECT * FROM pages();
    SET LOCAL atlas_events.direct_access = on;
    SELECT count(*), count(*) FILTER (WHERE d.events IS NULL), count(*) FILTER (WHERE d.events IS DISTINCT FROM s.events)
      INTO calls, empty, different
      FROM direct d FULL JOIN by_statement s USING (n);
    DROP TABLE direct, by_statement;
END
$$;
SELECT * FROM differing();

-- Events that are queued, or have failed; events that are gone from the log, with their links left.
INSERT INTO atlas_event_queue (event_id, submitted_xid, next_attempt_at)
    SELECT event_id, '1', CASE row_number() OVER () % 3 WHEN 0 THEN NULL WHEN 1 THEN timestamptz 'infinity' ELSE now() END
      FROM (SELECT event_id FROM atlas_events ORDER BY event_id DESC LIMIT 30) e;
DELETE FROM atlas_events WHERE (payload ->> 'n')::int % 33 = 0;
SELECT processing_status, count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 40) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM atlas_timeline('COMPANY', 'acme', max_events => 200);
SELECT * FROM differing();

-- A session sees what it has written in the same transaction, and a query what was there when it began.
BEGIN;
SELECT submit_event('USER', '7', 'now', occurred_at => '2024-12-30') IS NOT NULL;
SELECT name, processing_status FROM atlas_timeline('USER', '7', max_events => 1);
DELETE FROM atlas_events WHERE name = 'now';
SELECT name FROM atlas_timeline('USER', '7', max_events => 1);
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM atlas_timeline('USER', '7');
COMMIT;
WITH new AS (SELECT submit_event('USER', '7', 'new', occurred_at => '2024-12-30') IS NOT NULL AS is_new)
SELECT is_new, (SELECT count(*) FROM atlas_timeline('USER', '7', max_events => CASE WHEN is_new THEN 50 END)) FROM new;
SELECT count(*) FROM atlas_timeline('USER', '7');

-- Other tenants have other timelines.
SET atlas_events.tenant = 'globex';
SELECT count(*) FROM atlas_timeline('CHATBOT', '3');
SELECT submit_event('CHATBOT', '3', 'of globex', occurred_at => '2016-06-01') IS NOT NULL;
SELECT name FROM atlas_timeline('CHATBOT', '3');
RESET atlas_events.tenant;
SELECT count(*), count(*) FILTER (WHERE name = 'of globex') AS of_globex FROM atlas_timeline('CHATBOT', '3', max_events => 1000);

-- ---------------------------------------------------------------------
-- What a DBA has done to the partitions
-- ---------------------------------------------------------------------
-- Other bounds, gaps, a default partition, columns in another order, further columns.
CREATE FUNCTION id_of(at text) RETURNS text LANGUAGE sql AS $$
    SELECT left(hex, 8) || '-' || right(hex, 4) || '-0000-0000-000000000000'
      FROM lpad(to_hex((extract(epoch FROM at::timestamp) * 1000)::bigint), 12, '0') hex
$$;
ALTER TABLE atlas_events DETACH PARTITION atlas_events_2017;
ALTER TABLE atlas_events DETACH PARTITION atlas_events_2018;
ALTER TABLE atlas_event_links DETACH PARTITION atlas_event_links_2016;
CREATE TABLE reordered (note text DEFAULT 'x', payload jsonb, icon text, description text, name text NOT NULL, external_id text COLLATE "C", object_id text COLLATE "C" NOT NULL,
    object_type text COLLATE "C" NOT NULL, tenant_id text COLLATE "C" NOT NULL, received_at timestamptz NOT NULL, occurred_at timestamptz NOT NULL, event_id uuid NOT NULL PRIMARY KEY, related_objects jsonb);
ALTER TABLE reordered DROP COLUMN note;
CREATE INDEX ON reordered (object_id, tenant_id, object_type, event_id);
SELECT format('ALTER TABLE atlas_events ATTACH PARTITION reordered FOR VALUES FROM (%L) TO (%L)', id_of('2017-03-01'), id_of('2018-02-01')) \gexec
CREATE TABLE the_rest PARTITION OF atlas_events (PRIMARY KEY (event_id)) DEFAULT;
CREATE INDEX ON the_rest (tenant_id, object_type, object_id, event_id);
CREATE TABLE links_rest PARTITION OF atlas_event_links (PRIMARY KEY (tenant_id, object_type, object_id, event_id)) DEFAULT;
CREATE INDEX ON links_rest (event_id);
INSERT INTO atlas_events SELECT * FROM atlas_events_2017;
INSERT INTO atlas_events SELECT * FROM atlas_events_2018;
INSERT INTO atlas_event_links SELECT * FROM atlas_event_links_2016;
DROP TABLE atlas_events_2017, atlas_events_2018, atlas_event_links_2016;
SELECT tableoid::regclass AS partition, count(*) FROM atlas_events GROUP BY 1 ORDER BY 1;
SELECT * FROM differing();
BEGIN;
ALTER TABLE atlas_events ADD COLUMN added text DEFAULT 'x';
SELECT * FROM differing();
ROLLBACK;
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 240);
SELECT count(*) FILTER (WHERE relation ~ '^atlas_events_20') AS of_years FROM locked;
SELECT relation::regclass FROM pg_locks WHERE pid = pg_backend_pid() AND relation::regclass::text ~ '^(reordered|the_rest|links_rest)' ORDER BY relation::regclass::text COLLATE "C";
COMMIT;

-- Indexes with an expression or a predicate are neither used nor evaluated.
CREATE FUNCTION trap(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('test.armed', true) = 'on' THEN
        RAISE 'the trap was sprung';
    END IF;
    RETURN value;
END
$$;
CREATE INDEX a_trap ON atlas_events_2024 (tenant_id, object_type, object_id, event_id) WHERE trap(name) = 'name 1';
CREATE INDEX another_trap ON atlas_events_2024 (tenant_id, object_type, object_id, event_id, trap(name));
CREATE INDEX a_trap_of_links ON atlas_event_links_2024 (trap(tenant_id), object_type, object_id, event_id);
SET test.armed = on;
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 10);
SELECT * FROM locked;
COMMIT;
DROP INDEX atlas_events_2024_tenant_id_object_type_object_id_event_id_idx;
SELECT * FROM differing();
RESET test.armed;
DROP INDEX a_trap, another_trap, a_trap_of_links;

-- An index is missing, not valid, of another kind, or in another order: the page that
-- needs the partition is read by a statement, and others are not.
CREATE INDEX in_other_order ON atlas_events_2024 (tenant_id, object_type, event_id, object_id);
CREATE INDEX by_hash ON atlas_events_2024 USING hash (object_id);
CREATE INDEX by_pattern ON atlas_events_2024 (tenant_id text_pattern_ops, object_type text_pattern_ops, object_id text_pattern_ops, event_id);
CREATE INDEX in_other_collation ON atlas_events_2024 (tenant_id COLLATE "POSIX", object_type COLLATE "POSIX", object_id COLLATE "POSIX", event_id);
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 10);
SELECT bool_or(relation = 'atlas_events_2015') AS by_statement FROM locked;
COMMIT;
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 10, until => '2024-01-01');
SELECT bool_or(relation = 'atlas_events_2015') AS by_statement FROM locked;
COMMIT;
SELECT * FROM differing();
CREATE INDEX another ON atlas_events_2024 (object_type, tenant_id, object_id, event_id) INCLUDE (name);
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 10);
SELECT bool_or(relation = 'atlas_events_2015') AS by_statement FROM locked;
COMMIT;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'another'::regclass;
BEGIN;
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 10);
SELECT bool_or(relation = 'atlas_events_2015') AS by_statement FROM locked;
COMMIT;
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'another'::regclass;
DROP INDEX in_other_order, by_hash, by_pattern, in_other_collation;
-- The key of the log, which finds the related events.
ALTER TABLE atlas_events_2023 DROP CONSTRAINT atlas_events_2023_pkey;
SELECT * FROM differing();

-- Partitions that are no tables, or are divided further.
ALTER TABLE atlas_events DETACH PARTITION atlas_events_2022;
CREATE TABLE divided (LIKE atlas_events) PARTITION BY LIST (object_type);
CREATE TABLE divided_some PARTITION OF divided FOR VALUES IN ('CHATBOT');
CREATE TABLE divided_others PARTITION OF divided DEFAULT;
INSERT INTO divided SELECT * FROM atlas_events_2022;
SELECT format('ALTER TABLE atlas_events ATTACH PARTITION divided FOR VALUES FROM (%L) TO (%L)', id_of('2022-01-01'), id_of('2023-01-01')) \gexec
DROP TABLE atlas_events_2022;
SELECT * FROM differing();

-- A policy that concerns the owner of the extension hides what it says.
ALTER TABLE atlas_events FORCE ROW LEVEL SECURITY;
CREATE ROLE regress_atlas_read_owner;
SELECT extowner::regrole AS owner FROM pg_extension WHERE extname = 'atlas_events' \gset
CREATE POLICY hides ON atlas_events AS RESTRICTIVE USING (name <> 'name 1');
UPDATE pg_extension SET extowner = 'regress_atlas_read_owner'::regrole WHERE extname = 'atlas_events';
GRANT SELECT ON atlas_events, atlas_event_links, atlas_event_queue, atlas_object_types TO regress_atlas_read_owner;
GRANT EXECUTE ON FUNCTION atlas_tenant() TO regress_atlas_read_owner;
\c -
SELECT count(*) FILTER (WHERE name = 'name 1') AS hidden, count(*) FILTER (WHERE name = 'name 2') AS others FROM atlas_timeline('CHATBOT', '3', max_events => 240);
REVOKE SELECT ON atlas_event_links FROM regress_atlas_read_owner;
SELECT code, message FROM test.error_of($$SELECT FROM atlas_timeline('CHATBOT', '3')$$);
UPDATE pg_extension SET extowner = :'owner'::regrole WHERE extname = 'atlas_events';
REVOKE ALL ON atlas_events, atlas_event_queue, atlas_object_types FROM regress_atlas_read_owner;
REVOKE ALL ON FUNCTION atlas_tenant() FROM regress_atlas_read_owner;
DROP ROLE regress_atlas_read_owner;
DROP POLICY hides ON atlas_events;
ALTER TABLE atlas_events NO FORCE ROW LEVEL SECURITY;
\c -
SET client_min_messages = warning;
SELECT test.clean();
CALL drop_partitions();
DROP TABLE calls;
DROP VIEW locked, rows_read;
DROP FUNCTION pages, differing, id_of, trap;
DROP PROCEDURE drop_partitions;
