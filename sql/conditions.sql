-- Conditions on events: atlas_has_event(), atlas_count_events(), and the condition of
-- atlas_find_objects(). Everything is undone at the end.
BEGIN;
SET LOCAL datestyle = 'ISO';
SET LOCAL timezone = 'America/New_York';
SELECT test.clean();
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId', label_column => 'name');
\set ada 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
\set ben 'c2222222-0000-4000-8000-000000000002'
\set cy 'c3333333-0000-4000-8000-000000000003'

SELECT count(submit_event('CUSTOMER', :'ada', name, description, icon, '195959', payload::jsonb, related::atlas_object[], at::timestamptz))
  FROM (VALUES
    ('Paid', 'By card', '💳', '{"amount": 120.50, "currency": "USD", "items": [{"sku": "CF-1", "qty": 1}, {"sku": "KT-9", "qty": 3}]}', NULL, '2025-01-01 08:00Z'),
    ('Paid', NULL, NULL, '{"amount": 99, "currency": "EUR", "items": [], "gift": true}', '{"(USER,7,)","(CUSTOMER,,200002)"}', '2025-01-01 09:30:00.5Z'),
    ('Payment Failed', '<b>Declined</b>', NULL, '{"amount": "120.50", "reason": null, "gift": false}', NULL, '2025-01-02 08:00Z'),
    ('Signed In', NULL, NULL, NULL, NULL, '2025-01-03 08:00Z')) v (name, description, icon, payload, related, at);
SELECT atlas_link_events();

-- ---------------------------------------------------------------------
-- Forms of conditions, and how many of Ada's four events satisfy each
-- ---------------------------------------------------------------------
SELECT condition, atlas_count_events('CUSTOMER', :'ada', condition => condition) AS events
  FROM unnest(ARRAY[
    -- predicates
    '$.payload.amount > 100', '$.payload.amount > 100 && $.payload.currency == "USD"', '$.payload.amount <= 99 || $.name == "Signed In"',
    '!($.payload.gift == true)', '$.payload.gift == false', '$.name starts with "Pa"', '$.payload.amount == 120.5', '$.payload.amount == "120.50"',
    '$.payload.amount + 1 > 100', '$.payload.amount * 2 == 198', '-$.payload.amount < -100', '$.payload.items.size() == 0', '$.payload.items[0].qty == 1',
    '$.payload.items[last].sku == "KT-9"', '$.payload.items[0 to 1].qty == 3', '$.payload.items.qty > 2', 'exists($.payload.items[*] ? (@.qty > 2))', '$.payload.amount.type() == "string"',
    '$.payload.amount.double() > 120', '$.payload.amount.ceiling() == 121', '$.payload.amount.floor() == 120', '$.payload.amount.abs() == 99',
    '$.payload.keyvalue().key == "gift"', '$.payload.* == "USD"', '$.payload.reason == null', '$.payload == null', '$.description != null', 'exists($.payload.reason)',
    '$.payload.items ? (@.sku == "CF-1").qty == 1',
    -- other paths
    '$.payload.items[*] ? (@.qty > 2)', '$.payload.gift', '$.payload.items', '$.payload.items[*]', '$ ? (@.payload.amount > 50 && @.name == "Paid")', '$', '$.nothing', 'strict $.payload.items[*]',
    '$.payload.amount ? (@ > 100)', 'false',
    -- every field of the event
    '$.objectType == "CUSTOMER"', '$.objectId starts with "c19a7d78"', '$.externalId == "195959"', '$.icon == "💳"', '$.icon == null', '$.description == "<b>Declined</b>"',
    '$.eventId starts with "0194"', '$.occurredAt == "2025-01-01T08:00:00+00:00"', '$.occurredAt == "2025-01-01T09:30:00.5+00:00"', '$.occurredAt >= "2025-01-01T09:30" && $.occurredAt < "2025-01-03"',
    '$.receivedAt > $.occurredAt', '$.relatedObjects == null', '$.relatedObjects[*].objectType == "USER"', '$.relatedObjects.size() == 2', '$.keyvalue().key == "processingStatus"', '$.outcome', '$.relatedObjects[*].outcome', '$.linkedAt'
  ]::jsonpath[]) WITH ORDINALITY AS c (condition, n) ORDER BY n;
-- The keys of an event, and the forms of values that have no more than one
SELECT key, atlas_count_events('CUSTOMER', :'ada', condition => format('$.keyvalue().key == "%s"', key)::jsonpath) AS events
  FROM unnest(ARRAY['eventId', 'objectType', 'objectId', 'externalId', 'name', 'description', 'icon', 'payload', 'relatedObjects', 'occurredAt', 'receivedAt',
                    'processingStatus', 'attempts', 'lastError', 'linkedAt', 'tenantId', 'idempotencyKey']) key;
SELECT atlas_count_events('CUSTOMER', :'ada', condition => '$.keyvalue() ? (@.key == "payload").value.items.size() == 2');

-- What is unknown is not true, and its negation is not either: a string compared with a
-- number, an error in strict mode, a sum of strings, a division by zero
SELECT condition, atlas_count_events('CUSTOMER', :'ada', 'Payment Failed', condition::jsonpath) AS is_true,
       atlas_count_events('CUSTOMER', :'ada', 'Payment Failed', ('!(' || condition || ')')::jsonpath) AS is_false,
       atlas_count_events('CUSTOMER', :'ada', 'Payment Failed', ('(' || condition || ') is unknown')::jsonpath) AS is_unknown
  FROM unnest(ARRAY['$.payload.amount > 100', '$.payload.amount + 1 > 100', '1 / ($.payload.nothing.size() - 1) > 0', '1 / 0 > 0', '$.payload.nothing > 0',
                    '$.payload > 0', '$.payload.reason.double() > 0', '$.payload.amount == "120.50"', '$.payload.amount == "1"']) condition;
SELECT condition, atlas_count_events('CUSTOMER', :'ada', 'Payment Failed', condition) AS is_true
  FROM unnest('{strict $.payload.nothing == 1,strict ($.payload.nothing == 1) is unknown,strict $.payload.nothing,strict $.payload.amount[0],$.payload.amount[0]}'::jsonpath[]) condition;

-- ---------------------------------------------------------------------
-- What is refused, with all problems at once
-- ---------------------------------------------------------------------
CREATE FUNCTION test.condition_problems(condition text, OUT code text, OUT problem text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT p ->> 'code', (p ->> 'field') || ': ' || (p ->> 'message')
      FROM test.error_of(format('SELECT atlas_has_event(''CUSTOMER'', ''x'', condition => %L)', condition)) e, json_array_elements(e.detail::json) p
     WHERE e.code = 'PT400' AND e.message = 'Invalid Event'
$$;
SELECT condition, p.* FROM unnest(ARRAY[
    '$.**', '$.payload.**.amount > 1', '$.payload.**{2} == 1', '$.name like_regex "^P"', '$.payload.items[*] ? (@.sku like_regex "^C" flag "i")', '$limit', '$.payload.amount > $limit', '$.payload.when.datetime() < "2025-01-01".datetime()',
    '$.payload.items[$n]', '$.payload.items[0 to $.payload.**.n]', '-$.a.** + $.b.datetime("YYYY") > 1', 'exists($.a ? (!((@.b.** == 1) is unknown)))', '("abc" like_regex "a") is unknown', '$.payload."a key"."1st"[0, 2 to last].*[*].size().** ? (@ > 1)',
    '$.**.a like_regex "a" || $.payload.name like_regex "b" && $x == $y.z || !($.last.datetime() > 1)', '$[last].**'
  ]) WITH ORDINALITY AS c (condition, n) LEFT JOIN LATERAL test.condition_problems(condition) p ON true ORDER BY n;
-- At most a hundred, and the place is not longer than can be read
SELECT count(*), max(problem) FILTER (WHERE code = 'too_many') FROM test.condition_problems('$.** == 1' || repeat(' || $.** == 1', 500));
SELECT code, length(problem) FROM test.condition_problems('$' || repeat('.long_key', 100) || '.**');
SELECT code, problem FROM test.condition_problems('$."' || repeat('ø', 300) || '".**');
SELECT code, length(problem) FROM test.condition_problems('$' || repeat('long_name', 100));
SELECT code, problem FROM test.condition_problems('$"a' || repeat('ø', 150) || '"');
-- What newer versions of PostgreSQL know is refused by them as well; older ones do not read it.
SELECT method, e.code IN ('PT400', '42601') AS is_refused
  FROM unnest(ARRAY['bigint', 'boolean', 'date', 'decimal', 'integer', 'number', 'string', 'time', 'time_tz', 'timestamp', 'timestamp_tz', 'datetime']) method,
       LATERAL test.error_of(format($$SELECT atlas_has_event('CUSTOMER', 'x', condition => '$.payload.a.%s() == 1')$$, method)) e;
-- The other functions check conditions, too.
SELECT code, message FROM test.error_of($$SELECT atlas_count_events('CUSTOMER', 'x', condition => '$.**')$$);
SELECT code, message FROM test.error_of($$SELECT * FROM atlas_find_objects('CUSTOMER', condition => '$.**')$$);
-- Depth
SELECT code FROM test.error_of(format($$SELECT atlas_has_event('CUSTOMER', 'x', condition => '%s$.a == 1%s')$$, repeat('!(', 300), repeat(')', 300)));
SELECT DISTINCT code FROM generate_series(1000, 20000, 1000) n, test.error_of(format($$SELECT atlas_has_event('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', condition => '%s$.a == 1%s')$$, repeat('!(', n), repeat(')', n))) WHERE code NOT IN ('54001', '42601');

-- ---------------------------------------------------------------------
-- Objects, names, times, windows
-- ---------------------------------------------------------------------
-- An event counts for its primary object and for related ones that are linked.
SELECT object, atlas_count_events(type, id) AS events, atlas_has_event(type, id) AS has, atlas_has_event(type, id, 'Paid') AS has_paid, atlas_count_events(type, id, condition => '$.payload.currency == "EUR"') AS eur
  FROM (VALUES ('Ada', 'CUSTOMER', :'ada'), ('Ben', 'customer', :'ben'), ('Cy', 'Customer', :'cy'), ('Grace', 'agent', '7'), ('Grace', 'USER (AGENT)', '7'), ('nobody', 'CUSTOMER', 'c4444444-0000-4000-8000-000000000004'), ('no id', 'CUSTOMER', 'x'), ('upper', 'CUSTOMER', upper(:'ada'))) v (object, type, id);
-- Names are compared as those of a timeline are.
SELECT name, atlas_count_events('CUSTOMER', :'ada', name) AS events, (SELECT count(*) FROM atlas_timeline('CUSTOMER', :'ada', name => name)) AS on_timeline FROM unnest('{Paid,paid,"Paid ",Pay,"Payment Failed",""}'::text[]) name;
SELECT times, atlas_has_event('CUSTOMER', :'ada', times => times) AS has, atlas_has_event('CUSTOMER', :'ada', 'Paid', times => times) AS has_paid,
       atlas_has_event('CUSTOMER', :'ada', 'Paid', '$.payload.amount > 100', times => times) AS has_large FROM generate_series(1, 5) times;
-- Null is no object; everything else that is null does not count.
SELECT atlas_has_event(NULL, 'x') IS NULL, atlas_has_event('CUSTOMER', NULL) IS NULL, atlas_count_events(NULL, 'x') IS NULL, atlas_count_events('CUSTOMER', NULL) IS NULL;
SELECT atlas_count_events('CUSTOMER', :'ada', NULL, NULL, NULL), atlas_has_event('CUSTOMER', :'ada', NULL, NULL, NULL);
SELECT call, e.code, e.message, e.detail FROM unnest(ARRAY[
    $$atlas_has_event('CUSTOMER', 'x', times => 0)$$, $$atlas_has_event('CUSTOMER', 'x', times => -1)$$, $$atlas_has_event('CUSTOMER', 'x', times => NULL)$$, $$atlas_has_event('THING', 'x')$$, $$atlas_count_events('THING', 'x')$$, $$atlas_has_event('', 'x')$$,
    $$atlas_has_event('CUSTOMER', 'x', within => '300000 years')$$]) call LEFT JOIN LATERAL test.error_of('SELECT ' || call) e ON true;
-- occurred_at > now() - within, to the microsecond
SELECT count(submit_event('CUSTOMER', :'cy', 'Now', occurred_at => now() - at)) FROM unnest('{0,1 hour,1 day,7 days}'::interval[]) at;
SELECT within, atlas_count_events('CUSTOMER', :'cy', within => within) AS events, atlas_has_event('CUSTOMER', :'cy', within => within) AS has
  FROM unnest('{0,1 microsecond,1 hour,"1 hour 1 microsecond",1 day,"1 day 1 microsecond",7 days,8 days,-1 day,1 year}'::interval[]) within;
SELECT atlas_count_events('CUSTOMER', :'cy', 'Now', '$.name == "Now"', '2 days');
-- No more is read than is needed.
CREATE FUNCTION test.read_by(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := test.rows_read();
BEGIN
    EXECUTE statement;
    RETURN test.rows_read() - before;
END
$$;
SELECT test.read_by($$SELECT atlas_has_event('CUSTOMER', 'c3333333-0000-4000-8000-000000000003')$$) AS one, test.read_by($$SELECT atlas_has_event('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', times => 2)$$) AS two,
       test.read_by($$SELECT atlas_count_events('CUSTOMER', 'c3333333-0000-4000-8000-000000000003')$$) AS all_events, test.read_by($$SELECT atlas_count_events('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', within => '2 days')$$) AS of_two_days;

-- The same by statements
SET LOCAL atlas_events.direct_access = off;
SELECT atlas_count_events('CUSTOMER', :'ada') AS events, atlas_count_events('CUSTOMER', :'ada', 'Paid', '$.payload.amount > 100') AS large, atlas_count_events('USER', '7', condition => '$.payload.gift == true && $.relatedObjects[1].externalId == "200002"') AS related,
       atlas_count_events('CUSTOMER', :'cy', within => '1 day') AS of_a_day, atlas_has_event('CUSTOMER', :'ada', times => 4) AS four, atlas_has_event('CUSTOMER', :'ada', times => 5) AS five;
SET LOCAL atlas_events.direct_access = on;

-- ---------------------------------------------------------------------
-- Where they can be called
-- ---------------------------------------------------------------------
SELECT name FROM crm."Customers" WHERE atlas_has_event('CUSTOMER', "customerId"::text, 'Paid', '$.payload.amount > 50', times => 2);
SELECT name, CASE WHEN atlas_has_event('CUSTOMER', "customerId"::text, 'Payment Failed') THEN 'at risk' WHEN atlas_has_event('CUSTOMER', "customerId"::text) THEN 'active' ELSE 'silent' END AS state FROM crm."Customers" ORDER BY 1;
-- Another condition with each row
SELECT condition, atlas_count_events('CUSTOMER', :'ada', condition => condition) AS events FROM (VALUES (1, '$.payload.amount > 100'::jsonpath), (2, NULL), (3, '$.payload.amount > 100'), (4, '$.payload.amount > 1000'), (5, '$.payload.amount > 10')) v (n, condition) ORDER BY n;

-- A policy, by the rights of whoever reads the table
CREATE ROLE regress_atlas_agent;
GRANT USAGE ON SCHEMA crm TO regress_atlas_agent;
CREATE TABLE crm.offers (customer uuid, offer text);
INSERT INTO crm.offers SELECT "customerId", 'for ' || name FROM crm."Customers";
ALTER TABLE crm.offers ENABLE ROW LEVEL SECURITY;
CREATE POLICY paying ON crm.offers USING (atlas_has_event('CUSTOMER', customer::text, 'Paid'));
GRANT SELECT, INSERT ON crm.offers TO regress_atlas_agent;
SET LOCAL ROLE regress_atlas_agent;
SAVEPOINT denied;
SELECT offer FROM crm.offers;
ROLLBACK TO denied;
RESET ROLE;
GRANT EXECUTE ON FUNCTION atlas_has_event, atlas_count_events TO regress_atlas_agent;
SET LOCAL ROLE regress_atlas_agent;
SELECT offer FROM crm.offers;
SELECT code FROM test.error_of($$INSERT INTO crm.offers VALUES ('c3333333-0000-4000-8000-000000000003', 'x')$$);
SELECT code FROM test.error_of('SELECT * FROM atlas_events');
RESET ROLE;

-- A trigger, which sees what was submitted in the same transaction
CREATE FUNCTION test.refuse_offer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF atlas_count_events('CUSTOMER', NEW.customer::text, 'Payment Failed', '$.payload.amount.double() > 100') >= 2 THEN
        RAISE EXCEPTION 'two payments have failed';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse BEFORE INSERT ON crm.offers FOR EACH ROW EXECUTE FUNCTION test.refuse_offer();
INSERT INTO crm.offers VALUES (:'ada', 'still good') RETURNING offer;
SELECT submit_event('CUSTOMER', :'ada', 'Payment Failed', payload => '{"amount": 500}') IS NOT NULL AS submitted;
SELECT message FROM test.error_of($$INSERT INTO crm.offers VALUES ('c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'no more')$$);

-- Parallel workers give the same answer, with the tenant of the session and the rights of the caller.
CREATE TABLE crm.many AS SELECT "customerId"::text AS id, n FROM crm."Customers", generate_series(1, 3000) n;
GRANT SELECT ON crm.many TO regress_atlas_agent;
ANALYZE crm.many;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
CREATE FUNCTION test.in_parallel(tenant text) RETURNS TABLE (workers text, rows_found bigint) LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    PERFORM set_config('atlas_events.tenant', tenant, true);
    SET LOCAL ROLE regress_atlas_agent;
    EXECUTE $q$EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off, FORMAT json)
        SELECT count(*) FROM crm.many WHERE atlas_has_event('CUSTOMER', id, 'Paid', '$.payload.amount < 100') AND atlas_count_events('customer', id) > 0$q$ INTO plan;
    rows_found := (SELECT count(*) FROM crm.many WHERE atlas_has_event('CUSTOMER', id, 'Paid', '$.payload.amount < 100') AND atlas_count_events('customer', id) > 0);
    RESET ROLE;
    workers := jsonb_path_query_array(plan::jsonb, '$.**."Workers Launched"') ->> 0;
    RETURN NEXT;
END
$$;
SELECT workers > '0' AS has_workers, rows_found FROM test.in_parallel('');
SELECT rows_found FROM test.in_parallel('acme');
SELECT set_config('atlas_events.tenant', '', true) = '' AS no_tenant;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- Tenants: that of the session, for superusers too
SET LOCAL atlas_events.tenant = 'acme';
SELECT atlas_count_events('CUSTOMER', :'ada') AS of_acme;
SELECT submit_event('CUSTOMER', :'ada', 'Paid', payload => '{"amount": 7}') IS NOT NULL AS submitted;
SELECT atlas_count_events('CUSTOMER', :'ada') AS of_acme, atlas_has_event('CUSTOMER', :'ada', condition => '$.payload.amount > 7') AS has_large;
SET LOCAL atlas_events.tenant = '';
SELECT atlas_count_events('CUSTOMER', :'ada', 'Paid') AS of_none;

-- ---------------------------------------------------------------------
-- atlas_find_objects()
-- ---------------------------------------------------------------------
SELECT test.index() > 0 AS has_documents;
SELECT label, events FROM atlas_find_objects('CUSTOMER', condition => '$.payload.amount > 50', since => NULL);
SELECT label, events FROM atlas_find_objects('CUSTOMER', condition => '$.payload.amount > 50', times => 2, since => NULL);
SELECT label, events FROM atlas_find_objects('CUSTOMER', 'card', condition => '$.payload.amount > 50', since => NULL);
SELECT label, events FROM atlas_find_objects('CUSTOMER', name => 'payment failed', condition => '$.payload.amount.type() == "string"', since => NULL);
SELECT label, events FROM atlas_find_objects('CUSTOMER', condition => '$.payload.amount > 5000', since => NULL);
SELECT label, events FROM atlas_find_objects('USER', condition => '$.payload.gift == true', since => NULL);
SELECT label, events, newest_at FROM atlas_find_objects('CUSTOMER', condition => '$.payload.amount > 50', since => NULL, until => '2025-01-02', max_objects => 1);
-- An event for which the condition is evaluated costs one more.
CREATE FUNCTION test.least_work(condition jsonpath) RETURNS bigint LANGUAGE sql AS $$
    SELECT min(work) FROM generate_series(1, 200) work
     WHERE NOT EXISTS (SELECT FROM atlas_find_objects('CUSTOMER', 'paid', NULL, condition, since => NULL, max_work => work::int) WHERE searched_until IS NOT NULL)
$$;
SELECT test.least_work('$.name == "Paid"') - test.least_work(NULL) AS more_work;
SET LOCAL atlas_events.direct_access = off;
SELECT label, events FROM atlas_find_objects('CUSTOMER', condition => '$.payload.amount > 50', since => NULL);
SET LOCAL atlas_events.direct_access = on;

-- ---------------------------------------------------------------------
-- The same as PostgreSQL's own functions say of the event as jsonb, for all sample events
-- ---------------------------------------------------------------------
SELECT test.clean();
SET LOCAL timezone = 'UTC';
CREATE TEMPORARY TABLE lines (n int GENERATED ALWAYS AS IDENTITY, line text) ON COMMIT DROP;
\copy lines (line) FROM 'examples/events.ndjson' WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')
CREATE TEMPORARY TABLE people (i, id) ON COMMIT DROP AS VALUES (0, :'ada'::text), (1, :'ben'), (2, :'cy');
SELECT (r ->> 'accepted')::int = (SELECT count(*) FROM lines) AS all_are_accepted
  FROM (SELECT submit_events(json_agg((line::jsonb - 'externalId' || jsonb_build_object('objectType', 'CUSTOMER', 'objectId', p.id,
                                           'occurredAt', timestamptz '2025-05-01' + n * interval '7 hours 123457 microseconds')) ORDER BY n)::text) AS r
          FROM lines JOIN people p ON p.i = n % 3) s;
SELECT atlas_link_events();
SELECT test.index() = (SELECT count(*) FROM lines) AS has_documents;
CREATE TEMPORARY TABLE events_as_jsonb ON COMMIT DROP AS
    SELECT o.object_id, jsonb_build_object('eventId', e.event_id, 'objectType', e.object_type, 'objectId', e.object_id, 'externalId', external_id, 'name', name, 'description', description,
               'icon', icon, 'payload', payload, 'relatedObjects', related_objects, 'occurredAt', occurred_at, 'receivedAt', received_at) AS event
      FROM atlas_events e
      JOIN (SELECT event_id, object_id FROM atlas_events UNION SELECT event_id, object_id FROM atlas_event_links WHERE object_type = 'CUSTOMER') o USING (event_id);
-- The event as the API's view shows it has the same values for all of these keys, but for outcomes.
SELECT count(*) AS differences
  FROM events_as_jsonb j JOIN atlas_event_logs l ON l.event_id = (j.event ->> 'eventId')::uuid
 WHERE j.event - 'relatedObjects' <> jsonb_build_object('eventId', l.event_id, 'objectType', l.object_type, 'objectId', l.object_id, 'externalId', l.external_id, 'name', l.name,
               'description', l.description, 'icon', l.icon, 'payload', l.payload, 'occurredAt', l.occurred_at, 'receivedAt', l.received_at)
    OR l.related_objects IS NOT NULL AND
       NOT (j.event -> 'relatedObjects') <@ l.related_objects;
-- Conditions from parts: paths, tests of their values, forms, modes
-- Every fifth of all of them: their numbers have no common divisor with five.
CREATE TEMPORARY TABLE conditions ON COMMIT DROP AS
    SELECT * FROM (
    SELECT row_number() OVER () AS n, (mode || ' ' || format(form, format(test, path), path))::jsonpath AS condition, is_predicate
      FROM unnest(ARRAY['$.name', '$.payload', '$.payload.count', '$.payload.*', '$.payload.*.*', '$.payload[*]', '$.payload.items[*].qty', '$.payload.*[0]', '$.payload.*[last].*', '$.payload.keyvalue().value', '$.payload.keyvalue().key',
                        '$.relatedObjects[*].objectType', '$.relatedObjects.size()', '$.payload.*.type()', '$.payload.*.double()', '$.payload.*.size()', '($.payload.count + 1)', '(-$.payload.*)', '($.payload.count % 7)', '($.payload.count / 3)', '$.description', '$.occurredAt', '$.payload.*.abs()',
                        '$.externalId', '$.payload.* ? (@ > 10)', '$.payload.* ? (@.id != null)', '$.payload.* ? (exists(@.id) || @ starts with "r")', '$', '$.receivedAt', '$.icon', '$.eventId']) path,
           unnest(ARRAY['%s == "USER"', '%s > 10', '%s != null', '%s <= $.payload.count', '%s starts with "s"', '%s == true || %1$s < "2025-06"', 'exists(%s ? (@ > "m"))']) test,
           (VALUES ('%s', true), ('(%s) is unknown', true), ('!(%s)', true), ('%s && $.name starts with "A"', true), ('$.payload ? (%s)', false), ('%2$s ? (@ != 1)', false)) f (form, is_predicate),
           unnest('{lax,strict}'::text[]) mode) c
     WHERE n % 5 = 1;
SELECT count(*) > 500 AS are_many, count(DISTINCT condition::text) > 400 AS and_different FROM conditions;
CREATE TEMPORARY TABLE expected ON COMMIT DROP AS
    SELECT c.n, e.object_id, count(*) FILTER (WHERE CASE WHEN c.is_predicate THEN jsonb_path_match(e.event, c.condition, silent => true) ELSE jsonb_path_exists(e.event, c.condition, silent => true) END) AS events
      FROM conditions c, events_as_jsonb e GROUP BY 1, 2;
SELECT sum(x.events) > 5000 AS are_true, count(*) FILTER (WHERE x.events IS DISTINCT FROM atlas_count_events('CUSTOMER', x.object_id, condition => c.condition)) AS differences,
       count(*) FILTER (WHERE x.events > 0 IS DISTINCT FROM atlas_has_event('CUSTOMER', x.object_id, condition => c.condition)) AS differences_in_having
  FROM expected x JOIN conditions c USING (n);
SELECT count(*) FILTER (WHERE x.events IS DISTINCT FROM coalesce(f.events, 0)) AS differences, count(*) > 200 AS are_many
  FROM expected x JOIN conditions c USING (n)
  LEFT JOIN LATERAL (SELECT object_id, events FROM atlas_find_objects('CUSTOMER', condition => c.condition, since => NULL)) f ON f.object_id = x.object_id
 WHERE x.n % 7 = 0;
SET LOCAL client_min_messages = warning;
WITH r AS MATERIALIZED (SELECT c.n, t.object_id, count(*) AS events FROM conditions c, LATERAL atlas_test_rule('CUSTOMER', condition => c.condition) t GROUP BY 1, 2)
SELECT count(*) FILTER (WHERE x.events IS DISTINCT FROM coalesce(r.events, 0)) AS differences_of_rules, sum(r.events) > 5000 AS are_many
  FROM expected x LEFT JOIN r USING (n, object_id);
RESET client_min_messages;

-- ---------------------------------------------------------------------
-- Paths that would hurt are stopped, and the session goes on
-- ---------------------------------------------------------------------
SELECT test.clean();
SET LOCAL atlas_events.max_event_size = '1MB';
SELECT submit_event('CUSTOMER', :'ada', 'Big', payload => jsonb_build_object('a', (SELECT jsonb_agg(n) FROM generate_series(1, 10000) n), 'b', (SELECT jsonb_agg(-n) FROM generate_series(1, 10000) n),
           'items', (SELECT jsonb_agg(jsonb_build_object('qty', n, 'stock', n + 1, 'tags', '[1, 2]'::jsonb)) FROM generate_series(1, 3000) n), 'long', repeat('7', 60000)::numeric, 'one', 1, 'two', 2)) IS NOT NULL AS submitted;
-- Whether time or memory is up first depends on the machine.
CREATE FUNCTION test.limit_of(condition jsonpath, OUT code text, OUT message text) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    PERFORM atlas_count_events('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'Big', condition);
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
        message := regexp_replace(message, '^a condition takes (longer than 100 ms|more than 64 MB) for one event$', 'stopped');
        RETURN NEXT;
END
$$;
SELECT left(condition::text, 60) AS condition, l.* FROM unnest(ARRAY[
    '$.payload.a[*] ? (@ == $.payload.b[*])',
    '$.payload.a[*] ? (exists($.payload.b[*] ? (@ > 0)))',
    '$.payload.a[*] ? (exists($.payload.a[*] ? (exists($.payload.b[*] ? (@ > 0)))))',
    '$.payload.a == $.payload.b', '$.payload.a[*] > $.payload.b[*] && 1 == 1', '$.payload.* == $.payload.*', '$.payload.keyvalue().value > $.payload.keyvalue().value', '$.payload.items.qty == $.payload.items.stock',
    '$.payload.a[0 to last] == $.payload.b[0 to last]', '!(-$.payload.a != -$.payload.b)',
    '$.payload.a[*] ? ($.payload.long * $.payload.long > @ && @ < 0)',
    ('exists($.payload.a[' || repeat('0 to last, ', 3000) || '0] ? (@ < 0))'),
    -- These are not: they compare few values.
    '$.payload.one == $.payload.two', '$.payload.items ? (@.qty > @.stock)', '$.payload.items[*].tags[*] == 3', '$.payload.a[0] == $.payload.b', '$.payload.a[0, 1, 2] == $.payload.b[*]', 'strict $.payload.a == $.payload.b', '$.payload.a[*] > 20000'
  ]::jsonpath[]) WITH ORDINALITY AS c (condition, n) LEFT JOIN LATERAL test.limit_of(condition) l ON true ORDER BY n;
-- Memory: copies of a long number; those that a sign makes are refused before they are made.
SELECT code FROM test.limit_of(('$.payload.long[' || repeat('0, ', 20000) || '0].abs() ? (@ < 0)')::jsonpath);
SELECT code, message FROM unnest(ARRAY['(-$.payload.long[' || repeat('0, ', 20000) || '0]) ? (@ > 1)', '(-(+$.payload.long' || repeat('[0, 0]', 20) || ')) ? (@ > 1)']::jsonpath[]) condition, test.limit_of(condition);
SELECT code, message FROM test.limit_of(('$.payload.long[' || repeat('0, ', 1500) || '0] == $.payload.long[' || repeat('0, ', 1500) || '0]')::jsonpath);
SELECT atlas_count_events('CUSTOMER', :'ada', condition => '-$.payload.a[0, 1, last] < -9000');
-- The same objects, also after many errors, and also by the search for objects
SELECT count(*) FROM generate_series(1, 5), test.limit_of('$.payload.a[*] ? (exists($.payload.b[*] ? (@ > 0)))');
SELECT test.index();
SELECT code FROM test.error_of($$SELECT * FROM atlas_find_objects('CUSTOMER', condition => '$.payload.a[*] ? (exists($.payload.b[*] ? (@ > 0)))')$$);
SELECT atlas_count_events('CUSTOMER', :'ada', condition => '$.payload.a[*] > 9999'), atlas_has_event('CUSTOMER', :'ada', condition => '$.payload.a[*] > 10000');
-- A cancel is not taken for a limit, nor a limit for a cancel.
SET LOCAL statement_timeout = '20ms';
SAVEPOINT cancelled;
SELECT atlas_count_events('CUSTOMER', :'ada', 'Big', '$.payload.a[*] ? (exists($.payload.b[*] ? (@ > 0)))');
ROLLBACK TO cancelled;
SET LOCAL statement_timeout = 0;
SELECT atlas_count_events('CUSTOMER', :'ada', condition => '$.payload.a[*] > 9999');
ROLLBACK;
