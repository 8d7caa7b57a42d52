-- Ids that are JSON integers: they are taken as their digits, however many there are.
SELECT test.clean();

CREATE FUNCTION submitted(fields text) RETURNS TABLE (object_type text, object_id text, external_id text) LANGUAGE plpgsql AS $$
DECLARE
    receipt json := submit_event(format('{%s,"name":"x"}', fields));
BEGIN
    RETURN QUERY SELECT e.object_type, e.object_id, e.external_id FROM atlas_events e WHERE event_id = (receipt ->> 'eventId')::uuid;
END
$$;

-- ---------------------------------------------------------------------
-- The primary object
-- ---------------------------------------------------------------------
SELECT * FROM submitted('"objectType":"USER","objectId":7');
SELECT * FROM submitted('"objectType":"USER","objectId": -7 ');
SELECT * FROM submitted('"objectType":"CONVERSATION","objectId":9223372036854775807');
SELECT * FROM submitted('"objectType":"CONVERSATION","externalId":9001');
SELECT * FROM submitted('"objectType":"CONVERSATION","objectId":"1","externalId":9001');
SELECT * FROM submitted('"objectType":"CUSTOMER","externalId":195959');
-- More digits than int64 has, and more than double.
INSERT INTO crm.companies VALUES ('12345678901234567890123456789012345678901234567890', 'Digits'), ('-98765432109876543210', 'Minus'), ('0', 'Zero');
SELECT * FROM submitted('"objectType":"COMPANY","objectId":12345678901234567890123456789012345678901234567890');
SELECT * FROM submitted('"objectType":"COMPANY","objectId":-98765432109876543210,"payload":{"id":12345678901234567890}');
SELECT * FROM submitted('"objectType":"COMPANY","objectId":0');
SELECT * FROM submitted('"description":"ö","payload":{"ö":"ö"},"objectType":"COMPANY" , "objectId" :12345678901234567890123456789012345678901234567890');

-- The jsonb form has the same digits.
SELECT submit_event('{"objectType":"COMPANY","objectId":12345678901234567890123456789012345678901234567890,"name":"x"}'::jsonb) ->> 'eventId' AS id \gset
SELECT object_id FROM atlas_events WHERE event_id = :'id';

-- ---------------------------------------------------------------------
-- No ids: fractions, exponents, -0, and the rest of JSON
-- ---------------------------------------------------------------------
SELECT id, p.field, p.code, p.message
  FROM (VALUES (1, '1.0'), (2, '7e0'), (3, '1E400'), (4, '0.1'), (5, '-0'), (6, '-0.0'), (7, 'true'), (8, '[7]'), (9, '{"id":7}')) v (n, id),
       test.problems(format('{"objectType":"USER","objectId":%s,"name":"x"}', id)) p
 ORDER BY n;
SELECT id, p.field, p.code, p.message
  FROM (VALUES (1, '1.0'), (2, '-0'), (3, '-1e-5')) v (n, id),
       test.problems(format('{"objectType":"USER","objectId":"7","externalId":%s,"name":"x"}', id)) p
 ORDER BY n;
-- What is no number of JSON is malformed, as ever.
SELECT id, p.code, p.message
  FROM (VALUES (1, '007'), (2, '+7'), (3, '7.'), (4, '.7'), (5, '7e'), (6, '-'), (7, '0x7'), (8, '1-0'), (9, '7.5.5'), (10, '12345678901234567890.'), (11, '--12345678901234567890')) v (n, id),
       test.problems(format('{"objectType":"USER","objectId":%s,"name":"x"}', id)) p
 ORDER BY n;
-- Other fields take no numbers.
SELECT p.field, p.code, p.message
  FROM test.problems('{"objectType":"USER","objectId":7,"name":12345678901234567890,"description":-0,"icon":1e400,
  "relatedObjects":-0,"occurredAt":12345678901234567890,"idempotencyKey":12345678901234567890}') p;
-- The limit is that of texts.
SELECT length, p.code, p.message FROM (VALUES (255), (256)) v (length),
       test.problems(format('{"objectType":"COMPANY","objectId":%s,"name":"x"}', repeat('1', length))) p;

-- ---------------------------------------------------------------------
-- Related objects
-- ---------------------------------------------------------------------
SELECT submit_event('{"objectType":"USER","objectId":7,"name":"related","relatedObjects":[{"objectType":"CONVERSATION","objectId":2},
  {"objectType":"CONVERSATION","externalId":9001},{"objectType":"COMPANY","objectId":-98765432109876543210},{"objectType":"CHATBOT","objectId":-0}]}') IS NOT NULL;
SELECT atlas_link_events();
SELECT r.value FROM atlas_event_logs, jsonb_array_elements(related_objects) WITH ORDINALITY r WHERE name = 'related' ORDER BY ordinality;

-- ---------------------------------------------------------------------
-- Digits and text are the same id, to an idempotency key as well
-- ---------------------------------------------------------------------
SELECT submit_event(event) ->> 'duplicate' AS duplicate
  FROM (VALUES (1, '{"objectType":"USER","objectId":7,"name":"x","idempotencyKey":"ids","relatedObjects":[{"objectType":"CONVERSATION","objectId":2}]}'),
               (2, '{"objectType":"USER","objectId":"7","name":"x","idempotencyKey":"ids","relatedObjects":[{"objectType":"CONVERSATION","objectId":"2"}]}')) v (n, event)
 ORDER BY n;

DELETE FROM crm.companies WHERE name IN ('Digits', 'Minus', 'Zero');
DROP FUNCTION submitted;
