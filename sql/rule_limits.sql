-- Rules that are many, large or slow. Everything is undone at the end.
BEGIN;
-- Whether the library is preloaded makes a warning of difference.
SET LOCAL client_min_messages = error;
SELECT test.clean();
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId');
\set ada 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'

-- Rules begin now, for all events that were ever received.
CREATE FUNCTION test.begin_rules() RETURNS void LANGUAGE sql AS
    $$ UPDATE atlas_rules SET since = '-infinity' WHERE is_enabled AND since IS NULL $$;
-- Has them evaluated for all events of a name.
CREATE FUNCTION test.evaluate_for(event_name text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO atlas_event_work (event_id, submitted_xid, what, tenant_id)
    SELECT event_id, pg_current_xact_id(), 4, tenant_id FROM atlas_events WHERE name = event_name
$$;

-- ---------------------------------------------------------------------
-- Conditions of limited size, and no more than 1,000 rules for a tenant
-- ---------------------------------------------------------------------
SELECT code, detail FROM test.error_of(format($$SELECT atlas_create_rule('r', 'CUSTOMER', condition => '$.payload.a == "%s"')$$, repeat('x', 32768)));
SELECT code FROM test.error_of(format($$SELECT atlas_create_rule('r', 'CUSTOMER', condition => '$.payload.a == "%s"')$$, repeat('x', 32000)));
-- Names are read by people, in the log of the server too
SELECT detail FROM unnest(ARRAY[E'a\nb', U&'a\202Eb', E'\u200b', '   ']) n, test.error_of(format('SELECT atlas_create_rule(%L, ''CUSTOMER'')', n));
SELECT count(atlas_create_rule('rule ' || n, 'CUSTOMER', 'Nothing')) FROM generate_series(1, 1000) n;
SELECT code, message FROM test.error_of($$SELECT atlas_create_rule('one too many', 'CUSTOMER')$$);
SET LOCAL atlas_events.tenant = 'other';
SELECT code FROM test.error_of($$SELECT atlas_create_rule('of another tenant', 'CUSTOMER')$$);
RESET atlas_events.tenant;
SELECT atlas_drop_rule('rule 1');
SELECT code FROM test.error_of($$SELECT atlas_create_rule('instead', 'CUSTOMER')$$);
DELETE FROM atlas_rules;

-- ---------------------------------------------------------------------
-- An event has 10,000 hits and matches at most: the rules that were made last are switched off
-- ---------------------------------------------------------------------
INSERT INTO crm."Customers" SELECT md5('related ' || n)::uuid, 'related ' || n, 'Related' FROM generate_series(1, 99) n;
SELECT submit_event('CUSTOMER', :'ada', 'Many', related_objects =>
    (SELECT array_agg(('CUSTOMER', md5('related ' || n)::uuid, NULL)::atlas_object) FROM generate_series(1, 99) n)) IS NOT NULL AS is_submitted;
SELECT count(atlas_create_rule('named ' || n, 'CUSTOMER', 'Many')) FROM generate_series(1, 60) n;
SELECT count(atlas_create_rule('any ' || n, 'CUSTOMER')) FROM generate_series(1, 42) n;
SELECT atlas_create_rule('of the primary object', 'CUSTOMER', role => 'PRIMARY');
SELECT test.begin_rules();
SELECT atlas_link_events();
SELECT test.evaluate_for('Many');
SELECT atlas_link_events();
SELECT count(*) AS matches, count(DISTINCT rule_id) AS rules FROM atlas_rule_matches;
SELECT rule_name, regexp_replace(disabled_reason, '[0-9a-f]{8}-\S+', '…') AS disabled_reason FROM atlas_rules WHERE NOT is_enabled ORDER BY rule_id;
SELECT count(*) AS left FROM atlas_event_work;
DELETE FROM atlas_rules;
DELETE FROM atlas_rule_matches;

-- ---------------------------------------------------------------------
-- Many slow rules: they are switched off some at a time, and then the event is done with
-- ---------------------------------------------------------------------
SELECT count(atlas_create_rule('slow ' || n, 'CUSTOMER', 'Long', format('%1$s > %2$s || %1$s < -%2$s || %1$s == %2$s', '$.payload.a[*] ? (@ < 0 - $.payload.a[*])', n)::jsonpath)) FROM generate_series(1, 12) n;
SELECT atlas_create_rule('quick', 'CUSTOMER', 'Long', '$.payload.n > 0');
SELECT atlas_create_rule('unknown', 'CUSTOMER', 'Long', '$.payload.n > "x"');
SELECT test.begin_rules();
SELECT submit_event('CUSTOMER', :'ada', 'Long', payload => jsonb_build_object('n', 1, 'a', (SELECT jsonb_agg(i) FROM generate_series(1, 1900) i))) IS NOT NULL AS is_submitted;
SELECT test.evaluate_for('Long');
CREATE FUNCTION test.calls_until_done() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    calls int := 0;
BEGIN
    WHILE EXISTS (SELECT FROM atlas_event_work) AND calls < 20 LOOP
        PERFORM atlas_link_events();
        calls := calls + 1;
    END LOOP;
    RETURN calls;
END
$$;
SELECT test.calls_until_done() BETWEEN 2 AND 19 AS is_done_in_several;
SELECT rule_name, is_enabled, unknown FROM atlas_rules WHERE rule_name !~ 'slow' ORDER BY 1;
SELECT count(*) FROM atlas_rules WHERE rule_name ~ 'slow' AND disabled_reason ~ 'condition takes';
SELECT rule_name FROM atlas_rule_matches;
DELETE FROM atlas_rules;

ROLLBACK;
