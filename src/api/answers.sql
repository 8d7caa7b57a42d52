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

COMMENT ON FUNCTION atlas_api_private.status_message(int) IS 'The constant phrase of an HTTP status, which is the message that atlas_events raises with it';

-- The text of a 413 may come from anybody, for example from the owner of a view in
-- which an object was looked up.
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
The header X-Request-Id tells the proxy that the body already has the form of the Events API. The proxy answers 413 with a body of its own, so for that status details and hint are in headers as well, as JSON strings.';

-- Answers an error without raising it, so that what the transaction has written stays.
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
'Makes this request end with an HTTP status, and returns the body: {code, message, details, hint, errors, requestId}, with errors for 400 only.';

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

COMMENT ON FUNCTION atlas_api_private.json_or_empty(text) IS 'The text as json if it is an array, or else an empty array';

-- Turns what atlas_events raised into an answer. Any other error goes to the server
-- log, with the id of the request, and is answered with 500.
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
'Answers an error that was caught: PT400, PT404, PT409 and PT413 as they are, and any other as 500. A request that is not null is noted as a rejection.';
