-- atlas_timeline(): the events of an object, primary and related together,
-- newest first, page by page.
SET datestyle = 'ISO';
SET timezone = 'UTC';
SELECT test.clean();

SELECT count(submit_event(type, id, name, 'd ' || name, '📖', payload => jsonb_build_object('name', name), occurred_at => at::timestamptz,
                          related_objects => related::atlas_object[]))
  FROM (VALUES
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'oldest', '2024-05-01 08:00', NULL),
    ('CONVERSATION', '1', 'related', '2025-01-02 08:00', '{"(CUSTOMER,c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e,)"}'),
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'both', '2025-01-03 08:00', '{"(CUSTOMER,,195959)","(USER,7,)"}'),
    ('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', 'another''s', '2025-01-04 08:00', '{"(USER,7,)"}'),
    ('USER', '7', 'related by external id', '2025-02-05 08:00', '{"(USER,8,)","(CUSTOMER,,195959)"}'),
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'newest', '2025-02-06 08:00', NULL)) v (type, id, name, at, related);

-- Before linking, an event is on the timeline of its primary object only.
SELECT role, name, object_type, processing_status FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e');
SELECT atlas_link_events();
\x on
SELECT occurred_at, role, name, description, icon, payload, object_type, object_id, external_id, processing_status
  FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e') LIMIT 2;
\x off
SELECT occurred_at, role, name, object_type, processing_status FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e');
SELECT role, name FROM atlas_timeline('USER', '7');
SELECT role, name FROM atlas_timeline('CONVERSATION', '1');

-- The type by any of its names, the id in any case.
SELECT count(*) FROM atlas_timeline('customer', 'C19A7D78-37A1-4EE4-9E68-AAE0D4C93F7E');
SELECT count(*) FROM atlas_timeline('user (agent)', '7');
-- But otherwise as it is.
SELECT count(*) FROM atlas_timeline('USER', '07');
SELECT count(*) FROM atlas_timeline('COMPANY', 'ACME');

-- Nobody there, or nothing happened.
SELECT * FROM atlas_timeline('CONVERSATION', '404');
SELECT * FROM atlas_timeline('CONVERSATION', '2');
SELECT * FROM atlas_timeline('CUSTOMER', 'not an id');

-- The object, or its table, may have gone: its events stay.
BEGIN;
DELETE FROM crm."Customers";
SELECT count(*) FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e');
DROP TABLE crm."Customers";
SELECT count(*) FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e');
SELECT atlas_unregister_object_type('CUSTOMER');
SELECT count(*) FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e');
ROLLBACK;

-- By the id in the submitter's own system, or by both ids. It is only in the object's row,
-- so the object must be there.
SELECT role, name FROM atlas_timeline('CUSTOMER', external_id => '195959');
SELECT count(*) FROM atlas_timeline('customer', 'C19A7D78-37A1-4EE4-9E68-AAE0D4C93F7E', external_id => '195959');
SELECT count(*) FROM atlas_timeline('CONVERSATION', external_id => '9002');
SELECT * FROM atlas_timeline('CUSTOMER', external_id => 'nobody');
SELECT * FROM atlas_timeline('CUSTOMER', 'c4444444-0000-4000-8000-000000000004', external_id => '195959');
SELECT * FROM atlas_timeline('CUSTOMER', 'not an id', external_id => '195959');
SELECT * FROM atlas_timeline('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', external_id => '195959');
SELECT * FROM atlas_timeline('USER', external_id => '7');
BEGIN;
DELETE FROM crm."Customers" WHERE "externalId" = '195959';
SELECT * FROM atlas_timeline('CUSTOMER', external_id => '195959');
ROLLBACK;

-- Of a name: it is compared as it is.
SELECT role, name FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', name => 'both');
SELECT role, name FROM atlas_timeline('USER', '7', name => 'both');
SELECT count(*) FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', name => 'BOTH');
SELECT count(*) FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', name => '');

-- Of a period, since <= occurred_at < until, to the microsecond. Times that no event can have bound nothing.
SELECT since, until, array_agg(name ORDER BY occurred_at) AS names
  FROM (VALUES ('2025-01-02 08:00', '2025-01-03 08:00'), ('2025-01-02 08:00:00.000001', '2025-01-03 08:00:00.000001'),
               ('2025-01-02 08:00', NULL), (NULL, '2025-01-02 08:00'), (NULL, '2024-05-01 08:00'), ('2025-02-06 08:00:00.000001', NULL),
               ('2025-02-06 08:00', '2025-02-06 08:00'), ('2025-02-07', '2024-01-01'), ('-infinity', 'infinity'), ('infinity', NULL), (NULL, '-infinity'),
               ('0001-01-01', '12000-01-01'), ('12000-01-01', NULL), (NULL, '1969-12-31')) v (since, until)
  LEFT JOIN LATERAL (SELECT name, occurred_at FROM atlas_timeline('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e',
                                                                 since => v.since::timestamptz, until => v.until::timestamptz)) t ON true
 GROUP BY since, until ORDER BY since, until;

-- All together, in pages.
SELECT t.name, t.event_id AS last FROM atlas_timeline('CUSTOMER', NULL, NULL, 1, '195959', NULL, '2025-01-01', '2025-02-06') t \gset
\echo :name
SELECT name FROM atlas_timeline('CUSTOMER', NULL, :'last', 1, '195959', NULL, '2025-01-01', '2025-02-06');
SELECT name FROM atlas_timeline('CUSTOMER', NULL, :'last', 10, '195959', 'related', '2025-01-01', '2025-02-06');

-- What is asked wrongly.
SELECT * FROM atlas_timeline('STARSHIP', '1');
SELECT * FROM atlas_timeline(NULL, '1');
SELECT * FROM atlas_timeline('USER');
SELECT * FROM atlas_timeline('USER', '7', max_events => 0);

-- ---------------------------------------------------------------------
-- Statuses
-- ---------------------------------------------------------------------
BEGIN;
SELECT submit_event('CHATBOT', '3', 'linked') IS NOT NULL;
SELECT submit_event('CHATBOT', '3', 'waits', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;
SELECT submit_event('CHATBOT', '3', 'to be tried again', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) AS again \gset
SELECT submit_event('CHATBOT', '3', 'failed', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) AS failed \gset
UPDATE atlas_event_queue SET next_attempt_at = 'infinity', attempts = 5 WHERE event_id = :'failed';
UPDATE atlas_event_queue SET next_attempt_at = now() + interval '1 hour', attempts = 1 WHERE event_id = :'again';
SELECT name, processing_status FROM atlas_timeline('CHATBOT', '3');
ROLLBACK;

-- ---------------------------------------------------------------------
-- Pages
-- ---------------------------------------------------------------------

-- 400 events, many of them at the same time, half of them related ones, over
-- several months.
SELECT count(submit_event(CASE WHEN n % 2 = 0 THEN 'CHATBOT' ELSE 'USER' END, CASE WHEN n % 2 = 0 THEN '3' ELSE '7' END, 'page ' || n,
                          occurred_at => timestamptz '2024-10-01' + (n / 10) * interval '3 days',
                          related_objects => CASE WHEN n % 2 = 1 THEN ARRAY[('CHATBOT', '3', NULL)]::atlas_object[] END))
  FROM generate_series(1, 400) n;
SELECT atlas_link_events();

CREATE FUNCTION pages(size int) RETURNS TABLE (pages bigint, events bigint, different bigint, in_order boolean) LANGUAGE plpgsql AS $$
DECLARE
    last uuid;
    page uuid[];
    seen uuid[] := '{}';
BEGIN
    pages := 0;
    LOOP
        SELECT array_agg(event_id ORDER BY n) INTO page
          FROM atlas_timeline('CHATBOT', '3', last, size) WITH ORDINALITY AS t (event_id, b, c, d, e, f, g, h, i, j, k, n);
        EXIT WHEN page IS NULL OR pages > 1000;
        pages := pages + 1;
        seen := seen || page;
        last := page[array_length(page, 1)];
    END LOOP;
    RETURN QUERY SELECT pages, count(*), count(DISTINCT id), array_agg(id ORDER BY n) = array_agg(id ORDER BY id DESC)
                   FROM unnest(seen) WITH ORDINALITY s (id, n);
END
$$;
SELECT size, p.* FROM (VALUES (1), (7), (50), (399), (400), (1000)) v (size), pages(size) p;
-- 50 unless said otherwise.
SELECT count(*) FROM atlas_timeline('CHATBOT', '3');
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', NULL, NULL);
-- Pages continue from any id, also that of an event that is not there.
SELECT count(*), max(occurred_at) FROM atlas_timeline('CHATBOT', '3', '01940000-0000-7000-8000-000000000000', 1000);
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', '00000000-0000-0000-0000-000000000000');

-- A page reads little more than itself, however long the timeline is.
SET enable_seqscan = off;
BEGIN;
SELECT test.rows_read() AS before \gset
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', max_events => 10);
SELECT test.rows_read() - :before BETWEEN 10 AND 60 AS reads_a_page;
COMMIT;
BEGIN;
SELECT test.rows_read() AS before \gset
SELECT count(*) FROM atlas_timeline('CHATBOT', '3', '01940000-0000-7000-8000-000000000000', 10);
SELECT test.rows_read() - :before BETWEEN 10 AND 60 AS reads_a_page;
COMMIT;

-- ---------------------------------------------------------------------
-- Each tenant has timelines of its own
-- ---------------------------------------------------------------------
SET atlas_events.tenant = 'globex';
SELECT * FROM atlas_timeline('CHATBOT', '3');
SELECT submit_event('CHATBOT', '3', 'globex', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;
SELECT atlas_link_events();
SELECT role, name FROM atlas_timeline('CHATBOT', '3');
SELECT role, name FROM atlas_timeline('USER', '7');
RESET atlas_events.tenant;
SELECT count(*), count(*) FILTER (WHERE name = 'globex') AS globex FROM atlas_timeline('CHATBOT', '3', NULL, 1000);

DROP FUNCTION pages;
