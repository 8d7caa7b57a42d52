-- ---------------------------------------------------------------------
-- Searching
-- ---------------------------------------------------------------------

-- What one page may cost, in rows and index entries that are looked at: a search that
-- finds little reads no more than this, and its answer leads on from there. With 20,000 a
-- page stays far from the time limit of a request also where nothing is in memory yet.
CREATE FUNCTION atlas_api_private.max_work() RETURNS int
    LANGUAGE sql IMMUTABLE
    RETURN 20000;

COMMENT ON FUNCTION atlas_api_private.max_work() IS 'The rows and index entries that a page of a search may look at';

-- A page is asked for one row more than it has, to see whether there is a next one. When
-- the work ends a page, its last row has no event, but says how far the search has come.
CREATE FUNCTION atlas_api_private.search_page(
    query text, object_type text, object_id text, event_name text, since timestamptz, until timestamptz,
    before_event uuid, page_size int, OUT page json, OUT next_before uuid)
    LANGUAGE sql STABLE BEGIN ATOMIC
    SELECT coalesce(json_agg(s.event ORDER BY s.n) FILTER (WHERE s.id IS NOT NULL AND s.n <= page_size), '[]'),
           CASE WHEN count(s.id) > page_size THEN (array_agg(s.id ORDER BY s.n))[page_size]
                ELSE (array_agg(s.searched_until) FILTER (WHERE s.id IS NULL))[1] END
      FROM (SELECT (SELECT row_to_json(r)
                      FROM (SELECT e."eventId", e."occurredAt", e."objectType", e."objectId", e."externalId", e.label,
                                   e.name, e.description, e.icon, e.payload, e.headline, e."processingStatus") r) AS event,
                   e."eventId" AS id, e.searched_until, row_number() OVER () AS n
              FROM atlas_api_private.search_events($1, $2, $3, $4, $5, $6, before_event, page_size + 1,
                                                   atlas_api_private.max_work()) e) s;
END;

COMMENT ON FUNCTION atlas_api_private.search_page(text, text, text, text, timestamptz, timestamptz, uuid, int) IS 'A page of atlas_search_events() as JSON, and the id before which the next page begins, null when there is no next page';

-- What is empty counts as not given, but for the times.
CREATE FUNCTION atlas_api.search(
    q text DEFAULT NULL, "objectType" text DEFAULT NULL, "objectId" text DEFAULT NULL, name text DEFAULT NULL,
    since text DEFAULT NULL, until text DEFAULT NULL, before uuid DEFAULT NULL, "pageSize" int DEFAULT 50) RETURNS json
    LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
    query text := nullif(q, '');
    object_type text := nullif("objectType", '');
    object_id text := nullif("objectId", '');
    event_name text := nullif(name, '');
    problems json;
    this record;
    raised_message text;
    detail text;
    hint text;
BEGIN
    SELECT pg_catalog.json_agg(p) INTO problems
      FROM (SELECT '/objectType' AS field, 'required' AS code, 'objectType is required with objectId' AS message
             WHERE object_type IS NULL AND object_id IS NOT NULL
            UNION ALL
            SELECT w.field, w.code, w.message FROM atlas_api_private.page_problems("pageSize", since, until) w) p;
    IF problems IS NOT NULL THEN
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(problems), NULL, problems);
    END IF;
    SELECT p.page, p.next_before INTO this
      FROM atlas_api_private.search_page(query, object_type, object_id, event_name,
               atlas_api_private.event_time(since), atlas_api_private.event_time(until), before, "pageSize") p;
    IF this.next_before IS NOT NULL THEN
        PERFORM atlas_api_private.set_next_page('search', this.next_before::text, "pageSize", 'q', query,
            'objectType', object_type, 'objectId', object_id, 'name', event_name, 'since', since, 'until', until);
    END IF;
    RETURN this.page;
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT404' OR SQLSTATE 'PT409' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_error(SQLSTATE, raised_message, detail, hint, NULL);
END
$$;

COMMENT ON FUNCTION atlas_api.search(text, text, text, text, text, text, uuid, int) IS
'Search events
The events that match the query q, newest first: words (all of them), "phrases", -not, OR, prefix*, field:value. objectType selects the events whose primary object is of this type, and with objectId those on the timeline of this object; name selects the events of this name, and since and until, times of RFC 3339, those that occurred at since or later and before until. As long as there may be more events, a header Link leads to the next page (rel="next"): a page may have fewer events than pageSize, or none, and still have one. pageSize is from 1 to 1000.';

-- Objects with the same newest event stand on one page, because the next page begins after
-- that event.
CREATE FUNCTION atlas_api_private.objects_page(
    object_type text, query text, event_name text, times int, since timestamptz, until timestamptz,
    before_event uuid, page_size int, OUT page json, OUT next_before uuid, OUT newest_event uuid)
    LANGUAGE sql STABLE BEGIN ATOMIC
    WITH found AS (
        SELECT o.*, row_number() OVER () AS n
          FROM atlas_api_private.find_objects($1, $2, $3, $4, $5, $6, before_event, page_size + 1,
                                              atlas_api_private.max_work()) o),
    last AS (
        SELECT (SELECT "newestEvent" FROM found WHERE n = page_size) AS event_id)
    SELECT coalesce(json_agg((SELECT row_to_json(r)
                                FROM (SELECT f."objectId", f."externalId", f.label, f.events, f."newestEvent", f."newestAt") r)
                             ORDER BY f.n)
                        FILTER (WHERE f."newestEvent" IS NOT NULL AND (f.n <= page_size OR f."newestEvent" = last.event_id)), '[]'),
           CASE WHEN count(f."newestEvent") > page_size THEN last.event_id
                ELSE (array_agg(f.searched_until) FILTER (WHERE f."newestEvent" IS NULL))[1] END,
           (array_agg(f."newestEvent" ORDER BY f.n))[1]
      FROM last LEFT JOIN found f ON true
     GROUP BY last.event_id;
END;

COMMENT ON FUNCTION atlas_api_private.objects_page(text, text, text, int, timestamptz, timestamptz, uuid, int) IS
'A page of atlas_find_objects() as JSON, the id before which the next page begins, and the newest event of the first object
The page is longer than page_size when further objects have the newest event of its last one. next_before is null when there is no next page, and newest_event when the page has no objects.';

CREATE FUNCTION atlas_api_private.time_in_words(value timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN to_char(timezone('UTC', value), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

COMMENT ON FUNCTION atlas_api_private.time_in_words(timestamptz) IS 'A time as RFC 3339 writes it';

CREATE FUNCTION atlas_api_private.default_since() RETURNS text
    LANGUAGE sql STABLE
    RETURN atlas_api_private.time_in_words(now() - '30 days'::interval);

COMMENT ON FUNCTION atlas_api_private.default_since() IS 'The begin of the period in which objects are found when the request has none';

-- The first 48 bits of an event's id are the milliseconds of its time.
CREATE FUNCTION atlas_api_private.end_of_event_time(event_id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN atlas_api_private.time_in_words('1970-01-01T00:00:00Z'::timestamptz + '1 ms'::interval *
        (1 + ('x' || substr(translate(event_id::text, '-', ''), 1, 12))::bit(48)::bigint));

COMMENT ON FUNCTION atlas_api_private.end_of_event_time(uuid) IS 'The end of the millisecond in which an event occurred, as RFC 3339 writes it';

-- The pages have one period, that of the first page. Otherwise an event that comes
-- between two pages would move its object to the front, and out of the pages to come.
CREATE FUNCTION atlas_api.objects(
    "objectType" text DEFAULT NULL, q text DEFAULT NULL, name text DEFAULT NULL, times int DEFAULT 1,
    since text DEFAULT NULL, until text DEFAULT NULL, before uuid DEFAULT NULL, "pageSize" int DEFAULT 50) RETURNS json
    LANGUAGE plpgsql VOLATILE AS
$$
DECLARE
    query text := nullif(q, '');
    event_name text := nullif(name, '');
    first_time text := coalesce(since, atlas_api_private.default_since());
    problems json;
    this record;
    raised_message text;
    detail text;
    hint text;
BEGIN
    SELECT pg_catalog.json_agg(p) INTO problems
      FROM (SELECT '/' || parameter AS field, c.code, c.message
              FROM (VALUES ('objectType', 'required', 'objectType is required', coalesce("objectType", '') = ''),
                           ('times', 'invalid', 'must be at least 1', coalesce(times, 0) < 1))
                   c (parameter, code, message, failed)
             WHERE failed
            UNION ALL
            SELECT w.field, w.code, w.message FROM atlas_api_private.page_problems("pageSize", first_time, until) w) p;
    IF problems IS NOT NULL THEN
        RETURN atlas_api_private.error_response(400, atlas_api_private.problems_in_words(problems), NULL, problems);
    END IF;
    SELECT p.page, p.next_before, p.newest_event INTO this
      FROM atlas_api_private.objects_page("objectType", query, event_name, times,
               atlas_api_private.event_time(first_time), atlas_api_private.event_time(until), before, "pageSize") p;
    IF this.next_before IS NOT NULL THEN
        PERFORM atlas_api_private.set_next_page('objects', this.next_before::text, "pageSize", 'objectType', "objectType",
            'q', query, 'name', event_name, 'times', times::text, 'since', first_time, 'until',
            coalesce(until, atlas_api_private.end_of_event_time(coalesce(this.newest_event, this.next_before))));
    END IF;
    RETURN this.page;
EXCEPTION
    WHEN SQLSTATE 'PT400' OR SQLSTATE 'PT404' OR SQLSTATE 'PT409' THEN
        GET STACKED DIAGNOSTICS raised_message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
            hint = PG_EXCEPTION_HINT;
        RETURN atlas_api_private.answer_error(SQLSTATE, raised_message, detail, hint, NULL);
END
$$;

COMMENT ON FUNCTION atlas_api.objects(text, text, text, int, text, text, uuid, int) IS
'Find the objects that have such events
The objects of the type objectType that have at least so many (times) events which match q and name and occurred in the period, as primary or as related object; the object with the newest such event comes first, and objects with the same one stand on one page. since and until are times of RFC 3339; without since the period begins 30 days ago. As long as there may be more objects, a header Link leads to the next page (rel="next"), which has the period of this one: a page may have fewer objects than pageSize, or none, and still have one. pageSize is from 1 to 1000.';
