-- Whatever is wrong with a related object is its outcome, and never refuses the event.
SELECT test.clean();

CREATE FUNCTION submit_related(name text, related text) RETURNS text LANGUAGE sql AS $$
    SELECT submit_event(format('{"objectType":"CONVERSATION","objectId":"1","name":"%s","relatedObjects":%s}', name, related)) ->> 'processingStatus'
$$;
CREATE VIEW outcomes AS
    SELECT name, ordinality AS n, r ->> 'outcome' AS outcome, r ->> 'objectType' AS object_type,
           left(r ->> 'objectId', 20) AS object_id, left(r ->> 'externalId', 20) AS external_id, r ->> 'reason' AS reason
      FROM atlas_event_logs, jsonb_array_elements(related_objects) WITH ORDINALITY a (r, ordinality)
     ORDER BY event_id, ordinality;

-- ---------------------------------------------------------------------
-- Unknown types and odd ids
-- ---------------------------------------------------------------------
SELECT submit_related('odd', '[
    {"objectType":"PLANET","objectId":"1"}, {"objectType":"the planet","externalId":"9"}, {"objectType":"USER","objectId":"7"},
    {"objectType":"USER","objectId":"seven"}, {"objectType":"CUSTOMER","objectId":"no uuid"}, {"objectType":"agent","externalId":"7"},
    {"objectType":"CHATBOT","objectId":"99999999999999999999"}, {"objectType":"CONVERSATION","objectId":"2"}]');
SELECT * FROM outcomes;
SELECT atlas_link_events();
SELECT * FROM outcomes;
SELECT object_type, object_id FROM atlas_event_links ORDER BY 1, 2;
-- They are looked up again like others.
SELECT position, object_type, object_id, external_id, outcome, next_attempt_at IS NOT NULL AS again FROM atlas_event_unresolved ORDER BY position;

-- A type that is registered later links late, under its canonical name, by an alias as well.
CREATE TABLE crm.planets (id int PRIMARY KEY, external_id text UNIQUE);
INSERT INTO crm.planets VALUES (1, '8'), (2, '9');
SELECT atlas_register_object_type('PLANET', 'crm.planets', external_id_column => 'external_id', aliases => ARRAY['The planet']);
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
SELECT object_type, object_id FROM atlas_event_links ORDER BY 1, 2;
SELECT * FROM outcomes;
SELECT name, role FROM atlas_timeline('PLANET', '2');

-- An event that was submitted before and is linked after has no failure at all.
SELECT atlas_unregister_object_type('PLANET');
SELECT submit_related('pending', '[{"objectType":"the-planet","objectId":"1"},{"objectType":"PLANET","objectId":"1"}]');
SELECT atlas_register_object_type('PLANET', 'crm.planets', aliases => ARRAY['The planet']);
SELECT atlas_link_events();
SELECT * FROM outcomes WHERE name = 'pending';
SELECT count(*) FROM atlas_event_links l JOIN atlas_events e USING (event_id) WHERE name = 'pending';

-- ---------------------------------------------------------------------
-- Fields that are missing, wrong or too long
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT submit_related('wrong', format('[
    {}, {"objectType":"USER"}, {"objectId":"7"}, {"objectType":null,"objectId":null,"externalId":null}, {"objectType":"","objectId":"7"},
    {"objectType":7,"objectId":"7"}, {"objectType":"USER","objectId":true}, {"objectType":"USER","objectId":7.0}, {"objectType":"USER","objectId":1e400},
    {"objectType":"USER","objectId":"7","externalId":["7"]}, {"objectType":"USER","objectId":" "}, {"objectType":"USER","objectId":"7\u0000"},
    {"objectType":"USER","objectId":"7","id":7}, {"objectType":"USER","objectId":"%1$s"}, {"objectType":"USER","objectId":"7","externalId":%1$s},
    {"objectType":"%2$s","objectId":"7"}, {"objectType":"USER","objectId":"7"}]', repeat('7', 256), repeat('é', 300)));
SELECT n, outcome, left(object_type, 12) AS object_type, object_id, external_id, reason FROM outcomes;
SELECT atlas_link_events();
SELECT n, outcome, left(object_type, 12) AS object_type, object_id, external_id, reason FROM outcomes;
-- Stored are at most 255 characters, in the log and where the outcome is.
SELECT n, length(r ->> 'objectType') AS object_type, length(r ->> 'objectId') AS object_id, length(r ->> 'externalId') AS external_id
  FROM atlas_events, jsonb_array_elements(related_objects) WITH ORDINALITY a (r, n) WHERE length(r::text) > 200 ORDER BY n;
SELECT position, length(object_type) AS object_type, length(object_id) AS object_id, length(external_id) AS external_id
  FROM atlas_event_unresolved WHERE length(concat(object_type, object_id, external_id)) > 200 ORDER BY position;
-- What can never be looked up is not looked up again, and the first 255 characters of an id are not the id.
SELECT array_agg(position ORDER BY position) FROM atlas_event_unresolved WHERE next_attempt_at IS NOT NULL;
INSERT INTO crm.companies VALUES (repeat('c', 255), 'Cut');
SELECT submit_related('cut', format('[{"objectType":"COMPANY","objectId":"%s"}]', repeat('c', 256)));
SELECT atlas_link_events();
SELECT outcome, reason FROM outcomes WHERE name = 'cut';
DELETE FROM crm.companies WHERE name = 'Cut';

-- ---------------------------------------------------------------------
-- Only the shape refuses the event: an array of objects, not too many
-- ---------------------------------------------------------------------
SELECT related, p.field, p.code, p.message
  FROM (VALUES (1, '{}'), (2, '[7]'), (3, '[{}, "USER", null]'), (4, '[{"objectType":"USER","objectType":"USER"}]')) v (n, related),
       test.problems(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","relatedObjects":%s}', related)) p
 ORDER BY n;
SELECT p.code FROM test.problems(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","relatedObjects":[{}%s]}', repeat(',{}', 100))) p;
SELECT submit_related('empty', '[]'), submit_related('null', 'null');

-- ---------------------------------------------------------------------
-- The other forms
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT submit_event('CONVERSATION', '1', 'composite', related_objects => ARRAY[
    ('PLANET', 'one', NULL), (NULL, NULL, NULL), ('USER', NULL, NULL), (NULL, '7', NULL), ('USER', repeat('7', 256), ''), ('USER', '7', NULL)]::atlas_object[]) IS NOT NULL;
SELECT submit_event('{"objectType":"CONVERSATION","objectId":"1","name":"jsonb","relatedObjects":[{"objectType":"STAR","objectId":1},{"objectId":{}}]}'::jsonb) ->> 'processingStatus';
SELECT r ->> 'status' AS status FROM json_array_elements(submit_events('[{"objectType":"CONVERSATION","objectId":"1","name":"batch","relatedObjects":[{"objectType":"STAR"},{}]},
  {"objectType":"CONVERSATION","objectId":"1","name":"no batch","relatedObjects":[1]}]') -> 'results') r;
SELECT atlas_link_events();
SELECT * FROM outcomes;
SELECT code, detail FROM test.error_of($$SELECT submit_event('CONVERSATION', '1', 'x', related_objects => ARRAY[NULL, ('USER', '7', NULL)]::atlas_object[])$$);

-- ---------------------------------------------------------------------
-- To an idempotency key it is what was submitted that counts
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT n, (SELECT string_agg(p.code, ' ') FROM test.problems(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"%s","relatedObjects":%s}', key, related)) p) AS answer,
       submit_event(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"%s","relatedObjects":%s}', key, related)) ->> 'duplicate' AS duplicate
  FROM (VALUES (1, 'long', format('[{"objectType":"USER","objectId":"%s1"}]', repeat('7', 255))),
               (2, 'long', format('[{"objectType":"USER","objectId":"%s1"}]', repeat('7', 255))),
               (3, 'wrong', '[{"objectType":"USER","objectId":true,"n":{"b":1,"a":1.0}}]'),
               (4, 'wrong', '[ {"n":{"a":1, "b":1.00}, "objectType" : "USER","objectId":true}]'),
               (5, 'number', '[{"objectType":"USER","objectId":1e999999}]'),
               (6, 'number', '[{"objectType":"USER","objectId":1e999999}]'),
               (7, 'alias', '[{"objectType":"TICKET","objectId":"2"},{"objectType":"the planet","objectId":"2"}]'),
               (8, 'alias', '[{"objectType":"conversation","objectId":"2"},{"objectType":"The-Planet","objectId":"2"}]')) v (n, key, related)
 ORDER BY n;
SELECT n, p.code
  FROM (VALUES (1, 'long', format('[{"objectType":"USER","objectId":"%s2"}]', repeat('7', 255))),
               (2, 'wrong', '[{"objectType":"USER","objectId":false,"n":{"b":1,"a":1.0}}]'),
               (3, 'wrong', '[{"objectType":"USER","objectId":true,"n":{"b":1,"a":1.1}}]'),
               (4, 'number', '[{"objectType":"USER","objectId":1e999998}]')) v (n, key, related),
       test.problems(format('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"%s","relatedObjects":%s}', key, related)) p
 ORDER BY n;
-- An alias that was registered since does not make it another event.
SELECT atlas_unregister_object_type('PLANET');
SELECT submit_event('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"later","relatedObjects":[{"objectType":"THE_PLANET","objectId":"2"}]}') ->> 'duplicate';
SELECT atlas_register_object_type('PLANET', 'crm.planets', aliases => ARRAY['The planet']);
SELECT submit_event('{"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"later","relatedObjects":[{"objectType":"THE_PLANET","objectId":"2"}]}') ->> 'duplicate';

SELECT test.clean();
SELECT atlas_unregister_object_type('PLANET');
DROP TABLE crm.planets;
DROP VIEW outcomes;
DROP FUNCTION submit_related;
