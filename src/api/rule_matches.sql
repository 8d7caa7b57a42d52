-- ---------------------------------------------------------------------
-- What rules have matched
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_api_private.canonical_type(given text) RETURNS text
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT t."objectType"
      FROM atlas_api.object_types t
     WHERE EXISTS (SELECT FROM unnest(t.aliases || t."objectType") AS name
                    WHERE translate(name, ' -', '__') = translate(upper(given COLLATE "C"), ' -', '__'));
END;

COMMENT ON FUNCTION atlas_api_private.canonical_type(text) IS 'The object type of this name or alias; null when there is none';

-- Events that have many matches are cut between two of these, so a page begins after a match.
CREATE FUNCTION atlas_api_private.match_place(
    place text, OUT event_id uuid, OUT rule_id bigint, OUT object_id text)
    LANGUAGE sql IMMUTABLE BEGIN ATOMIC
    SELECT p[1]::uuid, p[2]::bigint, p[3]
      FROM regexp_match(place, '^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}),([0-9]{1,18}),(.*)$') p;
END;

COMMENT ON FUNCTION atlas_api_private.match_place(text) IS 'The match after which a page begins: its event, rule and object, with commas between; nulls when the text is not that';

-- Each of the filters is the beginning of an index, in which the order of the events follows.
-- A plan for these very values has none of the filters that are null. It may be estimated
-- that all matches are few, so a plan that would read and sort them is not allowed.
CREATE FUNCTION atlas_api_private.rule_matches_page(
    rule_name text, rule_id bigint, object_type text, object_id text, event_id uuid, low uuid, high uuid,
    before_event uuid, before_rule bigint, before_object text, page_size int, OUT page json, OUT next_before text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan
    SET enable_seqscan = off
    SET enable_bitmapscan = off
    SET enable_sort = off AS
$$
BEGIN
    SELECT coalesce(json_agg(t.match ORDER BY t.n) FILTER (WHERE t.n <= page_size), '[]'),
           CASE WHEN count(*) > page_size THEN (array_agg(t.place ORDER BY t.n))[page_size] END
      INTO page, next_before
      FROM (SELECT row_to_json(m) AS match, concat_ws(',', m."eventId", m."ruleId", m."objectId") AS place,
                   row_number() OVER () AS n
              FROM (SELECT *
                      FROM atlas_api_private.rule_matches r
                     WHERE ($1 IS NULL OR r."ruleName" = $1)
                       AND ($2 IS NULL OR r."ruleId" = $2)
                       AND ($3 IS NULL OR r."objectType" = $3)
                       AND ($4 IS NULL OR r."objectId" = $4)
                       AND ($5 IS NULL OR r."eventId" = $5)
                       AND ($6 IS NULL OR r."eventId" >= $6)
                       AND ($7 IS NULL OR r."eventId" < $7)
                       AND ($8 IS NULL OR r."eventId" <= $8)
                       AND ($8 IS NULL OR (r."eventId", r."ruleId", r."objectId") < ($8, $9, $10))
                     ORDER BY r."eventId" DESC, r."ruleId" DESC, r."objectId" DESC
                     LIMIT page_size + 1) m) t;
END
$$;

COMMENT ON FUNCTION atlas_api_private.rule_matches_page(text, bigint, text, text, uuid, uuid, uuid, uuid, bigint, text, int) IS
'A page of matches as JSON, newest event first, and the match after which the next page begins, null when there is no next page
A null filter does not count. The page begins after the match before_event, before_rule, before_object.';

-- What is empty counts as not given, but for the times.
CREATE FUNCTION atlas_api.rule_matches(
    "ruleName" text DEFAULT NULL, "ruleId" bigint DEFAULT NULL, "objectType" text DEFAULT NULL, "objectId" text DEFAULT NULL,
    "eventId" uuid DEFAULT NULL, since text DEFAULT NULL, until text DEFAULT NULL, before text DEFAULT NULL,
    "pageSize" int DEFAULT 50) RETURNS json
    LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
    rule_name text := nullif("ruleName", '');
    object_type text := nullif("objectType", '');
    object_id text := nullif("objectId", '');
    place text := nullif(before, '');
    begins record;
    problems json;
    this record;
BEGIN
    SELECT p.event_id, p.rule_id, p.object_id INTO begins FROM atlas_api_private.match_place(place) p;
    SELECT pg_catalog.json_agg(p) INTO problems
      FROM (SELECT '/' || parameter AS field, c.code, c.message
              FROM (VALUES ('objectType', 'required', 'objectType is required with objectId', object_type IS NULL AND object_id IS NOT NULL),
                           ('objectId', 'required', 'objectId is required with objectType', object_id IS NULL AND object_type IS NOT NULL),
                           ('objectType', 'unknown_type', 'is neither a built-in object type nor a registered one',
                            object_type IS NOT NULL AND atlas_api_private.canonical_type(object_type) IS NULL),
                           ('before', 'invalid', 'must be what the header Link of a page has', place IS NOT NULL AND begins.event_id IS NULL))
                   c (parameter, code, message, failed)
             WHERE failed
            UNION ALL
            SELECT w.field, w.code, w.message FROM atlas_api_private.page_problems("pageSize", since, until) w) p;
    IF problems IS NOT NULL THEN
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(problems), NULL, problems);
    END IF;
    SELECT p.page, p.next_before INTO this
      FROM atlas_api_private.rule_matches_page(rule_name, "ruleId", atlas_api_private.canonical_type(object_type), object_id,
               "eventId", atlas_api_private.first_event_id(since), atlas_api_private.first_event_id(until),
               begins.event_id, begins.rule_id, begins.object_id, "pageSize") p;
    IF this.next_before IS NOT NULL THEN
        PERFORM atlas_api_private.set_next_page('rule_matches', this.next_before, "pageSize", 'ruleName', rule_name,
            'ruleId', "ruleId"::text, 'objectType', object_type, 'objectId', object_id, 'eventId', "eventId"::text,
            'since', since, 'until', until);
    END IF;
    RETURN this.page;
END
$$;

COMMENT ON FUNCTION atlas_api.rule_matches(text, bigint, text, text, uuid, text, text, text, int) IS
'What rules have matched
One row for each rule, object and event with which the rule had enough events, the newest event first. ruleName, ruleId, objectType with objectId, and eventId select; so do since and until, times of RFC 3339, by when the event occurred. As long as there are more, a header Link leads to the next page (rel="next"), which begins after the last match of this one. pageSize is from 1 to 1000.';
