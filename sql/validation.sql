-- What an event must look like: each problem has a JSON pointer, a code for
-- programs and a message for people, and all are reported at once.
-- test.problems() submits an event and shows what is wrong with it.

-- An event with some more fields.
CREATE FUNCTION with_fields(fields text) RETURNS text LANGUAGE sql AS $$
    SELECT '{"objectType":"CUSTOMER","externalId":"195959","name":"Visited"'
           || CASE WHEN fields = '' THEN '' ELSE ',' || fields END || '}'
$$;

-- ---------------------------------------------------------------------
-- Required fields
-- ---------------------------------------------------------------------
SELECT * FROM test.problems('{}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER","name":"Visited"}');
SELECT * FROM test.problems('{"externalId":"195959","name":"Visited"}');
SELECT * FROM test.problems('{"objectType":"CUSTOMER","externalId":"195959"}');
-- Blank is not given.
SELECT * FROM test.problems('{"objectType":"","objectId":"","externalId":" ","name":" \t\n"}');
SELECT * FROM test.problems(with_fields('"idempotencyKey":""'));

-- ---------------------------------------------------------------------
-- Types of the fields
-- ---------------------------------------------------------------------
SELECT * FROM test.problems('{"objectType":1,"objectId":2.5,"externalId":[],"name":{},"description":true,"icon":4,
  "payload":"text","relatedObjects":{},"occurredAt":20260203,"idempotencyKey":1.5}');
-- A related object must be an object; whatever else is wrong with it is its outcome (related.sql).
SELECT * FROM test.problems(with_fields('"relatedObjects":["ACCOUNT", null, -0, 7, [], {"objectType":7}]'));
SELECT p.* FROM (VALUES ('[]'), ('"text"'), ('1'), ('true')) v (payload),
                test.problems(with_fields('"payload":' || payload)) p;
SELECT body, p.code, p.message FROM (VALUES ('[]'), ('"text"'), ('1'), ('null')) v (body), test.problems(body) p;

-- ---------------------------------------------------------------------
-- Unknown fields and types
-- ---------------------------------------------------------------------
SELECT * FROM test.problems(with_fields('"object_id":"1","Name":"x"'));
SELECT * FROM test.problems('{"objectType":"STARSHIP","objectId":"1","name":"Visited"}');
-- A JSON pointer writes / as ~1 and ~ as ~0; a long name is cut.
SELECT * FROM test.problems(with_fields('"a/b~c":1'));
SELECT p.code, length(p.field) < 80 AS is_cut FROM test.problems(with_fields(format('"%s":1', repeat('x', 500)))) p;

-- ---------------------------------------------------------------------
-- All at once
-- ---------------------------------------------------------------------
SELECT field, code FROM test.problems(format('{"objectType":"STARSHIP","name":"%s","icon":"ab","payload":[],"color":"red",
  "occurredAt":"yesterday","idempotencyKey":"%s","relatedObjects":[{"objectId":""}]}', repeat('n', 256), repeat('k', 256)));

-- ---------------------------------------------------------------------
-- Lengths, in characters
-- ---------------------------------------------------------------------
CREATE FUNCTION named(name text) RETURNS text LANGUAGE sql AS $$
    SELECT format('{"objectType":"CUSTOMER","externalId":"195959","name":"%s"}', name)
$$;
SELECT length, unit, p.*
  FROM (VALUES (255, 'n'), (255, 'é'), (255, '📖'), (256, 'n'), (256, '📖')) v (length, unit),
       test.problems(named(repeat(unit, length))) p;
SELECT length, p.* FROM (VALUES (255), (256)) v (length),
       test.problems(with_fields(format('"idempotencyKey":"%s"', repeat('ø', length)))) p;
-- An id of 255 characters is looked up; a longer one is not.
SELECT length, p.* FROM (VALUES (255), (256)) v (length),
       test.problems(format('{"objectType":"COMPANY","objectId":"%s","name":"Visited"}', repeat('ø', length))) p;
SELECT length, p.* FROM (VALUES (255), (256)) v (length),
       test.problems(format('{"objectType":"CUSTOMER","externalId":"%s","name":"Visited"}', repeat('1', length))) p;

-- ---------------------------------------------------------------------
-- Icons: a URL or one grapheme cluster
-- ---------------------------------------------------------------------
SELECT what, p.code, p.field, p.message
  FROM (VALUES
    (1, 'a letter', 'a'),
    (2, 'an emoji', '📖'),
    (3, 'a skin tone', '👍🏽'),
    (4, 'a family joined by ZWJ', U&'\+01F468\200D\+01F469\200D\+01F467'),
    (5, 'a flag', '🇩🇪'),
    (6, 'a keycap', U&'1\FE0F\20E3'),
    (7, 'a combining sequence', U&'e\0301\0323'),
    (8, 'an http URL', 'http://cdn.example/a.png'),
    (9, 'an https URL', 'HTTPS://cdn.example/a.png?x=1#y'),
    (10, 'two letters', 'ab'),
    (11, 'two emoji', '📖📖'),
    (12, 'two flags', '🇩🇪🇫🇷'),
    (13, 'nothing', ''),
    (14, 'a blank', ' '),
    (15, 'a line break', '\n'),
    (16, 'a joiner alone', U&'\200D'),
    (17, 'an emoji and a blank', '📖 '),
    (18, 'ftp', 'ftp://cdn.example/a.png'),
    (19, 'a script', 'javascript:alert(1)'),
    (20, 'data', 'data:image/png;base64,AAAA'),
    (21, 'no scheme', '//cdn.example/a.png'),
    (22, 'no host', 'http://'),
    (23, 'no host but a path', 'https:///a.png'),
    (24, 'a URL with a blank', 'http://cdn.example/a b.png'),
    (25, 'a URL with a line break', 'http://cdn.example/a\nb.png'),
    (26, 'a word', 'credit-card')) v (n, what, icon),
    test.problems(with_fields(format('"icon":"%s"', icon))) p
 ORDER BY n;

-- ---------------------------------------------------------------------
-- occurredAt: RFC 3339
-- ---------------------------------------------------------------------
SELECT at, p.code, p.message
  FROM (VALUES
    (1, '2025-02-03T04:05:06Z'), (2, '2025-02-03t04:05:06z'), (3, '2025-02-03T04:05:06.7+05:30'),
    (4, '2025-02-03T04:05:06.123456789-12:00'), (5, '2024-12-31T23:59:60Z'), (6, '2024-02-29T00:00:00Z'),
    (7, '2025-02-03T04:05:06'), (8, '2025-02-03 04:05:06Z'), (9, '2025-02-03'), (10, '2025-02-30T00:00:00Z'),
    (11, '2025-02-29T00:00:00Z'), (12, '2025-13-01T00:00:00Z'), (13, '2025-00-01T00:00:00Z'),
    (14, '2025-02-03T24:00:00Z'), (15, '2025-02-03T04:60:00Z'), (16, '2025-02-03T04:05:61Z'),
    (17, '2025-02-03T04:05Z'), (18, '2025-02-03T04:05:06.Z'), (19, '2025-02-03T04:05:06+0100'),
    (20, '2025-02-03T04:05:06+24:00'), (21, '2025-2-3T4:5:6Z'), (22, '2025-02-03T04:05:06Z '),
    (23, 'now'), (24, 'infinity'), (25, ''), (26, '1738555506')) v (n, at),
    test.problems(with_fields(format('"occurredAt":"%s"', at))) p
 ORDER BY n;

-- Stored is the moment, to the microsecond.
SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"moment 1","occurredAt":"2025-02-03T04:05:06.1234567+05:30"}') IS NOT NULL;
SELECT submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"moment 2","occurredAt":"2025-06-30T23:59:60Z"}') IS NOT NULL;
SELECT name, occurred_at AT TIME ZONE 'UTC' AS utc FROM atlas_events WHERE name LIKE 'moment _' ORDER BY name;

-- ---------------------------------------------------------------------
-- occurredAt: not too far ahead, nor too long ago
-- ---------------------------------------------------------------------
CREATE FUNCTION since_now(distance interval) RETURNS text LANGUAGE sql AS $$
    SELECT with_fields(format('"occurredAt":"%s"',
        to_char((clock_timestamp() + distance) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
$$;
SELECT distance, p.code, p.message FROM (VALUES ('4 minutes'), ('6 minutes'), ('-9 years'), ('-11 years'), ('-60 years')) v (distance),
       test.problems(since_now(distance::interval)) p;
SET atlas_events.max_clock_skew = '1 h';
SELECT distance, p.code FROM (VALUES ('59 minutes'), ('61 minutes')) v (distance), test.problems(since_now(distance::interval)) p;
SET atlas_events.max_clock_skew = 0;
SELECT distance, p.code FROM (VALUES ('1 minute'), ('-1 second')) v (distance), test.problems(since_now(distance::interval)) p;
RESET atlas_events.max_clock_skew;
SET atlas_events.oldest_event = '1 h';
SELECT distance, p.code, p.message FROM (VALUES ('-59 minutes'), ('-61 minutes')) v (distance), test.problems(since_now(distance::interval)) p;
SET atlas_events.oldest_event = 0;
SELECT distance, p.code, p.message FROM (VALUES ('4 minutes'), ('-1 second')) v (distance), test.problems(since_now(distance::interval)) p;
-- Before 1970 there are no event ids, whatever the setting.
SET atlas_events.oldest_event = '24000 d';
SELECT at, p.code FROM (VALUES ('1970-01-01T00:00:00Z'), ('1969-12-31T23:59:59Z')) v (at),
       test.problems(with_fields(format('"occurredAt":"%s"', at))) p;
RESET atlas_events.oldest_event;
-- The composite form knows infinities.
SELECT code, message, detail FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', occurred_at => 'infinity')$$);
SELECT code, message, detail FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', occurred_at => '-infinity')$$);

-- ---------------------------------------------------------------------
-- The composite form has the same rules
-- ---------------------------------------------------------------------
SELECT p ->> 'field' AS field, p ->> 'code' AS code, p ->> 'message' AS message
  FROM test.error_of($$
    SELECT submit_event('STARSHIP', ' ', '', icon => 'ab', payload => '[1]', idempotency_key => ' ',
                        related_objects => ARRAY[NULL, ('PLANET', NULL, NULL)]::atlas_object[])$$),
       json_array_elements(detail::json) p;

DROP FUNCTION with_fields, named, since_now;

-- Of very many problems the first hundred are listed, and that there are more.
SELECT count(*), count(DISTINCT p.field) AS fields, count(*) FILTER (WHERE p.code = 'too_many') AS too_many
  FROM test.problems((SELECT json_object_agg('field ' || i, i)::text FROM generate_series(1, 30000 / 3) i)) p;
