-- Problems are bounded for the call as a whole. What that means for memory is in
-- t/054_memory_of_requests.pl.
SELECT test.clean();

CREATE FUNCTION unknown_fields(fields int, items int) RETURNS text LANGUAGE sql AS $$
    SELECT format('[%s]', string_agg(event, ','))
      FROM (SELECT format('{%s}', string_agg(format('"field %s":1', f), ',')) AS event
              FROM generate_series(1, fields) f) e, generate_series(1, items)
$$;

-- Of one event a hundred are listed, of all of them a thousand, and the first of each.
CREATE TABLE answers (items int, body json);
INSERT INTO answers SELECT items, submit_events(unknown_fields(120, items)) FROM (VALUES (1), (5), (20), (500)) v (items);
SELECT items, body ->> 'rejected' AS rejected, min(json_array_length(r -> 'errors')) AS fewest, max(json_array_length(r -> 'errors')) AS most,
       sum(json_array_length(r -> 'errors')) AS listed,
       count(*) FILTER (WHERE r -> 'errors' -> -1 ->> 'code' = 'too_many') AS say_that_there_are_more
  FROM answers, json_array_elements(body -> 'results') r
 GROUP BY items, body ->> 'rejected' ORDER BY items;
SELECT r -> 'errors' AS errors, r ->> 'details' AS details FROM answers, json_array_elements(body -> 'results') WITH ORDINALITY a (r, n) WHERE items = 500 AND n = 500;
SELECT left(r ->> 'details', 120) AS details, r -> 'hint' AS hint FROM answers, json_array_elements(body -> 'results') r WHERE items = 1;

-- A message is cut, and not within a character.
SELECT octet_length(p.message) BETWEEN 990 AND 1000 AS is_cut, p.message ~ 'é+$' AS ends_with_a_character
  FROM test.problems(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","payload":{"a":%s}}', repeat('é', 5000))) p;

DROP TABLE answers;
DROP FUNCTION unknown_fields;
