-- What "the same event" is to an idempotency key: the values, and not how they are written.
SELECT test.clean();

-- Is the second payload a retry of the first? The key is one of its own.
CREATE FUNCTION retried(first text, second text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    event text := '{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"retried","payload":%s}';
    answer text;
BEGIN
    PERFORM submit_event(format(event, first));
    answer := (SELECT p.code FROM test.problems(format(event, second)) p);
    DELETE FROM atlas_event_keys WHERE idempotency_key = 'retried';
    RETURN answer;
END
$$;

-- jsonb calls both equal, and so does the key.
SELECT n, retried(a, b) AS answer, a::jsonb = b::jsonb AS equal
  FROM (VALUES
    (1, '{"n":50.0}', '{"n":50}'),
    (2, '{"n":1e0}', '{"n":1}'),
    (3, '{"n":100}', '{"n":1E+2}'),
    (4, '{"n":0.0001}', '{"n":1e-4}'),
    (5, '{"n":-0}', '{"n":0.00}'),
    (6, '{"n":10000.0000}', '{"n":1e4}'),
    (7, '{"n":-12345678901234567890.50}', '{"n":-12345678901234567890.5}'),
    (8, '{"n":1e131071}', '{"n":10e131070}'),
    (9, '{"n":1.000000000000000000000000000000000000000001}', '{"n":1000000000000000000000000000000000000000001e-42}'),
    (10, '{"s":"\u00e9\/\u0041\n"}', '{"s":"é/A\u000a"}'),
    (11, '{"a":1,"b":{"c":[1,{"d":null}]}}', '{ "b" : { "c" : [ 1.0 , { "d" : null } ] } , "a" : 1 }'),
    (12, '{"a":1,"a":2}', '{"a":2}'),
    (13, '{"":{"":[]}}', '{"":{"":[ ]}}')) v (n, a, b)
 ORDER BY n;

-- jsonb tells these apart, and so does the key.
SELECT n, retried(a, b) AS answer, a::jsonb = b::jsonb AS equal
  FROM (VALUES
    (1, '{"n":50}', '{"n":50.1}'),
    (2, '{"n":1}', '{"n":-1}'),
    (3, '{"n":1}', '{"n":10000}'),
    (4, '{"n":1}', '{"n":"1"}'),
    (5, '{"n":true}', '{"n":"true"}'),
    (6, '{"n":true}', '{"n":false}'),
    (7, '{"n":null}', '{}'),
    (8, '{"n":null}', '{"n":"null"}'),
    (9, '{"n":[]}', '{"n":{}}'),
    (10, '{"n":[1,2]}', '{"n":[2,1]}'),
    (11, '{"n":[1,[2]]}', '{"n":[[1],2]}'),
    (12, '{"n":[[1,2],[]]}', '{"n":[[1],[2]]}'),
    (13, '{"n":["ab","c"]}', '{"n":["a","bc"]}'),
    (14, '{"ab":"c"}', '{"a":"bc"}'),
    (15, '{"a":1,"b":2}', '{"a":2,"b":1}'),
    (16, '{"n":1e131071}', '{"n":1e131070}'),
    (17, '{"n":0.1}', '{"n":0.10000000000000000000000000000000000000001}'),
    (18, '{"n":"A"}', '{"n":"a"}'),
    (19, '{}', 'null')) v (n, a, b)
 ORDER BY n;

-- Long and deep ones; 512 bytes are hashed at a time.
SELECT length, retried(format('{"a":"%s","n":1.0}', repeat('x', length)), format('{"n":1,"a":"%s"}', repeat('x', length))) AS same,
       retried(format('{"a":"%s"}', repeat('x', length)), format('{"a":"%sy"}', repeat('x', length - 1))) AS other
  FROM (VALUES (490), (500), (511), (512), (513), (2000), (100000)) v (length);
SELECT retried(format('{"a":%s1.0%s}', repeat('[', 3000), repeat(']', 3000)), format('{"a":%s1%s}', repeat('[', 3000), repeat(']', 3000))) AS same,
       retried(format('{"a":%s1%s}', repeat('[', 3000), repeat(']', 3000)), format('{"a":%s1%s}', repeat('[', 2999), repeat(']', 2999))) AS other;

-- Related objects in another order are another event, and so is a time that was not given before.
SELECT submit_event('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"order","relatedObjects":[{"objectType":"USER","objectId":"7"},{"objectType":"CHATBOT","objectId":"3"}]}') ->> 'duplicate' AS duplicate;
SELECT p.code
  FROM (VALUES
    (1, '{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"order","relatedObjects":[{"objectId":7,"objectType":"agent"},{"objectType":"CHATBOT","objectId":"3"}]}'),
    (2, '{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"order","relatedObjects":[{"objectType":"CHATBOT","objectId":"3"},{"objectType":"USER","objectId":"7"}]}'),
    (3, '{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"order","occurredAt":"2025-02-03T04:05:06Z","relatedObjects":[{"objectType":"USER","objectId":"7"},{"objectType":"CHATBOT","objectId":"3"}]}')) v (n, event),
       test.problems(event) p
 ORDER BY n;

DROP FUNCTION retried;

-- ---------------------------------------------------------------------
-- Many events with one key: it is looked up as often as if there were one
-- ---------------------------------------------------------------------
SELECT test.clean();
CREATE FUNCTION key_scans() RETURNS bigint LANGUAGE sql AS $$
    SELECT pg_stat_get_xact_numscans('atlas_event_keys_pkey'::regclass)
$$;
CREATE FUNCTION submit_with_one_key(key text, events int) RETURNS TABLE (accepted text, ids bigint, duplicates bigint) LANGUAGE sql AS $$
    WITH response AS MATERIALIZED (
        SELECT submit_events(format('[%s]', string_agg(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"%s"}', key), ','))) AS body
          FROM generate_series(1, events))
    SELECT body ->> 'accepted', (SELECT count(DISTINCT r ->> 'eventId') FROM json_array_elements(body -> 'results') r),
           (SELECT count(*) FROM json_array_elements(body -> 'results') r WHERE (r ->> 'duplicate')::boolean) FROM response
$$;
BEGIN;
SELECT key_scans() AS before \gset
SELECT * FROM submit_with_one_key('few', 2);
SELECT key_scans() - :before AS few, key_scans() AS before \gset
SELECT * FROM submit_with_one_key('many', 9999);
SELECT key_scans() - :before AS many \gset
COMMIT;
SELECT :many - :few AS more_lookups;
SELECT count(*) FROM atlas_events;

-- ---------------------------------------------------------------------
-- A key that goes between the conflict and the second look
-- ---------------------------------------------------------------------
SELECT test.clean();
CREATE TABLE vanishing (key text);
CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    DELETE FROM atlas_event_keys k USING vanishing v WHERE v.key = k.idempotency_key;
    DELETE FROM vanishing;
    RETURN NULL;
END
$$;
-- The first look finds no key; then it is there when it is to be written, and gone when it is looked up.
CREATE FUNCTION appear() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
BEGIN
    IF NEW.idempotency_key IN (SELECT key FROM vanishing) AND pg_trigger_depth() = 1 THEN
        INSERT INTO atlas_event_keys VALUES (NEW.tenant_id, NEW.idempotency_key, '00000000-0000-7000-8000-000000000000', 'another');
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER appear BEFORE INSERT ON atlas_event_keys FOR EACH ROW EXECUTE FUNCTION appear();
CREATE TRIGGER vanish AFTER INSERT ON atlas_event_keys FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION vanish();
INSERT INTO vanishing VALUES ('b');
SELECT r ->> 'status' AS status, r ->> 'duplicate' AS duplicate
  FROM json_array_elements(submit_events('[
    {"objectType":"CONVERSATION","objectId":"1","name":"a","idempotencyKey":"a"},
    {"objectType":"CONVERSATION","objectId":"1","name":"b","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"1","name":"b","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"1","name":"c","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"1","name":"d","idempotencyKey":"d"}]') -> 'results') r;
SELECT count(*) AS vanishing FROM vanishing;
-- Each event that was stored has its key, and each key its event.
SELECT name, idempotency_key FROM atlas_events FULL JOIN atlas_event_keys USING (event_id) ORDER BY name, idempotency_key;
DROP TRIGGER appear ON atlas_event_keys;
DROP TRIGGER vanish ON atlas_event_keys;
DROP TABLE vanishing;
DROP FUNCTION vanish, appear, key_scans, submit_with_one_key;
SELECT test.clean();
