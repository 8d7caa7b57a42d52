-- event_id_at(): the smallest event id of a time.
BEGIN;

-- An event of the time has that id or a greater one; an event of the microsecond
-- before has a smaller one.
CREATE TABLE times (at timestamptz);
INSERT INTO times VALUES ('2025-03-01 00:00:00Z'), ('2025-03-01 00:00:00.000001Z'), ('2025-03-01 00:00:00.000999Z'), ('2025-03-01 00:00:00.001Z'),
    ('2025-03-14 15:09:26.535897Z'), ('2025-03-14 15:09:27Z'), ('2025-03-31 23:59:59.999999Z');
SELECT at, array_agg(occurred_at - at || ': ' || CASE WHEN id >= event_id_at(at) THEN 'in' ELSE 'before' END ORDER BY occurred_at) AS events
  FROM (SELECT at, at + offset_ AS occurred_at, submit_event('CONVERSATION', '1', 'x', occurred_at => at + offset_) AS id
          FROM times, (VALUES (interval '-1 ms'), ('-1 us'), ('0'), ('1 us')) v (offset_)) events
 GROUP BY at ORDER BY at;
SELECT count(*) FROM atlas_events
 WHERE (event_id >= event_id_at('2025-03-14 15:09:27Z')) <> (occurred_at >= '2025-03-14 15:09:27Z');

-- Ids of a microsecond and of the next one differ, all through two milliseconds.
SELECT count(*), bool_and(event_id_at(at) < event_id_at(at + interval '1 us')) AS rising
  FROM (SELECT timestamptz '2025-03-01 00:00Z' + n * interval '1 us' AS at FROM generate_series(0, 2000) n) t;

-- The ends of time.
SELECT at, event_id_at(at::timestamptz)
  FROM (VALUES (1, '-infinity'), (2, '1970-01-01 00:00Z'), (3, '2026-11-01 00:00Z'), (4, '10889-08-02 05:31:50.655999Z'),
               (5, 'infinity'), (6, NULL)) v (n, at)
 ORDER BY n;
SELECT at, e.*
  FROM (VALUES ('1969-12-31 23:59:59.999999Z'), ('4713-01-01 00:00Z BC'), ('10889-08-02 05:31:50.656Z'), ('294276-12-31 00:00Z')) v (at),
       test.error_of(format('SELECT event_id_at(%L)', at)) e;

-- The planner may fold it into a constant, and run it in parallel workers.
SELECT provolatile, proparallel, proisstrict FROM pg_proc WHERE oid = 'event_id_at(timestamptz)'::regprocedure;
ROLLBACK;
