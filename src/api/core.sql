-- ---------------------------------------------------------------------
-- atlas_events, bound to the schema in which it is installed. This part calls
-- functions and uses operators only with the exact types of their arguments, so
-- that nobody can have put a better match into that schema.
-- ---------------------------------------------------------------------

SELECT set_config('search_path', 'pg_catalog, ' || quote_ident(nspname) || ', pg_temp', true)
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
 WHERE extname = 'atlas_events';

CREATE FUNCTION atlas_api_private.tenant() RETURNS text
    LANGUAGE sql STABLE
    RETURN atlas_tenant();

COMMENT ON FUNCTION atlas_api_private.tenant() IS 'See atlas_tenant()';

CREATE FUNCTION atlas_api_private.store_event(event text, idempotency_key text) RETURNS json
    LANGUAGE sql
    RETURN submit_event(event, idempotency_key);

COMMENT ON FUNCTION atlas_api_private.store_event(text, text) IS 'See submit_event(text, text)';

CREATE FUNCTION atlas_api_private.store_events(events text) RETURNS json
    LANGUAGE sql
    RETURN submit_events(events);

COMMENT ON FUNCTION atlas_api_private.store_events(text) IS 'See submit_events(text)';

CREATE FUNCTION atlas_api_private.timeline(
    object_type text, object_id text, before_event uuid, max_events int,
    external_id text, event_name text, since timestamptz, until timestamptz)
    RETURNS TABLE (
        "eventId" uuid, "occurredAt" timestamptz, role text, name text, description text, icon text,
        payload jsonb, "objectType" text, "objectId" text, "externalId" text, "processingStatus" text)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT t.event_id, t.occurred_at, t.role, t.name, t.description, t.icon, t.payload,
           t.object_type, t.object_id, t.external_id, t.processing_status
      FROM atlas_timeline($1, $2, $3, $4, $5, $6, $7, $8) t;
END;

COMMENT ON FUNCTION atlas_api_private.timeline(text, text, uuid, int, text, text, timestamptz, timestamptz) IS 'See atlas_timeline()';

CREATE FUNCTION atlas_api_private.search_events(
    query text, object_type text, object_id text, event_name text, since timestamptz, until timestamptz,
    before_event uuid, max_events int, max_work int)
    RETURNS TABLE (
        "eventId" uuid, "occurredAt" timestamptz, "objectType" text, "objectId" text, "externalId" text, label text,
        name text, description text, icon text, payload jsonb, headline text, "processingStatus" text,
        searched_until uuid)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT s.event_id, s.occurred_at, s.object_type, s.object_id, s.external_id, s.label,
           s.name, s.description, s.icon, s.payload, s.headline, s.processing_status, s.searched_until
      FROM atlas_search_events($1, $2, $3, $4, $5, $6, $7, $8, $9) s;
END;

COMMENT ON FUNCTION atlas_api_private.search_events(text, text, text, text, timestamptz, timestamptz, uuid, int, int) IS 'See atlas_search_events()';

CREATE FUNCTION atlas_api_private.find_objects(
    object_type text, query text, event_name text, times int, since timestamptz, until timestamptz,
    before_event uuid, max_objects int, max_work int)
    RETURNS TABLE (
        "objectId" text, "externalId" text, label text, events bigint, "newestEvent" uuid, "newestAt" timestamptz,
        searched_until uuid)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT f.object_id, f.external_id, f.label, f.events, f.newest_event, f.newest_at, f.searched_until
      FROM atlas_find_objects($1, $2, $3, NULL::jsonpath, $4, $5, $6, $7, $8, $9) f;
END;

COMMENT ON FUNCTION atlas_api_private.find_objects(text, text, text, int, timestamptz, timestamptz, uuid, int, int) IS 'See atlas_find_objects()';

CREATE VIEW atlas_api_private.object_types AS
    SELECT object_type, relation, id_column, external_id_column, aliases FROM atlas_object_types;

COMMENT ON VIEW atlas_api_private.object_types IS 'See atlas_object_types';

-- Submitters have no right to the table, so the view has that of its owner, and is
-- limited to the tenant as the policy of the table is. Rows are inserted through it.
CREATE VIEW atlas_api_private.rejections WITH (security_barrier = true) AS
    SELECT tenant_id, rejection_id, rejected_at, request_id, role, subject, item_index, status,
           code, message, details, hint, errors, request
      FROM atlas_rejections
     WHERE tenant_id = atlas_tenant()
     ORDER BY rejection_id DESC;

COMMENT ON VIEW atlas_api_private.rejections IS 'The rows of atlas_rejections of the session''s tenant, newest first';

-- The limit of rows applies to each tenant by itself, so that no tenant can push out
-- the rejections of another one. The limit of age is the one statement that is for all
-- tenants at once: what is old also goes if its tenant sends nothing any more.
CREATE FUNCTION atlas_api_private.prune_rejections(before timestamptz, tenant text, keep bigint, most int) RETURNS void
    LANGUAGE sql BEGIN ATOMIC
    DELETE FROM atlas_rejections
     WHERE (tenant_id, rejection_id) IN (
            SELECT r.tenant_id, r.rejection_id FROM atlas_rejections r
             WHERE r.rejected_at < before
             ORDER BY r.rejected_at LIMIT most FOR UPDATE SKIP LOCKED);
    DELETE FROM atlas_rejections
     WHERE tenant_id = tenant
       AND rejection_id IN (
            SELECT r.rejection_id FROM atlas_rejections r
             WHERE r.tenant_id = tenant
               AND r.rejection_id <= (
                    SELECT n.rejection_id FROM atlas_rejections n
                     WHERE n.tenant_id = tenant
                     ORDER BY n.rejection_id DESC OFFSET keep LIMIT 1)
             ORDER BY r.rejection_id LIMIT most FOR UPDATE SKIP LOCKED);
END;

COMMENT ON FUNCTION atlas_api_private.prune_rejections(timestamptz, text, bigint, int) IS
'Deletes rejections of all tenants that are from before a time, and the oldest ones of a tenant that are more than it is to keep: at most so many of each kind.';

-- Readers have no right to the table, where the names of the database's roles are, so the
-- view has that of its owner, and is limited to the tenant as the policy of the table is.
CREATE VIEW atlas_api_private.rules WITH (security_barrier = true) AS
    SELECT rule_id, rule_name, object_type, event_name, condition, times, within, role, owner, is_enabled,
           disabled_reason, created_at, since, unknown, errors, last_error, last_error_at,
           action_schema, action_name, channel, cooldown
      FROM atlas_rules
     WHERE tenant_id = atlas_tenant();

COMMENT ON VIEW atlas_api_private.rules IS 'The rows of atlas_rules of the session''s tenant';

-- Under row security, unlike in a view with a security barrier, a page is read from an index
-- in the order of the page.
CREATE VIEW atlas_api_private.rule_matches WITH (security_invoker = true) AS
    SELECT event_id AS "eventId", rule_id AS "ruleId", rule_name AS "ruleName",
           object_type AS "objectType", object_id AS "objectId", matched_at AS "matchedAt",
           match_id AS "matchId", action_status AS "actionStatus", acted_at AS "actedAt"
      FROM atlas_rule_matches
     WHERE tenant_id = atlas_tenant();

COMMENT ON VIEW atlas_api_private.rule_matches IS 'The rows of atlas_rule_matches of the session''s tenant, in the words of the API';

CREATE FUNCTION atlas_api_private.switch_rule(rule_name text, is_enabled boolean) RETURNS void
    LANGUAGE sql
    RETURN atlas_enable_rule(rule_name, is_enabled);

COMMENT ON FUNCTION atlas_api_private.switch_rule(text, boolean) IS 'See atlas_enable_rule()';

CREATE FUNCTION atlas_api_private.remove_rule(rule_name text) RETURNS void
    LANGUAGE sql
    RETURN atlas_drop_rule(rule_name);

COMMENT ON FUNCTION atlas_api_private.remove_rule(text) IS 'See atlas_drop_rule()';

CREATE VIEW atlas_api.event_logs WITH (security_invoker = true) AS
    SELECT event_id AS "eventId", object_type AS "objectType", object_id AS "objectId",
           external_id AS "externalId", name, description, icon, payload,
           related_objects AS "relatedObjects", processing_status AS "processingStatus",
           attempts, last_error AS "lastError", occurred_at AS "occurredAt",
           received_at AS "receivedAt", linked_at AS "linkedAt"
      FROM atlas_event_logs
     ORDER BY event_id DESC;

COMMENT ON VIEW atlas_api.event_logs IS 'The event logs, newest first
One row per event, with its processing status and the outcome of each related object.';
COMMENT ON COLUMN atlas_api.event_logs."eventId" IS 'UUIDv7: the order of the ids is the order of the times at which events occurred';
COMMENT ON COLUMN atlas_api.event_logs."objectType" IS 'Type of the primary object';
COMMENT ON COLUMN atlas_api.event_logs."objectId" IS 'Id of the primary object';
COMMENT ON COLUMN atlas_api.event_logs."externalId" IS 'Id of the primary object in the submitter''s system';
COMMENT ON COLUMN atlas_api.event_logs.name IS 'Name of the event: escape it where you show it';
COMMENT ON COLUMN atlas_api.event_logs.description IS 'Plain text or HTML, as submitted: escape it where you show it';
COMMENT ON COLUMN atlas_api.event_logs.icon IS 'URL or one character: escape it where you show it';
COMMENT ON COLUMN atlas_api.event_logs.payload IS 'JSON object, as submitted';
COMMENT ON COLUMN atlas_api.event_logs."relatedObjects" IS 'Array of {objectType, objectId, externalId, outcome, reason}; outcome is PENDING, LINKED, NOT_FOUND or ERROR';
COMMENT ON COLUMN atlas_api.event_logs."processingStatus" IS 'PENDING, LINKED or FAILED';
COMMENT ON COLUMN atlas_api.event_logs.attempts IS 'Failed attempts at linking';
COMMENT ON COLUMN atlas_api.event_logs."lastError" IS 'Why the last attempt failed or was put off';
COMMENT ON COLUMN atlas_api.event_logs."occurredAt" IS 'When it happened';
COMMENT ON COLUMN atlas_api.event_logs."receivedAt" IS 'When it was submitted';
COMMENT ON COLUMN atlas_api.event_logs."linkedAt" IS 'When it became LINKED; null until then';

CREATE VIEW atlas_api_private.pending_events WITH (security_invoker = true) AS
    SELECT event_id AS "eventId", object_type AS "objectType", object_id AS "objectId",
           external_id AS "externalId", name, description, icon, payload,
           related_objects AS "relatedObjects", processing_status AS "processingStatus",
           attempts, last_error AS "lastError", occurred_at AS "occurredAt",
           received_at AS "receivedAt", linked_at AS "linkedAt"
      FROM atlas_pending_events
     ORDER BY event_id DESC;

COMMENT ON VIEW atlas_api_private.pending_events IS 'See atlas_pending_events';

CREATE VIEW atlas_api.status AS
    SELECT preloaded, worker_state AS "workerState", submitted, linked, not_found AS "notFound", failed,
           queue_depth AS "queueDepth", oldest_pending_age AS "oldestPendingAge",
           last_error AS "lastError", last_error_at AS "lastErrorAt", advice
      FROM atlas_events_status;

COMMENT ON VIEW atlas_api.status IS 'State of the linking, for admins
One row for all tenants of the database.';
COMMENT ON COLUMN atlas_api.status.preloaded IS 'Whether events are linked in the background';
COMMENT ON COLUMN atlas_api.status."workerState" IS 'What the linker does: starting, linking, idle, asleep, waiting, backoff, held, off';
COMMENT ON COLUMN atlas_api.status.submitted IS 'Events stored since the server started';
COMMENT ON COLUMN atlas_api.status.linked IS 'Events linked since the server started';
COMMENT ON COLUMN atlas_api.status."notFound" IS 'Related objects that were not found at first, since the server started';
COMMENT ON COLUMN atlas_api.status.failed IS 'Events that are FAILED now';
COMMENT ON COLUMN atlas_api.status."queueDepth" IS 'Events that are PENDING now';
COMMENT ON COLUMN atlas_api.status."oldestPendingAge" IS 'Time since the oldest pending event was received';
COMMENT ON COLUMN atlas_api.status."lastError" IS 'Last error of a linker since the server started';
COMMENT ON COLUMN atlas_api.status."lastErrorAt" IS 'When that error occurred';
COMMENT ON COLUMN atlas_api.status.advice IS 'What an operator should do; null when all is well';

SELECT set_config('search_path', 'pg_catalog, pg_temp', true);
