-- Tenants: a session acts for one, and sees the objects, events and timelines
-- of that one only.
SELECT test.clean();
CREATE SCHEMA multi;
CREATE TABLE multi.orders (tenant_id text, id int, external_id text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, external_id));
CREATE TABLE multi.regions (org int, id text PRIMARY KEY);
INSERT INTO multi.orders VALUES ('acme', 1, 'A'), ('acme', 2, 'B'), ('globex', 1, 'B'), ('', 5, 'E');
INSERT INTO multi.regions VALUES (1, 'north'), (2, 'south');
SELECT atlas_register_object_type('ORDER', 'multi.orders', external_id_column => 'external_id', tenant_column => 'tenant_id');
SELECT atlas_register_object_type('REGION', 'multi.regions', tenant_column => 'org');

-- ---------------------------------------------------------------------
-- Who may say which tenant it is
-- ---------------------------------------------------------------------
SELECT atlas_tenant() = '' AS no_tenant;
CREATE ROLE regress_atlas_app;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_atlas_app;
GRANT SELECT ON atlas_events, atlas_event_queue, atlas_event_links, atlas_event_unresolved, atlas_event_keys, atlas_event_logs, atlas_pending_events TO regress_atlas_app;
SET ROLE regress_atlas_app;
SET atlas_events.tenant = 'acme';
SELECT set_config('atlas_events.tenant', 'acme', true);
SELECT atlas_tenant();
RESET ROLE;
GRANT SET ON PARAMETER atlas_events.tenant TO regress_atlas_app;
SET ROLE regress_atlas_app;
SET atlas_events.tenant = 'acme';
SELECT atlas_tenant();
BEGIN;
SELECT set_config('atlas_events.tenant', 'globex', true);
SELECT atlas_tenant();
COMMIT;
SELECT atlas_tenant();

-- ---------------------------------------------------------------------
-- Objects
-- ---------------------------------------------------------------------
SELECT submit_event('ORDER', '1', 'acme''s 1', related_objects => ARRAY[('ORDER', '2', NULL), ('ORDER', NULL, 'B'), ('ORDER', '5', NULL),
                    ('USER', '7', NULL)]::atlas_object[], idempotency_key => 'k') IS NOT NULL;
SELECT submit_event('ORDER', NULL, 'acme''s B', external_id => 'B') IS NOT NULL;
SELECT submit_event('ORDER', '5', 'no tenant''s');
-- No tenant of the name has a region whose tenants are numbers.
SELECT submit_event('REGION', 'north', 'x');
SET atlas_events.tenant = 'globex';
SELECT submit_event('ORDER', '1', 'globex'' 1', related_objects => ARRAY[('ORDER', '2', NULL), ('ORDER', NULL, 'B'), ('USER', '7', NULL)]::atlas_object[],
                    idempotency_key => 'k') IS NOT NULL;
SELECT submit_event('ORDER', '2', 'x');
SELECT submit_event('ORDER', NULL, 'x', external_id => 'A');
SET atlas_events.tenant = '2';
SELECT submit_event('REGION', 'south', 'two''s south') IS NOT NULL;
SELECT submit_event('REGION', 'north', 'x');
SET atlas_events.tenant = '';
SELECT submit_event('ORDER', '5', 'no tenant''s 5') IS NOT NULL;
SELECT submit_event('ORDER', '1', 'x');

-- Related objects are looked up for the tenant of their event, whoever links.
SET atlas_events.tenant = 'acme';
SELECT atlas_link_events();
RESET ROLE;
SELECT tenant_id, name, object_id, external_id FROM atlas_events ORDER BY event_id;
SELECT l.tenant_id, name, l.object_type, l.object_id FROM atlas_event_links l JOIN atlas_events USING (event_id) ORDER BY 1, 2, 3, 4;
SELECT tenant_id, object_id, external_id, outcome FROM atlas_event_unresolved ORDER BY event_id, position;
INSERT INTO multi.orders VALUES ('globex', 2, 'C'), ('acme', 5, 'E');
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT l.tenant_id, name, l.object_type, l.object_id FROM atlas_event_links l JOIN atlas_events USING (event_id) ORDER BY 1, 2, 3, 4;

-- ---------------------------------------------------------------------
-- Events, as a role with SELECT on the tables sees them
-- ---------------------------------------------------------------------
SELECT count(submit_event('USER', '7', 'linked', related_objects => ARRAY[('USER', '8', NULL)]::atlas_object[]))
  FROM (SELECT set_config('atlas_events.tenant', tenant, false) FROM unnest(ARRAY['acme', 'globex', 'globex']) tenant OFFSET 0) s;
SELECT atlas_link_events();
SELECT count(submit_event('USER', '7', 'waits', related_objects => ARRAY[('USER', '7', NULL), ('USER', '8', NULL)]::atlas_object[], idempotency_key => 'w'))
  FROM (SELECT set_config('atlas_events.tenant', tenant, false) FROM unnest(ARRAY['acme', 'globex']) tenant OFFSET 0) s;
RESET atlas_events.tenant;
CREATE FUNCTION seen() RETURNS TABLE (events text[], queued bigint, links bigint, unresolved bigint, keys bigint, logs bigint, pending bigint, tenants text[]) LANGUAGE sql AS $$
    SELECT (SELECT array_agg(name ORDER BY event_id) FROM atlas_events), (SELECT count(*) FROM atlas_event_queue), (SELECT count(*) FROM atlas_event_links),
           (SELECT count(*) FROM atlas_event_unresolved), (SELECT count(*) FROM atlas_event_keys), (SELECT count(*) FROM atlas_event_logs), (SELECT count(*) FROM atlas_pending_events),
           (SELECT array_agg(DISTINCT tenant_id ORDER BY tenant_id) FROM atlas_event_logs)
$$;
GRANT EXECUTE ON FUNCTION seen TO regress_atlas_app;
-- The owner sees all rows of the tables, and the logs of one tenant.
SELECT * FROM seen();
SET atlas_events.tenant = 'globex';
SELECT * FROM seen();
SELECT role, name FROM atlas_timeline('USER', '7');
RESET atlas_events.tenant;
SET ROLE regress_atlas_app;
SELECT tenant, set_config('atlas_events.tenant', tenant, false) = tenant AS set FROM (VALUES ('acme')) v (tenant);
SELECT * FROM seen();
SET atlas_events.tenant = 'globex';
SELECT * FROM seen();
SET atlas_events.tenant = '';
SELECT * FROM seen();
SET atlas_events.tenant = 'nobody';
SELECT * FROM seen();
-- Rejections belong to a tenant as well.
RESET ROLE;
INSERT INTO atlas_rejections (tenant_id, request_id, role, status, code, message)
SELECT tenant, 'r', 'r', 404, 'PT404', 'Object Not Found' FROM unnest(ARRAY['acme', 'globex', 'globex', '']) tenant;
GRANT SELECT, INSERT ON atlas_rejections TO regress_atlas_app;
SELECT tenant_id, count(*) FROM atlas_rejections GROUP BY 1 ORDER BY 1;
SET ROLE regress_atlas_app;
SET atlas_events.tenant = 'globex';
SELECT tenant_id, count(*) FROM atlas_rejections GROUP BY 1 ORDER BY 1;
INSERT INTO atlas_rejections (tenant_id, request_id, role, status, code, message) VALUES ('acme', 'r', 'r', 404, 'PT404', 'Object Not Found');
RESET ROLE;
DELETE FROM atlas_rejections;
REVOKE ALL ON atlas_rejections FROM regress_atlas_app;
SET ROLE regress_atlas_app;
SET atlas_events.tenant = 'nobody';
-- A partition by itself shows nothing.
RESET ROLE;
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) LOOP
        EXECUTE format('GRANT SELECT ON %s TO regress_atlas_app', partition);
    END LOOP;
END
$$;
SELECT DISTINCT tableoid::regclass AS partition FROM atlas_events \gset
SELECT count(*) FROM :partition;
SET ROLE regress_atlas_app;
SET atlas_events.tenant = 'acme';
SELECT count(*) FROM :partition;
-- A role that may not bypass row security cannot turn it off.
SET row_security = off;
SELECT count(*) FROM atlas_events;
RESET row_security;

-- Timelines
SET atlas_events.tenant = 'acme';
SELECT role, name FROM atlas_timeline('USER', '7');
SELECT role, name FROM atlas_timeline('ORDER', '2');
SET atlas_events.tenant = 'globex';
SELECT role, name FROM atlas_timeline('USER', '7');
SELECT role, name FROM atlas_timeline('ORDER', '2');
SET atlas_events.tenant = 'nobody';
SELECT role, name FROM atlas_timeline('USER', '7');
-- And the status counts events, not contents.
SELECT queue_depth FROM atlas_status();
RESET ROLE;
RESET atlas_events.tenant;

-- ---------------------------------------------------------------------
-- One event id of two tenants, as no submit gives it: by hand, or by a restore of both
-- ---------------------------------------------------------------------
SELECT test.clean();
INSERT INTO multi.orders VALUES ('initech', 7, 'S');
SET atlas_events.tenant = 'globex';
SELECT submit_event('USER', '7', 'globex'' event', related_objects => ARRAY[('ORDER', '1', NULL), ('ORDER', '9', NULL)]::atlas_object[]) AS twin \gset
SET atlas_events.tenant = 'initech';
INSERT INTO atlas_events SELECT event_id, occurred_at, received_at, 'initech', object_type, object_id, external_id, 'initech''s event', description, icon, payload,
       '[{"objectType": "ORDER", "objectId": "7"}, {"objectType": "ORDER", "objectId": "8"}]' FROM atlas_events WHERE event_id = :'twin';
INSERT INTO atlas_event_queue (tenant_id, event_id, submitted_xid) VALUES ('initech', :'twin', '3');
SELECT name, processing_status, related_objects FROM atlas_event_logs;
-- In one batch, which tells them apart
SELECT atlas_link_events();
SELECT name, processing_status, related_objects FROM atlas_event_logs;
SET atlas_events.tenant = 'globex';
SELECT name, processing_status, related_objects FROM atlas_event_logs;
SELECT tenant_id, object_type, object_id FROM atlas_event_links ORDER BY 1, 2, 3;
-- One of them late
INSERT INTO multi.orders VALUES ('initech', 8, 'T');
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT tenant_id, object_type, object_id FROM atlas_event_links ORDER BY 1, 2, 3;
SELECT tenant_id, object_id, attempts FROM atlas_event_unresolved;
SELECT role, name FROM atlas_timeline('ORDER', '8');
-- One of them FAILED, which is none of the other's business
INSERT INTO atlas_event_queue (tenant_id, event_id, submitted_xid, next_attempt_at) VALUES ('initech', :'twin', (hashtextextended('initech', 0) & 9223372036854775807)::text::xid8, 'infinity');
SELECT name, processing_status FROM atlas_event_logs;
SELECT name, processing_status FROM atlas_pending_events;
SET atlas_events.tenant = 'initech';
SELECT name, processing_status FROM atlas_event_logs;
SELECT name, processing_status FROM atlas_pending_events;
RESET atlas_events.tenant;

SELECT atlas_unregister_object_type('ORDER'), atlas_unregister_object_type('REGION');
DROP FUNCTION seen;
SET client_min_messages = warning;
DROP SCHEMA multi CASCADE;
REVOKE SET ON PARAMETER atlas_events.tenant FROM regress_atlas_app;
DROP OWNED BY regress_atlas_app;
DROP ROLE regress_atlas_app;
SELECT test.clean();
