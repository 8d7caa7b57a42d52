-- The matches of rules follow from the events that there are, and not from the order in which they
-- come: all orders of three, and hundreds of random ones, against the plain definition. Everything is
-- undone at the end.
BEGIN;
SET LOCAL timezone = 'UTC';
SET LOCAL client_min_messages = error;
SELECT test.clean();
\set ada 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
\set ben 'c2222222-0000-4000-8000-000000000002'

-- The plain definition of a match
CREATE VIEW test.hits AS
    SELECT r.tenant_id, r.rule_id, r.rule_name, r.times, r.within, r.object_type, o.object_id, e.event_id, e.occurred_at
      FROM atlas_rules r
      JOIN atlas_events e ON e.tenant_id = r.tenant_id AND e.name = coalesce(r.event_name, e.name)
                         AND e.occurred_at >= r.since AND e.received_at >= r.since
      CROSS JOIN LATERAL (
          SELECT e.object_type, e.object_id WHERE r.role <> 'RELATED'
          UNION ALL
          SELECT l.object_type, l.object_id FROM atlas_event_links l
           WHERE l.event_id = e.event_id AND l.tenant_id = e.tenant_id AND r.role <> 'PRIMARY') o
     WHERE o.object_type = r.object_type
       AND (r.condition IS NULL OR jsonb_path_match_tz(jsonb_build_object('name', e.name, 'payload', e.payload), r.condition, silent => true));
CREATE VIEW test.matches AS
    SELECT tenant_id, rule_id, rule_name, object_type, object_id, event_id FROM test.hits h
     WHERE (SELECT count(*) FROM test.hits w
             WHERE (w.tenant_id, w.rule_id, w.object_id) = (h.tenant_id, h.rule_id, h.object_id) AND w.event_id <= h.event_id
               AND (h.times = 1 OR w.occurred_at > h.occurred_at - extract(epoch FROM h.within) * interval '1 second')) >= h.times;
CREATE FUNCTION test.differences(OUT what text, OUT rule_name text, OUT object_id text, OUT event_id uuid) RETURNS SETOF record LANGUAGE sql AS $$
    (SELECT 'missing', rule_name, object_id, event_id FROM test.matches
     EXCEPT ALL SELECT 'missing', rule_name, object_id, event_id FROM atlas_rule_matches)
    UNION ALL
    (SELECT 'too many', rule_name, object_id, event_id FROM atlas_rule_matches
     EXCEPT ALL SELECT 'too many', rule_name, object_id, event_id FROM test.matches)
    UNION ALL
    (SELECT 'not a hit', h.rule_id::text, h.object_id, h.event_id FROM atlas_rule_hits h
     EXCEPT ALL SELECT 'not a hit', h.rule_id::text, h.object_id, h.event_id FROM test.hits h WHERE times > 1)
$$;

-- Evaluates the rules for the events that have come since the last call.
CREATE TABLE test.evaluated (event_id uuid PRIMARY KEY);
CREATE FUNCTION test.evaluate_new() RETURNS void LANGUAGE sql AS $$
    SELECT atlas_link_events(100000);
    DELETE FROM atlas_event_work;
    WITH new AS (INSERT INTO test.evaluated SELECT event_id FROM atlas_events ON CONFLICT DO NOTHING RETURNING event_id)
    INSERT INTO atlas_event_work (event_id, submitted_xid, what, tenant_id)
    SELECT event_id, pg_current_xact_id(), 4, tenant_id FROM new JOIN atlas_events USING (event_id);
    SELECT atlas_link_events(100000);
$$;

-- ---------------------------------------------------------------------
-- Three events within the time, in all orders: the last one of them is the match, whatever came last
-- ---------------------------------------------------------------------
SELECT atlas_create_rule('three', 'CUSTOMER', 'Failed', times => 3, within => '1 hour');
UPDATE atlas_rules SET since = '-infinity';
CREATE FUNCTION test.submit_in_order(order_of_arrival int[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n int;
    result text := '';
BEGIN
    FOREACH n IN ARRAY order_of_arrival LOOP
        PERFORM submit_event('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Failed', payload => jsonb_build_object('n', n),
                             occurred_at => timestamptz '2025-01-01 08:00Z' + n * interval '10 min');
        PERFORM test.evaluate_new();
        result := concat_ws(' ', result, (SELECT string_agg(payload ->> 'n', ',') FROM atlas_rule_matches JOIN atlas_events USING (event_id)));
    END LOOP;
    result := result || coalesce(', wrong: ' || (SELECT string_agg(d::text, ' ') FROM test.differences() d), '');
    RETURN result;
END $$;
CREATE FUNCTION test.forget_events() RETURNS void LANGUAGE sql AS $$
    TRUNCATE atlas_events, atlas_event_queue, atlas_event_links, atlas_event_work, atlas_rule_hits, atlas_rule_matches, test.evaluated
$$;
SELECT arrival, test.submit_in_order(arrival) AS matches, test.forget_events()
  FROM (VALUES ('{1,2,3}'::int[]), ('{1,3,2}'), ('{2,1,3}'), ('{2,3,1}'), ('{3,1,2}'), ('{3,2,1}')) v (arrival);

-- One that comes late makes matches of the next ones, and of no others
SELECT test.submit_in_order('{11,12,13,14,15,16,17,18,19}');
SELECT submit_event('CUSTOMER', :'ada', 'Failed', payload => '{"n": 10.5}', occurred_at => timestamptz '2025-01-01 08:00Z' + 10.5 * interval '10 min') IS NOT NULL;
SELECT test.evaluate_new();
SELECT string_agg(payload ->> 'n', ',' ORDER BY event_id) FROM atlas_rule_matches JOIN atlas_events USING (event_id);
SELECT test.forget_events();

-- ---------------------------------------------------------------------
-- Random events of two objects over a turn of the year, in batches of random sizes, with several rules. Each
-- batch is compared. Every other time statements read the hits.
-- ---------------------------------------------------------------------
DELETE FROM atlas_rules;
SELECT atlas_create_rule('one', 'CUSTOMER', 'Failed', '$.payload.amount > 50'),
       atlas_create_rule('two', 'CUSTOMER', 'Failed', '$.payload.amount > 30', 2, '30 hours'),
       atlas_create_rule('three', 'CUSTOMER', NULL, NULL, 3, '1 day'),
       atlas_create_rule('three related', 'CUSTOMER', NULL, NULL, 3, '5 days', 'RELATED'),
       atlas_create_rule('seven', 'CUSTOMER', 'Failed', NULL, 7, '4 days');
UPDATE atlas_rules SET since = '-infinity';
CREATE FUNCTION test.random_run(seed int, nevents int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    left_over int := nevents;
    batch int;
BEGIN
    PERFORM setseed(seed / 1000.0);
    PERFORM set_config('atlas_events.direct_access', CASE WHEN seed % 2 = 0 THEN 'on' ELSE 'off' END, true);
    WHILE left_over > 0 LOOP
        batch := least(1 + floor(random() * 8)::int, left_over);
        PERFORM submit_event('CUSTOMER', CASE WHEN random() < 0.6 THEN 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e' ELSE 'c2222222-0000-4000-8000-000000000002' END,
                             CASE WHEN random() < 0.8 THEN 'Failed' ELSE 'Other' END, payload => jsonb_build_object('amount', floor(random() * 100)),
                             related_objects => CASE WHEN random() < 0.4 THEN ARRAY[('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', NULL)]::atlas_object[] END,
                             occurred_at => timestamptz '2024-12-25Z' + floor(random() * 14 * 24) * interval '1 hour')
           FROM generate_series(1, batch);
        PERFORM test.evaluate_new();
        IF EXISTS (SELECT FROM test.differences()) THEN
            RAISE EXCEPTION 'with seed % and % events left: %', seed, left_over, (SELECT string_agg(d::text, ' ') FROM test.differences() d);
        END IF;
        left_over := left_over - batch;
    END LOOP;
    RETURN (SELECT count(*) FROM atlas_rule_matches);
END $$;
SELECT count(*) AS runs, sum(n) > 1000 AS has_matches
  FROM generate_series(1, 12) AS s, LATERAL (SELECT test.random_run(s, 60) AS n, test.forget_events()) r;
ROLLBACK;
