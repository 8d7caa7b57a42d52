-- Who may do what: EXECUTE on one function is all that its caller needs, and
-- nothing a caller can set up makes code of his run as somebody else.
SELECT test.clean();
CREATE ROLE regress_atlas_nobody;
CREATE ROLE regress_atlas_submitter;
CREATE ROLE regress_atlas_reader;
CREATE ROLE regress_atlas_analyst;

-- ---------------------------------------------------------------------
-- Without any grant: the session's tenant, and no more
-- ---------------------------------------------------------------------
SET ROLE regress_atlas_nobody;
SELECT atlas_tenant() = '' AS no_tenant;
SELECT call, e.code
  FROM unnest(ARRAY[
    $$submit_event('{}')$$, $$submit_event('{}'::json)$$, $$submit_event('{}'::jsonb)$$, $$submit_event(NULL::atlas_event)$$,
    $$submit_event('CONVERSATION', '1', 'x')$$, $$submit_events('[]')$$, $$submit_events('[]'::json)$$, $$submit_events('[]'::jsonb)$$,
    $$submit_events('{}'::atlas_event[])$$, $$atlas_register_object_type('X', 'pg_class')$$, $$atlas_unregister_object_type('CUSTOMER')$$,
    $$atlas_discover_object_types()$$, $$atlas_link_events()$$, $$atlas_retry_failed()$$, $$atlas_timeline('CONVERSATION', '1')$$,
    $$atlas_has_event('CONVERSATION', '1')$$, $$atlas_count_events('CONVERSATION', '1')$$, $$atlas_status()$$]) call
  LEFT JOIN LATERAL test.error_of('SELECT ' || call) e ON true;
SELECT relation, e.code
  FROM unnest(ARRAY['atlas_events', 'atlas_event_queue', 'atlas_event_links', 'atlas_event_unresolved', 'atlas_event_keys', 'atlas_object_types',
                    'atlas_linker_state', 'atlas_rejections', 'atlas_event_logs', 'atlas_events_status']) relation
  LEFT JOIN LATERAL test.error_of('SELECT * FROM ' || relation) e ON true;
RESET ROLE;

-- ---------------------------------------------------------------------
-- One function each
-- ---------------------------------------------------------------------
GRANT EXECUTE ON FUNCTION submit_event(text) TO regress_atlas_submitter;
GRANT EXECUTE ON FUNCTION atlas_timeline TO regress_atlas_reader;

-- A submitter has no right on any table, and makes a partition.
SELECT to_regclass('atlas_events_2022') IS NULL AS new_partition;
SET ROLE regress_atlas_submitter;
SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"submitted","occurredAt":"2022-02-03T04:05:06Z",
    "relatedObjects":[{"objectType":"USER","objectId":"7"}],"idempotencyKey":"privileges"}') ->> 'processingStatus';
SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"submitted","occurredAt":"2022-02-03T04:05:06Z",
    "relatedObjects":[{"objectType":"USER","objectId":"7"}],"idempotencyKey":"privileges"}') ->> 'duplicate';
SELECT code FROM test.error_of($$SELECT submit_event('{}'::json)$$);
SELECT code FROM test.error_of($$SELECT * FROM atlas_events$$);
SELECT code FROM test.error_of($$SELECT * FROM crm."Customers"$$);
RESET ROLE;
SELECT relname, pg_get_userbyid(relowner) = (SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'atlas_events') AS owner_of_the_extension
  FROM pg_class WHERE oid = 'atlas_events_2022'::regclass;
SELECT atlas_link_events();

-- A reader of timelines needs no right on any table either.
SET ROLE regress_atlas_reader;
SELECT role, name FROM atlas_timeline('USER', '7');
SELECT code FROM test.error_of($$SELECT submit_event('{}')$$);
SELECT code FROM test.error_of($$SELECT * FROM atlas_event_logs$$);
RESET ROLE;

-- The log view asks for rights on what is below it, and for no function.
GRANT SELECT ON atlas_event_logs TO regress_atlas_analyst;
SET ROLE regress_atlas_analyst;
SELECT code FROM test.error_of($$SELECT * FROM atlas_event_logs$$);
RESET ROLE;
GRANT SELECT ON atlas_events, atlas_event_queue, atlas_event_links, atlas_event_unresolved TO regress_atlas_analyst;
SET ROLE regress_atlas_analyst;
SELECT name, processing_status FROM atlas_event_logs;
SELECT code FROM test.error_of($$INSERT INTO atlas_event_queue VALUES ('01940000-0000-7000-8000-000000000000', '3')$$);
SELECT code FROM test.error_of($$DELETE FROM atlas_events$$);
RESET ROLE;
-- Monitoring
SET ROLE pg_monitor;
SELECT queue_depth, failed FROM atlas_events_status;
RESET ROLE;

-- ---------------------------------------------------------------------
-- Objects in front of the search_path
-- ---------------------------------------------------------------------
CREATE ROLE regress_atlas_mallory;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_atlas_mallory;
CREATE SCHEMA trap AUTHORIZATION regress_atlas_mallory;
SET ROLE regress_atlas_mallory;
-- Whatever runs is noted, with the role that it runs as.
CREATE TABLE trap.sprung (role name, session name, what text, at_tenant text);
GRANT ALL ON trap.sprung TO PUBLIC;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.spring(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trap.sprung VALUES (current_user, session_user, what, public.atlas_tenant());
    RETURN true;
END
$$;
DO $do$
DECLARE
    type text;
    operator text;
BEGIN
    FOREACH type IN ARRAY ARRAY['text', 'uuid', 'bigint', 'integer', 'smallint', 'oid', 'name', 'timestamptz', '"char"', 'varchar'] LOOP
        EXECUTE format('CREATE FUNCTION trap.compare(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS $$ SELECT trap.spring(''operator'') $$', type);
        FOREACH operator IN ARRAY ARRAY['=', '<>', '<', '<=', '>', '>='] LOOP
            EXECUTE format('CREATE OPERATOR trap.%2$s (LEFTARG = %1$s, RIGHTARG = %1$s, FUNCTION = trap.compare)', type, operator);
        END LOOP;
    END LOOP;
END
$do$;
CREATE FUNCTION trap.plus(smallint, smallint) RETURNS smallint LANGUAGE sql AS $$ SELECT 1::smallint FROM trap.spring('operator') $$;
CREATE OPERATOR trap.+ (LEFTARG = smallint, RIGHTARG = smallint, FUNCTION = trap.plus);
CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'x' FROM trap.spring('function') $$;
CREATE FUNCTION trap.replace(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'x' FROM trap.spring('function') $$;
CREATE FUNCTION trap.unnest(anyarray) RETURNS SETOF anyelement LANGUAGE sql AS $$ SELECT $1[1] FROM trap.spring('function') $$;
CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::timestamptz FROM trap.spring('function') $$;
CREATE FUNCTION trap.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS $$ SELECT '3'::xid8 FROM trap.spring('function') $$;
CREATE FUNCTION trap.pg_has_role(oid, text) RETURNS boolean LANGUAGE sql AS $$ SELECT trap.spring('function') $$;
CREATE FUNCTION trap.count() RETURNS bigint LANGUAGE sql AS $$ SELECT 1::bigint FROM trap.spring('function') $$;
CREATE FUNCTION trap.atlas_tenant() RETURNS text LANGUAGE sql AS $$ SELECT 'x' FROM trap.spring('function') $$;
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (trap.spring('type'));
CREATE DOMAIN trap.uuid AS pg_catalog.uuid CHECK (trap.spring('type'));
CREATE DOMAIN trap.int2 AS pg_catalog.int2 CHECK (trap.spring('type'));
CREATE TABLE trap.atlas_events (event_id pg_catalog.uuid);
CREATE TABLE trap.atlas_event_queue (event_id pg_catalog.uuid);
CREATE TABLE trap.atlas_object_types (object_type pg_catalog.text);
CREATE TABLE trap.customers (id int PRIMARY KEY);
GRANT ALL ON ALL TABLES IN SCHEMA trap TO PUBLIC;

-- Everything there is, in a session that has no plans yet.
\c -
SET ROLE regress_atlas_mallory;
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (trap.spring('temporary type'));
CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (trap.spring('temporary type'));
CREATE TEMPORARY TABLE atlas_events (event_id pg_catalog.uuid);
CREATE TEMPORARY TABLE atlas_event_queue (event_id pg_catalog.uuid);
CREATE TEMPORARY TABLE atlas_object_types (object_type pg_catalog.text);
CREATE TEMPORARY TABLE agents (id int, name pg_catalog.text);
SET search_path = pg_temp, trap, pg_catalog, public;
SELECT pg_catalog.jsonb_array_length(public.submit_events('[
    {"objectType":"CONVERSATION","objectId":"1","name":"one","occurredAt":"2022-03-01T00:00:00Z","relatedObjects":[{"objectType":"USER","objectId":"7"},{"objectType":"USER","objectId":"8"}]},
    {"objectType":"CONVERSATION","externalId":"9002","name":"two","idempotencyKey":"trap"},
    {"objectType":"COMPANY","objectId":"acme","name":"three","payload":{}},
    {"objectType":"HELPCENTER","objectId":"en-US","name":"four"}]'::pg_catalog.text)::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'results');
SELECT public.submit_event('CUSTOMER', 'c2222222-0000-4000-8000-000000000002', 'five', idempotency_key => 'trap 5') IS NOT NULL;
SELECT public.submit_event('SESSION_RECORDING', '5e551011-0000-4000-8000-000000000001', 'six', related_objects => ARRAY[('ACCOUNT', NULL, 'ACME-1')]::public.atlas_object[]) IS NOT NULL;
SELECT public.atlas_link_events();
SELECT public.atlas_link_events(1);
SELECT pg_catalog.count(*) FROM public.atlas_timeline('USER', '7');
SELECT public.atlas_retry_failed();
SELECT queue_depth, failed FROM public.atlas_status();
SELECT registered FROM public.atlas_discover_object_types('trap');
SELECT public.atlas_register_object_type('TRAP', 'trap.customers', aliases => '{snare}');
SELECT public.atlas_unregister_object_type('TRAP');
SELECT * FROM trap.sprung;
-- Whereas anything unqualified does spring the trap.
SELECT 1 AS one WHERE 'a'::text = 'b'::text;
SELECT DISTINCT role, what FROM trap.sprung ORDER BY what USING OPERATOR(pg_catalog.<);
RESET search_path;
RESET ROLE;
SELECT name FROM public.atlas_events WHERE name <> 'submitted' ORDER BY received_at, event_id;

-- ---------------------------------------------------------------------
-- A hostile view, policy, and table that a superuser has vouched for: run as their
-- owner, and restricted; what they do is undone
-- ---------------------------------------------------------------------
\c -
GRANT SET ON PARAMETER atlas_events.tenant TO regress_atlas_mallory;
SET ROLE regress_atlas_mallory;
CREATE FUNCTION trap.hostile(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE '% as %, search_path %, tenant %, setting "%"', what, current_user, current_setting('search_path'),
        public.atlas_tenant(), current_setting('atlas_events.tenant');
    INSERT INTO trap.sprung VALUES (current_user, session_user, what, public.atlas_tenant());
    PERFORM set_config('search_path', 'trap', false);
    PERFORM set_config('atlas_events.tenant', 'stolen', false);
    PERFORM set_config('row_security', 'off', false);
    RETURN true;
END
$$;
CREATE FUNCTION trap.escape(command text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    RAISE EXCEPTION 'escaped with %', command;
EXCEPTION WHEN insufficient_privilege OR invalid_parameter_value OR feature_not_supported THEN
    RETURN true;
END
$$;
CREATE VIEW trap.view AS SELECT 1 AS id, 'one'::text AS external_id WHERE trap.hostile('view') AND trap.escape(format('SET ROLE %I', session_user))
    AND trap.escape(format('SET SESSION AUTHORIZATION %I', session_user)) AND trap.escape('RESET ROLE') AND trap.escape('CREATE TEMP TABLE t ()')
    AND trap.escape('SELECT * FROM public.atlas_events') AND trap.escape('SELECT * FROM crm.agents');
CREATE TABLE trap.guarded (id int PRIMARY KEY);
INSERT INTO trap.guarded VALUES (1);
CREATE POLICY hostile ON trap.guarded USING (trap.hostile('policy'));
ALTER TABLE trap.guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
DELETE FROM trap.sprung;
RESET ROLE;
SELECT atlas_register_object_type('VIEW', 'trap.view', external_id_column => 'external_id'), atlas_register_object_type('GUARDED', 'trap.guarded');
-- The victim is a superuser.
SELECT submit_event('VIEW', '1', 'viewed') IS NOT NULL;
SELECT submit_event('VIEW', NULL, 'viewed', external_id => 'one') IS NOT NULL;
SELECT submit_event('GUARDED', '1', 'guarded') IS NOT NULL;
SELECT submit_event('CONVERSATION', '1', 'both', related_objects => ARRAY[('VIEW', '1', NULL), ('GUARDED', '1', NULL)]::atlas_object[]) IS NOT NULL;
SELECT atlas_link_events();
SELECT count(*) AS left_behind FROM trap.sprung;
SELECT current_setting('search_path') AS search_path, atlas_tenant() = '' AS no_tenant, current_setting('row_security') AS row_security, current_user = session_user AS same_user;
SELECT DISTINCT tenant_id FROM atlas_events;
SELECT object_type, object_id FROM atlas_event_links WHERE object_type IN ('VIEW', 'GUARDED') ORDER BY 1;
-- An error in the middle leaves the caller who he was.
CREATE OR REPLACE FUNCTION trap.hostile(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('atlas_events.tenant', 'stolen', false);
    RAISE EXCEPTION 'ouch';
END
$$;
SELECT submit_event('VIEW', '1', 'x');
SELECT code, message FROM test.error_of($$SELECT submit_event('GUARDED', '1', 'x')$$);
SELECT current_setting('search_path') AS search_path, atlas_tenant() = '' AS no_tenant, current_user = session_user AS same_user;
SELECT submit_event('CONVERSATION', '1', 'still works') IS NOT NULL;

-- A view that submits and reads, which would be with the tenant of others, and
-- changes the registry while it is being read, which is undone.
CREATE OR REPLACE FUNCTION trap.hostile(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trap.escape($c$SELECT public.submit_event('CONVERSATION', '2', 'from within')$c$),
            trap.escape($c$SELECT public.atlas_timeline('CONVERSATION', '1')$c$), trap.escape('SELECT public.atlas_link_events()');
    PERFORM public.atlas_unregister_object_type('GUARDED');
    RETURN true;
END
$$;
SELECT submit_event('VIEW', '1', 'with another inside') IS NOT NULL;
SELECT name, object_type FROM atlas_events WHERE name IN ('from within', 'with another inside') ORDER BY name;
SELECT object_type FROM atlas_object_types WHERE object_type IN ('VIEW', 'GUARDED');

-- A plain table, whose index has a predicate that PostgreSQL evaluates in
-- advance, or whose partition key is computed: neither connecting the table nor
-- a lookup runs that.
SET ROLE regress_atlas_mallory;
CREATE FUNCTION trap.predicate(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM trap.spring('predicate'), set_config('search_path', 'trap', false), set_config('atlas_events.tenant', 'stolen', false);
    RETURN true;
END
$$;
CREATE TABLE trap.chatbots (id int, flag int);
CREATE INDEX ON trap.chatbots (flag) WHERE trap.predicate(1);
SET search_path = public;
CREATE UNIQUE INDEX ON trap.chatbots (id);
INSERT INTO trap.chatbots VALUES (1);
CREATE FUNCTION trap.key(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM trap.spring('partition key'), set_config('search_path', 'trap', false);
    RETURN 1;
END
$$;
CREATE TABLE trap.companies (id int, external_id text, flag int) PARTITION BY LIST ((flag + trap.key(1)));
SET search_path = public;
CREATE INDEX ON trap.companies (flag, external_id);
DELETE FROM trap.sprung;
\c -
SELECT object_type, registered FROM atlas_discover_object_types('trap');
SELECT current_setting('search_path') AS search_path, public.atlas_tenant() = '' AS no_tenant;
\c -
SELECT atlas_register_object_type('PLAIN', 'trap.chatbots');
\c -
SELECT submit_event('PLAIN', '1', 'plain') IS NOT NULL;
SELECT current_setting('search_path') AS search_path, public.atlas_tenant() = '' AS no_tenant;
\c -
SELECT submit_event('CONVERSATION', '1', 'plain related', related_objects => ARRAY[('PLAIN', '1', NULL)]::atlas_object[]) IS NOT NULL;
SELECT atlas_link_events();
SELECT current_setting('search_path') AS search_path, public.atlas_tenant() = '' AS no_tenant;
\c -
SELECT count(*) AS evaluated FROM trap.sprung;
SELECT atlas_unregister_object_type('PLAIN');

SET client_min_messages = warning;
SELECT atlas_unregister_object_type('VIEW'), atlas_unregister_object_type('GUARDED');
REVOKE SET ON PARAMETER atlas_events.tenant FROM regress_atlas_mallory;
DROP SCHEMA trap CASCADE;
DROP OWNED BY regress_atlas_nobody, regress_atlas_submitter, regress_atlas_reader, regress_atlas_analyst, regress_atlas_mallory;
DROP ROLE regress_atlas_nobody, regress_atlas_submitter, regress_atlas_reader, regress_atlas_analyst, regress_atlas_mallory;
SELECT count(*) FROM atlas_object_types;
