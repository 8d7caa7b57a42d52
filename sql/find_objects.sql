-- atlas_find_objects(): the objects of a type that have events that match, by their newest
-- one, page by page. Everything is undone at the end.
BEGIN;
SET LOCAL datestyle = 'ISO';
SET LOCAL timezone = 'UTC';
SELECT test.clean();
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId', label_column => 'name');

SELECT count(submit_event(type, id, name, payload => jsonb_build_object('item', item), occurred_at => at::timestamptz,
                          related_objects => related::atlas_object[]))
  FROM (VALUES
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Checkout Failed', 'lamp', '2025-01-01 08:00', NULL),
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Checkout Failed', 'chair', '2025-01-02 08:00', NULL),
    ('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', 'Checkout Failed', 'lamp', '2025-01-03 08:00', '{"(USER,7,)"}'),
    ('CONVERSATION', '1', 'Refund Promised', 'lamp', '2025-01-04 08:00', '{"(CUSTOMER,,195959)","(CUSTOMER,,200002)","(USER,7,)"}'),
    ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Checkout Completed', 'chair', '2025-01-05 08:00', '{"(CUSTOMER,,195959)"}'),
    ('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', 'Checkout Completed', 'desk', '2025-02-01 08:00', NULL)) v (type, id, name, item, at, related);
SELECT test.index();
SELECT object_id, events, newest_at FROM atlas_find_objects('USER', since => NULL);

-- Primary and related, each event once. Objects of the same event are in the order of their ids.
SELECT object_id, external_id, label, events, newest_at, searched_until FROM atlas_find_objects('CUSTOMER', since => NULL);
SELECT f.object_id, f.newest_event = e.event_id AS is_event_of_that_time
  FROM atlas_find_objects('customer', since => NULL) f JOIN atlas_events e ON e.occurred_at = f.newest_at ORDER BY 1;
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'checkout failed', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'lamp', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'lamp -refund', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', '-checkout', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'nothing', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CONVERSATION', 'checkout', since => NULL);
-- By the name of the event, in any case.
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', name => 'checkout FAILED', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', name => 'Checkout', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'chair', name => 'Checkout Failed', since => NULL);
-- At least so many times
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'checkout', times => 2, since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'checkout', times => 3, since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'checkout', times => 4, since => NULL);
-- since <= occurred_at < until; without more ado the last 30 days
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', since => '2025-01-02 08:00', until => '2025-01-05 08:00');
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', since => '2025-02-01 08:00:00.000001');
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', since => '2025-03-01', until => '2025-01-01');
SELECT label, events FROM atlas_find_objects('CUSTOMER', since => '-infinity', until => 'infinity');
SELECT count(*) FROM atlas_find_objects('CUSTOMER');
SELECT submit_event('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', 'Now') IS NOT NULL;
SELECT test.index();
SELECT label, events FROM atlas_find_objects('CUSTOMER');

-- All of the period counts, whatever page it is, and no object is on two pages. The two
-- customers of the conversation stand together, although the page is full with one.
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'lamp', since => NULL, max_objects => 1);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'lamp', since => NULL, max_objects => 1,
    before_event => (SELECT max(newest_event::text)::uuid FROM atlas_find_objects('CUSTOMER', 'lamp', since => NULL, max_objects => 1)));
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'checkout', since => NULL, until => '2025-02-01', max_objects => 1);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', 'checkout', since => NULL, until => '2025-02-01', max_objects => 1,
    before_event => event_id_at('2025-01-05 08:00'));

-- An object that is gone is found by its events. Its row says nothing more.
DELETE FROM crm."Customers" WHERE name = 'Ben';
SELECT object_id, external_id, label, events FROM atlas_find_objects('CUSTOMER', 'lamp', since => NULL);

-- ---------------------------------------------------------------------
-- Labels
-- ---------------------------------------------------------------------
CREATE VIEW test.label AS SELECT external_id, label FROM atlas_find_objects('CUSTOMER', 'chair', since => NULL);
GRANT SELECT ON test.label TO PUBLIC;
-- Without a label column there is none.
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId');
SELECT * FROM test.label;
-- What is longer than 255 characters is cut.
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId', label_column => 'name');
UPDATE crm."Customers" SET name = repeat('é', 300);
SELECT external_id, length(label), octet_length(label) FROM test.label;
UPDATE crm."Customers" SET name = '';
SELECT external_id, label = '' AS is_empty FROM test.label;
-- A column of another type of text
ALTER TABLE crm."Customers" ALTER name TYPE char(20) USING 'Ada';
SELECT external_id, '[' || label || ']' AS label FROM test.label;
ALTER TABLE crm."Customers" ALTER name TYPE name;
SELECT * FROM test.label;
ALTER TABLE crm."Customers" ALTER name TYPE text;
ALTER TABLE crm."Customers" ALTER name DROP NOT NULL;
UPDATE crm."Customers" SET name = NULL;
SELECT * FROM test.label;
UPDATE crm."Customers" SET name = 'Ada';
SELECT * FROM test.label;
-- A column that is of another type, has another name or is gone
SAVEPOINT labels;
ALTER TABLE crm."Customers" ALTER name TYPE int USING 1;
SELECT * FROM test.label;
ROLLBACK TO labels;
ALTER TABLE crm."Customers" RENAME name TO title;
SELECT * FROM test.label;
ROLLBACK TO labels;
ALTER TABLE crm."Customers" DROP COLUMN name;
SELECT * FROM test.label;
ROLLBACK TO labels;
-- The owner of the table must have the right to read it.
CREATE ROLE regress_atlas_owner;
ALTER TABLE crm."Customers" OWNER TO regress_atlas_owner;
REVOKE ALL ON crm."Customers" FROM regress_atlas_owner;
GRANT USAGE ON SCHEMA crm TO regress_atlas_owner;
SELECT * FROM test.label;
GRANT SELECT ("customerId", "externalId") ON crm."Customers" TO regress_atlas_owner;
SELECT * FROM test.label;
GRANT SELECT (name) ON crm."Customers" TO regress_atlas_owner;
SELECT * FROM test.label;
ROLLBACK TO labels;
-- What cannot be read directly is read by a statement, as the owner. Its errors are not ours.
CREATE VIEW crm.customers_view AS SELECT "customerId", "externalId", upper(name) AS name, 1 / length(name) AS one FROM crm."Customers";
SET LOCAL client_min_messages = warning;
SELECT atlas_register_object_type('CUSTOMER', 'crm.customers_view', 'customerId', 'externalId', label_column => 'name');
SELECT * FROM test.label;
UPDATE crm."Customers" SET name = repeat('é', 300);
SELECT external_id, length(label) FROM test.label;
CREATE OR REPLACE VIEW crm.customers_view AS SELECT "customerId", "externalId", (1 / (length(name) - 300))::text AS name, 1 / length(name) AS one FROM crm."Customers";
SELECT * FROM test.label;
ROLLBACK TO labels;
-- A type that is not connected
SELECT atlas_unregister_object_type('CUSTOMER');
SELECT * FROM test.label;
ROLLBACK TO labels;

-- ---------------------------------------------------------------------
-- What is refused, and who may
-- ---------------------------------------------------------------------
SELECT e.* FROM unnest(ARRAY[
    'SELECT * FROM atlas_find_objects(NULL)',
    'SELECT * FROM atlas_find_objects(''NOTHING'')',
    'SELECT * FROM atlas_find_objects(''USER'', times => 0)',
    'SELECT * FROM atlas_find_objects(''USER'', max_objects => 0)',
    'SELECT * FROM atlas_find_objects(''USER'', max_work => 0)']) s, test.error_of(s) e;
SELECT count(*) FROM atlas_find_objects('CUSTOMER', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
SELECT has_function_privilege('pg_monitor', p.oid, 'EXECUTE') FROM pg_proc p WHERE proname = 'atlas_find_objects';
CREATE ROLE regress_atlas_reader;
GRANT EXECUTE ON FUNCTION atlas_find_objects TO regress_atlas_reader;
SET LOCAL ROLE regress_atlas_reader;
SELECT label, events FROM atlas_find_objects('CUSTOMER', 'chair', since => NULL);
RESET ROLE;
SET LOCAL atlas_events.tenant = 'shop';
SET LOCAL ROLE regress_atlas_reader;
SELECT label, events FROM atlas_find_objects('CUSTOMER', 'chair', since => NULL);
RESET ROLE;
-- Another tenant has its own events of the same object.
SELECT submit_event('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', 'Sat Down', payload => '{"item": "chair"}',
                    occurred_at => '2025-01-01') IS NOT NULL AS submitted;
SELECT test.index();
SELECT object_id, events FROM atlas_find_objects('CUSTOMER', 'chair', since => NULL);
SET LOCAL atlas_events.tenant = '';
SELECT object_id, events FROM atlas_find_objects('CUSTOMER', 'chair', since => NULL);

-- ---------------------------------------------------------------------
-- Pages and budgets, held against a slow definition
-- ---------------------------------------------------------------------
SELECT test.clean();
INSERT INTO crm.agents SELECT i, 'Agent ' || i FROM generate_series(101, 120) i;
-- A number from 0 up to the bound, without it, that looks as if it were drawn.
CREATE FUNCTION test.draw(i int, what text, bound int) RETURNS int LANGUAGE sql IMMUTABLE AS
    $$ SELECT abs(hashtext(what || i)::bigint) % bound $$;
-- Agent 101 has a part in every second event, and there are words for most, 1 of 30 and 1 of 50 events.
SELECT count(submit_event(
        'USER', CASE test.draw(i, 'one', 2) WHEN 0 THEN '101' ELSE (102 + test.draw(i, 'primary', 19))::text END,
        CASE test.draw(i, 'name', 2) WHEN 0 THEN 'Order Placed' ELSE 'Order Sent' END,
        payload => jsonb_build_object('a', CASE test.draw(i, 'rare', 30) WHEN 0 THEN 'gift' ELSE 'own' END,
                                      'b', CASE test.draw(i, 'rarest', 50) WHEN 0 THEN 'diamond' ELSE 'glass' END),
        occurred_at => '2025-01-01'::timestamptz + test.draw(i, 'when', 2000) * interval '40 minutes',
        related_objects => CASE WHEN test.draw(i, 'linked', 3) = 0 THEN
            ARRAY[('USER', 102 + test.draw(i, 'first', 19), NULL), ('USER', 102 + test.draw(i, 'second', 19), NULL)]::atlas_object[] END))
  FROM generate_series(1, 400) i;
SELECT atlas_link_events(10000) > 0;
SELECT test.index();

-- The definition: of each event its agents, and then those of enough events of one word and name
CREATE TABLE test.agents AS
    SELECT e.event_id, e.occurred_at, e.name, e.payload ->> 'a' AS a, e.payload ->> 'b' AS b, o.object_id
      FROM atlas_events e,
           LATERAL (SELECT e.object_id WHERE e.object_type = 'USER'
                    UNION SELECT l.object_id FROM atlas_event_links l WHERE l.event_id = e.event_id AND l.object_type = 'USER') o;
CREATE FUNCTION test.objects(word text, event_name text, times int, since timestamptz, until timestamptz,
                             OUT object_id text, OUT events bigint, OUT newest_event uuid, OUT newest_at timestamptz)
    RETURNS SETOF record LANGUAGE sql AS $$
    SELECT object_id, count(*), max(event_id::text)::uuid, max(occurred_at)
      FROM test.agents
     WHERE (word IS NULL OR word IN (a, b)) AND (event_name IS NULL OR name = event_name)
       AND (since IS NULL OR occurred_at >= since) AND (until IS NULL OR occurred_at < until)
     GROUP BY object_id
    HAVING count(*) >= times
$$;
-- The pages of a search, one after another
CREATE FUNCTION test.pages(word text, event_name text, times int, since timestamptz, until timestamptz,
                           max_objects int, max_work int,
                           OUT page int, OUT object_id text, OUT events bigint, OUT newest_event uuid, OUT newest_at timestamptz)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    begins uuid;
    ends uuid;
    row record;
BEGIN
    page := 0;
    LOOP
        page := page + 1;
        ends := NULL;
        FOR row IN SELECT * FROM atlas_find_objects('USER', word, event_name, NULL, times, since, until, begins, max_objects, max_work) LOOP
            ASSERT (row.newest_event < begins) IS NOT FALSE AND (row.newest_event <= ends) IS NOT FALSE, 'objects are not in order';
            ASSERT (row.object_id IS NULL) = (row.searched_until IS NOT NULL), 'a row is neither an object nor the end of a page';
            ends := COALESCE(row.searched_until, row.newest_event);
            CONTINUE WHEN row.object_id IS NULL;
            SELECT row.object_id, row.events, row.newest_event, row.newest_at INTO object_id, events, newest_event, newest_at;
            RETURN NEXT;
        END LOOP;
        EXIT WHEN ends IS NULL;
        ASSERT (ends < begins) IS NOT FALSE, 'no progress';
        begins := ends;
    END LOOP;
END
$$;
-- How often the pages and the definition differ: never.
CREATE FUNCTION test.differences(words text[], OUT searches bigint, OUT objects numeric, OUT differences numeric) LANGUAGE sql AS $$
    SELECT count(*), sum(d.n), sum(d.differences)
      FROM unnest(words) word, unnest(ARRAY[NULL, 'Order Sent']) event_name,
           (VALUES (1), (3)) t (times), (VALUES (NULL::timestamptz, NULL::timestamptz), ('2025-01-10', '2025-02-03 04:00')) p (since, until),
           (VALUES (3, NULL), (7, 100), (1000, 500)) b (max_objects, max_work),
           LATERAL (SELECT count(a) AS n, count(*) FILTER (WHERE a IS DISTINCT FROM b) AS differences
                      FROM test.objects(word, event_name, times, since, until) a
                      FULL JOIN (SELECT object_id, events, newest_event, newest_at
                                   FROM test.pages(word, event_name, times, since, until, max_objects, max_work)) b
                        ON a.object_id = b.object_id AND a.newest_event = b.newest_event) d
$$;
SELECT * FROM test.differences('{NULL,diamond}');
SET LOCAL atlas_events.direct_access = off;
SELECT count(*) AS objects, count(*) FILTER (WHERE a IS DISTINCT FROM b) AS differences
  FROM test.objects('own', NULL, 3, NULL, NULL) a
  FULL JOIN (SELECT object_id, events, newest_event, newest_at FROM test.pages('own', NULL, 3, NULL, NULL, 7, 1000)) b
    ON a.object_id = b.object_id;
SET LOCAL atlas_events.direct_access = on;
-- The smallest budget comes to the end, too.
SELECT count(*) AS objects, max(page) > 20 AS many_pages FROM test.pages('own', NULL, 3, NULL, NULL, 7, 1);
ROLLBACK;
