-- submit_events(): an SQL array is stored all or nothing; in a JSON array each
-- event stands for itself and has its own result.
SELECT test.clean();

-- ---------------------------------------------------------------------
-- An array of atlas_event: all or nothing
-- ---------------------------------------------------------------------
SELECT submit_events('{}'::atlas_event[]);

SELECT submit_events(ARRAY[('CONVERSATION', '1', NULL, 'one', NULL, NULL, NULL, NULL, NULL, NULL),
                           ('USER', '7', NULL, 'two', NULL, NULL, '{"n":1}', ARRAY[('CUSTOMER', NULL, '195959')]::atlas_object[], NULL, NULL),
                           ('CUSTOMER', NULL, '195959', 'three', 'd', '📖', NULL, NULL, '2025-02-03 04:05:06+00', NULL)]::atlas_event[]) AS ids \gset
-- The ids come in the order of the array, and that is the order of the log
-- for events without a time of their own.
SELECT name, object_type, object_id, external_id, description, icon, payload, related_objects
  FROM unnest(:'ids'::uuid[]) WITH ORDINALITY i (event_id, n) JOIN atlas_events USING (event_id) ORDER BY n;
SELECT count(*) FROM atlas_event_queue;
SELECT array_agg(name ORDER BY event_id) FROM atlas_events;

-- The first event that is refused names itself, and nothing is stored.
SELECT submit_events(ARRAY[('CONVERSATION', '1', NULL, 'ok', NULL, NULL, NULL, NULL, NULL, NULL),
                           ('CONVERSATION', '404', NULL, 'not found', NULL, NULL, NULL, NULL, NULL, NULL),
                           ('CONVERSATION', '1', '9002', 'conflict', NULL, NULL, NULL, NULL, NULL, NULL)]::atlas_event[]);
SELECT submit_events(ARRAY[('CONVERSATION', '1', NULL, 'ok', NULL, NULL, NULL, NULL, NULL, NULL),
                           ('CONVERSATION', '1', '9002', 'conflict', NULL, NULL, NULL, NULL, NULL, NULL)]::atlas_event[]);
SELECT submit_events(ARRAY[('CONVERSATION', '1', NULL, 'ok', NULL, NULL, NULL, NULL, NULL, NULL), NULL,
                           ('STARSHIP', '1', NULL, NULL, NULL, 'ab', '[]', ARRAY[('PLANET', NULL, NULL)]::atlas_object[], NULL, NULL)]::atlas_event[]);
SELECT submit_events(ARRAY[('CONVERSATION', '1', NULL, 'ok', NULL, NULL, NULL, NULL, NULL, NULL),
                           ('CONVERSATION', '1', NULL, 'large', repeat('x', 300000), NULL, NULL, NULL, NULL, NULL)]::atlas_event[]);
SELECT count(*) FROM atlas_events;

-- ---------------------------------------------------------------------
-- A JSON array: each for itself
-- ---------------------------------------------------------------------
SELECT submit_events('[]');
SELECT submit_events('[]'::json), submit_events('[]'::jsonb);

CREATE TABLE response (id serial, body json);
INSERT INTO response (body) SELECT submit_events('[
  {"objectType":"CONVERSATION","objectId":"1","name":"first"},
  {"objectType":"CONVERSATION","objectId":"404","name":"not found"},
  {"objectType":"STARSHIP","objectId":"1","payload":[],"relatedObjects":[{}]},
  {"objectType":"CONVERSATION","objectId":"1","externalId":"9002","name":"conflict"},
  {"objectType":"CONVERSATION","objectId":"1","externalId":"9001","name":"second","relatedObjects":[{"objectType":"USER","objectId":"7"}]},
  [], null, 42, "text", {},
  {"objectType":"CUSTOMER","externalId":"195959","name":"payload","payload":{"a":"\u0000"}},
  {"objectType":"CUSTOMER","externalId":"195959","name":"third","payload":{"text":"],[{\"","list":[[1],[2]],"n":12345678901234567890}}
]');
SELECT body ->> 'accepted' AS accepted, body ->> 'rejected' AS rejected, json_array_length(body -> 'results') AS results FROM response;
SELECT r ->> 'index' AS index, r ->> 'status' AS status, r ->> 'code' AS code, r ->> 'message' AS message,
       r ->> 'processingStatus' AS processing_status, name AS stored
  FROM response, json_array_elements(body -> 'results') r
  LEFT JOIN atlas_events e ON event_id = (r ->> 'eventId')::uuid
 ORDER BY (r ->> 'index')::int;
-- The details are those of a single event.
SELECT r ->> 'index' AS index, d ->> 'field' AS field, d ->> 'code' AS code
  FROM response, json_array_elements(body -> 'results') r, json_array_elements(r -> 'errors') d
 WHERE r ->> 'code' = 'PT400';
-- The same in words, as an answer over HTTP has it.
SELECT r ->> 'index' AS index, r ->> 'details' AS details, r ->> 'hint' AS hint, json_typeof(r -> 'errors') AS errors
  FROM response, json_array_elements(body -> 'results') r
 WHERE r ->> 'code' IS NOT NULL;
-- What is stored is in order, and each event has its own payload.
SELECT name, payload FROM atlas_events WHERE name IN ('first', 'second', 'third') ORDER BY event_id;

-- Nor does an event that is no JSON keep the others out. Its place is counted
-- from the start of the whole.
SELECT r ->> 'index' AS index, r ->> 'status' AS status, d ->> 'field' AS field, d ->> 'code' AS code,
       substring(d ->> 'message' FROM '^line \d+, column \d+') AS place
  FROM json_array_elements(submit_events('[{"objectType":"CONVERSATION","objectId":"1","name":"first"},
 {"payload":{"a":[{}]},"name":x},
 {"name":"x","name":"y"}, oops,
 {"objectType":"CONVERSATION","objectId":"1","name":"x","payload":{"a":tru}},
 {"objectType":"CONVERSATION","objectId":"1","name":"\u0000"}, {"name" "x"},
 {"objectType":"CONVERSATION","objectId":"1","name":"last"}]') -> 'results') r
  LEFT JOIN LATERAL json_array_elements(r -> 'errors') d ON true;

-- One event that is too large does not keep the others out.
SELECT r ->> 'index' AS index, r ->> 'status' AS status, r ->> 'code' AS code, r ->> 'message' AS message, r ->> 'hint' AS hint
  FROM json_array_elements(submit_events(format('[
  {"objectType":"CONVERSATION","objectId":"1","name":"small"},
  {"objectType":"CONVERSATION","objectId":"1","name":"large","description":"%1$s"},
  {"objectType":"CONVERSATION","objectId":"1","name":"large payload","payload":{"text":"%1$s"}},
  {"objectType":"CONVERSATION","objectId":"1","name":"many","relatedObjects":[%2$s]}]',
    repeat('x', 300000), rtrim(repeat('{"objectType":"USER","objectId":"7"},', 101), ','))) -> 'results') r;

-- All refused, and the three forms alike.
SELECT submit_events('[{"objectType":"CONVERSATION","objectId":"404","name":"x"}]');
SELECT submit_events('[{"objectType":"CONVERSATION","objectId":"404","name":"x"}]'::json)::text
     = submit_events('[{"objectType":"CONVERSATION","objectId":"404","name":"x"}]'::jsonb)::text AS same;

-- ---------------------------------------------------------------------
-- What is no array of events
-- ---------------------------------------------------------------------
SELECT submit_events('{"objectType":"CONVERSATION","objectId":"1","name":"x"}');
SELECT submit_events('[{"objectType":"CONVERSATION"},');
SELECT submit_events('[{"objectType":"CONVERSATION"},,{}]');
SELECT submit_events('[{"objectType":"CONVERSATION"}] {}');
-- What follows an event is not a part of it, and nothing is stored.
SELECT follows, code, message, detail
  FROM (VALUES ('.5'), ('e5'), ('E+7'), ('0'), ('{}'), (' .5')) v (follows),
       test.error_of(format('SELECT submit_events(%L)',
           format('[{"objectType":"CONVERSATION","objectId":"1","name":"before"}%s,{"objectType":"CONVERSATION","objectId":"1","name":"after"}]', follows)));
SELECT code FROM test.error_of($$SELECT submit_events('')$$);

-- A single event is no array, and an array no single event.
SELECT code, detail FROM test.error_of($$SELECT submit_event('[{"objectType":"CONVERSATION","objectId":"1","name":"x"}]')$$);

-- ---------------------------------------------------------------------
-- A thousand events, of several types and months
-- ---------------------------------------------------------------------
SELECT test.clean();
INSERT INTO response (body)
SELECT submit_events(json_agg(json_build_object(
           'objectType', (ARRAY['CONVERSATION', 'USER', 'CUSTOMER'])[n % 3 + 1],
           'objectId', (ARRAY['1', '7', 'c2222222-0000-4000-8000-000000000002'])[n % 3 + 1],
           'name', 'event ' || n,
           'occurredAt', to_char(timestamp '2025-01-01' + n * interval '2 hours', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
           'payload', json_build_object('n', n),
           'relatedObjects', CASE WHEN n % 2 = 0 THEN json_build_array(json_build_object('objectType', 'COMPANY', 'objectId', 'acme')) END)
       ORDER BY n)::text)
  FROM generate_series(0, 999) n;
SELECT body ->> 'accepted' AS accepted, body ->> 'rejected' AS rejected FROM response ORDER BY id DESC LIMIT 1;
SELECT count(*), count(*) FILTER (WHERE name = 'event ' || n AND payload = jsonb_build_object('n', n)) AS matching,
       count(*) FILTER (WHERE occurred_at AT TIME ZONE 'UTC' = timestamp '2025-01-01' + n * interval '2 hours') AS at_their_time
  FROM (SELECT (r ->> 'index')::int AS n, (r ->> 'eventId')::uuid AS event_id
          FROM (SELECT body FROM response ORDER BY id DESC LIMIT 1) s, json_array_elements(body -> 'results') r) i
  JOIN atlas_events USING (event_id);
SELECT object_type, object_id, count(*) FROM atlas_events GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM atlas_event_queue;
SELECT atlas_link_events();
SELECT object_type, object_id, count(*) FROM atlas_event_links GROUP BY 1, 2;

-- ---------------------------------------------------------------------
-- Events of the same moment keep the order of the call, whatever their types are
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT submit_events(json_agg(json_build_object(
           'objectType', (ARRAY['USER', 'CUSTOMER', 'CONVERSATION'])[n % 3 + 1],
           'objectId', (ARRAY['7', 'c2222222-0000-4000-8000-000000000002', '1'])[n % 3 + 1],
           'name', 'event ' || n, 'payload', json_build_object('n', n),
           'occurredAt', '2025-01-01T00:00:00Z') ORDER BY n)::text) ->> 'accepted' AS accepted
  FROM generate_series(1, 30) n;
SELECT array_agg(payload -> 'n' ORDER BY event_id) FROM atlas_events;

DROP TABLE response;
