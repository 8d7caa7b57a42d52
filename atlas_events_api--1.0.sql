/* atlas_events_api--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION atlas_events_api" to load this file. \quit

-- ---------------------------------------------------------------------
-- The Events API as PostgREST serves it. The schema atlas_api holds what a
-- client can reach, and nothing else; what that is made of is in
-- atlas_api_private, and the events themselves are those of atlas_events.
--
-- Callers run with their own rights (atlas_submitter, atlas_reader,
-- atlas_admin, which create_roles() makes). What needs more is SECURITY
-- DEFINER and small. Calls into atlas_events are bound here, by the parser,
-- wherever its schema is, and not when they run.
-- ---------------------------------------------------------------------

-- Nothing here is looked up where somebody else may have put a better match.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

-- An API is not put into a schema that somebody else rules, or can put things
-- into. What is in a schema depends on it; so does this extension.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
                WHERE nspname = 'atlas_api' AND nspowner <> current_user::regrole AND NOT rolsuper) OR
       EXISTS (SELECT FROM pg_namespace n, aclexplode(nspacl)
                WHERE nspname = 'atlas_api' AND privilege_type = 'CREATE' AND grantee <> nspowner) OR
       EXISTS (SELECT FROM pg_depend
                WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'atlas_api'::regnamespace
                  AND classid <> 'pg_extension'::regclass) THEN
        RAISE EXCEPTION 'schema atlas_api exists already, and is not empty or not yours alone'
            USING ERRCODE = 'duplicate_schema', HINT = 'Drop or rename it.';
    END IF;
END
$$;

CREATE SCHEMA atlas_api_private;

COMMENT ON SCHEMA atlas_api IS 'Events API
Events on the timelines of support objects: submit them, and read timelines, logs and refused requests.';
COMMENT ON SCHEMA atlas_api_private IS 'What the Events API is made of; not for clients';

-- ---------------------------------------------------------------------
-- atlas_events, bound to where it is installed. In here nothing is called, and
-- no operator used, but what is found by its exact name and arguments.
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

CREATE FUNCTION atlas_api_private.timeline(object_type text, object_id text, before_event uuid, max_events int)
    RETURNS TABLE (
        "eventId" uuid, "occurredAt" timestamptz, role text, name text, description text, icon text,
        payload jsonb, "objectType" text, "objectId" text, "externalId" text, "processingStatus" text)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT t.event_id, t.occurred_at, t.role, t.name, t.description, t.icon, t.payload,
           t.object_type, t.object_id, t.external_id, t.processing_status
      FROM atlas_timeline($1, $2, $3, $4) t;
END;

COMMENT ON FUNCTION atlas_api_private.timeline(text, text, uuid, int) IS 'See atlas_timeline()';

CREATE VIEW atlas_api_private.object_types AS
    SELECT object_type, relation, id_column, external_id_column, aliases FROM atlas_object_types;

COMMENT ON VIEW atlas_api_private.object_types IS 'See atlas_object_types';

CREATE VIEW atlas_api.event_logs WITH (security_invoker = true) AS
    SELECT event_id AS "eventId", object_type AS "objectType", object_id AS "objectId",
           external_id AS "externalId", name, description, icon, payload,
           related_objects AS "relatedObjects", processing_status AS "processingStatus",
           attempts, last_error AS "lastError", occurred_at AS "occurredAt",
           received_at AS "receivedAt", linked_at AS "linkedAt"
      FROM atlas_event_logs
     ORDER BY event_id DESC;

COMMENT ON VIEW atlas_api.event_logs IS 'The event logs, newest first
One row an event, with its processing status and the outcome of each related object.';
COMMENT ON COLUMN atlas_api.event_logs."eventId" IS 'UUIDv7: the order of the ids is the order of time';
COMMENT ON COLUMN atlas_api.event_logs."objectType" IS 'Type of the primary object';
COMMENT ON COLUMN atlas_api.event_logs."objectId" IS 'Id of the primary object';
COMMENT ON COLUMN atlas_api.event_logs."externalId" IS 'Its id in the submitter''s system';
COMMENT ON COLUMN atlas_api.event_logs.name IS 'Name of the event';
COMMENT ON COLUMN atlas_api.event_logs.description IS 'Plain text or HTML, as submitted: escape it where you show it';
COMMENT ON COLUMN atlas_api.event_logs.icon IS 'URL or one character';
COMMENT ON COLUMN atlas_api.event_logs.payload IS 'JSON object, as submitted';
COMMENT ON COLUMN atlas_api.event_logs."relatedObjects" IS 'Array of {objectType, objectId, externalId, outcome, reason}; outcome is PENDING, LINKED, NOT_FOUND or ERROR';
COMMENT ON COLUMN atlas_api.event_logs."processingStatus" IS 'PENDING, LINKED or FAILED';
COMMENT ON COLUMN atlas_api.event_logs.attempts IS 'Failed attempts at linking';
COMMENT ON COLUMN atlas_api.event_logs."lastError" IS 'Why the last attempt failed or was put off';
COMMENT ON COLUMN atlas_api.event_logs."occurredAt" IS 'When it happened';
COMMENT ON COLUMN atlas_api.event_logs."receivedAt" IS 'When it was submitted';
COMMENT ON COLUMN atlas_api.event_logs."linkedAt" IS 'When it became LINKED; null before';

CREATE VIEW atlas_api.status AS
    SELECT preloaded, worker_state AS "workerState", submitted, linked, not_found AS "notFound", failed,
           queue_depth AS "queueDepth", oldest_pending_age AS "oldestPendingAge",
           last_error AS "lastError", last_error_at AS "lastErrorAt", advice
      FROM atlas_events_status;

COMMENT ON VIEW atlas_api.status IS 'State of the linking, for admins
One row for all tenants of the database.';
COMMENT ON COLUMN atlas_api.status.preloaded IS 'Are events linked in the background';
COMMENT ON COLUMN atlas_api.status."workerState" IS 'What the linker does: starting, linking, idle, asleep, waiting, held, off';
COMMENT ON COLUMN atlas_api.status.submitted IS 'Events stored since the server started';
COMMENT ON COLUMN atlas_api.status.linked IS 'Events linked since the server started';
COMMENT ON COLUMN atlas_api.status."notFound" IS 'Related objects that were not found at first, since the server started';
COMMENT ON COLUMN atlas_api.status.failed IS 'Events that are FAILED now';
COMMENT ON COLUMN atlas_api.status."queueDepth" IS 'Events that are PENDING now';
COMMENT ON COLUMN atlas_api.status."oldestPendingAge" IS 'Time since the oldest pending event was received';
COMMENT ON COLUMN atlas_api.status."lastError" IS 'Last error of a linker since the server started';
COMMENT ON COLUMN atlas_api.status."lastErrorAt" IS 'When that was';
COMMENT ON COLUMN atlas_api.status.advice IS 'What to do about it; null when all is well';

SELECT set_config('search_path', 'pg_catalog, pg_temp', true);

-- ---------------------------------------------------------------------
-- The request
-- ---------------------------------------------------------------------

-- Claims, headers and settings of a request are what any session can set, so
-- only PostgREST is believed: whoever could make up claims could be anybody.
CREATE FUNCTION atlas_api_private.is_client() RETURNS boolean
    AS '$libdir/atlas_events', 'atlas_is_client' LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION atlas_api_private.is_client() IS 'Is this the session of a client, and not a background process, and not code that runs for the owner of a table or view';

-- Members of atlas_authenticator are not PostgREST; every superuser would be one.
CREATE FUNCTION atlas_api_private.is_request() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN session_user = 'atlas_authenticator' AND atlas_api_private.is_client();

COMMENT ON FUNCTION atlas_api_private.is_request() IS 'Is this a session of PostgREST: of a client that is logged in as atlas_authenticator';

-- A setting of PostgREST's configuration.
CREATE FUNCTION atlas_api_private.app_setting(name text) RETURNS text
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN CASE WHEN atlas_api_private.is_request()
                THEN nullif(pg_catalog.current_setting('app.settings.' || name, true), '') END;

COMMENT ON FUNCTION atlas_api_private.app_setting(text) IS 'A setting app.settings of PostgREST; null when it is not set, and in sessions that are not PostgREST''s';

-- Runs before each request, as the role of the token, with PostgREST's own
-- settings of the request in place. The tenant is a setting for superusers.
--
-- A function with a search_path of its own could not change that of the request.
-- So the first statement, which is qualified, changes it for the others; the
-- last one is for the request, see atlas_api_refused. (At its root PostgREST
-- describes its resources by statements of its own, which cast to regclass, and
-- takes no filters.)
--
-- The time limit counts from the next statement, which is the request's own. A
-- page is small, but a plan for any page is estimated for the whole log, and to
-- compile it would take seconds.
CREATE FUNCTION atlas_api_private.check_request() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER AS
$$
DECLARE
    audience pg_catalog.text;
    claims pg_catalog.jsonb;
    headers pg_catalog.jsonb;
    request_id pg_catalog.text;
    path pg_catalog.text;
    problem pg_catalog.text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    IF NOT atlas_api_private.is_request() THEN
        RAISE insufficient_privilege
            USING MESSAGE = 'check_request() is for PostgREST, connected as atlas_authenticator';
    END IF;
    audience := atlas_api_private.app_setting('audience');
    IF audience IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT500', MESSAGE = 'Internal Server Error',
            DETAIL = 'app.settings.audience is not set.',
            HINT = 'Set app.settings.audience in the configuration of PostgREST.';
    END IF;

    claims := nullif(current_setting('request.jwt.claims', true), '');
    problem := CASE
        WHEN jsonb_typeof(claims -> 'role') IS DISTINCT FROM 'string' THEN
            'The token has no claim "role".'
        WHEN NOT coalesce(claims -> 'aud' ? audience, false) THEN
            'The token is not for this audience (claim "aud").'
        WHEN claims ? 'tenant' AND
             (jsonb_typeof(claims -> 'tenant') <> 'string' OR
              length(claims ->> 'tenant') NOT BETWEEN 1 AND 255) THEN
            'The claim "tenant" must be a string of 1 to 255 characters.'
    END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT401', MESSAGE = 'Unauthorized', DETAIL = problem,
            HINT = 'Send a token as "Authorization: Bearer ..." that was issued for this API.';
    END IF;

    headers := nullif(current_setting('request.headers', true), '');
    IF headers ?| '{prefer,content-encoding,x-original-request}' THEN
        PERFORM atlas_api_private.check_headers(headers);
    END IF;

    request_id := headers ->> 'x-request-id';
    IF request_id IS NULL OR request_id !~ '^[A-Za-z0-9._-]{8,40}$' THEN
        request_id := gen_random_uuid();
    END IF;
    path := current_setting('request.path', true);
    PERFORM set_config('atlas_events.tenant', coalesce(claims ->> 'tenant', ''), true),
            set_config('atlas_api.request_id', request_id, true),
            set_config('application_name', 'atlas_events_api ' || request_id, true),
            set_config('statement_timeout',
                CASE WHEN path IN ('/rpc/submit_event', '/rpc/submit_events') THEN '30s' ELSE '5s' END, true),
            set_config('jit', 'off', true),
            set_config('search_path', CASE path WHEN '/' THEN 'atlas_api, pg_catalog, pg_temp'
                ELSE 'atlas_api_refused, atlas_api, pg_catalog, pg_temp' END, true);
END
$$;

COMMENT ON FUNCTION atlas_api_private.check_request() IS
'Checks the token of a request and takes the tenant from it: the db-pre-request of PostgREST.
Raises PT401 when the token has no role, is not for the audience of app.settings.audience, or has a malformed tenant, and what check_headers() raises. What is asked for may take 5 s, or 30 s if it submits. The id of the request becomes part of application_name, which log_line_prefix shows with %a.';

CREATE FUNCTION atlas_api_private.check_headers(headers jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    -- An estimate would be made from the rows of all tenants.
    IF headers ->> 'prefer' ~ 'count *= *"?(planned|estimated)' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
            DETAIL = 'Rows are not counted by estimate.', HINT = 'Use Prefer: count=exact.';
    END IF;
    IF lower(headers ->> 'content-encoding') <> 'identity' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT415', MESSAGE = 'Unsupported Media Type',
            DETAIL = 'The body has a Content-Encoding other than identity.', HINT = 'Send it as it is.';
    END IF;
    IF headers ? 'x-original-request' THEN
        PERFORM atlas_api_private.check_parameters(headers ->> 'x-original-request');
    END IF;
END
$$;

COMMENT ON FUNCTION atlas_api_private.check_headers(jsonb) IS
'Raises PT400 or PT415 for what the API does not do: counts by estimate, encoded bodies, and query parameters that a path of the OpenAPI document does not have (header X-Original-Request, see check_parameters()).';

CREATE FUNCTION atlas_api_private.request_id() RETURNS text
    LANGUAGE sql STABLE
    RETURN nullif(pg_catalog.current_setting('atlas_api.request_id', true), '');

COMMENT ON FUNCTION atlas_api_private.request_id() IS 'Id of the request that is being answered';

CREATE FUNCTION atlas_api_private.subject() RETURNS text
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN CASE WHEN atlas_api_private.is_request()
                THEN nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub' END;

COMMENT ON FUNCTION atlas_api_private.subject() IS 'Who asks: the claim "sub" of the token';

CREATE FUNCTION atlas_api_private.is_reader() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(pg_has_role(to_regrole('atlas_reader'), 'USAGE'), false);

COMMENT ON FUNCTION atlas_api_private.is_reader() IS 'May the caller read everything of the tenant';

-- ---------------------------------------------------------------------
-- What a query must not do. PostgREST makes SQL of its filters, with operators
-- and types that have no schema. This schema comes first in the search_path of a
-- request, and has operators and types of the same names that refuse, however
-- the filter was written, nested or encoded. They refuse while the statement is
-- planned or begins, before any row is read; with ANY or ALL, and as an array,
-- at the first row.
-- ---------------------------------------------------------------------

CREATE SCHEMA atlas_api_refused;

COMMENT ON SCHEMA atlas_api_refused IS 'Operators and types that queries of the Events API must not use; first in the search_path of requests';

CREATE FUNCTION atlas_api_refused.refuse(details text, hint text) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request', DETAIL = details, HINT = hint;
END
$$;

COMMENT ON FUNCTION atlas_api_refused.refuse(text, text) IS 'Raises PT400';

-- A regular expression can take as long as it likes for a single row. These
-- functions are inlined, and the planner calls refuse(), which is immutable and
-- has constant arguments.
CREATE FUNCTION atlas_api_refused.match(text, text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN atlas_api_refused.refuse('The operators match and imatch are not taken.', 'Use eq, like or ilike.');
CREATE FUNCTION atlas_api_refused.match(name, text) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN atlas_api_refused.match(NULL::text, NULL::text);
CREATE FUNCTION atlas_api_refused.match(bpchar, text) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN atlas_api_refused.match(NULL::text, NULL::text);

COMMENT ON FUNCTION atlas_api_refused.match(text, text) IS 'Refuses the operators match and imatch of PostgREST';
COMMENT ON FUNCTION atlas_api_refused.match(name, text) IS 'Refuses the operators match and imatch of PostgREST';
COMMENT ON FUNCTION atlas_api_refused.match(bpchar, text) IS 'Refuses the operators match and imatch of PostgREST';

CREATE OPERATOR atlas_api_refused.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~ (LEFTARG = name, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~ (LEFTARG = bpchar, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~* (LEFTARG = text, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~* (LEFTARG = name, RIGHTARG = text, FUNCTION = atlas_api_refused.match);
CREATE OPERATOR atlas_api_refused.~* (LEFTARG = bpchar, RIGHTARG = text, FUNCTION = atlas_api_refused.match);

-- A cast to one of these types tells which tables, functions or roles there are.
-- Each domain has an array type as well.
DO $$
DECLARE
    this record;
BEGIN
    FOR this IN
        SELECT typname FROM pg_type
         WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND (typname ~ '^reg' OR typname = 'aclitem')
    LOOP
        EXECUTE format('CREATE DOMAIN atlas_api_refused.%1$I AS text CHECK (atlas_api_refused.refuse(
            ''Values are not cast to names of objects and roles of the database.'', ''Leave the cast out.''))',
            this.typname);
        EXECUTE format('COMMENT ON DOMAIN atlas_api_refused.%I IS ''Refuses casts to the type of the same name''',
            this.typname);
    END LOOP;
END
$$;

-- ---------------------------------------------------------------------
-- Refused requests
-- ---------------------------------------------------------------------

CREATE TABLE atlas_api_private.rejections (
    rejection_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    role text NOT NULL,
    subject text,
    item_index int,
    status smallint NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    details text,
    hint text,
    errors jsonb,
    request text
);

CREATE INDEX rejections_tenant_idx ON atlas_api_private.rejections (tenant_id, rejection_id);

COMMENT ON TABLE atlas_api_private.rejections IS 'Events that were refused; those of the last 30 days, 100,000 of a tenant at most, if the settings of PostgREST say nothing else';
COMMENT ON COLUMN atlas_api_private.rejections.rejection_id IS 'In the order in which they were refused';
COMMENT ON COLUMN atlas_api_private.rejections.rejected_at IS 'When';
COMMENT ON COLUMN atlas_api_private.rejections.tenant_id IS 'Tenant of the request; empty without tenants';
COMMENT ON COLUMN atlas_api_private.rejections.request_id IS 'The requestId of the answer';
COMMENT ON COLUMN atlas_api_private.rejections.role IS 'Role of the token';
COMMENT ON COLUMN atlas_api_private.rejections.subject IS 'Claim "sub" of the token';
COMMENT ON COLUMN atlas_api_private.rejections.item_index IS 'Place in the batch, from 0; null: the request as a whole';
COMMENT ON COLUMN atlas_api_private.rejections.status IS 'HTTP status';
COMMENT ON COLUMN atlas_api_private.rejections.code IS 'PT400, PT404, PT409, PT413 or PT500';
COMMENT ON COLUMN atlas_api_private.rejections.message IS 'What the code stands for';
COMMENT ON COLUMN atlas_api_private.rejections.details IS 'Why, its first 1,000 characters';
COMMENT ON COLUMN atlas_api_private.rejections.hint IS 'What to do about it';
COMMENT ON COLUMN atlas_api_private.rejections.errors IS 'The first ten problems of an invalid event: array of {field, code, message}';
COMMENT ON COLUMN atlas_api_private.rejections.request IS 'The event as it was sent, its first 1,000 characters';

SELECT pg_catalog.pg_extension_config_dump('atlas_api_private.rejections', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_api_private.rejections_rejection_id_seq', '');

-- The view for readers and submitters is below. Whoever may read every table
-- sees of this one what it sees of the events: those of its tenant.
ALTER TABLE atlas_api_private.rejections ENABLE ROW LEVEL SECURITY;

DO $$
BEGIN
    EXECUTE format('CREATE POLICY atlas_tenant ON atlas_api_private.rejections FOR SELECT
        USING (tenant_id = %s.atlas_tenant())', (
        SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
         WHERE extname = 'atlas_events'));
END
$$;

CREATE FUNCTION atlas_api_private.rejection_age() RETURNS interval
    LANGUAGE sql STABLE
    RETURN coalesce(atlas_api_private.app_setting('rejections_max_age'), '30 days')::interval;

COMMENT ON FUNCTION atlas_api_private.rejection_age() IS 'How long refused requests are kept: app.settings.rejections_max_age of PostgREST, 30 days when not set';

CREATE FUNCTION atlas_api_private.rejection_rows() RETURNS bigint
    LANGUAGE sql STABLE
    RETURN coalesce(atlas_api_private.app_setting('rejections_max_rows'), '100000')::bigint;

COMMENT ON FUNCTION atlas_api_private.rejection_rows() IS 'How many refused requests of a tenant are kept: app.settings.rejections_max_rows of PostgREST, 100,000 when not set';

-- The age counts for all tenants; the number for one, so that none can push out
-- what belongs to the others. At most so many rows at a time.
CREATE FUNCTION atlas_api_private.prune_rejections(tenant text, most int) RETURNS void
    LANGUAGE sql BEGIN ATOMIC
    DELETE FROM atlas_api_private.rejections
     WHERE rejection_id IN (
            SELECT rejection_id
              FROM (SELECT rejection_id, rejected_at FROM atlas_api_private.rejections
                     ORDER BY rejection_id LIMIT most FOR UPDATE SKIP LOCKED) oldest
             WHERE rejected_at < now() - atlas_api_private.rejection_age());
    DELETE FROM atlas_api_private.rejections
     WHERE rejection_id IN (
            SELECT rejection_id FROM atlas_api_private.rejections
             WHERE tenant_id = tenant
               AND rejection_id <= (
                    SELECT rejection_id FROM atlas_api_private.rejections
                     WHERE tenant_id = tenant
                     ORDER BY rejection_id DESC OFFSET atlas_api_private.rejection_rows() LIMIT 1)
             ORDER BY rejection_id LIMIT most FOR UPDATE SKIP LOCKED);
END;

COMMENT ON FUNCTION atlas_api_private.prune_rejections(text, int) IS
'Deletes rejections that are too old, and those of a tenant that are too many, at most so many of each.';

CREATE FUNCTION atlas_api_private.note_rejections(items json) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '1s' AS
$$
DECLARE
    noted int;
BEGIN
    IF NOT atlas_api_private.is_request() THEN
        RETURN;
    END IF;

    INSERT INTO atlas_api_private.rejections
           (tenant_id, request_id, role, subject, item_index, status, code, message,
            details, hint, errors, request)
    SELECT atlas_api_private.tenant(), coalesce(atlas_api_private.request_id(), ''),
           coalesce(nullif(current_setting('role'), 'none'), session_user),
           atlas_api_private.subject(), i.index, i.status, i.code, i.message,
           left(i.details, 1000), i.hint, jsonb_path_query_array(i.errors, '$[0 to 9]'), left(i.request, 1000)
      FROM json_to_recordset(items)
           AS i (index int, status int, code text, message text, details text, hint text,
                 errors jsonb, request text);

    -- Once in a hundred, on average, room is made for twice as many.
    GET DIAGNOSTICS noted = ROW_COUNT;
    IF random() * 100 < noted THEN
        PERFORM atlas_api_private.prune_rejections(atlas_api_private.tenant(), greatest(200, 2 * noted));
    END IF;
EXCEPTION
    -- That an event was refused must be said even if it cannot be noted.
    WHEN OTHERS THEN
        RAISE WARNING 'could not note a rejection: %', SQLERRM
            USING ERRCODE = SQLSTATE;
END
$$;

COMMENT ON FUNCTION atlas_api_private.note_rejections(json) IS
'Writes refused events to the rejections: an array of {index, status, code, message, details, hint, errors, request}.
Of requests only: a session that is not PostgREST''s leaves no rejections.';

-- ---------------------------------------------------------------------
-- Answers
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.status_message(status int) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN CASE status
        WHEN 400 THEN 'Invalid Event'
        WHEN 404 THEN 'Object Not Found'
        WHEN 409 THEN 'Conflict'
        WHEN 413 THEN 'Event Too Large'
        ELSE 'Internal Server Error'
    END;

COMMENT ON FUNCTION atlas_api_private.status_message(int) IS 'The constant phrase of an HTTP status, as atlas_events has it';

-- What is said of a 413 may come from anybody, such as the owner of a view that
-- was looked up.
CREATE FUNCTION atlas_api_private.header_value(value text) RETURNS text
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT '"' || coalesce(pg_catalog.string_agg(
               CASE WHEN c IN ('"', '\') THEN '\' || c
                    WHEN c ~ '^[ -~]$' THEN c
                    WHEN pg_catalog.ascii(c) < 65536
                    THEN '\u' || pg_catalog.lpad(pg_catalog.to_hex(pg_catalog.ascii(c)), 4, '0')
                    ELSE '?' END, '' ORDER BY n), '') || '"'
      FROM pg_catalog.regexp_split_to_table(pg_catalog.left(value, 500), '') WITH ORDINALITY AS r (c, n);
END;

COMMENT ON FUNCTION atlas_api_private.header_value(text) IS 'The first 500 characters of a text as a JSON string in ASCII, which can stand in a header';

CREATE FUNCTION atlas_api_private.set_status(status int, details text DEFAULT NULL, hint text DEFAULT NULL)
    RETURNS void
    LANGUAGE sql BEGIN ATOMIC
    SELECT pg_catalog.set_config('response.status', status::text, true),
           pg_catalog.set_config('response.headers', pg_catalog.json_agg(
               pg_catalog.json_build_object(h.name, h.value))::text, true)
      FROM (VALUES ('X-Request-Id', atlas_api_private.request_id()),
                   ('X-Error-Details', CASE WHEN status = 413 AND details IS NOT NULL
                                            THEN atlas_api_private.header_value(details) END),
                   ('X-Error-Hint', CASE WHEN status = 413 AND hint IS NOT NULL
                                         THEN atlas_api_private.header_value(hint) END)) h (name, value)
     WHERE h.value IS NOT NULL;
END;

COMMENT ON FUNCTION atlas_api_private.set_status(int, text, text) IS
'Makes this the HTTP status of the answer, instead of 200.
X-Request-Id tells a proxy that the body is in the form of the Events API already. A proxy has a body of its own for 413, so what there is to say is in headers as well, as JSON strings.';

-- Answers an error without raising it, so that what was written stays.
CREATE FUNCTION atlas_api_private.error_response(
    status int, details text, hint text, errors json DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    body json;
BEGIN
    PERFORM atlas_api_private.set_status(status, details, hint);
    IF status = 400 THEN
        SELECT pg_catalog.row_to_json(r) INTO body
          FROM (SELECT 'PT400' AS code, atlas_api_private.status_message(status) AS message,
                       details, hint, coalesce(errors, '[]') AS errors,
                       atlas_api_private.request_id() AS "requestId") r;
    ELSE
        SELECT pg_catalog.row_to_json(r) INTO body
          FROM (SELECT 'PT' || status AS code, atlas_api_private.status_message(status) AS message,
                       details, hint, atlas_api_private.request_id() AS "requestId") r;
    END IF;
    RETURN body;
END
$$;

COMMENT ON FUNCTION atlas_api_private.error_response(int, text, text, json) IS
'Makes this request end with an HTTP status, and returns the body: {code, message, details, hint, errors, requestId}, errors for 400 only.';

CREATE FUNCTION atlas_api_private.problems_in_words(problems json) RETURNS text
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT pg_catalog.string_agg(pg_catalog.concat_ws(': ',
               nullif(p.problem ->> 'field', ''), p.problem ->> 'message'), '; ' ORDER BY p.n)
      FROM (SELECT value AS problem, ordinality AS n
              FROM pg_catalog.json_array_elements(problems) WITH ORDINALITY
             LIMIT 10) p;
END;

COMMENT ON FUNCTION atlas_api_private.problems_in_words(json) IS 'The first ten problems of an invalid event, in one line for people';

CREATE FUNCTION atlas_api_private.json_or_empty(value text) RETURNS json
    LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    parsed json;
BEGIN
    parsed := value;
    RETURN CASE WHEN pg_catalog.json_typeof(parsed) = 'array' THEN parsed ELSE '[]' END;
EXCEPTION
    WHEN data_exception OR program_limit_exceeded THEN
        RETURN '[]';
END
$$;

COMMENT ON FUNCTION atlas_api_private.json_or_empty(text) IS 'A text as json if it is an array; else an empty array';

-- What atlas_events raised, as an answer; whatever else went wrong is for the
-- server log, with the id of the request.
CREATE FUNCTION atlas_api_private.answer_error(
    state text, raised_message text, detail text, hint text, request text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    status int := CASE WHEN state IN ('PT400', 'PT404', 'PT409', 'PT413')
                       THEN pg_catalog.substr(state, 3)::int ELSE 500 END;
    details text := nullif(detail, '');
    advice text := nullif(hint, '');
    errors json;
    response json;
BEGIN
    IF status = 400 THEN
        errors := atlas_api_private.json_or_empty(detail);
        details := coalesce(atlas_api_private.problems_in_words(errors), details);
    ELSIF status = 500 THEN
        RAISE LOG 'request % failed: %', atlas_api_private.request_id(), raised_message
            USING ERRCODE = state, DETAIL = detail, HINT = hint;
        details := 'The event was not stored.';
        advice := 'Try again, with an idempotency key; if that does not help, report the requestId.';
    END IF;
    response := atlas_api_private.error_response(status, details, advice, errors);
    IF request IS NOT NULL THEN
        PERFORM atlas_api_private.note_rejections(pg_catalog.json_build_array(
            (SELECT pg_catalog.row_to_json(r)
               FROM (SELECT status, response ->> 'code' AS code, response ->> 'message' AS message,
                            response ->> 'details' AS details, response ->> 'hint' AS hint,
                            response -> 'errors' AS errors, pg_catalog.left(request, 1000) AS request) r)));
    END IF;
    RETURN response;
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_error(text, text, text, text, text) IS
'Answers an error that was caught: PT400, PT404, PT409 and PT413 as they are, any other as 500. A request that is not null is noted as rejected.';

-- ---------------------------------------------------------------------
-- Submitting
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.raise_invalid(code text, message text, hint text DEFAULT '') RETURNS void
    LANGUAGE plpgsql AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = atlas_api_private.status_message(400), HINT = hint,
        DETAIL = pg_catalog.json_build_array(pg_catalog.json_build_object(
            'field', '', 'code', code, 'message', message));
END
$$;

COMMENT ON FUNCTION atlas_api_private.raise_invalid(text, text, text) IS 'Raises PT400 for a request as a whole, as atlas_events does for an event';

-- PostgREST's text parameters end at the first NUL byte, without a word.
CREATE FUNCTION atlas_api_private.cut_short(body text) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN pg_catalog.octet_length(pg_catalog.convert_to(body, 'UTF8')) <
        (nullif(pg_catalog.current_setting('request.headers', true), '')::json ->> 'content-length')::bigint
        THEN 'the body has a NUL byte' END;

COMMENT ON FUNCTION atlas_api_private.cut_short(text) IS 'The problem of a request whose body had more bytes than arrived here; null for any other';

CREATE FUNCTION atlas_api_private.answer_event(event text, problem text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    raised_message text;
    detail text;
    hint text;
BEGIN
    IF problem IS NOT NULL THEN
        PERFORM atlas_api_private.raise_invalid('malformed_json', problem);
    END IF;
    RETURN atlas_api_private.store_event(event,
        nullif(pg_catalog.current_setting('request.headers', true), '')::json ->> 'idempotency-key');
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_error(SQLSTATE, raised_message, detail, hint, event);
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_event(text, text) IS 'Stores an event, and answers its receipt or why it is refused, which is noted then.
A problem with the body as a whole, if there is one, is the reason.';

CREATE FUNCTION atlas_api.submit_event(text) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_event($1, atlas_api_private.cut_short($1));

COMMENT ON FUNCTION atlas_api.submit_event(text) IS
'Submit an event
The body is an event; the answer is its receipt {"message":"Event Linked","eventId":...,"processingStatus":...,"duplicate":...}, with status 200 when the event is stored. The header Idempotency-Key counts as the field idempotencyKey. 400, 404, 409, 413: refused; nothing is stored, and the request is noted in the rejections.';

-- Bytes that are no UTF-8, and NUL, are refused as malformed, and noted as far
-- as they go.
CREATE FUNCTION atlas_api_private.text_of(body bytea, OUT value text, OUT problem text)
    LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
    value := pg_catalog.convert_from(body, 'UTF8');
EXCEPTION
    WHEN character_not_in_repertoire OR untranslatable_character THEN
        value := pg_catalog.encode(body, 'escape');
        problem := 'the body is not UTF-8: ' || SQLERRM;
END
$$;

COMMENT ON FUNCTION atlas_api_private.text_of(bytea) IS 'The body of a request as text, or why it is none';

CREATE FUNCTION atlas_api.submit_event(bytea) RETURNS json
    LANGUAGE sql BEGIN ATOMIC
    SELECT atlas_api_private.answer_event(t.value, t.problem) FROM atlas_api_private.text_of($1) t;
END;

COMMENT ON FUNCTION atlas_api.submit_event(bytea) IS
'Submit an event
The same for a body of type application/octet-stream, which may be of any bytes.';

CREATE FUNCTION atlas_api.submit_event(json) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_event($1::text, NULL);

COMMENT ON FUNCTION atlas_api.submit_event(json) IS
'Submit an event
The same for a body of type application/json.';

-- Of a batch in which something is no JSON no item has an excerpt, since items
-- is empty. The field of a problem is a place in the batch: /2/name.
CREATE FUNCTION atlas_api_private.refused_items(
    results json, items json, OUT refused json, OUT problems json)
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    WITH item AS (
        SELECT result.n - 1 AS index, result.value AS result, item.value AS request,
               CASE WHEN result.value ->> 'status' = '400' THEN result.value -> 'details' END AS errors
          FROM pg_catalog.json_array_elements(results) WITH ORDINALITY AS result (value, n)
          LEFT JOIN pg_catalog.json_array_elements(items) WITH ORDINALITY AS item (value, n) USING (n)
         WHERE result.value ->> 'status' <> '200')
    SELECT (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                       'index', index, 'status', result -> 'status', 'code', result -> 'code',
                       'message', result -> 'message', 'hint', result -> 'hint', 'errors', errors,
                       'details', coalesce(atlas_api_private.problems_in_words(errors), result ->> 'details'),
                       'request', pg_catalog.left(request::text, 1000)))
              FROM item),
           (SELECT pg_catalog.json_agg(p)
              FROM (SELECT '/' || index || (problem ->> 'field') AS field,
                           problem -> 'code' AS code, problem -> 'message' AS message
                      FROM item, pg_catalog.json_array_elements(errors) AS problem
                     LIMIT 100) p);
END;

COMMENT ON FUNCTION atlas_api_private.refused_items(json, json) IS
'The refused ones of a batch, as note_rejections() takes them, and the problems of the invalid ones in one list, the first hundred.';

CREATE FUNCTION atlas_api_private.answer_batch(result json, batch text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    rejected int := result ->> 'rejected';
    refused json;
    problems json;
    body json;
BEGIN
    IF rejected = 0 THEN
        RETURN result;
    END IF;
    SELECT r.refused, r.problems INTO refused, problems
      FROM atlas_api_private.refused_items(result -> 'results', atlas_api_private.json_or_empty(batch)) r;
    PERFORM atlas_api_private.note_rejections(refused);
    IF rejected < pg_catalog.json_array_length(result -> 'results') THEN
        PERFORM atlas_api_private.set_status(207);
        RETURN result;
    END IF;

    body := atlas_api_private.error_response(400, 'None of the events was stored.',
        'The results say why, in the order of the events.', problems);
    SELECT pg_catalog.row_to_json(r) INTO body
      FROM (SELECT body -> 'code' AS code, body -> 'message' AS message, body -> 'details' AS details,
                   body -> 'hint' AS hint, body -> 'errors' AS errors, body -> 'requestId' AS "requestId",
                   result -> 'accepted' AS accepted, result -> 'rejected' AS rejected,
                   result -> 'results' AS results) r;
    RETURN body;
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_batch(json, text) IS
'Answers what submit_events() said of a batch: 200, 207 or 400; notes those that were refused.';

CREATE FUNCTION atlas_api_private.answer_events(events text, problem text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    headers json := nullif(pg_catalog.current_setting('request.headers', true), '');
    raised_message text;
    detail text;
    hint text;
BEGIN
    IF problem IS NOT NULL THEN
        PERFORM atlas_api_private.raise_invalid('malformed_json', problem);
    END IF;
    IF headers ->> 'idempotency-key' IS NOT NULL THEN
        PERFORM atlas_api_private.raise_invalid('invalid', 'the header Idempotency-Key is for a single event',
            'Give each event of the batch an idempotencyKey of its own.');
    END IF;
    RETURN atlas_api_private.answer_batch(atlas_api_private.store_events(events), events);
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_error(SQLSTATE, raised_message, detail, hint, events);
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_events(text, text) IS 'Stores a batch of events, and answers what became of each; those that are refused are noted.';

CREATE FUNCTION atlas_api.submit_events(text) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_events($1, atlas_api_private.cut_short($1));

COMMENT ON FUNCTION atlas_api.submit_events(text) IS
'Submit several events
The body is an array of events, each of which stands for itself; the answer is {"accepted":n,"rejected":n,"results":[...]} in the same order. 200: all are stored; 207: some; 400: none. The events that are refused are noted in the rejections.';

CREATE FUNCTION atlas_api.submit_events(bytea) RETURNS json
    LANGUAGE sql BEGIN ATOMIC
    SELECT atlas_api_private.answer_events(t.value, t.problem) FROM atlas_api_private.text_of($1) t;
END;

COMMENT ON FUNCTION atlas_api.submit_events(bytea) IS
'Submit several events
The same for a body of type application/octet-stream, which may be of any bytes.';

CREATE FUNCTION atlas_api.submit_events(events json) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_events(events::text, NULL);

COMMENT ON FUNCTION atlas_api.submit_events(json) IS
'Submit several events
The same for a body {"events":[...]} of type application/json.';

-- ---------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------

-- It sets a status, so it must run even when nobody reads its result (HEAD).
CREATE FUNCTION atlas_api.event("eventId" uuid) RETURNS json
    LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
    found_event json;
BEGIN
    SELECT pg_catalog.row_to_json(e) INTO found_event
      FROM atlas_api.event_logs e
     WHERE e."eventId" OPERATOR(pg_catalog.=) event."eventId";
    RETURN coalesce(found_event,
        atlas_api_private.error_response(404, 'There is no such event.', 'Check the event id.'));
END
$$;

COMMENT ON FUNCTION atlas_api.event(uuid) IS
'One event
Its row of the event logs, with the outcome of each related object; 404 when there is none.';

CREATE FUNCTION atlas_api_private.url_encode(value text) RETURNS text
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT pg_catalog.string_agg(
               CASE WHEN c ~ '^[A-Za-z0-9._~-]$' THEN c
                    ELSE pg_catalog.regexp_replace(
                        pg_catalog.upper(pg_catalog.encode(pg_catalog.convert_to(c, 'UTF8'), 'hex')),
                        '(..)', '%\1', 'g') END, '' ORDER BY n)
      FROM pg_catalog.regexp_split_to_table(value, '') WITH ORDINALITY AS r (c, n);
END;

COMMENT ON FUNCTION atlas_api_private.url_encode(text) IS 'A text as a value in the query of a URL: ASCII only';

-- A proxy that serves this under a path of its own says so, and calls the
-- size of a page "limit", which PostgREST keeps for itself.
CREATE FUNCTION atlas_api_private.set_next_page(object_type text, object_id text, before uuid, page_size int)
    RETURNS void
    LANGUAGE sql BEGIN ATOMIC
    SELECT pg_catalog.set_config('response.headers', pg_catalog.json_build_array(pg_catalog.json_build_object(
               'Link', pg_catalog.format('<%s?objectType=%s&objectId=%s&before=%s&%s=%s>; rel="next"',
                   CASE WHEN prefix IS NULL THEN '/rpc/timeline' ELSE prefix || '/timeline' END,
                   atlas_api_private.url_encode(object_type), atlas_api_private.url_encode(object_id),
                   before, CASE WHEN prefix IS NULL THEN 'pageSize' ELSE 'limit' END, page_size)))::text, true)
      FROM (SELECT pg_catalog.substring(nullif(pg_catalog.current_setting('request.headers', true), '')::json
                       ->> 'x-forwarded-prefix', '^/[A-Za-z0-9/._~-]*$') AS prefix) p;
END;

COMMENT ON FUNCTION atlas_api_private.set_next_page(text, text, uuid, int) IS 'Adds a header Link to the answer that leads to the next page of a timeline';

CREATE FUNCTION atlas_api_private.timeline_page(
    object_type text, object_id text, before_event uuid, page_size int,
    OUT page json, OUT next_before uuid)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT coalesce(json_agg(t.event ORDER BY t.n) FILTER (WHERE t.n <= page_size), '[]'),
           CASE WHEN count(*) > page_size THEN (array_agg(t.id ORDER BY t.n))[page_size] END
      FROM (SELECT row_to_json(e) AS event, e."eventId" AS id, row_number() OVER () AS n
              FROM atlas_api_private.timeline($1, $2, before_event, page_size + 1) e) t;
END;

COMMENT ON FUNCTION atlas_api_private.timeline_page(text, text, uuid, int) IS 'A page of atlas_timeline() as JSON, and the event after which the next page begins; null when there is none';

CREATE FUNCTION atlas_api.timeline(
    "objectType" text DEFAULT NULL, "objectId" text DEFAULT NULL,
    before uuid DEFAULT NULL, "pageSize" int DEFAULT 50) RETURNS json
    LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
    problems json;
    this record;
    raised_message text;
    detail text;
    hint text;
BEGIN
    SELECT pg_catalog.json_agg(p) INTO problems
      FROM (SELECT '/' || parameter AS field, code, message
              FROM (VALUES ('objectType', 'required', 'objectType is required', coalesce("objectType", '') = ''),
                           ('objectId', 'required', 'objectId is required', coalesce("objectId", '') = ''),
                           ('limit', 'invalid', 'must be from 1 to 1000',
                            NOT coalesce("pageSize", 0) BETWEEN 1 AND 1000)) c (parameter, code, message, failed)
             WHERE failed) p;
    IF problems IS NOT NULL THEN
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(problems), NULL, problems);
    END IF;
    SELECT p.page, p.next_before INTO this
      FROM atlas_api_private.timeline_page("objectType", "objectId", before, "pageSize") p;
    IF this.next_before IS NOT NULL THEN
        PERFORM atlas_api_private.set_next_page("objectType", "objectId", this.next_before, "pageSize");
    END IF;
    RETURN this.page;
EXCEPTION
    WHEN SQLSTATE 'PT400' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_error(SQLSTATE, raised_message, detail, hint, NULL);
END
$$;

COMMENT ON FUNCTION atlas_api.timeline(text, text, uuid, int) IS
'The timeline of an object
Its events, newest first, as primary and as related object. While there is more, a header Link leads to the next page (rel="next"): the events before the last one. pageSize is 1 to 1000.';

CREATE VIEW atlas_api.rejections WITH (security_barrier = true) AS
    SELECT rejection_id AS "rejectionId", rejected_at AS "rejectedAt", request_id AS "requestId",
           role, subject, item_index AS index, status, code, message, details, hint, errors, request
      FROM atlas_api_private.rejections
     WHERE tenant_id = atlas_api_private.tenant()
       AND rejected_at >= now() - (SELECT atlas_api_private.rejection_age())
       AND ((SELECT atlas_api_private.is_reader()) OR
            (role = current_setting('role') AND subject = (SELECT atlas_api_private.subject())))
     ORDER BY rejection_id DESC
     LIMIT atlas_api_private.rejection_rows();

COMMENT ON VIEW atlas_api.rejections IS 'Events that were refused, newest first
For readers those of the tenant, for submitters those of their own role and subject. Kept for 30 days, 100,000 of a tenant at most, if the server is not told otherwise.';
COMMENT ON COLUMN atlas_api.rejections."rejectionId" IS 'In the order in which they were refused';
COMMENT ON COLUMN atlas_api.rejections."rejectedAt" IS 'When';
COMMENT ON COLUMN atlas_api.rejections."requestId" IS 'The requestId of the answer';
COMMENT ON COLUMN atlas_api.rejections.role IS 'Role of the token';
COMMENT ON COLUMN atlas_api.rejections.subject IS 'Claim "sub" of the token';
COMMENT ON COLUMN atlas_api.rejections.index IS 'Place in the batch, from 0; null: the request as a whole';
COMMENT ON COLUMN atlas_api.rejections.status IS 'HTTP status';
COMMENT ON COLUMN atlas_api.rejections.code IS 'PT400, PT404, PT409, PT413 or PT500';
COMMENT ON COLUMN atlas_api.rejections.message IS 'What the code stands for';
COMMENT ON COLUMN atlas_api.rejections.details IS 'Why, its first 1,000 characters';
COMMENT ON COLUMN atlas_api.rejections.hint IS 'What to do about it';
COMMENT ON COLUMN atlas_api.rejections.errors IS 'The first ten problems of an invalid event: array of {field, code, message}';
COMMENT ON COLUMN atlas_api.rejections.request IS 'The event as it was sent, its first 1,000 characters';

-- Names of tables are for readers only.
CREATE VIEW atlas_api.object_types WITH (security_barrier = true) AS
    SELECT COALESCE(t.object_type, b.object_type) AS "objectType",
           COALESCE(b.aliases, '{}') || COALESCE(t.aliases, '{}') AS aliases,
           c.oid IS NOT NULL AS connected,
           CASE WHEN r.is_reader THEN quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS relation,
           CASE WHEN r.is_reader THEN t.id_column::text END AS "idColumn",
           CASE WHEN r.is_reader THEN t.external_id_column::text END AS "externalIdColumn",
           t.external_id_column IS NOT NULL AS "hasExternalId"
      FROM (VALUES ('CONVERSATION', '{TICKET}'::text[]), ('ACCOUNT', '{}'), ('CUSTOMER', '{}'),
                   ('USER', '{AGENT,"USER (AGENT)"}'), ('CHATBOT', '{}'), ('COMPANY', '{}'),
                   ('HELPCENTER', '{}'), ('SESSION_RECORDING', '{"SESSION RECORDING"}'))
           AS b (object_type, aliases)
      FULL JOIN atlas_api_private.object_types t ON t.object_type = b.object_type
      LEFT JOIN pg_class c ON c.oid = t.relation
      LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN (SELECT atlas_api_private.is_reader()) r (is_reader)
     ORDER BY 1;

COMMENT ON VIEW atlas_api.object_types IS 'The object types
The built-in ones and those that were registered, and what each is connected to. The names of tables and columns are for readers; submitters get null.';
COMMENT ON COLUMN atlas_api.object_types."objectType" IS 'Canonical name of the type';
COMMENT ON COLUMN atlas_api.object_types.aliases IS 'Further names that are accepted';
COMMENT ON COLUMN atlas_api.object_types.connected IS 'Is there a table that holds its objects; events of other types are refused with 404';
COMMENT ON COLUMN atlas_api.object_types.relation IS 'The table that holds its objects';
COMMENT ON COLUMN atlas_api.object_types."idColumn" IS 'Column with the objectId';
COMMENT ON COLUMN atlas_api.object_types."externalIdColumn" IS 'Column with the externalId, if there is one';
COMMENT ON COLUMN atlas_api.object_types."hasExternalId" IS 'Can its objects be named by externalId';

-- ---------------------------------------------------------------------
-- The description of the API as nginx.conf serves it. PostgREST describes its
-- own resources at its own root.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api.openapi() RETURNS json
    LANGUAGE sql IMMUTABLE
    RETURN $json${
"openapi": "3.0.3",
"info": {"title": "Events API", "version": "1.0",
    "description": "Puts events on the timelines of support objects, and reads timelines, logs and refused requests.",
    "license": {"name": "PostgreSQL License", "url": "https://opensource.org/license/postgresql"}},
"servers": [{"url": "/v1"}],
"security": [{"token": []}],
"tags": [{"name": "submit", "description": "For atlas_submitter"}, {"name": "read", "description": "For atlas_reader"}],
"paths": {
    "/": {"get": {"operationId": "describe", "tags": ["read"], "summary": "This description",
        "responses": {"200": {"description": "OpenAPI 3.0", "content": {"application/json": {"schema": {"type": "object"}}}},
            "default": {"$ref": "#/components/responses/Error"}}}},
    "/events": {
        "post": {"operationId": "submitEvent", "tags": ["submit"], "summary": "Submit an event",
            "parameters": [{"name": "Idempotency-Key", "in": "header",
                "description": "Counts as the field idempotencyKey", "schema": {"type": "string", "minLength": 1, "maxLength": 255}}],
            "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Event"}}}},
            "responses": {
                "200": {"description": "Stored now, or before under the same idempotency key",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}}},
                "default": {"$ref": "#/components/responses/Error"}}},
        "get": {"operationId": "readEvents", "tags": ["read"], "summary": "The event logs",
            "description": "Any column filters, as processingStatus=eq.PENDING: see the documentation of PostgREST for operators (all but match and imatch), select, order, limit and offset. Without order the newest come first.",
            "parameters": [
                {"$ref": "#/components/parameters/select"}, {"$ref": "#/components/parameters/order"},
                {"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/offset"},
                {"$ref": "#/components/parameters/and"}, {"$ref": "#/components/parameters/or"},
                {"$ref": "#/components/parameters/not.and"}, {"$ref": "#/components/parameters/not.or"},
                {"name": "objectType", "in": "query", "schema": {"type": "string"}, "example": "eq.CUSTOMER"},
                {"name": "objectId", "in": "query", "schema": {"type": "string"}},
                {"name": "processingStatus", "in": "query", "schema": {"type": "string"}, "example": "eq.PENDING"},
                {"name": "Prefer", "in": "header", "schema": {"type": "string"}, "example": "count=exact"}],
            "responses": {
                "200": {"description": "An array", "content": {"application/json": {"schema":
                    {"type": "array", "items": {"$ref": "#/components/schemas/LoggedEvent"}}}}},
                "206": {"description": "A part of what was counted", "content": {"application/json": {"schema":
                    {"type": "array", "items": {"$ref": "#/components/schemas/LoggedEvent"}}}}},
                "default": {"$ref": "#/components/responses/Error"}}}},
    "/events/batch": {"post": {"operationId": "submitEvents", "tags": ["submit"], "summary": "Submit several events, each for itself",
        "requestBody": {"required": true, "content": {"application/json": {"schema":
            {"type": "array", "items": {"$ref": "#/components/schemas/Event"}}}}},
        "responses": {
            "200": {"description": "All are stored", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Results"}}}},
            "207": {"description": "Some are stored", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Results"}}}},
            "400": {"description": "None is stored, or the body is no array", "content": {"application/json": {"schema":
                {"allOf": [{"$ref": "#/components/schemas/Error"}, {"$ref": "#/components/schemas/Results"}]}}}},
            "default": {"$ref": "#/components/responses/Error"}}}},
    "/events/{eventId}": {"get": {"operationId": "readEvent", "tags": ["read"], "summary": "One event, with the outcome of each related object",
        "parameters": [{"name": "eventId", "in": "path", "required": true, "schema": {"type": "string", "format": "uuid"}}],
        "responses": {
            "200": {"description": "The event", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LoggedEvent"}}}},
            "default": {"$ref": "#/components/responses/Error"}}}},
    "/timeline": {"get": {"operationId": "readTimeline", "tags": ["read"], "summary": "The timeline of an object, newest first",
        "parameters": [
            {"name": "objectType", "in": "query", "required": true, "schema": {"type": "string"}},
            {"name": "objectId", "in": "query", "required": true, "schema": {"type": "string"}},
            {"name": "before", "in": "query", "description": "Events before this one", "schema": {"type": "string", "format": "uuid"}},
            {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50}}],
        "responses": {
            "200": {"description": "A page", "headers": {"Link": {"description": "Leads to the next page, while there is one: rel=\"next\"",
                    "schema": {"type": "string"}}},
                "content": {"application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/TimelineEvent"}}}}},
            "default": {"$ref": "#/components/responses/Error"}}}},
    "/rejections": {"get": {"operationId": "readRejections", "tags": ["submit", "read"], "summary": "Events that were refused, newest first",
        "description": "Filters as for /events. Submitters see those of their own subject.",
        "parameters": [{"$ref": "#/components/parameters/select"}, {"$ref": "#/components/parameters/order"},
                {"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/offset"},
                {"$ref": "#/components/parameters/and"}, {"$ref": "#/components/parameters/or"},
                {"$ref": "#/components/parameters/not.and"}, {"$ref": "#/components/parameters/not.or"}],
        "responses": {
            "200": {"description": "An array", "content": {"application/json": {"schema":
                {"type": "array", "items": {"$ref": "#/components/schemas/Rejection"}}}}},
            "default": {"$ref": "#/components/responses/Error"}}}},
    "/object-types": {"get": {"operationId": "readObjectTypes", "tags": ["submit", "read"], "summary": "The object types, and what each is connected to",
        "parameters": [{"$ref": "#/components/parameters/select"}, {"$ref": "#/components/parameters/order"},
                {"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/offset"},
                {"$ref": "#/components/parameters/and"}, {"$ref": "#/components/parameters/or"},
                {"$ref": "#/components/parameters/not.and"}, {"$ref": "#/components/parameters/not.or"}],
        "responses": {
            "200": {"description": "An array", "content": {"application/json": {"schema":
                {"type": "array", "items": {"$ref": "#/components/schemas/ObjectType"}}}}},
            "default": {"$ref": "#/components/responses/Error"}}}},
    "/status": {"get": {"operationId": "readStatus", "summary": "State of the linking, for atlas_admin",
        "parameters": [{"$ref": "#/components/parameters/select"}, {"$ref": "#/components/parameters/order"},
                {"$ref": "#/components/parameters/limit"}, {"$ref": "#/components/parameters/offset"},
                {"$ref": "#/components/parameters/and"}, {"$ref": "#/components/parameters/or"},
                {"$ref": "#/components/parameters/not.and"}, {"$ref": "#/components/parameters/not.or"}],
        "responses": {
            "200": {"description": "An array of one row", "content": {"application/json": {"schema":
                {"type": "array", "items": {"$ref": "#/components/schemas/Status"}}}}},
            "default": {"$ref": "#/components/responses/Error"}}}}},
"components": {
    "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "Claims: role, aud, exp, and with tenants tenant"}},
    "parameters": {
        "select": {"name": "select", "in": "query", "description": "The columns to answer; a path with this takes a filter on any column as well", "schema": {"type": "string"}, "example": "eventId,name"},
        "order": {"name": "order", "in": "query", "schema": {"type": "string"}, "example": "eventId.desc"},
        "limit": {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        "offset": {"name": "offset", "in": "query", "schema": {"type": "integer", "minimum": 0}},
        "and": {"name": "and", "in": "query", "schema": {"type": "string"}, "example": "(name.eq.A,objectType.eq.CUSTOMER)"},
        "or": {"name": "or", "in": "query", "schema": {"type": "string"}, "example": "(name.eq.A,name.eq.B)"},
        "not.and": {"name": "not.and", "in": "query", "schema": {"type": "string"}},
        "not.or": {"name": "not.or", "in": "query", "schema": {"type": "string"}}},
    "responses": {"Error": {"description": "Refused, with 400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 416, 429, 500 or 503",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}},
    "schemas": {
        "ObjectReference": {"type": "object", "required": ["objectType"], "additionalProperties": false, "properties": {
            "objectType": {"type": "string", "example": "ACCOUNT"},
            "objectId": {"type": "string", "nullable": true, "maxLength": 255},
            "externalId": {"type": "string", "nullable": true, "maxLength": 255}}},
        "Event": {"type": "object", "required": ["objectType", "name"], "additionalProperties": false,
            "description": "objectId or externalId is required", "properties": {
            "objectType": {"type": "string", "example": "CUSTOMER"},
            "objectId": {"type": "string", "nullable": true, "maxLength": 255},
            "externalId": {"type": "string", "nullable": true, "maxLength": 255},
            "name": {"type": "string", "minLength": 1, "maxLength": 255, "example": "Checkout Completed"},
            "description": {"type": "string", "nullable": true, "description": "Plain text or HTML"},
            "icon": {"type": "string", "nullable": true, "description": "An absolute http(s) URL, or one character"},
            "payload": {"type": "object", "nullable": true},
            "relatedObjects": {"type": "array", "nullable": true, "items": {"$ref": "#/components/schemas/ObjectReference"}},
            "occurredAt": {"type": "string", "nullable": true, "format": "date-time"},
            "idempotencyKey": {"type": "string", "nullable": true, "minLength": 1, "maxLength": 255}}},
        "ProcessingStatus": {"type": "string", "enum": ["PENDING", "LINKED", "FAILED"]},
        "Receipt": {"type": "object", "required": ["message", "eventId", "processingStatus", "duplicate"], "properties": {
            "message": {"type": "string", "enum": ["Event Linked"]},
            "eventId": {"type": "string", "format": "uuid"},
            "processingStatus": {"$ref": "#/components/schemas/ProcessingStatus"},
            "duplicate": {"type": "boolean"}}},
        "Results": {"type": "object", "required": ["accepted", "rejected", "results"], "properties": {
            "accepted": {"type": "integer"},
            "rejected": {"type": "integer"},
            "results": {"type": "array", "description": "A receipt or the reason of each event, in order", "items": {
                "type": "object", "required": ["index", "status", "message"], "properties": {
                    "index": {"type": "integer"},
                    "status": {"type": "integer"},
                    "message": {"type": "string"},
                    "eventId": {"type": "string", "format": "uuid"},
                    "processingStatus": {"$ref": "#/components/schemas/ProcessingStatus"},
                    "duplicate": {"type": "boolean"},
                    "code": {"type": "string"},
                    "details": {"description": "A text; with status 400 an array of problems"},
                    "hint": {"type": "string", "nullable": true}}}}}},
        "LoggedEvent": {"type": "object", "properties": {
            "eventId": {"type": "string", "format": "uuid"},
            "objectType": {"type": "string"},
            "objectId": {"type": "string"},
            "externalId": {"type": "string", "nullable": true},
            "name": {"type": "string"},
            "description": {"type": "string", "nullable": true},
            "icon": {"type": "string", "nullable": true},
            "payload": {"type": "object", "nullable": true},
            "relatedObjects": {"type": "array", "nullable": true, "items": {"allOf": [
                {"$ref": "#/components/schemas/ObjectReference"},
                {"type": "object", "properties": {
                    "outcome": {"type": "string", "enum": ["PENDING", "LINKED", "NOT_FOUND", "ERROR"]},
                    "reason": {"type": "string", "nullable": true}}}]}},
            "processingStatus": {"$ref": "#/components/schemas/ProcessingStatus"},
            "attempts": {"type": "integer"},
            "lastError": {"type": "string", "nullable": true},
            "occurredAt": {"type": "string", "format": "date-time"},
            "receivedAt": {"type": "string", "format": "date-time"},
            "linkedAt": {"type": "string", "nullable": true, "format": "date-time"}}},
        "TimelineEvent": {"type": "object", "properties": {
            "eventId": {"type": "string", "format": "uuid"},
            "occurredAt": {"type": "string", "format": "date-time"},
            "role": {"type": "string", "enum": ["PRIMARY", "RELATED"]},
            "name": {"type": "string"},
            "description": {"type": "string", "nullable": true},
            "icon": {"type": "string", "nullable": true},
            "payload": {"type": "object", "nullable": true},
            "objectType": {"type": "string", "description": "Of the primary object, like the ids"},
            "objectId": {"type": "string"},
            "externalId": {"type": "string", "nullable": true},
            "processingStatus": {"$ref": "#/components/schemas/ProcessingStatus"}}},
        "Problem": {"type": "object", "required": ["field", "code", "message"], "properties": {
            "field": {"type": "string", "description": "JSON pointer into the request"},
            "code": {"type": "string"},
            "message": {"type": "string"}}},
        "Error": {"type": "object", "required": ["code", "message", "details", "hint", "requestId"], "properties": {
            "code": {"type": "string"},
            "message": {"type": "string"},
            "details": {"type": "string", "nullable": true},
            "hint": {"type": "string", "nullable": true},
            "errors": {"type": "array", "description": "With 400 only", "items": {"$ref": "#/components/schemas/Problem"}},
            "requestId": {"type": "string"}}},
        "Rejection": {"type": "object", "properties": {
            "rejectionId": {"type": "integer"},
            "rejectedAt": {"type": "string", "format": "date-time"},
            "requestId": {"type": "string"},
            "role": {"type": "string"},
            "subject": {"type": "string", "nullable": true},
            "index": {"type": "integer", "nullable": true, "description": "Place in the batch"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "message": {"type": "string"},
            "details": {"type": "string", "nullable": true},
            "hint": {"type": "string", "nullable": true},
            "errors": {"type": "array", "nullable": true, "items": {"$ref": "#/components/schemas/Problem"}},
            "request": {"type": "string", "nullable": true, "description": "Its first 1,000 characters"}}},
        "ObjectType": {"type": "object", "properties": {
            "objectType": {"type": "string"},
            "aliases": {"type": "array", "items": {"type": "string"}},
            "connected": {"type": "boolean"},
            "relation": {"type": "string", "nullable": true, "description": "Null for submitters, like the columns"},
            "idColumn": {"type": "string", "nullable": true},
            "externalIdColumn": {"type": "string", "nullable": true},
            "hasExternalId": {"type": "boolean"}}},
        "Status": {"type": "object", "properties": {
            "preloaded": {"type": "boolean"},
            "workerState": {"type": "string", "nullable": true},
            "submitted": {"type": "integer", "nullable": true},
            "linked": {"type": "integer", "nullable": true},
            "notFound": {"type": "integer", "nullable": true},
            "failed": {"type": "integer"},
            "queueDepth": {"type": "integer"},
            "oldestPendingAge": {"type": "string", "nullable": true},
            "lastError": {"type": "string", "nullable": true},
            "lastErrorAt": {"type": "string", "nullable": true, "format": "date-time"},
            "advice": {"type": "string", "nullable": true}}}}}}$json$::json;

COMMENT ON FUNCTION atlas_api.openapi() IS
'OpenAPI 3.0 of the Events API
Describes the paths of the proxy, /v1/events and so on.';

-- ---------------------------------------------------------------------
-- Query parameters of a request: those that the document has for its path
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.query_parameters() RETURNS jsonb
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    WITH api AS (
        SELECT atlas_api.openapi()::jsonb AS document),
    operation AS (
        SELECT method.key || ' ' || path.key AS name, method.value AS operation, document
          FROM api, jsonb_each(document -> 'paths') path, jsonb_each(path.value) method),
    parameter AS (
        SELECT o.name, coalesce(document #> string_to_array(substr(p ->> '$ref', 3), '/'), p) AS parameter,
               document #> (string_to_array(substr(operation #>>
                   '{responses,200,content,application/json,schema,items,$ref}', 3), '/') || '{properties}') AS columns
          FROM operation o, jsonb_array_elements(operation -> 'parameters') p),
    known AS (
        SELECT name, parameter ->> 'name' AS parameter, false AS is_column
          FROM parameter WHERE parameter ->> 'in' = 'query'
        UNION ALL
        SELECT name, jsonb_object_keys(columns), true
          FROM parameter WHERE parameter ->> 'name' = 'select')
    SELECT jsonb_object_agg(name, (
               SELECT coalesce(jsonb_object_agg(k.parameter, k.is_column ORDER BY k.is_column), '{}')
                 FROM known k WHERE k.name = o.name))
      FROM operation o;
END;

COMMENT ON FUNCTION atlas_api_private.query_parameters() IS
'The query parameters of each operation of the OpenAPI document: {"get /events": {"limit": false, "objectType": true, ...}, ...}
True are columns, which filter; an operation has those of its answer if it has the parameter select.';

CREATE FUNCTION atlas_api_private.url_decode(value text) RETURNS text
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT coalesce(convert_from(string_agg(
               CASE WHEN part[1] ~ '^%[0-9A-Fa-f]{2}$' THEN decode(substr(part[1], 2), 'hex')
                    ELSE convert_to(part[1], 'UTF8') END, '' ORDER BY n), 'UTF8'), '')
      FROM regexp_matches(translate(value, '+', ' '), '%[0-9A-Fa-f]{2}|[^%]+|%', 'g') WITH ORDINALITY AS r (part, n);
END;

COMMENT ON FUNCTION atlas_api_private.url_decode(text) IS 'A name or value in the query of a URL as text';

CREATE FUNCTION atlas_api_private.check_parameters(request text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    operations jsonb := atlas_api_private.query_parameters();
    method text := CASE split_part(request, ' ', 1) WHEN 'HEAD' THEN 'get' ELSE lower(split_part(request, ' ', 1)) END;
    operation text := method || ' ' || substring(request, '^\S+ ([^?]*)');
    known jsonb := operations -> operation;
    unknown text;
BEGIN
    IF known IS NULL THEN
        SELECT value INTO known FROM jsonb_each(operations)
         WHERE key LIKE '%{%' AND operation ~ ('^' || regexp_replace(key, '\{[^}]*\}', '[^/]+', 'g') || '$');
    END IF;
    -- Of the names that PostgREST itself has, it knows the parameters.
    IF known IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(left(name, 100), ', ') INTO unknown
      FROM (SELECT DISTINCT CASE WHEN raw_name ~ '[%+]' THEN atlas_api_private.url_decode(raw_name) ELSE raw_name END AS name
              FROM regexp_split_to_table(substring(request, '\?(.*)$'), '[&;]') AS part,
                   split_part(part, '=', 1) AS raw_name
             WHERE part <> ''
             ORDER BY 1) p
     WHERE NOT known ? name AND NOT coalesce((known ->> split_part(name, '->', 1))::boolean, false);
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
            DETAIL = format('Unknown query parameters: %s.', left(unknown, 1000)),
            HINT = coalesce('The path takes: ' || (SELECT string_agg(key, ', ' ORDER BY value, key) FROM jsonb_each(known)) || '.',
                            'The path takes none.');
    END IF;
END
$$;

COMMENT ON FUNCTION atlas_api_private.check_parameters(text) IS
'Raises PT400 for query parameters that the OpenAPI document does not have: of a request as its client wrote it, GET /timeline?objectType=..., the path without the prefix of the proxy.';

-- ---------------------------------------------------------------------
-- Privileges: nothing for PUBLIC. Roles belong to the server and not to this
-- database, so they are made by a call and not by this script.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.create_role(role_name text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF to_regrole(role_name) IS NULL THEN
        EXECUTE format('CREATE ROLE %I', role_name);
        RETURN true;
    END IF;
    IF (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = role_name) THEN
        RAISE EXCEPTION 'role % exists already, and is a superuser or bypasses row security', role_name
            USING ERRCODE = 'invalid_role_specification', HINT = 'Rename it; the API needs the name.';
    END IF;
    RETURN false;
END
$$;

COMMENT ON FUNCTION atlas_api_private.create_role(text) IS 'Makes a role, unless there is one of that name, and tells whether it did';

CREATE FUNCTION atlas_api_private.create_roles() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET client_min_messages = warning AS
$$
DECLARE
    core text := (SELECT quote_ident(nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
                   WHERE extname = 'atlas_events');
BEGIN
    IF atlas_api_private.create_role('atlas_authenticator') THEN
        ALTER ROLE atlas_authenticator LOGIN NOINHERIT;
        ALTER ROLE atlas_authenticator SET statement_timeout = '30s';
        -- Tokens are among the parameters of what PostgREST executes.
        ALTER ROLE atlas_authenticator SET log_parameter_max_length = 0;
    END IF;
    PERFORM atlas_api_private.create_role('atlas_submitter'),
            atlas_api_private.create_role('atlas_reader'),
            atlas_api_private.create_role('atlas_admin');
    GRANT atlas_submitter, atlas_reader TO atlas_admin;
    GRANT atlas_submitter, atlas_reader, atlas_admin TO atlas_authenticator;

    GRANT USAGE ON SCHEMA atlas_api, atlas_api_private TO atlas_submitter, atlas_reader;
    GRANT USAGE ON SCHEMA atlas_api_refused TO atlas_submitter, atlas_reader;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA atlas_api_refused TO atlas_submitter, atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api_private.check_request(), atlas_api.openapi()
        TO atlas_submitter, atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api_private.is_request(), atlas_api_private.request_id(), atlas_api_private.subject(),
        atlas_api_private.is_reader(), atlas_api_private.tenant(),
        atlas_api_private.rejection_age(), atlas_api_private.rejection_rows(),
        atlas_api_private.status_message(int), atlas_api_private.set_status(int, text, text),
        atlas_api_private.header_value(text), atlas_api_private.is_client(), atlas_api_private.app_setting(text),
        atlas_api_private.error_response(int, text, text, json),
        atlas_api_private.problems_in_words(json), atlas_api_private.json_or_empty(text),
        atlas_api_private.answer_error(text, text, text, text, text)
        TO atlas_submitter, atlas_reader;
    GRANT SELECT ON atlas_api.object_types, atlas_api.rejections TO atlas_submitter, atlas_reader;

    GRANT EXECUTE ON FUNCTION
        atlas_api.submit_event(text), atlas_api.submit_event(bytea), atlas_api.submit_event(json),
        atlas_api.submit_events(text), atlas_api.submit_events(bytea), atlas_api.submit_events(json),
        atlas_api_private.cut_short(text), atlas_api_private.text_of(bytea), atlas_api_private.raise_invalid(text, text, text),
        atlas_api_private.answer_event(text, text), atlas_api_private.answer_events(text, text),
        atlas_api_private.store_event(text, text), atlas_api_private.store_events(text),
        atlas_api_private.refused_items(json, json),
        atlas_api_private.answer_batch(json, text), atlas_api_private.note_rejections(json)
        TO atlas_submitter;
    EXECUTE format('GRANT USAGE ON SCHEMA %1$s TO atlas_submitter, atlas_reader;
        GRANT EXECUTE ON FUNCTION %1$s.submit_event(text, text), %1$s.submit_events(text) TO atlas_submitter;
        GRANT EXECUTE ON FUNCTION %1$s.atlas_timeline(text, text, uuid, int) TO atlas_reader;
        GRANT SELECT ON %1$s.atlas_event_logs, %1$s.atlas_events, %1$s.atlas_event_queue,
            %1$s.atlas_event_links, %1$s.atlas_event_unresolved TO atlas_reader;
        GRANT EXECUTE ON FUNCTION %1$s.atlas_status() TO atlas_admin', core);

    GRANT SELECT ON atlas_api.event_logs TO atlas_reader;
    GRANT EXECUTE ON FUNCTION atlas_api.event(uuid), atlas_api.timeline(text, text, uuid, int),
        atlas_api_private.timeline_page(text, text, uuid, int),
        atlas_api_private.timeline(text, text, uuid, int), atlas_api_private.url_encode(text),
        atlas_api_private.set_next_page(text, text, uuid, int)
        TO atlas_reader;
    GRANT SELECT ON atlas_api.status TO atlas_admin;
END
$$;

COMMENT ON FUNCTION atlas_api_private.create_roles() IS
'Makes the roles of the API, where they are missing, and grants them what they need in this database. Can be called again.
atlas_authenticator: PostgREST logs in as it; it has no password yet, and a statement_timeout of 30 s. atlas_submitter: submits events, and sees the rejections of its own. atlas_reader: reads timelines, logs and all rejections of its tenant. atlas_admin: both, and the state of the linking.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA atlas_api, atlas_api_private, atlas_api_refused FROM PUBLIC;
