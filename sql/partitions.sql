-- Partitions of the log and of the links, by months, and by years for what is old: they
-- are made when the first event comes, and a DBA may make others.
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET atlas_events.oldest_event = '24000 d';
BEGIN;
SELECT test.clean();
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits
                      WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END
$$;

-- Partitions with the times of their bounds.
CREATE FUNCTION id_time(id text) RETURNS timestamp LANGUAGE sql AS $$
    SELECT to_timestamp(('x' || left(replace(id, '-', ''), 12))::bit(48)::bigint / 1000.0) AT TIME ZONE 'UTC'
$$;
CREATE VIEW partitions AS
    SELECT inhparent::regclass AS parent, inhrelid::regclass AS partition, id_time(b[1]) AS since, id_time(b[2]) AS until,
           substring(b[1] FROM 14) || substring(b[2] FROM 14) ~ '[1-9a-f]' AS between_milliseconds
      FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid,
           regexp_match(pg_get_expr(c.relpartbound, c.oid), '\(''(.*)''\) TO \(''(.*)''\)') b
     WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass)
     ORDER BY 1, b[1];
CREATE FUNCTION submit(VARIADIC times text[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(public.submit_event('CONVERSATION', '1', t, occurred_at => (t || '+00')::timestamptz,
                                     related_objects => ARRAY[('USER', '7', NULL)]::public.atlas_object[])) FROM unnest(times) t
$$;

-- ---------------------------------------------------------------------
-- Months, in UTC, whatever the time zone of the session
-- ---------------------------------------------------------------------
SET LOCAL timezone = 'Asia/Kolkata';
CREATE FUNCTION month(ago int) RETURNS timestamp LANGUAGE sql AS $$
    SELECT date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => ago)
$$;
SAVEPOINT before;
SELECT submit((month(13) - interval '1 microsecond')::text);
SELECT until = month(13) AS ends_where_months_begin FROM partitions;
ROLLBACK TO before;
SELECT submit((month(3) - interval '1 microsecond')::text, month(3)::text, (month(2) - interval '0.1 ms')::text, month(13)::text);
SELECT atlas_link_events();
CREATE VIEW months AS
    SELECT parent, age(month(0), since) AS ago, until = since + interval '1 month' AS one_month, between_milliseconds,
           partition::text = parent || to_char(since, '_YYYY_MM') AS named
      FROM partitions WHERE since >= month(13) ORDER BY parent, since;
SELECT * FROM months;
SELECT age(month(0), p.since) AS ago, e.name::timestamp >= p.since AND e.name::timestamp < p.until AS in_place
  FROM atlas_events e JOIN partitions p ON p.partition = e.tableoid ORDER BY e.event_id;
SELECT count(*) AS links, count(*) FILTER (WHERE e.name::timestamp >= p.since AND e.name::timestamp < p.until) AS in_place
  FROM atlas_event_links l JOIN atlas_events e USING (event_id) JOIN partitions p ON p.partition = l.tableoid;
SET LOCAL timezone = 'UTC';

-- ---------------------------------------------------------------------
-- Years, for what is older than 13 months
-- ---------------------------------------------------------------------
SELECT submit('2024-02-29 12:00:00', '2023-12-31 23:59:59.9999', '2024-12-31 23:59:59.9999', '2024-01-01 00:00:00', '2023-05-01 00:00:00');
SELECT atlas_link_events();
SELECT * FROM partitions WHERE until <= '2025-01-01';
SELECT tableoid::regclass AS partition, name FROM atlas_events WHERE occurred_at < '2025-01-01' ORDER BY event_id;
-- The year ends where the months begin, however many months it has, and whether or not
-- the first of them is there.
SELECT submit((month(13) - interval '1 microsecond')::text);
SELECT atlas_link_events();
SELECT parent, since = date_trunc('year', month(14)) AS begins_a_year, until = month(13) AS ends_where_months_begin,
       partition::text = parent || to_char(since, '_YYYY') ||
           CASE extract(month FROM month(14)) WHEN 12 THEN '' WHEN 1 THEN '_01' ELSE to_char(month(14), '"_01_to_"YYYY_MM') END AS named
  FROM partitions WHERE since < month(13) AND until > '2025-01-01';

-- Ten years in a few calls: 14 months, and years for the rest. The links have the same bounds.
SAVEPOINT before;
SELECT count(submit_events(ARRAY(SELECT ('CONVERSATION', '1', NULL, 'history', NULL, NULL, NULL, '{"(USER,7,)"}',
                                         (month(m) + interval '12 days') AT TIME ZONE 'UTC', NULL)::atlas_event
                                   FROM generate_series(first, first + 29) m)))
  FROM (VALUES (1), (91), (31), (61)) v (first);
SELECT atlas_link_events();
SELECT parent, count(*) FILTER (WHERE since >= month(13)) AS months, count(*) BETWEEN 22 AND 24 AS few FROM partitions GROUP BY parent ORDER BY parent;
CREATE VIEW different AS
    SELECT since, until FROM partitions GROUP BY since, until HAVING count(*) <> 2;
SELECT * FROM different;
SELECT count(*) AS events, count(*) FILTER (WHERE p.since <= e.occurred_at AND e.occurred_at < p.until) AS in_place
  FROM atlas_events e JOIN partitions p ON p.partition = e.tableoid;
ROLLBACK TO before;

-- Each partition has its indexes, and the parents have none.
SELECT indrelid::regclass AS relation, indisprimary, regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') AS index
  FROM pg_index
 WHERE indrelid IN ('atlas_events'::regclass, 'atlas_event_links'::regclass, 'atlas_events_2024'::regclass, 'atlas_event_links_2024'::regclass)
 ORDER BY 1, 2 DESC;
-- No member of the extension, but its owner's.
SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND objid IN (SELECT partition FROM partitions);
SELECT DISTINCT c.relowner = e.extowner AS owner_of_the_extension, c.relnamespace = e.extnamespace AS in_its_schema
  FROM partitions JOIN pg_class c ON c.oid = partition, pg_extension e WHERE extname = 'atlas_events';

-- They are like their parents, whatever the caller's defaults for new tables.
CREATE ACCESS METHOD regress_atlas_heap TYPE TABLE HANDLER heap_tableam_handler;
SET LOCAL default_table_access_method = regress_atlas_heap;
SET LOCAL search_path = pg_catalog;
SELECT public.submit('2022-01-15 00:00:00');
RESET search_path;
RESET default_table_access_method;
SELECT amname, relpersistence, relrowsecurity = (SELECT relrowsecurity FROM pg_class WHERE oid = 'atlas_events'::regclass) AS same_row_security
  FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE c.oid = 'atlas_events_2022'::regclass;
SELECT attname, a.atttypid = p.atttypid AND a.attcollation = p.attcollation AND a.attnotnull = p.attnotnull AS same
  FROM pg_attribute a JOIN pg_attribute p USING (attname)
 WHERE a.attrelid = 'atlas_events_2022'::regclass AND p.attrelid = 'atlas_events'::regclass AND p.attnum > 0 ORDER BY p.attnum;

-- One call, many years: each once, and all in place.
SELECT array_length(submit_events(array_agg(('CONVERSATION', '1', NULL, 'batch', NULL, NULL, NULL, NULL,
           (timestamp '2019-03-01' + n * interval '100 days') AT TIME ZONE 'UTC', NULL)::atlas_event ORDER BY n % 7)), 1)
  FROM generate_series(0, 20) n;
SELECT partition, since, until FROM partitions WHERE parent = 'atlas_events'::regclass AND until <= '2025-01-01';
SELECT count(*), bool_and(p.since <= e.occurred_at AT TIME ZONE 'UTC' AND e.occurred_at AT TIME ZONE 'UTC' < p.until) AS in_place
  FROM atlas_events e JOIN partitions p ON p.partition = e.tableoid;

-- ---------------------------------------------------------------------
-- Partitions made by a DBA: a quarter is used, a week is surrounded
-- ---------------------------------------------------------------------
CREATE FUNCTION id_of(at text) RETURNS text LANGUAGE sql AS $$
    SELECT left(hex, 8) || '-' || right(hex, 4) || '-0000-0000-000000000000'
      FROM lpad(to_hex((extract(epoch FROM at::timestamp) * 1000)::bigint), 12, '0') hex
$$;
CREATE FUNCTION make(name text, since text, until text, parent regclass DEFAULT 'atlas_events') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES FROM (%s) TO (%s)', name, parent,
                   coalesce(quote_literal(id_of(since)), 'MINVALUE'), coalesce(quote_literal(id_of(until)), 'MAXVALUE'));
END
$$;
SELECT make('quarter', '2013-01-01', '2013-04-01'), make('week', '2013-06-12', '2013-06-19'), make('odd', '2013-07-30 12:34:56', '2013-09-02');
SELECT submit('2013-01-01 00:00:00', '2013-03-31 23:59:59.999', '2012-12-31 23:59:59.999', '2013-04-01 00:00:00',
              '2013-06-11 23:59:59', '2013-06-12 00:00:00', '2013-06-18 23:59:59', '2013-06-19 00:00:00',
              '2013-07-30 12:34:55', '2013-07-30 12:34:56', '2013-09-01 00:00:00', '2013-09-02 00:00:00', '2013-12-31 23:59:59');
SELECT tableoid::regclass AS partition, name FROM atlas_events WHERE occurred_at BETWEEN '2012-01-01' AND '2013-12-31 24:00:00' ORDER BY event_id;
-- The links have the bounds of the log, and names of their own.
SELECT atlas_link_events();
SELECT parent, partition, since, until FROM partitions WHERE since >= '2012-01-01' AND until <= '2014-01-01';
-- They leave out what a partition of the links covers already.
SELECT make('links_of_may', '2011-05-01', '2011-06-01', 'atlas_event_links');
SELECT submit('2011-04-01 00:00:00', '2011-05-01 00:00:00', '2011-06-01 00:00:00');
SELECT atlas_link_events();
SELECT parent, partition, since, until FROM partitions WHERE since >= '2011-01-01' AND until <= '2012-01-01';
-- Partitions without a bound.
SELECT make('ancient', NULL, '2005-01-01'), make('the_last', month(0)::text, NULL);
SELECT submit('2003-03-03 00:00:00', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'));
SELECT atlas_link_events();
SELECT relname::text = 'atlas_event_links_from_' || to_char(month(0), 'YYYY_MM') AS from_this_month, relname = 'atlas_event_links_to_2004_12' AS to_2004
  FROM pg_class WHERE relname ~ '^atlas_event_links_(from|to)' AND relkind = 'r' ORDER BY 1;
-- A default partition takes what has no other; its links get a year of their own.
CREATE TABLE the_rest PARTITION OF atlas_events DEFAULT;
SELECT submit('2010-06-01 00:00:00');
SELECT atlas_link_events();
SELECT tableoid::regclass AS partition FROM atlas_events WHERE name = '2010-06-01 00:00:00';
SELECT l.tableoid::regclass AS partition FROM atlas_event_links l JOIN atlas_events USING (event_id) WHERE name = '2010-06-01 00:00:00';
DROP TABLE the_rest;

-- ---------------------------------------------------------------------
-- From within a query on the log, of the same session
-- ---------------------------------------------------------------------
-- A partition that is there takes the event; one that needs a new partition is refused.
CREATE FUNCTION submit_in_loop(at text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT FROM atlas_events WHERE event_id < (SELECT event_id_at('infinity')) LIMIT 1 LOOP
        RETURN submit(at);
    END LOOP;
END
$$;
SELECT submit_in_loop('2013-01-02 00:00:00');
SELECT * FROM test.error_of($$SELECT submit_in_loop('2009-02-01 00:00:00')$$);
SAVEPOINT before;
SELECT submit('2009-02-01 00:00:00');
-- Linking makes partitions as well; it puts such events off, and no attempt is counted.
CREATE FUNCTION link_in_loop() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    i record;
BEGIN
    FOR i IN SELECT * FROM atlas_event_logs LIMIT 1 LOOP
        RETURN atlas_link_events();
    END LOOP;
END
$$;
SELECT link_in_loop() AS linked;
SELECT processing_status, attempts, last_error FROM atlas_event_logs WHERE name = '2009-02-01 00:00:00';
ROLLBACK TO before;
-- As the hint says.
DO $$
DECLARE
    times text[] := ARRAY(SELECT '2009-02-01 00:00:00' FROM atlas_event_logs LIMIT 1);
BEGIN
    PERFORM submit(VARIADIC times);
END
$$;
SELECT tableoid::regclass AS partition FROM atlas_events WHERE name = '2009-02-01 00:00:00';
ROLLBACK TO before;
-- From a trigger: a row of the log that brings another one, for the same partition or for a new one.
CREATE FUNCTION submit_again() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name !~ 'again' THEN
        PERFORM public.submit_event('CONVERSATION', '1', NEW.name || ' again', occurred_at => NEW.occurred_at - TG_ARGV[0]::interval);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER again AFTER INSERT ON atlas_events FOR EACH ROW EXECUTE FUNCTION submit_again('1 hour');
SELECT submit('2009-03-10 00:00:00');
SELECT tableoid::regclass AS partition, name FROM atlas_events WHERE name ~ '^2009-03-10' ORDER BY event_id;
DROP TRIGGER again ON atlas_events;
CREATE TRIGGER again AFTER INSERT ON atlas_events FOR EACH ROW EXECUTE FUNCTION submit_again('1 year');
SELECT code, message FROM test.error_of($$SELECT submit('2009-05-10 00:00:00')$$);
ROLLBACK TO before;

-- ---------------------------------------------------------------------
-- Detached and dropped
-- ---------------------------------------------------------------------
ALTER TABLE atlas_events DETACH PARTITION atlas_events_2024;
SELECT submit('2024-03-15 00:00:00');
SELECT partition, since, until FROM partitions WHERE since = '2024-01-01' AND parent = 'atlas_events'::regclass;
SELECT 'detached' AS is, name FROM atlas_events_2024
 UNION ALL SELECT 'attached', name FROM atlas_events WHERE occurred_at >= '2024-01-01' AND occurred_at < '2025-01-01';
DROP TABLE atlas_events_2021;
SELECT submit('2021-04-15 00:00:00');
SELECT tableoid::regclass AS partition, name FROM atlas_events WHERE occurred_at >= '2021-01-01' AND occurred_at < '2022-01-01';
-- Rolled back to a savepoint, and made again.
SAVEPOINT before;
SELECT submit('2007-05-15 00:00:00');
ROLLBACK TO before;
SELECT submit('2007-05-16 00:00:00');
SELECT tableoid::regclass AS partition, name FROM atlas_events WHERE occurred_at < '2008-01-01' AND occurred_at >= '2007-01-01';
ROLLBACK;

-- ---------------------------------------------------------------------
-- Event ids: UUIDs of version 7 whose order is the order of time
-- ---------------------------------------------------------------------
SELECT test.clean();
CREATE TABLE submitted (n int, event_id uuid);
INSERT INTO submitted SELECT n, submit_event('CONVERSATION', '1', 'same time', occurred_at => '2025-02-03 04:05:06.789123+00')
  FROM generate_series(1, 1000) n;
SELECT count(DISTINCT event_id), array_agg(n ORDER BY event_id) = array_agg(n ORDER BY n) AS in_order,
       count(DISTINCT left(event_id::text, 18)) AS same_times,
       bool_and(event_id::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$') AS version_7
  FROM submitted;
TRUNCATE submitted;
INSERT INTO submitted SELECT n, submit_event('CONVERSATION', '1', 'microseconds', occurred_at => timestamptz '2025-02-03 04:05:06+00' + n * interval '1 microsecond')
  FROM generate_series(5000, 1, -1) n;
SELECT array_agg(n ORDER BY event_id) = array_agg(n ORDER BY n) AS in_order_of_time FROM submitted;
-- Now, one after the other.
TRUNCATE submitted;
INSERT INTO submitted SELECT n, submit_event('CONVERSATION', '1', 'now') FROM generate_series(1, 1000) n;
SELECT array_agg(n ORDER BY event_id) = array_agg(n ORDER BY n) AS in_order_of_submission FROM submitted;
SELECT bool_and(abs(extract(epoch FROM occurred_at) * 1000 - ('x' || left(replace(event_id::text, '-', ''), 12))::bit(48)::bigint) < 1) AS time_in_id
  FROM atlas_events;
-- From 1970 on.
BEGIN;
SELECT left(submit_event('CONVERSATION', '1', 'x', occurred_at => '1970-01-01 00:00:00+00')::text, 16);
SELECT to_regclass('atlas_events_1970');
ROLLBACK;
RESET atlas_events.oldest_event;
DROP TABLE submitted;
