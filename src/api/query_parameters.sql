-- ---------------------------------------------------------------------
-- A request may have the query parameters that the document has for its path
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
The value is true for columns, which filter. An operation that has the parameter select has the columns of its answer.';

CREATE FUNCTION atlas_api_private.url_decode(value text) RETURNS text
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT coalesce(convert_from(string_agg(
               CASE WHEN part[1] ~ '^%[0-9A-Fa-f]{2}$' THEN decode(substr(part[1], 2), 'hex')
                    ELSE convert_to(part[1], 'UTF8') END, '' ORDER BY n), 'UTF8'), '')
      FROM regexp_matches(translate(value, '+', ' '), '%[0-9A-Fa-f]{2}|[^%]+|%', 'g') WITH ORDINALITY AS r (part, n);
END;

COMMENT ON FUNCTION atlas_api_private.url_decode(text) IS 'A name or value in the query of a URL as text';

-- PostgREST takes the same filter several times, but of a parameter the proxy passes on
-- the first one that is written as it is.
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
    unclear text;
BEGIN
    IF known IS NULL THEN
        SELECT value INTO known FROM jsonb_each(operations)
         WHERE key LIKE '%{%' AND operation ~ ('^' || regexp_replace(key, '\{[^}]*\}', '[^/]+', 'g') || '$');
    END IF;
    -- The path is one of PostgREST's own, and PostgREST knows its parameters.
    IF known IS NULL THEN
        RETURN;
    END IF;
    SELECT string_agg(DISTINCT left(name, 100), ', ') FILTER (WHERE NOT is_known),
           string_agg(DISTINCT left(raw_name, 100), ', ') FILTER (WHERE is_known AND (number > 1 OR raw_name <> name))
      INTO unknown, unclear
      FROM (SELECT raw_name, name, row_number() OVER (PARTITION BY name) AS number,
                   known ? name OR coalesce((known ->> split_part(name, '->', 1))::boolean, false) AS is_known
              FROM regexp_split_to_table(substring(request, '\?(.*)$'), '[&;]') AS part,
                   split_part(part, '=', 1) AS raw_name,
                   coalesce(CASE WHEN raw_name ~ '[%+]' THEN atlas_api_private.url_decode(raw_name) END, raw_name) AS name
             WHERE part <> '') p;
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
            DETAIL = format('Unknown query parameters: %s.', left(unknown, 1000)),
            HINT = coalesce('The path takes: ' || (SELECT string_agg(key, ', ' ORDER BY value, key) FROM jsonb_each(known)) || '.',
                            'The path takes none.');
    END IF;
    IF unclear IS NOT NULL AND NOT known ? 'select' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
            DETAIL = format('Query parameters that are repeated, or whose names are encoded: %s.', left(unclear, 1000)),
            HINT = 'Give each parameter once, and write its name as it is.';
    END IF;
END
$$;

COMMENT ON FUNCTION atlas_api_private.check_parameters(text) IS
'Raises PT400 for query parameters that the OpenAPI document does not have, and for repeated ones unless they are filters
The request is as its client wrote it, GET /timeline?objectType=..., the path without the prefix of the proxy.';

-- ---------------------------------------------------------------------
-- The period of GET /events. Its ends, since and until, become bounds of the
-- event id, which has an index. PostgREST would take the two for columns, so the
-- proxy leaves them out of the query that it sends, and asks for a view that has
-- the bounds from settings of the transaction.
-- ---------------------------------------------------------------------

-- The planner puts the bodies of these functions into a query. CASE lets the bounds be
-- conditions of an index under row security, which COALESCE does not.
CREATE FUNCTION atlas_api_private.period_begin() RETURNS uuid
    LANGUAGE sql STABLE
    RETURN CASE WHEN current_setting('atlas_api.since', true) <> ''
                THEN current_setting('atlas_api.since')::uuid ELSE '00000000-0000-0000-0000-000000000000' END;

COMMENT ON FUNCTION atlas_api_private.period_begin() IS 'The smallest event id of the period that the request has; the smallest uuid when the period has no begin';

CREATE FUNCTION atlas_api_private.period_end() RETURNS uuid
    LANGUAGE sql STABLE
    RETURN CASE WHEN current_setting('atlas_api.until', true) <> ''
                THEN current_setting('atlas_api.until')::uuid ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff' END;

COMMENT ON FUNCTION atlas_api_private.period_end() IS 'The smallest event id after the period that the request has; the greatest uuid when the period has no end';

CREATE VIEW atlas_api.event_logs_of_period WITH (security_invoker = true) AS
    SELECT *
      FROM atlas_api.event_logs
     WHERE "eventId" >= atlas_api_private.period_begin() AND "eventId" < atlas_api_private.period_end();

COMMENT ON VIEW atlas_api.event_logs_of_period IS 'The event logs of a period, newest first
The rows of event_logs between the since and the until that a client gave to the proxy. Without the proxy these are all rows.';

-- The proxy asks this view when the client filters with processingStatus=eq.PENDING or
-- FAILED, with or without a period: a page of the log would read the whole log for them.
CREATE VIEW atlas_api.pending_events WITH (security_invoker = true) AS
    SELECT *
      FROM atlas_api_private.pending_events
     WHERE "eventId" >= atlas_api_private.period_begin() AND "eventId" < atlas_api_private.period_end();

COMMENT ON VIEW atlas_api.pending_events IS 'The events of the logs that are PENDING or FAILED, newest first
The rows that event_logs has for them, found without reading the log, and between the since and the until that a client gave to the proxy.';

DO $$
DECLARE
    this record;
BEGIN
    FOR this IN
        SELECT view, attname, col_description(attrelid, attnum) AS description
          FROM pg_attribute, unnest(ARRAY['event_logs_of_period', 'pending_events']) AS view
         WHERE attrelid = 'atlas_api.event_logs'::regclass AND attnum > 0
    LOOP
        EXECUTE format('COMMENT ON COLUMN atlas_api.%I.%I IS %L', this.view, this.attname, this.description);
    END LOOP;
END
$$;

CREATE FUNCTION atlas_api_private.first_event_id(time_of_rfc3339 text) RETURNS uuid
    AS '$libdir/atlas_events', 'atlas_first_event_id' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION atlas_api_private.first_event_id(text) IS
'The smallest event id of a time as RFC 3339 writes it; null when the text is not such a time, or when no event can have it
See event_id_at().';

-- A plan for any period is estimated for a small one, which it would read and sort
-- as a whole to get a page.
CREATE FUNCTION atlas_api_private.take_period(request text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    bound record;
BEGIN
    FOR bound IN
        SELECT name, value, atlas_api_private.first_event_id(value) AS event_id
          FROM regexp_split_to_table(substring(request, '^\S+ /events\?(.*)$'), '[&;]') AS part,
               split_part(part, '=', 1) AS name,
               atlas_api_private.url_decode(substr(part, length(name) + 2)) AS value
         WHERE name IN ('since', 'until')
    LOOP
        IF bound.event_id IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
                DETAIL = format('The parameter %s is not a time of RFC 3339 from 1970 on: %s', bound.name, left(bound.value, 100)),
                HINT = 'Write it as 2026-11-20T09:30:00Z. In a URL the + of an offset is written as %2B.';
        END IF;
        PERFORM set_config('atlas_api.' || bound.name, bound.event_id::text, true),
                set_config('plan_cache_mode', 'force_custom_plan', true);
    END LOOP;
END
$$;

COMMENT ON FUNCTION atlas_api_private.take_period(text) IS
'Makes the parameters since and until of GET /events the bounds of event_logs_of_period and pending_events in this transaction
The request is as its client wrote it, GET /events?since=..., the path without the prefix of the proxy. Raises PT400 when one of the two is not a time.';

-- ---------------------------------------------------------------------
-- The offset of the logs. Each row that is skipped costs as much as one that is sent,
-- so a page that lies deep is found by the id of the event before it.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.check_offset(headers jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    -- PostgREST ignores a Range of any other form.
    IF EXISTS (
        SELECT FROM (
            SELECT substring(headers ->> 'range', '^([0-9]+)-[0-9]*$') AS first_row
            UNION ALL
            SELECT atlas_api_private.url_decode(substr(part, length(name) + 2))
              FROM regexp_split_to_table(substring(headers ->> 'x-original-request', '\?(.*)$'), '[&;]') AS part,
                   split_part(part, '=', 1) AS name
             WHERE atlas_api_private.url_decode(name) = 'offset') o
         WHERE first_row !~ '^0*([0-9]{1,3}|1000)$') THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = 'Bad Request',
            DETAIL = 'An offset is a whole number from 0 to 1000, and so is the first row of a Range.',
            HINT = 'Go on from a page with eventId=lt. and the eventId of its last event.';
    END IF;
END
$$;

COMMENT ON FUNCTION atlas_api_private.check_offset(jsonb) IS
'Raises PT400 for an offset that is too large, as a query parameter or in the header Range
Query parameters are those of the header X-Original-Request, see check_parameters().';
