-- ---------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------

-- The function sets a status, so it is VOLATILE: it must run even when nobody reads its
-- result (HEAD).
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
Its row of the event logs, with the outcome of each related object; 404 when there is no such event.';

CREATE FUNCTION atlas_api_private.url_encode(value text) RETURNS text
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT pg_catalog.string_agg(
               CASE WHEN c ~ '^[A-Za-z0-9._~-]$' THEN c
                    ELSE pg_catalog.regexp_replace(
                        pg_catalog.upper(pg_catalog.encode(pg_catalog.convert_to(c, 'UTF8'), 'hex')),
                        '(..)', '%\1', 'g') END, '' ORDER BY n)
      FROM pg_catalog.regexp_split_to_table(value, '') WITH ORDINALITY AS r (c, n);
END;

COMMENT ON FUNCTION atlas_api_private.url_encode(text) IS 'A text as a value in the query of a URL, in ASCII only';

CREATE FUNCTION atlas_api_private.event_time(time_of_rfc3339 text) RETURNS timestamptz
    AS '$libdir/atlas_events', 'atlas_event_time' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION atlas_api_private.event_time(text) IS
'A time as RFC 3339 writes it; null when the text is not such a time, or when no event can have it';

-- A proxy that serves this under a path of its own tells so in X-Forwarded-Prefix. It
-- writes the names of resources with hyphens, and calls the size of a page "limit", a name
-- that PostgREST reserves for itself.
CREATE FUNCTION atlas_api_private.set_next_page(resource text, before text, page_size int, VARIADIC parameters text[])
    RETURNS void
    LANGUAGE sql BEGIN ATOMIC
    SELECT pg_catalog.set_config('response.headers', pg_catalog.json_build_array(pg_catalog.json_build_object(
               'Link', pg_catalog.format('<%s/%s?%sbefore=%s&%s=%s>; rel="next"', coalesce(prefix, '/rpc'),
                   CASE WHEN prefix IS NULL THEN resource ELSE pg_catalog.replace(resource, '_', '-') END,
                   (SELECT pg_catalog.string_agg(pg_catalog.format('%s=%s&', parameters[n],
                               atlas_api_private.url_encode(parameters[n + 1])), '' ORDER BY n)
                      FROM pg_catalog.generate_series(1, pg_catalog.array_length(parameters, 1), 2) n
                     WHERE parameters[n + 1] IS NOT NULL),
                   atlas_api_private.url_encode(before), CASE WHEN prefix IS NULL THEN 'pageSize' ELSE 'limit' END, page_size)))::text, true)
      FROM (SELECT pg_catalog.substring(nullif(pg_catalog.current_setting('request.headers', true), '')::json
                       ->> 'x-forwarded-prefix', '^/[A-Za-z0-9/._~-]*$') AS prefix) p;
END;

COMMENT ON FUNCTION atlas_api_private.set_next_page(text, text, int, text[]) IS
'Adds a header Link to the answer that leads to the next page of a resource
parameters are the names and values of the others; those whose value is null are left out.';

CREATE FUNCTION atlas_api_private.page_problems(page_size int, since text, until text)
    RETURNS TABLE (field text, code text, message text)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT '/' || parameter AS field, 'invalid' AS code, problem AS message
      FROM (VALUES ('limit', 'must be from 1 to 1000', NOT coalesce(page_size, 0) BETWEEN 1 AND 1000),
                   ('since', 'must be a time of RFC 3339 from 1970 on, such as 2026-11-20T09:30:00Z',
                    since IS NOT NULL AND atlas_api_private.event_time(since) IS NULL),
                   ('until', 'must be a time of RFC 3339 from 1970 on, such as 2026-11-20T09:30:00Z',
                    until IS NOT NULL AND atlas_api_private.event_time(until) IS NULL)) c (parameter, problem, failed)
     WHERE failed;
END;

COMMENT ON FUNCTION atlas_api_private.page_problems(int, text, text) IS 'What is wrong with the size and the period of a page, as the problems of an answer with 400';

CREATE FUNCTION atlas_api_private.timeline_page(
    object_type text, object_id text, before_event uuid, page_size int,
    external_id text, event_name text, since timestamptz, until timestamptz,
    OUT page json, OUT next_before uuid)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT coalesce(json_agg(t.event ORDER BY t.n) FILTER (WHERE t.n <= page_size), '[]'),
           CASE WHEN count(*) > page_size THEN (array_agg(t.id ORDER BY t.n))[page_size] END
      FROM (SELECT row_to_json(e) AS event, e."eventId" AS id, row_number() OVER () AS n
              FROM atlas_api_private.timeline($1, $2, before_event, page_size + 1, $5, $6, $7, $8) e) t;
END;

COMMENT ON FUNCTION atlas_api_private.timeline_page(text, text, uuid, int, text, text, timestamptz, timestamptz) IS 'A page of atlas_timeline() as JSON, and the event after which the next page begins, null when there is no next page';

-- What is empty counts as not given, but for the times.
CREATE FUNCTION atlas_api.timeline(
    "objectType" text DEFAULT NULL, "objectId" text DEFAULT NULL,
    before uuid DEFAULT NULL, "pageSize" int DEFAULT 50,
    "externalId" text DEFAULT NULL, name text DEFAULT NULL,
    since text DEFAULT NULL, until text DEFAULT NULL) RETURNS json
    LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
    object_id text := nullif("objectId", '');
    external_id text := nullif("externalId", '');
    event_name text := nullif(name, '');
    first_time timestamptz := atlas_api_private.event_time(since);
    end_time timestamptz := atlas_api_private.event_time(until);
    problems json;
    this record;
    raised_message text;
    detail text;
    hint text;
BEGIN
    SELECT pg_catalog.json_agg(p) INTO problems
      FROM (SELECT '/' || parameter AS field, 'required' AS code, parameter_message AS message
              FROM (VALUES ('objectType', 'objectType is required', coalesce("objectType", '') = ''),
                           ('objectId', 'objectId or externalId is required', coalesce(object_id, external_id) IS NULL))
                   c (parameter, parameter_message, failed)
             WHERE failed
            UNION ALL
            SELECT w.field, w.code, w.message FROM atlas_api_private.page_problems("pageSize", since, until) w) p;
    IF problems IS NOT NULL THEN
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(problems), NULL, problems);
    END IF;
    SELECT p.page, p.next_before INTO this
      FROM atlas_api_private.timeline_page("objectType", object_id, before, "pageSize",
                                           external_id, event_name, first_time, end_time) p;
    IF this.next_before IS NOT NULL THEN
        PERFORM atlas_api_private.set_next_page('timeline', this.next_before::text, "pageSize", 'objectType', "objectType",
            'objectId', object_id, 'externalId', external_id, 'name', event_name, 'since', since, 'until', until);
    END IF;
    RETURN this.page;
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT404' OR SQLSTATE 'PT409' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_error(SQLSTATE, raised_message, detail, hint, NULL);
END
$$;

COMMENT ON FUNCTION atlas_api.timeline(text, text, uuid, int, text, text, text, text) IS
'The timeline of an object
Its events, newest first, as primary and as related object. The object is named by objectId, by externalId, or by both; the answer is 404 if there is no object with this externalId, and 409 if the two name different objects. name selects the events of this name, and since and until, times of RFC 3339, those that occurred at since or later and before until. As long as there are more events, a header Link leads to the next page (rel="next"), which begins after the last event of this one. pageSize is from 1 to 1000.';

CREATE VIEW atlas_api.rejections WITH (security_barrier = true) AS
    SELECT rejection_id AS "rejectionId", rejected_at AS "rejectedAt", request_id AS "requestId",
           role, subject, item_index AS index, status, code, message, details, hint, errors, request
      FROM atlas_api_private.rejections
     WHERE rejected_at >= now() - (SELECT atlas_api_private.rejection_age())
       AND ((SELECT atlas_api_private.is_reader()) OR
            (role = current_setting('role') AND subject = (SELECT atlas_api_private.subject())))
     ORDER BY rejection_id DESC
     LIMIT atlas_api_private.rejection_rows();

COMMENT ON VIEW atlas_api.rejections IS 'Events that were refused, newest first
Readers see those of the tenant, and submitters those of their own role and subject. They are kept for 30 days, at most 100,000 per tenant, unless the server is configured otherwise.';
COMMENT ON COLUMN atlas_api.rejections."rejectionId" IS 'Number of the rejection, in the order in which events were refused';
COMMENT ON COLUMN atlas_api.rejections."rejectedAt" IS 'When the event was refused';
COMMENT ON COLUMN atlas_api.rejections."requestId" IS 'The requestId of the answer';
COMMENT ON COLUMN atlas_api.rejections.role IS 'Role of the token';
COMMENT ON COLUMN atlas_api.rejections.subject IS 'Claim "sub" of the token';
COMMENT ON COLUMN atlas_api.rejections.index IS 'Place of the event in the batch, counted from 0; null when the request as a whole was refused';
COMMENT ON COLUMN atlas_api.rejections.status IS 'HTTP status';
COMMENT ON COLUMN atlas_api.rejections.code IS 'PT400, PT404, PT409, PT413 or PT500';
COMMENT ON COLUMN atlas_api.rejections.message IS 'The constant phrase that belongs to the code';
COMMENT ON COLUMN atlas_api.rejections.details IS 'Why the event was refused, the first 1,000 characters';
COMMENT ON COLUMN atlas_api.rejections.hint IS 'What the client can do about it';
COMMENT ON COLUMN atlas_api.rejections.errors IS 'The first ten problems of an invalid event, an array of {field, code, message}';
COMMENT ON COLUMN atlas_api.rejections.request IS 'The event as it was sent, the first 1,000 characters';

CREATE FUNCTION atlas_api_private.built_in_types(OUT object_type text, OUT aliases text[]) RETURNS SETOF record
    AS '$libdir/atlas_events', 'atlas_list_built_in_types' LANGUAGE C STABLE ROWS 8;

COMMENT ON FUNCTION atlas_api_private.built_in_types() IS 'The built-in object types of atlas_events, and their aliases';

-- Only readers see the names of tables and columns.
CREATE VIEW atlas_api.object_types WITH (security_barrier = true) AS
    SELECT COALESCE(t.object_type, b.object_type) AS "objectType",
           COALESCE(b.aliases, '{}') || COALESCE(t.aliases, '{}') AS aliases,
           c.oid IS NOT NULL AS connected,
           CASE WHEN r.is_reader THEN quote_ident(n.nspname) || '.' || quote_ident(c.relname) END AS relation,
           CASE WHEN r.is_reader THEN t.id_column::text END AS "idColumn",
           CASE WHEN r.is_reader THEN t.external_id_column::text END AS "externalIdColumn",
           t.external_id_column IS NOT NULL AS "hasExternalId"
      FROM atlas_api_private.built_in_types() b
      FULL JOIN atlas_api_private.object_types t ON t.object_type = b.object_type
      LEFT JOIN pg_class c ON c.oid = t.relation
      LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
     CROSS JOIN (SELECT atlas_api_private.is_reader()) r (is_reader)
     ORDER BY 1;

COMMENT ON VIEW atlas_api.object_types IS 'The object types
The built-in types and those that were registered, and the table that each is connected to. Only readers see the names of tables and columns; submitters get null.';
COMMENT ON COLUMN atlas_api.object_types."objectType" IS 'Canonical name of the type';
COMMENT ON COLUMN atlas_api.object_types.aliases IS 'Further names that are accepted';
COMMENT ON COLUMN atlas_api.object_types.connected IS 'Whether there is a table that holds its objects; events of a type without one are refused with 404';
COMMENT ON COLUMN atlas_api.object_types.relation IS 'The table that holds its objects';
COMMENT ON COLUMN atlas_api.object_types."idColumn" IS 'Column with the objectId';
COMMENT ON COLUMN atlas_api.object_types."externalIdColumn" IS 'Column with the externalId, if there is one';
COMMENT ON COLUMN atlas_api.object_types."hasExternalId" IS 'Whether its objects can be named by externalId';
