-- JSON as text: what is malformed, and where; and the payload, which is kept
-- exactly. test.problems() submits an event and shows what is wrong with it.

-- ---------------------------------------------------------------------
-- Malformed JSON: line and column
-- ---------------------------------------------------------------------
SELECT p.* FROM (VALUES
    (1, ''), (2, ' '), (3, 'x'), (4, '{'), (5, '{"name"}'), (6, '{"name":"x",}'), (7, '{"name":"x"} {}'),
    (8, '{"name":''x''}'), (9, '{"name":"x'), (10, '{name:"x"}'), (11, '{"name":"\q"}'), (12, '{"name":tru}'),
    (13, '{"payload":}'), (14, '{"payload"'), (15, '{"name":"a' || chr(10) || 'b"}')) v (n, body),
    test.problems(body) p
 ORDER BY n;

-- Counted from the start of the body, in characters, behind a payload of
-- several lines as well.
SELECT * FROM test.problems('{
  "name": "öäü📖" x
}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER",
  "payload": {
     "text": "ö } \" {",
     "list": [1, {"a": []}]
  }, "name": oops}');

-- Within the payload it is jsonb that decides; the place is given all the same.
SELECT payload, p.field, p.code, substring(p.message FROM '^line \d+, column \d+') AS place
  FROM (VALUES ('{"a":1,}'), ('{a:1}'), ('{"a":"\q"}'), (E'{"ö":\n  oops}'), ('{"a":"\u0000"}'), ('{"a":"\ud800"}'), ('{"a":1e999999}')) v (payload),
       test.problems(format(E'{"objectType":"CUSTOMER","externalId":"195959",\n "name":"ö","payload": %s}', payload)) p;
-- Brackets that do not match: it cannot be said where the payload ends.
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x","payload":{"a":[1,2}}');

-- What follows a payload does not become a part of it.
SELECT body, p.* FROM (VALUES
    ('"payload":{"a":1}.5'), ('"payload":{"a":1}e+7,"icon":"x"'), ('"payload":[1]E5'), ('"payload":{}0'), ('"payload":"x".5'), ('"payload":1 .5'),
    ('"payload":{"a":1}{}')) v (body),
    test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x",' || body || '}') p;

-- Outside of it a character 0 is refused, and half a surrogate pair is malformed.
SELECT code, message FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"a\u0000b"}');
SELECT code, message FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"\ud83d"}');
SELECT code FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"\ud83d\udcd6"}');

-- A key twice is no event: which of the two is meant?
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x","name":"y"}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x","payload":{},"payload":{"a":1}}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x","payload":{},"p\u0061yload":{"a":1}}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x",
  "relatedObjects":[{"objectType":"ACCOUNT","objectId":"1","objectId":"2"}]}');

-- Too deep for anybody.
SELECT code FROM test.problems(repeat('[', 100000));
SELECT code FROM test.problems('{"name":' || repeat('[', 5000) || repeat(']', 5000) || '}');

-- ---------------------------------------------------------------------
-- The payload is kept exactly
-- ---------------------------------------------------------------------
CREATE FUNCTION stored_payload(payload text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    receipt json := submit_event(format('{"objectType":"CUSTOMER","payload":%s,"externalId":"195959","name":"x"}', payload));
BEGIN
    RETURN (SELECT e.payload FROM atlas_events e WHERE event_id = (receipt ->> 'eventId')::uuid);
END
$$;
SELECT stored_payload('{"integer":12345678901234567890,"decimal":0.1234567890123456789012345678901,"zero":1.10}');
SELECT stored_payload('{"huge":1e400}') = '{"huge":1e400}'::jsonb AS huge_is_kept;
SELECT stored_payload('{"text":"\"}{][,:\\","unicode":"\u00e9\ud83d\udcd6 é","":{"payload":null},"list":[[],{},""]}');
SELECT stored_payload('{ "a" : 1 , "b" : 2 , "a" : 3 }') AS last_of_equal_keys_wins;
SELECT stored_payload('{}'), stored_payload('null') IS NULL AS null_is_none;
SELECT stored_payload(format('{"deep":%s%s}', repeat('[', 4000), repeat(']', 4000)))
       = format('{"deep":%s%s}', repeat('[', 4000), repeat(']', 4000))::jsonb AS depth_is_kept;

-- A key named payload elsewhere is another one; an escaped key is the same.
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"x","relatedObjects":[{"payload":{"a":1}}]}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959","name":"payload","description":"\"payload\":"}');
SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"escaped","\u0070ayload":{"n":12345678901234567890}}') IS NOT NULL;
SELECT payload FROM atlas_events WHERE name = 'escaped';

-- The three JSON forms agree; jsonb has lost its duplicate keys before.
SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"dup","name":"last","payload":{"n":1.50}}'::jsonb) IS NOT NULL;
SELECT name, payload FROM atlas_events WHERE name IN ('dup', 'last');
SELECT code, message, detail FROM test.error_of(
    $$SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"dup","name":"last"}'::json)$$);

-- White space, and a byte order mark, which is skipped at the beginning and nowhere else.
SELECT * FROM test.problems(E' \t\r\n{ "objectType" : "CUSTOMER" ,\r\n "externalId" : "195959" , "name" : "x" , "payload" : { } } \n');
SELECT code FROM test.problems(U&'\FEFF{"objectType":"CUSTOMER","externalId":"195959","name":"x"}');
SELECT code, message FROM test.problems(U&'\FEFF{"objectType":"CUSTOMER",\000A"externalId":"195959","name":x}');
SELECT code FROM test.problems(U&'\FEFF\FEFF{"objectType":"CUSTOMER","externalId":"195959","name":"x"}');
SELECT code FROM test.problems(U&' \FEFF{"objectType":"CUSTOMER","externalId":"195959","name":"x"}');
SELECT code FROM test.problems(U&'\FEFF');
SELECT r ->> 'status' AS status, r ->> 'details' AS details
  FROM json_array_elements(submit_events(U&'\FEFF[{"objectType":"CUSTOMER","externalId":"195959","name":"x"},\000A{"name":x}]') -> 'results') r;

DROP FUNCTION stored_payload;
