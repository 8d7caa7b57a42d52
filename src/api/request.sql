-- ---------------------------------------------------------------------
-- The request
-- ---------------------------------------------------------------------

-- Any session can set the claims, headers and settings of a request, so only
-- PostgREST is believed: whoever could make up claims could be anybody.
CREATE FUNCTION atlas_api_private.is_client() RETURNS boolean
    AS '$libdir/atlas_events', 'atlas_is_client' LANGUAGE C STABLE PARALLEL RESTRICTED;

COMMENT ON FUNCTION atlas_api_private.is_client() IS 'Whether this is the session of a client: not a background process, and not code that runs for the owner of a table or view';

-- Membership in atlas_authenticator does not count, since every superuser is a member.
CREATE FUNCTION atlas_api_private.is_request() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN session_user = 'atlas_authenticator' AND atlas_api_private.is_client();

COMMENT ON FUNCTION atlas_api_private.is_request() IS 'Whether this is a session of PostgREST: of a client that is logged in as atlas_authenticator';

-- A setting of PostgREST's configuration.
CREATE FUNCTION atlas_api_private.app_setting(name text) RETURNS text
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN CASE WHEN atlas_api_private.is_request()
                THEN nullif(pg_catalog.current_setting('app.settings.' || name, true), '') END;

COMMENT ON FUNCTION atlas_api_private.app_setting(text) IS 'A setting app.settings of PostgREST; null when it is not set, and in sessions of anybody but PostgREST';

-- Runs before each request, as the role of the token, after PostgREST has set its
-- settings of the request. It is SECURITY DEFINER, since only superusers may set the
-- tenant.
--
-- A function with a search_path of its own could not change that of the request.
-- So the first statement, which is qualified, changes the search_path for the
-- statements after it, and the last statement changes it for the request, see
-- atlas_api_refused. (At its root PostgREST describes its resources by statements of
-- its own, which cast to regclass, and takes no filters.)
--
-- The time limit counts from the next statement, which is the request's own. JIT is
-- off because a page is small, but the plan of a page is estimated for the whole log,
-- and compiling that plan would take seconds.
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
    IF headers ?| '{prefer,content-encoding,range,x-original-request}' THEN
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
Raises PT401 when the token has no role, is not for the audience of app.settings.audience, or has a malformed tenant, and whatever check_headers() raises. A request may take 5 s, and one that submits events 30 s. The id of the request becomes part of application_name, which log_line_prefix shows with %a.';

CREATE FUNCTION atlas_api_private.check_headers(headers jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    path text := current_setting('request.path', true);
BEGIN
    -- An estimate would count the rows of all tenants.
    IF headers ->> 'prefer' ~ 'count *= *"?(planned|estimated)' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
            DETAIL = 'Rows are not counted by estimate.', HINT = 'Use Prefer: count=exact.';
    END IF;
    IF lower(headers ->> 'content-encoding') <> 'identity' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT415', MESSAGE = 'Unsupported Media Type',
            DETAIL = 'The body has a Content-Encoding other than identity.', HINT = 'Send it as it is.';
    END IF;
    IF headers ? 'x-original-request' THEN
        PERFORM atlas_api_private.check_parameters(headers ->> 'x-original-request'),
                atlas_api_private.take_period(headers ->> 'x-original-request');
    END IF;
    IF path IN ('/event_logs', '/event_logs_of_period', '/pending_events') THEN
        PERFORM atlas_api_private.check_offset(headers);
    END IF;

    -- A filter is estimated to find few rows of a period, and a plan may be kept from a
    -- time when the queue was empty. For both reasons a plan might read and sort all rows
    -- for a page. Without these kinds of scans it reads an index in the order of the page.
    IF path IN ('/event_logs_of_period', '/pending_events') THEN
        PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
    END IF;
END
$$;

COMMENT ON FUNCTION atlas_api_private.check_headers(jsonb) IS
'Raises PT400 or PT415 for what the API does not do
It does not count by estimate, decode bodies, skip many rows of the logs, or take query parameters that the OpenAPI document does not have. For parameters, and for the period of GET /events, the proxy sends the request as its client wrote it in the header X-Original-Request, see check_parameters(), take_period() and check_offset().';

CREATE FUNCTION atlas_api_private.request_id() RETURNS text
    LANGUAGE sql STABLE
    RETURN nullif(pg_catalog.current_setting('atlas_api.request_id', true), '');

COMMENT ON FUNCTION atlas_api_private.request_id() IS 'Id of the current request';

CREATE FUNCTION atlas_api_private.subject() RETURNS text
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    RETURN CASE WHEN atlas_api_private.is_request()
                THEN nullif(pg_catalog.current_setting('request.jwt.claims', true), '')::json ->> 'sub' END;

COMMENT ON FUNCTION atlas_api_private.subject() IS 'Who sent the request: the claim "sub" of the token';

CREATE FUNCTION atlas_api_private.is_reader() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(pg_has_role(to_regrole('atlas_reader'), 'USAGE'), false);

COMMENT ON FUNCTION atlas_api_private.is_reader() IS 'Whether the caller may read everything of the tenant';
