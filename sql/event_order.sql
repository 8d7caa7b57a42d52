-- The order of event ids: by the microsecond in which events occurred, then by arrival.
SELECT test.clean();

-- ---------------------------------------------------------------------
-- The time, to the microsecond
-- ---------------------------------------------------------------------
-- Submitted backwards, around the ends of milliseconds, seconds and a year.
CREATE TABLE submitted AS
SELECT n, at, submit_event('CONVERSATION', '1', 'x', occurred_at => at) AS id
  FROM (SELECT row_number() OVER (ORDER BY at DESC) AS n, at
          FROM (VALUES (timestamptz '2024-01-01 00:00Z'), ('2024-01-01 00:00:00.001Z'), ('2024-01-14 15:09:26.535897Z')) v (base),
               generate_series(-2, 2) offset_, LATERAL (SELECT base + offset_ * interval '1 us' AS at) t) times
 ORDER BY n;
SELECT count(*), bool_and(id < previous) AS falling
  FROM (SELECT id, lag(id, 1, 'ffffffff-ffff-ffff-ffff-ffffffffffff') OVER (ORDER BY n) AS previous FROM submitted) s;

-- An id is a UUIDv7 that holds its time.
CREATE FUNCTION bits(id uuid, first int, count int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT lpad(substring(('x' || replace(id::text, '-', ''))::bit(128) FROM first + 1 FOR count)::text, 64, '0')::bit(64)::bigint
$$;
SELECT count(*), bool_and(bits(id, 48, 4) = 7) AS version, bool_and(bits(id, 64, 2) = 2) AS variant,
       bool_and(to_timestamp(0) + bits(id, 0, 48) * interval '1 ms' + bits(id, 52, 10) * interval '1 us' = at) AS own_time
  FROM submitted;

-- The bounds of partitions lie between two microseconds.
SELECT atlas_events.tableoid::regclass AS partition, min(at) AS first, max(at) AS last
  FROM submitted JOIN atlas_events ON event_id = id GROUP BY 1 ORDER BY 2;

-- ---------------------------------------------------------------------
-- Equal times: the order of arrival
-- ---------------------------------------------------------------------
SELECT test.clean();
TRUNCATE submitted;
INSERT INTO submitted
SELECT n, at, submit_event('CONVERSATION', '1', n::text, occurred_at => at)
  FROM (SELECT n, timestamptz '2024-01-01 12:00Z' AS at FROM generate_series(1, 1000) n) t;
SELECT count(*), bool_and(id > previous) AS rising
  FROM (SELECT id, lag(id, 1, '00000000-0000-0000-0000-000000000000') OVER (ORDER BY n) AS previous FROM submitted) s;

-- More in one call than its random bits can tell apart.
SET atlas_events.max_batch_size = 40000;
SELECT count(*), count(DISTINCT id), bool_and(id > previous) AS rising, bool_and(id > (SELECT id FROM submitted WHERE submitted.n = 1000)) AS later
  FROM (SELECT id, lag(id, 1, '00000000-0000-0000-0000-000000000000') OVER (ORDER BY n) AS previous
          FROM unnest(submit_events((SELECT array_agg(ROW('CONVERSATION', '1', NULL, 'x', NULL, NULL, NULL, NULL,
                                                          '2024-01-01 12:00Z', NULL)::atlas_event)
                                       FROM generate_series(1, 40000)))) WITH ORDINALITY i (id, n)) s;
RESET atlas_events.max_batch_size;
DELETE FROM atlas_events WHERE name = 'x';

-- Pages of a timeline go on where the page before ended.
WITH RECURSIVE page AS (
    SELECT 0 AS n, NULL::uuid AS before, NULL::text[] AS names
    UNION ALL
    SELECT n + 1, t.last, t.names
      FROM page, LATERAL (SELECT (array_agg(event_id ORDER BY ordinality DESC))[1] AS last, array_agg(name ORDER BY ordinality) AS names
                            FROM atlas_timeline('CONVERSATION', '1', page.before, 70) WITH ORDINALITY) t
     WHERE n < 20 AND t.last IS NOT NULL)
SELECT max(n) AS pages, array_agg(name::int ORDER BY n, i) = ARRAY(SELECT generate_series(1000, 1, -1)) AS each_once_and_newest_first
  FROM page, unnest(names) WITH ORDINALITY u (name, i);

DROP TABLE submitted;
DROP FUNCTION bits;
