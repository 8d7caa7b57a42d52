-- Rules: what is refused, whose they are, and what they match. Everything is undone at the end.
BEGIN;
SET LOCAL datestyle = 'ISO';
SET LOCAL timezone = 'America/New_York';
-- Whether the library is preloaded makes a warning of difference.
SET LOCAL client_min_messages = error;
SELECT test.clean();
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId');
\set ada 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
\set ben 'c2222222-0000-4000-8000-000000000002'
\set cy 'c3333333-0000-4000-8000-000000000003'

CREATE FUNCTION test.rule_problems(statement text, OUT code text, OUT problem text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT e.code, coalesce(p ->> 'field' || ': ' || (p ->> 'message'), e.message || coalesce(': ' || e.detail, ''))
      FROM test.error_of(statement) e
      LEFT JOIN LATERAL json_array_elements(CASE WHEN e.code = 'PT400' THEN e.detail::json END) p ON true
$$;

-- Rules begin now, for all events that were ever received, and are evaluated for all events that are there.
CREATE FUNCTION test.evaluate() RETURNS void LANGUAGE sql AS $$
    UPDATE atlas_rules SET since = '-infinity' WHERE is_enabled AND since IS NULL;
    SELECT atlas_link_events(100000);
    INSERT INTO atlas_event_work (event_id, submitted_xid, what, tenant_id)
    SELECT event_id, pg_current_xact_id(), 4, tenant_id FROM atlas_events;
    SELECT atlas_link_events(100000);
$$;

-- ---------------------------------------------------------------------
-- What is refused, with all problems at once
-- ---------------------------------------------------------------------
SELECT n, p.* FROM unnest(ARRAY[
    $$SELECT atlas_create_rule('', 'STARSHIP', '', '$.name like_regex "^x" && $.payload.** == 1', 0, '-1 day', 'BOTH')$$,
    $$SELECT atlas_create_rule(NULL, NULL)$$,
    $$SELECT atlas_create_rule(repeat('x', 256), 'CUSTOMER', repeat('x', 256))$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', times => 2)$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', within => '1 day')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', times => 1001, within => '1 day')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', times => 2, within => '1 month')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', times => 2, within => '0')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', times => 2, within => '100000 days')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', times => 2, within => '1 day -1 hour')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER', condition => '$.payload.at.datetime() > $then')$$,
    $$SELECT atlas_create_rule('r', 'CUSTOMER'), atlas_create_rule('r', 'ACCOUNT')$$,
    $$SELECT atlas_drop_rule('nothing')$$,
    $$SELECT atlas_enable_rule('nothing', true)$$,
    $$SELECT * FROM atlas_test_rule('STARSHIP', condition => '$.** == 1', times => 3, max_events => 1)$$,
    $$SELECT * FROM atlas_test_rule('CUSTOMER', max_events => 0)$$]) WITH ORDINALITY AS s (statement, n),
    test.rule_problems(statement) p;

-- ---------------------------------------------------------------------
-- What a rule is, and whose
-- ---------------------------------------------------------------------
CREATE ROLE regress_rule_maker;
CREATE ROLE regress_rule_team;
CREATE ROLE regress_rule_other;
GRANT regress_rule_team TO regress_rule_maker;
GRANT EXECUTE ON FUNCTION atlas_create_rule, atlas_drop_rule, atlas_enable_rule, atlas_test_rule
    TO regress_rule_maker, regress_rule_team, regress_rule_other;
GRANT SELECT ON atlas_rules, atlas_rule_matches, atlas_rule_hits TO regress_rule_maker, regress_rule_other;
SET LOCAL ROLE regress_rule_team;
SELECT atlas_create_rule('Of the team', 'ticket', role => 'related');
SET LOCAL ROLE regress_rule_maker;
SELECT atlas_create_rule('Three failures', 'customer', 'Payment Failed', '$.payload.amount > 100', 3, '7 days', 'PRIMARY');
SELECT rule_name, object_type, event_name, condition, times, within, role, owner, is_enabled, disabled_reason, since, unknown, errors, last_error
  FROM atlas_rules ORDER BY rule_id;
SET LOCAL ROLE regress_rule_other;
SELECT * FROM test.rule_problems('SELECT atlas_drop_rule(''Three failures'')');
SELECT * FROM test.rule_problems('SELECT atlas_enable_rule(''Three failures'', false)');
SET LOCAL ROLE regress_rule_maker;
SELECT atlas_enable_rule('Of the team', false), atlas_enable_rule('Three failures', false);
SELECT rule_name, is_enabled, disabled_reason FROM atlas_rules ORDER BY rule_id;
-- One that is enabled begins anew, under another number; one that was enabled goes on
SELECT rule_id AS was FROM atlas_rules WHERE rule_name = 'Three failures' \gset
SELECT atlas_enable_rule('Three failures', true);
SELECT rule_id > :was AS is_new, is_enabled, since FROM atlas_rules WHERE rule_name = 'Three failures';
SELECT rule_id AS was FROM atlas_rules WHERE rule_name = 'Three failures' \gset
SELECT atlas_enable_rule('Three failures', true);
SELECT rule_id = :was AS is_same FROM atlas_rules WHERE rule_name = 'Three failures';
SELECT atlas_drop_rule('Of the team');
RESET ROLE;
SELECT atlas_drop_rule('Three failures');
SELECT count(*) FROM atlas_rules;
-- Nobody may call them who was not told so
SELECT proname FROM pg_proc WHERE proname ~ '^atlas_\w+_rule' AND has_function_privilege('pg_monitor', oid, 'EXECUTE');

-- ---------------------------------------------------------------------
-- What they match: names, conditions, roles, windows
-- ---------------------------------------------------------------------
SELECT count(submit_event('CUSTOMER', customer, name, payload => payload::jsonb, related_objects => related::atlas_object[], occurred_at => at::timestamptz))
  FROM (VALUES
    (:'ada', 'Payment Failed', '{"amount": 120}', NULL, '2025-01-01 08:00Z'),
    (:'ada', 'Payment Failed', '{"amount": 130}', '{"(ACCOUNT,a1111111-0000-4000-8000-000000000001,)","(ACCOUNT,,BOLT-2)"}', '2025-01-02 08:00Z'),
    (:'ada', 'Payment Failed', '{"amount": 140}', NULL, '2025-01-03 08:00Z'),
    (:'ada', 'Payment Failed', '{"amount": 150}', NULL, '2025-01-03 08:00Z'),
    (:'ada', 'Payment Failed', '{"amount": "150"}', NULL, '2025-01-03 09:00Z'),
    (:'ada', 'Payment Failed', '{"amount": 15}', NULL, '2025-01-03 10:00Z'),
    (:'ada', 'Signed In', NULL, '{"(CUSTOMER,,200002)","(CUSTOMER,,195959)"}', '2025-01-03 11:00Z'),
    (:'ben', 'Payment Failed', '{"amount": 200}', '{"(CUSTOMER,,195959)"}', '2025-02-01 08:00Z'),
    (:'ben', 'Payment Failed', '{"amount": 200}', '{"(CUSTOMER,c3333333-0000-4000-8000-000000000003,)"}', '2025-01-31 08:00:00.000001Z'),
    (:'ben', 'Payment Failed', '{"amount": 200}', NULL, '2025-01-30 08:00Z')) v (customer, name, payload, related, at);
SELECT atlas_create_rule('any event', 'CUSTOMER');
SELECT atlas_create_rule('over 100', 'CUSTOMER', 'Payment Failed', '$.payload.amount > 100');
SELECT atlas_create_rule('three in two days', 'CUSTOMER', 'Payment Failed', '$.payload.amount > 100', 3, '2 days');
SELECT atlas_create_rule('three in more than two days', 'CUSTOMER', 'Payment Failed', '$.payload.amount > 100', 3, '48 hours 1 us');
SELECT atlas_create_rule('two as primary', 'CUSTOMER', 'Payment Failed', times => 2, within => '1 day', role => 'PRIMARY');
SELECT atlas_create_rule('related', 'CUSTOMER', role => 'RELATED');
SELECT atlas_create_rule('of accounts', 'ACCOUNT', 'Payment Failed', '$.objectType == "CUSTOMER" && exists($.relatedObjects)');
SELECT atlas_create_rule('of nobody', 'ACCOUNT', 'Payment Failed', role => 'PRIMARY');
SELECT atlas_create_rule('switched off', 'CUSTOMER');
SELECT atlas_enable_rule('switched off', false);
SELECT test.evaluate();
SELECT m.rule_name, m.object_type, CASE m.object_id WHEN :'ada' THEN 'Ada' WHEN :'ben' THEN 'Ben' WHEN :'cy' THEN 'Cy' ELSE m.object_id END AS object,
       string_agg(e.occurred_at AT TIME ZONE 'UTC' || coalesce(' ' || (e.payload ->> 'amount'), ''), ', ' ORDER BY e.event_id) AS events
  FROM atlas_rule_matches m JOIN atlas_events e USING (event_id) GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT rule_name, unknown, errors, last_error FROM atlas_rules ORDER BY rule_id;
SELECT r.rule_name, count(*) AS hits, count(DISTINCT h.object_id) AS objects FROM atlas_rule_hits h JOIN atlas_rules r USING (rule_id) GROUP BY 1 ORDER BY 1;
-- Once more: nothing changes
SELECT md5(string_agg(m::text, ',' ORDER BY m::text)) AS matches FROM atlas_rule_matches m \gset
SELECT test.evaluate();
SELECT md5(string_agg(m::text, ',' ORDER BY m::text)) = :'matches' AS are_the_same FROM atlas_rule_matches m;
-- Related objects that are found late
INSERT INTO crm."Customers" VALUES ('c4444444-0000-4000-8000-000000000004', '400004', 'Dee');
DELETE FROM crm."Customers" WHERE "externalId" = '400004';
SELECT submit_event('CUSTOMER', :'ben', 'Payment Failed', payload => '{"amount": 200}', related_objects => '{"(CUSTOMER,,400004)"}', occurred_at => '2025-02-02 08:00Z') AS late \gset
SELECT test.evaluate();
SELECT rule_name, object_id = :'ben' AS is_primary FROM atlas_rule_matches WHERE event_id = :'late' ORDER BY rule_name;
INSERT INTO crm."Customers" VALUES ('c4444444-0000-4000-8000-000000000004', '400004', 'Dee');
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT test.evaluate();
SELECT rule_name, object_id = :'ben' AS is_primary FROM atlas_rule_matches WHERE event_id = :'late' ORDER BY rule_name, 2;

-- The dry run finds the same
SELECT r.rule_name, count(*) AS matches, count(m.rule_name) AS found, bool_and(t.searched_since IS NULL) AS is_all
  FROM atlas_rules r
       CROSS JOIN LATERAL atlas_test_rule(r.object_type, r.event_name, r.condition, r.times, r.within, role => r.role) t
       LEFT JOIN atlas_rule_matches m ON m.event_id = t.event_id AND m.object_id = t.object_id AND m.rule_name = r.rule_name
 WHERE r.is_enabled GROUP BY r.rule_name, r.rule_id ORDER BY r.rule_id;
SELECT rule_name, count(*) FROM atlas_rule_matches GROUP BY 1 ORDER BY min(rule_id);
SET LOCAL client_min_messages = notice;
SELECT occurred_at, name, object_id, searched_since FROM atlas_test_rule('CUSTOMER', 'Payment Failed', '$.payload.amount > 100', 2, '2 days', max_events => 5);
SELECT count(*) FROM atlas_test_rule('CUSTOMER', 'Payment Failed', '$.payload.amount > 100', since => '2025-01-03 08:00Z', until => '2025-01-31 08:00:00.000001Z');
SET LOCAL client_min_messages = error;

-- Rules of other tenants, and theirs of the same name
SET LOCAL atlas_events.tenant = 'other';
SELECT atlas_create_rule('any event', 'CUSTOMER', times => 2, within => '1 day');
SELECT count(submit_event('CUSTOMER', :'ada', 'Signed In', occurred_at => '2025-01-01 08:00Z'::timestamptz + n * interval '1 hour')) FROM generate_series(1, 3) n;
SELECT test.evaluate();
SELECT tenant_id, count(*) FROM atlas_rule_matches WHERE rule_name = 'any event' GROUP BY 1 ORDER BY 1;
SET LOCAL ROLE regress_rule_other;
SELECT rule_name, tenant_id FROM atlas_rules;
SELECT tenant_id, count(*) FROM atlas_rule_matches GROUP BY 1;
SELECT count(*) FROM atlas_rule_hits;
SELECT * FROM test.rule_problems('SELECT atlas_drop_rule(''over 100'')');
RESET ROLE;
SELECT atlas_drop_rule('any event');
SELECT tenant_id, count(*) FROM atlas_rule_matches WHERE rule_name = 'any event' GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM atlas_rule_hits WHERE tenant_id = 'other';
SET LOCAL atlas_events.tenant = '';

-- A rule begins when it begins: neither what occurred before counts, nor what was received before
DELETE FROM atlas_rules;
SELECT atlas_create_rule('begins', 'CUSTOMER', 'Begins');
UPDATE atlas_rules SET since = '2025-03-01 08:00:00.000001Z';
SELECT count(submit_event('CUSTOMER', :'ada', 'Begins', occurred_at => at)) FROM unnest(ARRAY['2025-03-01 08:00Z', '2025-03-01 08:00:00.000001Z', '2025-03-01 08:01Z']::timestamptz[]) at;
UPDATE atlas_events SET received_at = '2025-03-01 08:00Z' WHERE name = 'Begins' AND occurred_at = '2025-03-01 08:01Z';
SELECT test.evaluate();
SELECT e.occurred_at FROM atlas_rule_matches JOIN atlas_events e USING (event_id) WHERE rule_name = 'begins';

-- A condition that is too slow is switched off, also by one event, and others go on
DELETE FROM atlas_rules;
SELECT atlas_create_rule('quick 1', 'CUSTOMER', 'Long', '$.payload.n > 0');
SELECT atlas_create_rule('slow', 'CUSTOMER', 'Long', '$.payload.a[*] ? (@ < 0 - $.payload.a[*]) > 5');
SELECT atlas_create_rule('quick 2', 'CUSTOMER', 'Long', '$.payload.n > 1');
SELECT submit_event('CUSTOMER', :'ada', 'Long', payload => jsonb_build_object('n', n, 'a', (SELECT jsonb_agg(i) FROM generate_series(1, n * 1500) i)), occurred_at => '2025-04-01')
  IS NOT NULL FROM generate_series(1, 2) n;
SELECT test.evaluate();
SELECT rule_name, is_enabled, regexp_replace(disabled_reason, 'takes .*', 'takes …') AS disabled_reason FROM atlas_rules ORDER BY rule_id;
SELECT rule_name, count(*) FROM atlas_rule_matches WHERE rule_name ~ 'quick|slow' GROUP BY 1 ORDER BY 1;
SELECT rules, rules_switched_off FROM atlas_events_status;

ROLLBACK;
