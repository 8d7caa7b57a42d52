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

-- PostgREST silently ends a text parameter at its first NUL byte.
CREATE FUNCTION atlas_api_private.cut_short(body text) RETURNS text
    LANGUAGE sql STABLE
    RETURN CASE WHEN pg_catalog.octet_length(pg_catalog.convert_to(body, 'UTF8')) <
        (nullif(pg_catalog.current_setting('request.headers', true), '')::json ->> 'content-length')::bigint
        THEN 'the body has a NUL byte' END;

COMMENT ON FUNCTION atlas_api_private.cut_short(text) IS 'The problem of a request whose body had more bytes than arrived here; null for all other requests';

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

COMMENT ON FUNCTION atlas_api_private.answer_event(text, text) IS 'Stores an event and answers with its receipt, or notes a rejection and answers with the reason.
When there is a problem with the body as a whole, that is the reason.';

CREATE FUNCTION atlas_api.submit_event(text) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_event($1, atlas_api_private.cut_short($1));

COMMENT ON FUNCTION atlas_api.submit_event(text) IS
'Submit an event
The body is an event; the answer is its receipt {"message":"Event Linked","eventId":...,"processingStatus":...,"duplicate":...}, with status 200 when the event is stored. The header Idempotency-Key counts as the field idempotencyKey. With 400, 404, 409 and 413 the event is refused: nothing is stored, and the request is noted in the rejections.';

-- A body that is not UTF-8, or has a NUL byte, is refused as malformed, and its
-- bytes are noted in an escaped form. A byte order mark is skipped here, because the
-- database may have an encoding without such a character.
CREATE FUNCTION atlas_api_private.text_of(body bytea, OUT value text, OUT problem text)
    LANGUAGE plpgsql IMMUTABLE AS
$$
BEGIN
    IF pg_catalog.substr(body, 1, 3) = '\xefbbbf' THEN
        body := pg_catalog.substr(body, 4);
    END IF;
    value := pg_catalog.convert_from(body, 'UTF8');
EXCEPTION
    WHEN character_not_in_repertoire OR untranslatable_character THEN
        value := pg_catalog.encode(body, 'escape');
        problem := 'the body is not UTF-8: ' || SQLERRM;
END
$$;

COMMENT ON FUNCTION atlas_api_private.text_of(bytea) IS 'The body of a request as text, or why it is not text';

CREATE FUNCTION atlas_api.submit_event(bytea) RETURNS json
    LANGUAGE sql BEGIN ATOMIC
    SELECT atlas_api_private.answer_event(t.value, t.problem) FROM atlas_api_private.text_of($1) t;
END;

COMMENT ON FUNCTION atlas_api.submit_event(bytea) IS
'Submit an event
The same for a body of type application/octet-stream, which may have any bytes.';

CREATE FUNCTION atlas_api.submit_event(json) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_event($1::text, NULL);

COMMENT ON FUNCTION atlas_api.submit_event(json) IS
'Submit an event
The same for a body of type application/json.';

-- When the batch is not JSON throughout, items is empty, and the rejections have no
-- excerpts. The field of a problem in the list begins with its place in the batch:
-- /2/name.
CREATE FUNCTION atlas_api_private.refused_items(
    results json, items json, OUT refused json, OUT problems json)
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    WITH item AS (
        SELECT result.n - 1 AS index, result.value AS result, item.value AS request,
               result.value -> 'errors' AS errors
          FROM pg_catalog.json_array_elements(results) WITH ORDINALITY AS result (value, n)
          LEFT JOIN pg_catalog.json_array_elements(items) WITH ORDINALITY AS item (value, n) USING (n)
         WHERE result.value ->> 'status' <> '200')
    SELECT (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                       'index', index, 'status', result -> 'status', 'code', result -> 'code',
                       'message', result -> 'message', 'hint', result -> 'hint', 'errors', errors,
                       'details', result -> 'details',
                       'request', pg_catalog.left(request::text, 1000)))
              FROM item),
           (SELECT pg_catalog.json_agg(p)
              FROM (SELECT '/' || index || (problem ->> 'field') AS field,
                           problem -> 'code' AS code, problem -> 'message' AS message
                      FROM item, pg_catalog.json_array_elements(errors) AS problem
                     LIMIT 100) p);
END;

COMMENT ON FUNCTION atlas_api_private.refused_items(json, json) IS
'The refused events of a batch, as note_rejections() takes them, and the first hundred problems of the invalid events in one list.';

CREATE FUNCTION atlas_api_private.answer_batch(result json, batch text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    byte_order_mark CONSTANT int := 65279;
    rejected int := result ->> 'rejected';
    refused json;
    problems json;
    body json;
BEGIN
    IF rejected = 0 THEN
        RETURN result;
    END IF;
    SELECT r.refused, r.problems INTO refused, problems
      FROM atlas_api_private.refused_items(result -> 'results', atlas_api_private.json_or_empty(
               CASE pg_catalog.ascii(batch) WHEN byte_order_mark THEN pg_catalog.substr(batch, 2) ELSE batch END)) r;
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
'Answers with the result of submit_events(), and the status 200, 207 or 400, and notes the events that were refused.';

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

COMMENT ON FUNCTION atlas_api_private.answer_events(text, text) IS 'Stores a batch of events, answers with the result of each, and notes those that are refused.';

CREATE FUNCTION atlas_api.submit_events(text) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_events($1, atlas_api_private.cut_short($1));

COMMENT ON FUNCTION atlas_api.submit_events(text) IS
'Submit several events
The body is an array of events, each independent of the others; the answer is {"accepted":n,"rejected":n,"results":[...]} in the same order. The status is 200 when all are stored, 207 when some are, and 400 when none is. The events that are refused are noted in the rejections.';

CREATE FUNCTION atlas_api.submit_events(bytea) RETURNS json
    LANGUAGE sql BEGIN ATOMIC
    SELECT atlas_api_private.answer_events(t.value, t.problem) FROM atlas_api_private.text_of($1) t;
END;

COMMENT ON FUNCTION atlas_api.submit_events(bytea) IS
'Submit several events
The same for a body of type application/octet-stream, which may have any bytes.';

CREATE FUNCTION atlas_api.submit_events(events json) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_events(events::text, NULL);

COMMENT ON FUNCTION atlas_api.submit_events(json) IS
'Submit several events
The same for a body {"events":[...]} of type application/json.';
