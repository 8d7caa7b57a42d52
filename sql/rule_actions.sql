-- Actions of rules: which are refused, and what of them can be seen before an action worker comes. Everything is undone at the end.
BEGIN;
SET LOCAL client_min_messages = error;
SELECT test.clean();
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId');
\set ada 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'
\set ben 'c2222222-0000-4000-8000-000000000002'
CREATE ROLE regress_actor LOGIN;
CREATE ROLE regress_stranger LOGIN;
CREATE ROLE regress_mute NOLOGIN;
GRANT EXECUTE ON FUNCTION atlas_create_rule, atlas_drop_rule, atlas_enable_rule TO regress_actor, regress_stranger;
GRANT SELECT ON atlas_rules, atlas_rule_matches, atlas_rule_actions, atlas_rule_cooldowns TO regress_actor, regress_stranger;
CREATE SCHEMA acts;
GRANT ALL ON SCHEMA acts TO regress_actor, regress_stranger;
CREATE SCHEMA hidden;

CREATE FUNCTION test.action_problems(arguments text, OUT code text, OUT problem text) RETURNS SETOF record LANGUAGE sql AS $$
    SELECT e.code, coalesce(p ->> 'field' || ': ' || (p ->> 'message'), e.message)
      FROM test.error_of('SELECT atlas_create_rule(''r'', ''CUSTOMER'', ' || arguments || ')') e
      LEFT JOIN LATERAL json_array_elements(CASE WHEN e.code = 'PT400' THEN e.detail::json END) p ON true
$$;

-- ---------------------------------------------------------------------
-- Functions
-- ---------------------------------------------------------------------
-- Of a superuser: whoever may execute it may have it called
CREATE FUNCTION acts.of_superuser(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION acts.revoked(jsonb) RETURNS void LANGUAGE sql AS '';
REVOKE EXECUTE ON FUNCTION acts.revoked FROM PUBLIC;
CREATE FUNCTION hidden.of_superuser(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION acts.as_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
SET LOCAL ROLE regress_stranger;
CREATE FUNCTION acts.of_stranger(jsonb) RETURNS void LANGUAGE sql AS '';
SET LOCAL ROLE regress_actor;
CREATE FUNCTION acts.own(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION acts.value(jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION acts.of_json(json) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION acts.of_two(jsonb, int DEFAULT 1) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION acts.of_many(VARIADIC jsonb[]) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION acts.a_set(jsonb) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE acts.a_procedure(jsonb) LANGUAGE sql AS '';
CREATE AGGREGATE acts.an_aggregate(jsonb) (sfunc = jsonb_concat, stype = jsonb);
SELECT f, p.* FROM unnest('{own, value, of_superuser, revoked, of_stranger, of_two, of_many, a_set, a_procedure, an_aggregate, of_json}'::text[])
    WITH ORDINALITY AS a (f, n) LEFT JOIN LATERAL test.action_problems(format('action => (SELECT oid FROM pg_proc WHERE proname = %L AND pronamespace = ''acts''::regnamespace)', f)) p ON true
 ORDER BY n, 3;
SELECT * FROM test.action_problems('action => 4711::oid::regprocedure');
SELECT * FROM test.action_problems('action => ''acts.as_trigger()''');
RESET ROLE;
SELECT format('SELECT * FROM test.action_problems(%L)', format('action => %s::oid', 'hidden.of_superuser(jsonb)'::regprocedure::oid)) AS ask \gset
SET LOCAL ROLE regress_actor;
:ask;
-- A role that can have no session: before version 17 it must be able to log in
RESET ROLE;
GRANT EXECUTE ON FUNCTION atlas_create_rule TO regress_mute;
GRANT USAGE ON SCHEMA acts TO regress_mute;
SET LOCAL ROLE regress_mute;
SELECT current_setting('server_version_num')::int >= 170000 OR
    (SELECT problem = '/action: needs a session of the role "regress_mute", which may not log in' FROM test.action_problems('action => ''acts.of_superuser(jsonb)''')) AS is_refused;
SELECT * FROM test.action_problems('channel => ''atlas_x''');
RESET ROLE;
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SET LOCAL ROLE regress_actor;
SELECT * FROM test.action_problems('action => ''acts.own(jsonb)''');
RESET ROLE;
SELECT format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database()) \gexec

-- ---------------------------------------------------------------------
-- Channels and cooldowns
-- ---------------------------------------------------------------------
SET LOCAL ROLE regress_actor;
SELECT arguments, p.* FROM unnest(ARRAY[
    $$channel => 'atlas_x', cooldown => '1 hour'$$,
    $$action => 'acts.own(jsonb)', cooldown => '2 weeks'$$,
    $$channel => ''$$,
    $$channel => 'orders'$$,
    $$channel => 'Atlas_x'$$,
    $$channel => rpad('atlas_', 63, 'x')$$,
    $$channel => rpad('atlas_', 64, 'x')$$,
    $$channel => 'atlas_x', action => 'acts.own(jsonb)'$$,
    $$cooldown => '1 hour'$$,
    $$channel => 'atlas_x', cooldown => '0'$$,
    $$channel => 'atlas_x', cooldown => '-1 hour'$$,
    $$channel => 'atlas_x', cooldown => '1 month'$$,
    $$channel => 'atlas_x', cooldown => '100000 days'$$,
    $$action => 'acts.of_stranger(jsonb)', channel => 'x', cooldown => '1 year', times => 0$$]) WITH ORDINALITY AS a (arguments, n)
    LEFT JOIN LATERAL test.action_problems(arguments) p ON true ORDER BY n, 3;

-- ---------------------------------------------------------------------
-- What a rule says of its action
-- ---------------------------------------------------------------------
SELECT atlas_create_rule('Calls', 'CUSTOMER', 'Called', action => 'acts.own(jsonb)', cooldown => '1 hour');
SELECT atlas_create_rule('Tells', 'CUSTOMER', channel => 'atlas_told');
SELECT atlas_create_rule('Is read', 'CUSTOMER');
RESET ROLE;
-- The names are kept as text, because pg_upgrade refuses columns of regprocedure
SELECT rule_name, owner, action_schema, action_name, channel, cooldown,
       system_identifier = (SELECT system_identifier FROM pg_control_system()) AS of_server,
       database_id = (SELECT oid FROM pg_database WHERE datname = current_database()) AS of_database
  FROM atlas_rules ORDER BY rule_id;
SELECT attrelid::regclass, attname FROM pg_attribute
 WHERE attrelid IN ('atlas_rule_actions'::regclass, 'atlas_rule_cooldowns'::regclass, 'atlas_rules'::regclass, 'atlas_rule_matches'::regclass)
   AND attnum > 0 AND col_description(attrelid, attnum) IS NULL;
SELECT name, setting, unit, context FROM pg_settings WHERE name IN ('atlas_events.action_timeout', 'atlas_events.rule_match_limit') ORDER BY name;
SELECT proname, proacl IS NOT NULL AND NOT has_function_privilege('regress_stranger', oid, 'EXECUTE') AS is_not_for_all
  FROM pg_proc WHERE proname = 'atlas_resume_actions';

-- ---------------------------------------------------------------------
-- One action for each match of a rule that has one
-- ---------------------------------------------------------------------
UPDATE atlas_rules SET since = '-infinity';
SELECT count(submit_event('CUSTOMER', id, name)) FROM (VALUES (:'ada', 'Called'), (:'ben', 'Called'), (:'ada', 'Other')) e (id, name);
SELECT atlas_link_events(100000);
INSERT INTO atlas_event_work (event_id, submitted_xid, what, tenant_id)
SELECT event_id, pg_current_xact_id(), 4, tenant_id FROM atlas_events;
SELECT atlas_link_events(100000);
SELECT m.rule_name, e.name, m.action_status, m.acted_at, a.session_role, a.next_attempt_at, a.attempts, a.depth, a.last_error,
       a.object_id = m.object_id AS of_object
  FROM atlas_rule_matches m JOIN atlas_events e USING (tenant_id, event_id) LEFT JOIN atlas_rule_actions a USING (tenant_id, event_id, match_id, rule_id)
 ORDER BY m.rule_name, m.match_id;
-- Evaluated once more, they are the same
INSERT INTO atlas_event_work (event_id, submitted_xid, what, tenant_id)
SELECT event_id, pg_current_xact_id(), 4, tenant_id FROM atlas_events;
SELECT atlas_link_events(100000);
SELECT (SELECT count(*) FROM atlas_rule_matches) AS matches, (SELECT count(*) FROM atlas_rule_actions) AS actions;
SELECT actions_due, actions_failed FROM atlas_events_status;
-- A role sees those of its tenant
SET LOCAL ROLE regress_stranger;
SELECT count(*) FROM atlas_rule_actions;
RESET ROLE;
SET LOCAL atlas_events.tenant = 'acme';
SET LOCAL ROLE regress_stranger;
SELECT count(*) FROM atlas_rule_actions;
SELECT count(*) FROM atlas_rule_matches;
RESET ROLE;
SET LOCAL atlas_events.tenant = '';

-- ---------------------------------------------------------------------
-- Those that have failed are tried again, also for one event
-- ---------------------------------------------------------------------
UPDATE atlas_rule_actions SET next_attempt_at = 'infinity', attempts = 5, last_error = 'no luck' WHERE session_role <> '';
UPDATE atlas_rule_matches SET action_status = 'FAILED', acted_at = now() WHERE rule_name = 'Calls';
SELECT actions_due, actions_failed FROM atlas_events_status;
SELECT atlas_retry_failed(max(event_id::text)::uuid) FROM atlas_rule_matches WHERE rule_name = 'Calls';
SELECT m.action_status, m.acted_at IS NULL AS is_open, a.next_attempt_at, a.attempts, a.last_error
  FROM atlas_rule_matches m JOIN atlas_rule_actions a USING (tenant_id, event_id, match_id) WHERE m.rule_name = 'Calls' ORDER BY 1;
SELECT atlas_retry_failed(), atlas_retry_failed();
SELECT actions_due, actions_failed FROM atlas_events_status;

-- ---------------------------------------------------------------------
-- In a copy of the database they wait
-- ---------------------------------------------------------------------
UPDATE atlas_rules SET database_id = 1 WHERE rule_name = 'Calls';
UPDATE atlas_rules SET system_identifier = 1 WHERE rule_name = 'Tells';
SET LOCAL ROLE regress_actor;
SELECT * FROM test.error_of('SELECT atlas_resume_actions()');
RESET ROLE;
SELECT atlas_resume_actions();
SELECT count(*) FROM atlas_rules WHERE database_id = 1 OR system_identifier = 1;
-- One that is enabled anew acts as well
UPDATE atlas_rules SET database_id = 1;
SELECT atlas_enable_rule('Calls', false), atlas_enable_rule('Calls', true);
SELECT rule_name, database_id = 1 AS waits FROM atlas_rules ORDER BY rule_name;
ROLLBACK;
