-- max_event_size counts the text that the payload becomes when it is read back: jsonb
-- prints 1e131071 with all of its digits.
SELECT test.clean();

CREATE FUNCTION with_payload(payload text) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"objectType":"CONVERSATION","objectId":"1","name":"x","payload":%s}', payload)
$$;
CREATE FUNCTION numbers(number text, times int) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"a":[%s]}', string_agg(number, ',')) FROM generate_series(1, times)
$$;
-- What a statement says: what of it is wrong, or the bytes of the payload as it is read back.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    problem text := (SELECT concat(e.code, ': ', e.detail) FROM test.error_of(statement) e);
BEGIN
    IF problem IS NOT NULL THEN
        RETURN problem;
    END IF;
    EXECUTE statement;
    RETURN (SELECT octet_length(payload::text) FROM atlas_events ORDER BY event_id DESC LIMIT 1);
END
$$;

-- ---------------------------------------------------------------------
-- Text
-- ---------------------------------------------------------------------
-- One large number is fine, three are too many for 256 kB, 2,000 are refused before anything is built.
SELECT number, times, outcome(format('SELECT submit_event(%L)', with_payload(numbers(number, times))))
  FROM (VALUES (1, '1e131071', 1), (2, '1e131071', 2), (3, '1E+131071', 2000), (4, '-1.5e131071', 1),
               (5, '1e-16383', 15), (6, '1e-16383', 17), (7, '0e-16383', 17), (8, '0.00001e131071', 2), (9, '0.00001e131071', 1),
               (10, '1e100', 2000), (11, '1e100', 3000), (12, '0e131071', 2000), (13, '123456e-3', 10)) v (n, number, times)
 ORDER BY n;
-- What jsonb cannot hold is invalid, and not too large, whatever its exponent is.
SELECT number, p.code, p.message
  FROM (VALUES (1, '1e131072'), (2, '1e-131071'), (3, '-1e99999999999999999999'), (4, '0e-16384')) v (n, number), test.problems(with_payload(numbers(number, 2000))) p
 ORDER BY n;
-- What looks like an exponent and is none.
SELECT outcome(format('SELECT submit_event(%L)', with_payload('{"1e131071":"1e131071 1e131071","\"1e131071":[true,false,null,"1e131071"]}')));

-- Blanks that jsonb prints count, those that it does not print do not.
SET atlas_events.max_event_size = '1024B';
SELECT items, length(body) < 1024 AS body_fits, outcome(format('SELECT submit_event(%L)', body))
  FROM (VALUES (300), (330), (350)) v (items), with_payload(format('{"a":[1%s]}', repeat(',1', items))) body;
SELECT outcome(format('SELECT submit_event(%L)', with_payload(format('{ "a" : [ %s ] , "b" : "\u00e9\n\/" }', repeat(' ', 900)))));
RESET atlas_events.max_event_size;

-- ---------------------------------------------------------------------
-- jsonb: composite, named arguments, and the whole event
-- ---------------------------------------------------------------------
SELECT number, times, outcome(format('SELECT submit_event(''CONVERSATION'', ''1'', ''x'', payload => %L)', numbers(number, times))) AS named,
       outcome(format('SELECT submit_event((''CONVERSATION'', ''1'', NULL, ''x'', NULL, NULL, %L, NULL, NULL, NULL)::atlas_event)', numbers(number, times))) AS composite,
       outcome(format('SELECT submit_event(%L::jsonb)', with_payload(numbers(number, times)))) AS jsonb
  FROM (VALUES (1, '1e131071', 1), (2, '1e131071', 2), (3, '-1e131071', 2000), (4, '1e-16383', 15), (5, '0e-16383', 17), (6, '1e100', 3000), (7, '"\u0001"', 20000), (8, '"\u0001"', 40000)) v (n, number, times)
 ORDER BY n;
-- The length that is found is that of the text.
SET atlas_events.max_event_size = '1024B';
SELECT payload, octet_length(with_payload::jsonb::text) AS length, e.detail
  FROM (VALUES (1, '{}'), (2, '{"a":null}'), (3, '[true,false,{},[],{"a":{"b":[{"c":"d"}]}}]'), (4, '{"a":"\u0001\u001f\n\t\b\f\r\"\\\/é😀"}'),
               (5, '[0,-0,1,-1,9999,10000,99999999,100000000,1e4,1e-4,-1.50,0.00001,123.4560,1e20,12345678901234567890.0987654321]'),
               (6, '{"bb":1,"a":2,"":{"":[[]]}}')) v (n, payload),
       LATERAL (SELECT format('{"description":"%s","a":%s}', repeat('x', 1024), payload) AS with_payload) w,
       test.error_of(format('SELECT submit_event(%L::jsonb)', with_payload)) e
 ORDER BY n;
RESET atlas_events.max_event_size;

-- ---------------------------------------------------------------------
-- In a batch such an item is refused alone, with an idempotency key as well
-- ---------------------------------------------------------------------
CREATE TABLE batches (n int, body text);
INSERT INTO batches
SELECT n, format('[%s,%s,%s,"x",%s]', with_payload('{"n":1}'), with_payload(numbers(number, 2000)),
                 replace(with_payload(numbers(number, 2000)), '"name"', '"idempotencyKey":"large","name"'), with_payload('{"n":2}'))
  FROM (VALUES (1, '1e131071'), (2, '1e-16383')) v (n, number);
SELECT test.clean();
SELECT n, r ->> 'status' AS status, r ->> 'details' AS details FROM batches, json_array_elements(submit_events(body) -> 'results') r ORDER BY n, (r ->> 'index')::int;
SELECT n, r ->> 'status' AS status, r ->> 'details' AS details FROM batches, json_array_elements(submit_events(body::jsonb) -> 'results') r ORDER BY n, (r ->> 'index')::int;
SELECT payload, count(*) FROM atlas_events GROUP BY payload ORDER BY payload;
-- Of an array of atlas_event it refuses all, as everything does.
SELECT outcome(format('SELECT submit_events(ARRAY[(''CONVERSATION'', ''1'', NULL, ''x'', NULL, NULL, %L, NULL, NULL, NULL)]::atlas_event[])', numbers('1e131071', 2000)));
-- jsonb that is no array of events.
SELECT body, e.code, e.detail FROM (VALUES ('{}'), ('1'), ('"x"'), ('null')) v (body), test.error_of(format('SELECT submit_events(%L::jsonb)', body)) e;
SELECT submit_events('[]'::jsonb);
SELECT r ->> 'status' AS status, r ->> 'details' AS details FROM json_array_elements(submit_events('[1, "x", null, [], {}, {"name":"\u00e9","objectType":"CONVERSATION","objectId":1}]'::jsonb) -> 'results') r;

-- ---------------------------------------------------------------------
-- A key's fingerprint does not build the text either: all that is accepted can be dumped
-- ---------------------------------------------------------------------
SELECT submit_event(replace(with_payload(numbers('1e131071', 1)), '"name"', '"idempotencyKey":"one","name"')) ->> 'duplicate' AS duplicate;
SELECT submit_event(replace(with_payload(numbers('10e131070', 1)), '"name"', '"idempotencyKey":"one","name"')) ->> 'duplicate' AS duplicate;
SELECT max(octet_length(e::text)) < 300000 AS rows_are_small FROM atlas_events e;

SELECT test.clean();
DROP TABLE batches;
DROP FUNCTION with_payload, numbers, outcome;
