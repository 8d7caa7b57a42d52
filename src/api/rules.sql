-- ---------------------------------------------------------------------
-- Rules
--
-- A rule that is made here belongs to atlas_admin, whatever role of its members has sent
-- the request, so that every admin of the tenant can change it. A rule that was made in
-- SQL belongs to the role that made it, and is changed by that role.
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.is_admin() RETURNS boolean
    LANGUAGE sql STABLE
    RETURN coalesce(pg_has_role(to_regrole('atlas_admin'), 'USAGE'), false);

COMMENT ON FUNCTION atlas_api_private.is_admin() IS 'Whether the caller may make and change rules';

CREATE FUNCTION atlas_api_private.iso_8601(value interval) RETURNS text
    LANGUAGE sql STABLE
    SET intervalstyle = 'iso_8601'
    RETURN value::text;

COMMENT ON FUNCTION atlas_api_private.iso_8601(interval) IS 'A length of time as ISO 8601 writes it, whatever the server prints';

-- Only admins see the names of the roles of the database: one who may not change a rule
-- has to know who may.
CREATE VIEW atlas_api.rules WITH (security_barrier = true) AS
    SELECT r.rule_id AS "ruleId", r.rule_name AS "ruleName", r.object_type AS "objectType",
           r.event_name AS "eventName", r.condition::text AS condition, r.times,
           atlas_api_private.iso_8601(r.within) AS within, r.role,
           CASE WHEN a.is_admin THEN r.owner::text END AS owner,
           r.is_enabled AS "isEnabled", r.disabled_reason AS "disabledReason", r.created_at AS "createdAt",
           r.since, r.unknown, r.errors, r.last_error AS "lastError", r.last_error_at AS "lastErrorAt",
           CASE WHEN a.is_admin THEN quote_ident(r.action_schema) || '.' || quote_ident(r.action_name) END AS action,
           r.channel, atlas_api_private.iso_8601(r.cooldown) AS cooldown
      FROM atlas_api_private.rules r
     CROSS JOIN (SELECT atlas_api_private.is_admin()) a (is_admin)
     ORDER BY r.rule_name;

COMMENT ON VIEW atlas_api.rules IS 'The rules
Which events are noticed, of which type of object, and how many of them within which time; by name. What they matched is in rule_matches.';
COMMENT ON COLUMN atlas_api.rules."ruleId" IS 'Number of the rule; a rule that is enabled again begins anew and gets a new one';
COMMENT ON COLUMN atlas_api.rules."ruleName" IS 'Name of the rule, which is unique: escape it where you show it';
COMMENT ON COLUMN atlas_api.rules."objectType" IS 'Canonical type of the objects whose events count';
COMMENT ON COLUMN atlas_api.rules."eventName" IS 'Name of the events that count; null is any';
COMMENT ON COLUMN atlas_api.rules.condition IS 'Path of SQL/JSON that the events must satisfy, as PostgreSQL prints it; null is none';
COMMENT ON COLUMN atlas_api.rules.times IS 'How many such events make a match';
COMMENT ON COLUMN atlas_api.rules.within IS 'The time within which they must occur, as ISO 8601 writes it; null if one is enough';
COMMENT ON COLUMN atlas_api.rules.role IS 'PRIMARY for events of which the object is the primary one, RELATED for those that it is a related object of, or ANY';
COMMENT ON COLUMN atlas_api.rules.owner IS 'Role of the database that may change it: atlas_admin if it was made here. Only admins see it';
COMMENT ON COLUMN atlas_api.rules."isEnabled" IS 'Whether events are looked at for the rule';
COMMENT ON COLUMN atlas_api.rules."disabledReason" IS 'Why the rule was switched off; null if somebody did so';
COMMENT ON COLUMN atlas_api.rules."createdAt" IS 'When the rule was made';
COMMENT ON COLUMN atlas_api.rules.since IS 'When the rule began: events that occurred or were received before do not count. Null as long as it waits for requests that were under way when it was made or enabled';
COMMENT ON COLUMN atlas_api.rules.unknown IS 'For how many events the condition was unknown, as when a string is compared with a number';
COMMENT ON COLUMN atlas_api.rules.errors IS 'For how many events the evaluation of the condition ended with an error';
COMMENT ON COLUMN atlas_api.rules."lastError" IS 'The last such error';
COMMENT ON COLUMN atlas_api.rules."lastErrorAt" IS 'When it occurred';
COMMENT ON COLUMN atlas_api.rules.action IS 'Function of the database that is called for each match; null if none is. Only admins see it';
COMMENT ON COLUMN atlas_api.rules.channel IS 'Channel on which the matchId of each match is notified; null if none is';
COMMENT ON COLUMN atlas_api.rules.cooldown IS 'Time after an action for an object in which its matches have no further action, as ISO 8601 writes it; null if there is none';

-- Turns what atlas_events raised about a rule into an answer. Nothing has been written then.
CREATE FUNCTION atlas_api_private.answer_rule_error(state text, raised_message text, detail text, hint text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    errors json;
BEGIN
    IF state LIKE '54%' THEN
        errors := pg_catalog.json_build_array(pg_catalog.json_build_object(
            'field', '/condition', 'code', 'too_expensive', 'message', raised_message));
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(errors), nullif(hint, ''), errors);
    END IF;
    RETURN atlas_api_private.answer_error(state, raised_message, detail, hint, NULL);
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_rule_error(text, text, text, text) IS
'Answers an error about a rule that was caught: PT400, PT404, PT409 and PT413 as they are, and a condition that exceeds its limits as PT400.';

-- ----- Making -----

CREATE FUNCTION atlas_api_private.create_rule(
    body text, owner regrole, OUT rule_name text, OUT events int, OUT matched int, OUT unknown int)
    AS '$libdir/atlas_events', 'atlas_create_rule_of_request' LANGUAGE C STRICT;

COMMENT ON FUNCTION atlas_api_private.create_rule(text, regrole) IS
'Makes the rule that a body of JSON describes, for an owner that the caller is a member of
Says for how many of the last 1,000 events of the kind the condition is true, and for how many it is unknown. See atlas_create_rule().';

CREATE FUNCTION atlas_api_private.answer_rule(body text, problem text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    made record;
    answer json;
    raised_message text;
    detail text;
    hint text;
BEGIN
    IF problem IS NOT NULL THEN
        PERFORM atlas_api_private.raise_invalid('malformed_json', problem);
    END IF;
    SELECT c.rule_name, (SELECT pg_catalog.row_to_json(t) FROM (SELECT c.events, c.matched, c.unknown) t) AS trial INTO made
      FROM atlas_api_private.create_rule(body, pg_catalog.to_regrole('atlas_admin')) c;
    SELECT pg_catalog.row_to_json(a) INTO answer
      FROM (SELECT r.*, made.trial
              FROM atlas_api.rules r WHERE r."ruleName" OPERATOR(pg_catalog.=) made.rule_name) a;
    RETURN answer;
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT409' OR SQLSTATE 'PT413' OR program_limit_exceeded THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_rule_error(SQLSTATE, raised_message, detail, hint);
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_rule(text, text) IS 'Makes a rule and answers with it, or answers with the reason why not.
When there is a problem with the body as a whole, that is the reason.';

CREATE FUNCTION atlas_api.create_rule(bytea) RETURNS json
    LANGUAGE sql BEGIN ATOMIC
    SELECT atlas_api_private.answer_rule(t.value, t.problem) FROM atlas_api_private.text_of($1) t;
END;

COMMENT ON FUNCTION atlas_api.create_rule(bytea) IS
'Make a rule
The body is {"ruleName", "objectType", "eventName", "condition", "times", "within", "role", "channel", "cooldown"}; the answer is the rule, with trial: {"events", "matched", "unknown"}, which says for how many of the last 1,000 events of the kind the condition is true, and for how many it is unknown. The rule belongs to atlas_admin.';

CREATE FUNCTION atlas_api.create_rule(json) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_rule($1::text, NULL);

COMMENT ON FUNCTION atlas_api.create_rule(json) IS
'Make a rule
The same for a body of type application/json.';

-- ----- Changing -----

CREATE FUNCTION atlas_api_private.rule_of_request() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    request text := nullif(current_setting('request.headers', true), '')::json ->> 'x-original-request';
    filter text;
BEGIN
    SELECT atlas_api_private.url_decode(substr(part, length('ruleName=') + 1)) INTO filter
      FROM regexp_split_to_table(substring(request, '^\S+ /rules\?(.*)$'), '&') AS part
     WHERE part LIKE 'ruleName=%';
    IF filter IS NULL OR filter NOT LIKE 'eq._%' THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = atlas_api_private.status_message(400), HINT = '',
            DETAIL = '[{"field":"/ruleName","code":"required","message":"the query must be ruleName=eq. and the name of the rule"}]';
    END IF;
    RETURN substr(filter, length('eq.') + 1);
EXCEPTION
    WHEN character_not_in_repertoire OR untranslatable_character THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = atlas_api_private.status_message(400), HINT = '',
            DETAIL = '[{"field":"/ruleName","code":"invalid","message":"has a character that no name can have"}]';
END
$$;

COMMENT ON FUNCTION atlas_api_private.rule_of_request() IS
'The name of the rule that the query of a request names: PATCH /rules?ruleName=eq.At%20risk
The request is as its client wrote it, see check_parameters(). Raises PT400 if the query names none.';

CREATE FUNCTION atlas_api_private.is_enabled_of(body text, problem text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    change json;
    problems json;
BEGIN
    IF problem IS NOT NULL THEN
        PERFORM atlas_api_private.raise_invalid('malformed_json', problem);
    END IF;
    BEGIN
        change := body;
    EXCEPTION
        WHEN data_exception OR program_limit_exceeded THEN
            PERFORM atlas_api_private.raise_invalid('malformed_json', SQLERRM);
    END;
    IF json_typeof(change) <> 'object' THEN
        PERFORM atlas_api_private.raise_invalid('invalid', 'a change of a rule must be a JSON object');
    END IF;
    WITH field AS (
        SELECT key, json_typeof(value) AS type, count(*) OVER (PARTITION BY key) AS times
          FROM json_each(change))
    SELECT json_agg(p) INTO problems
      FROM (SELECT '/' || replace(replace(left(key, 64), '~', '~0'), '/', '~1') AS field, 'unknown_field' AS code,
                   'cannot be changed: only isEnabled can' AS message
              FROM field WHERE key <> 'isEnabled'
            UNION ALL
            SELECT DISTINCT '/isEnabled', 'duplicate_key', 'is given more than once'
              FROM field WHERE key = 'isEnabled' AND times > 1
            UNION ALL
            SELECT '/isEnabled', 'invalid', 'must be true or false'
              FROM field WHERE key = 'isEnabled' AND times = 1 AND type <> 'boolean'
            UNION ALL
            SELECT '/isEnabled', 'required', 'is required'
             WHERE NOT EXISTS (SELECT FROM field WHERE key = 'isEnabled')
             LIMIT 100) p;
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT400', MESSAGE = atlas_api_private.status_message(400), DETAIL = problems, HINT = '';
    END IF;
    RETURN change ->> 'isEnabled';
END
$$;

COMMENT ON FUNCTION atlas_api_private.is_enabled_of(text, text) IS
'Reads {"isEnabled": true or false}. Raises PT400 with all that is wrong; when there is a problem with the body as a whole, with that.';

-- A rule can be switched on and off; any other change would be another rule. With a null
-- is_enabled it is dropped. The rule of another role is answered by an error that is
-- raised, because the status 403 is PostgREST's own.
CREATE FUNCTION atlas_api_private.answer_change(rule_name text, is_enabled boolean) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    answer json;
BEGIN
    SELECT pg_catalog.row_to_json(r) INTO answer
      FROM atlas_api.rules r WHERE r."ruleName" OPERATOR(pg_catalog.=) rule_name;
    IF is_enabled IS NULL THEN
        PERFORM atlas_api_private.remove_rule(rule_name);
        RETURN answer;
    END IF;
    PERFORM atlas_api_private.switch_rule(rule_name, is_enabled);
    SELECT pg_catalog.row_to_json(r) INTO answer
      FROM atlas_api.rules r WHERE r."ruleName" OPERATOR(pg_catalog.=) rule_name;
    RETURN answer;
EXCEPTION
    WHEN insufficient_privilege THEN
        IF SQLERRM NOT LIKE 'must be owner of rule %' THEN
            RAISE;
        END IF;
        RAISE insufficient_privilege USING MESSAGE = 'Forbidden',
            DETAIL = 'The rule was made in SQL, and belongs to another role of the database.',
            HINT = 'That role can change it in SQL: it is the owner in the list of rules.';
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_change(text, boolean) IS
'Switches a rule on or off, or drops it if is_enabled is null, and answers with the rule. Raises PT404 if there is none, and 42501 if it belongs to another role.';

CREATE FUNCTION atlas_api.change_rule(bytea) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    raised_message text;
    detail text;
    hint text;
BEGIN
    RETURN atlas_api_private.answer_change(atlas_api_private.rule_of_request(),
        (SELECT atlas_api_private.is_enabled_of(t.value, t.problem) FROM atlas_api_private.text_of($1) t));
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT404' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_rule_error(SQLSTATE, raised_message, detail, hint);
END
$$;

COMMENT ON FUNCTION atlas_api.change_rule(bytea) IS
'Switch a rule on or off
For the proxy, which tells the query ruleName=eq. of a request in a header. The body is {"isEnabled": true or false}.';

CREATE FUNCTION atlas_api.change_rule("ruleName" text, "isEnabled" boolean) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    raised_message text;
    detail text;
    hint text;
    problems json;
BEGIN
    SELECT pg_catalog.json_agg(p) INTO problems
      FROM (SELECT '/' || parameter AS field, 'required' AS code, 'is required' AS message
              FROM (VALUES ('ruleName', "ruleName" IS NULL), ('isEnabled', "isEnabled" IS NULL)) c (parameter, failed)
             WHERE failed) p;
    IF problems IS NOT NULL THEN
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(problems), NULL, problems);
    END IF;
    RETURN atlas_api_private.answer_change("ruleName", "isEnabled");
EXCEPTION
    WHEN SQLSTATE 'PT404' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_rule_error(SQLSTATE, raised_message, detail, hint);
END
$$;

COMMENT ON FUNCTION atlas_api.change_rule(text, boolean) IS
'Switch a rule on or off
A rule that is switched on again begins anew, under a new ruleId. The answer is the rule; 404 when there is none of this name, and 403 when it was made in SQL and belongs to another role.';

CREATE FUNCTION atlas_api.drop_rule(bytea) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    raised_message text;
    detail text;
    hint text;
BEGIN
    RETURN atlas_api_private.answer_change(atlas_api_private.rule_of_request(), NULL);
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT404' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_rule_error(SQLSTATE, raised_message, detail, hint);
END
$$;

COMMENT ON FUNCTION atlas_api.drop_rule(bytea) IS
'Drop a rule
For the proxy, which tells the query ruleName=eq. of a request in a header. The body does not count.';

CREATE FUNCTION atlas_api.drop_rule("ruleName" text) RETURNS json
    LANGUAGE plpgsql AS
$$
DECLARE
    raised_message text;
    detail text;
    hint text;
BEGIN
    RETURN atlas_api_private.answer_change(coalesce("ruleName", ''), NULL);
EXCEPTION
    WHEN SQLSTATE 'PT404' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_rule_error(SQLSTATE, raised_message, detail, hint);
END
$$;

COMMENT ON FUNCTION atlas_api.drop_rule(text) IS
'Drop a rule
What it matched stays. The answer is the rule as it was; 404 when there is none of this name, and 403 when it was made in SQL and belongs to another role.';

-- ----- Trying -----

CREATE FUNCTION atlas_api_private.test_rule(
    body text, OUT event_id uuid, OUT occurred_at timestamptz, OUT name text, OUT object_id text,
    OUT events int, OUT unknown int, OUT searched_since timestamptz)
    RETURNS SETOF record
    AS '$libdir/atlas_events', 'atlas_test_rule_of_request' LANGUAGE C STABLE STRICT ROWS 50;

COMMENT ON FUNCTION atlas_api_private.test_rule(text) IS
'What the rule that a body of JSON describes would have matched, oldest first
The last row has no event; it says how many events of the kind were looked at, for how many the condition was unknown, and since when, if there are events before. See atlas_test_rule().';

-- The most matches of an answer are as many as other answers have rows.
CREATE FUNCTION atlas_api_private.tried_rule(body text) RETURNS json
    LANGUAGE sql STABLE BEGIN ATOMIC
    WITH found AS MATERIALIZED (
        SELECT t.*, row_number() OVER () AS n FROM atlas_api_private.test_rule(body) t),
    last AS (
        SELECT f.n, f.events, f.unknown, f.searched_since FROM found f WHERE f.event_id IS NULL)
    SELECT row_to_json(a)
      FROM (SELECT last.events, last.unknown, last.n - 1 AS "matchCount", last.searched_since AS "searchedSince",
                   (SELECT coalesce(json_agg(row_to_json(m) ORDER BY m."eventId" DESC, m."objectId" DESC), '[]')
                      FROM (SELECT f.event_id AS "eventId", f.occurred_at AS "occurredAt", f.name, f.object_id AS "objectId"
                              FROM found f WHERE f.event_id IS NOT NULL AND f.n >= last.n - 1000) m) AS matches
              FROM last) a;
END;

COMMENT ON FUNCTION atlas_api_private.tried_rule(text) IS 'What the rule that a body of JSON describes would have matched, the newest 1,000 matches of it, as JSON';

CREATE FUNCTION atlas_api_private.answer_test(body text, problem text) RETURNS json
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
    RETURN atlas_api_private.tried_rule(body);
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT413' OR program_limit_exceeded THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_rule_error(SQLSTATE, raised_message, detail, hint);
END
$$;

COMMENT ON FUNCTION atlas_api_private.answer_test(text, text) IS 'Tries a rule and answers with what it would have matched, or answers with the reason why not.
When there is a problem with the body as a whole, that is the reason.';

CREATE FUNCTION atlas_api.test_rule(bytea) RETURNS json
    LANGUAGE sql BEGIN ATOMIC
    SELECT atlas_api_private.answer_test(t.value, t.problem) FROM atlas_api_private.text_of($1) t;
END;

COMMENT ON FUNCTION atlas_api.test_rule(bytea) IS
'Try a rule on the events of the past
The body is a rule without its name, and since, until, and maxEvents, the most events that are looked at; the answer is {"events", "unknown", "matchCount", "searchedSince", "matches"}, with the newest 1,000 matches. Nothing is stored.';

CREATE FUNCTION atlas_api.test_rule(json) RETURNS json
    LANGUAGE sql
    RETURN atlas_api_private.answer_test($1::text, NULL);

COMMENT ON FUNCTION atlas_api.test_rule(json) IS
'Try a rule on the events of the past
The same for a body of type application/json.';
