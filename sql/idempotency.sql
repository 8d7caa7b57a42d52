-- An event with an idempotency key is stored once, however often it is
-- submitted; another event under the same key is a conflict.
SELECT test.clean();

-- Submits an event, and says what came back; #n is the n-th event of the log.
CREATE FUNCTION retry(event text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    receipt json := submit_event(event);
BEGIN
    RETURN (SELECT format('event #%s of %s, %s, duplicate: %s', n, total, receipt ->> 'processingStatus', receipt ->> 'duplicate')
              FROM (SELECT event_id, row_number() OVER (ORDER BY received_at, event_id) AS n, count(*) OVER () AS total
                      FROM atlas_events) e
             WHERE event_id = (receipt ->> 'eventId')::uuid);
END
$$;

-- ---------------------------------------------------------------------
-- A retry gets the event that was stored first
-- ---------------------------------------------------------------------
\set event '{"objectType":"CUSTOMER","externalId":"195959","name":"Paid","icon":"💳","payload":{"amount":49.99,"method":"card"},"relatedObjects":[{"objectType":"USER","objectId":"7"}],"idempotencyKey":"order-1"}'
SELECT retry(:'event');
SELECT retry(:'event');
SELECT atlas_link_events();
SELECT retry(:'event');

-- White space and the order of the fields are not the event.
SELECT retry('{ "idempotencyKey" : "order-1" , "payload" : { "method":"card" ,"amount" : 49.99 },
  "relatedObjects" : [ {"objectId":"7", "objectType":"USER"} ],
  "icon": "\ud83d\udcb3", "name": "P\u0061id", "externalId": "195959", "objectType": "CUSTOMER"}');
-- An alias is the same type, and null is no field.
SELECT retry(replace(replace(:'event', '"USER"', '"agent"'), '"icon"', '"description":null,"icon"'));

-- The other forms are the same event.
SELECT n FROM (SELECT row_number() OVER (ORDER BY received_at) AS n, event_id FROM atlas_events) e
 WHERE event_id = submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '195959', name => 'Paid', icon => '💳',
                               payload => '{"amount":49.99,"method":"card"}', related_objects => ARRAY[('USER', '7', NULL)]::atlas_object[],
                               idempotency_key => 'order-1');
SELECT n FROM (SELECT row_number() OVER (ORDER BY received_at) AS n, event_id FROM atlas_events) e
 WHERE event_id = submit_event(ROW('CUSTOMER', NULL, '195959', 'Paid', NULL, '💳', '{"amount":49.99,"method":"card"}',
                                   ARRAY[('USER', '7', NULL)]::atlas_object[], NULL, 'order-1')::atlas_event);
SELECT (submit_event(:'event'::json) ->> 'duplicate') AS json, (submit_event(:'event'::jsonb) ->> 'duplicate') AS jsonb;

-- ---------------------------------------------------------------------
-- Another event under the same key
-- ---------------------------------------------------------------------
SELECT what, p.code, p.message
  FROM (VALUES
    (1, 'name', replace(:'event', 'Paid', 'paid')),
    (2, 'description', replace(:'event', '"icon"', '"description":"d","icon"')),
    (3, 'icon', replace(:'event', '💳', '📖')),
    (4, 'payload', replace(:'event', '49.99', '49.98')),
    (5, 'no payload', replace(:'event', '"payload":{"amount":49.99,"method":"card"},', '')),
    (6, 'another object', replace(:'event', '195959', '200002')),
    (7, 'the same object by its other id', replace(:'event', '"externalId":"195959"', '"objectId":"c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e"')),
    (8, 'another related object', replace(:'event', '"7"', '"8"')),
    (9, 'no related object', replace(:'event', '{"objectType":"USER","objectId":"7"}', '')),
    (10, 'a time', replace(:'event', '"icon"', '"occurredAt":"2025-02-03T04:05:06Z","icon"')),
    (11, 'another key', replace(:'event', 'order-1', 'order-2'))) v (n, what, event),
    test.problems(event) p
 ORDER BY n;
-- Another serialisation is the same event: see fingerprint.sql.

-- With a time the time counts: once it was given, it is part of the event.
\set timed '{"objectType":"CUSTOMER","externalId":"195959","name":"Timed","occurredAt":"2025-02-03T04:05:06Z","idempotencyKey":"timed"}'
SELECT retry(:'timed');
SELECT retry(replace(:'timed', '2025-02-03T04:05:06Z', '2025-02-03T09:35:06.000+05:30')) AS same_moment;
SELECT p.code FROM test.problems(replace(:'timed', '04:05:06Z', '04:05:07Z')) p;
SELECT p.code FROM test.problems(replace(:'timed', '"occurredAt":"2025-02-03T04:05:06Z",', '')) p;

-- ---------------------------------------------------------------------
-- What has happened since does not matter
-- ---------------------------------------------------------------------

-- The object has gone.
INSERT INTO crm.companies VALUES ('gone', 'Gone');
SELECT retry('{"objectType":"COMPANY","objectId":"gone","name":"Last","idempotencyKey":"gone"}');
DELETE FROM crm.companies WHERE id = 'gone';
SELECT retry('{"objectType":"COMPANY","objectId":"gone","name":"Last","idempotencyKey":"gone"}');
SELECT p.code FROM test.problems('{"objectType":"COMPANY","objectId":"gone","name":"Last","idempotencyKey":"gone-2"}') p;
-- The type is not connected.
BEGIN;
SELECT atlas_unregister_object_type('COMPANY');
SELECT retry('{"objectType":"COMPANY","objectId":"gone","name":"Last","idempotencyKey":"gone"}');
ROLLBACK;
-- The event failed.
SELECT retry(replace(:'event', 'order-1', 'order-3'));
UPDATE atlas_event_queue SET next_attempt_at = 'infinity';
SELECT retry(replace(:'event', 'order-1', 'order-3'));

-- A key that was not used successfully is free.
SELECT p.code FROM test.problems('{"objectType":"CUSTOMER","externalId":"none","name":"x","idempotencyKey":"free"}') p;
SELECT retry('{"objectType":"CUSTOMER","externalId":"195959","name":"y","idempotencyKey":"free"}');
BEGIN;
SELECT submit_event('CONVERSATION', '1', 'x', idempotency_key => 'rolled back') IS NOT NULL;
ROLLBACK;
SELECT retry('{"objectType":"CONVERSATION","objectId":"2","name":"y","idempotencyKey":"rolled back"}');

-- Keys are compared byte by byte, and belong to a tenant.
SELECT retry('{"objectType":"CONVERSATION","objectId":"2","name":"z","idempotencyKey":"Free"}');
SELECT retry('{"objectType":"CONVERSATION","objectId":"2","name":"z","idempotencyKey":"free "}');
SET atlas_events.tenant = 'globex';
SELECT retry('{"objectType":"CONVERSATION","objectId":"2","name":"globex","idempotencyKey":"free"}');
SELECT retry('{"objectType":"CONVERSATION","objectId":"2","name":"globex","idempotencyKey":"free"}');
RESET atlas_events.tenant;
SELECT tenant_id, idempotency_key, length(event_hash) FROM atlas_event_keys ORDER BY 1, 2;

-- ---------------------------------------------------------------------
-- In one call of submit_events()
-- ---------------------------------------------------------------------
SELECT test.clean();
SELECT r ->> 'index' AS index, r ->> 'status' AS status, r ->> 'duplicate' AS duplicate
  FROM json_array_elements(submit_events('[
    {"objectType":"CONVERSATION","objectId":"1","name":"b","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"1","name":"a","idempotencyKey":"a"},
    {"objectType":"CONVERSATION","objectId":"1","name":"b","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"1","name":"c","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"404","name":"d","idempotencyKey":"d"},
    {"objectType":"CONVERSATION","objectId":"1","name":"d","idempotencyKey":"d"},
    {"objectType":"CONVERSATION","objectId":"1","name":"e"},
    {"objectType":"CONVERSATION","objectId":"1","name":"e"}]') -> 'results') r;
SELECT name, count(*) FROM atlas_events GROUP BY name ORDER BY name;

-- Again, all are there already, but those without a key.
SELECT r ->> 'status' AS status, r ->> 'duplicate' AS duplicate, r ->> 'message' AS message
  FROM json_array_elements(submit_events('[
    {"objectType":"CONVERSATION","objectId":"1","name":"e"},
    {"objectType":"CONVERSATION","objectId":"1","name":"a","idempotencyKey":"a"},
    {"objectType":"CONVERSATION","objectId":"1","name":"b","idempotencyKey":"b"},
    {"objectType":"CONVERSATION","objectId":"1","name":"x","idempotencyKey":"a"}]') -> 'results') r;

-- An array gives the same id for the same event, and refuses all for a conflict.
SELECT ids[1] = ids[3] AS same, ids[1] <> ids[2] AS different
  FROM submit_events(ARRAY[('CONVERSATION', '1', NULL, 'f', NULL, NULL, NULL, NULL, NULL, 'f'),
                           ('CONVERSATION', '1', NULL, 'g', NULL, NULL, NULL, NULL, NULL, 'g'),
                           ('CONVERSATION', '1', NULL, 'f', NULL, NULL, NULL, NULL, NULL, 'f')]::atlas_event[]) ids;
SELECT submit_events(ARRAY[('CONVERSATION', '1', NULL, 'h', NULL, NULL, NULL, NULL, NULL, 'h'),
                           ('CONVERSATION', '1', NULL, 'x', NULL, NULL, NULL, NULL, NULL, 'g')]::atlas_event[]);
SELECT name, count(*) FROM atlas_events GROUP BY name ORDER BY name;

DROP FUNCTION retry;

-- ---------------------------------------------------------------------
-- A key that comes beside the event, as a header does
-- ---------------------------------------------------------------------
SELECT test.clean();
\set plain '{"objectType":"CONVERSATION","objectId":"1","name":"beside"}'
\set keyed '{"objectType":"CONVERSATION","objectId":"1","name":"beside","idempotencyKey":"beside"}'
SELECT submit_event(:'plain', 'beside') ->> 'duplicate' AS duplicate;
SELECT submit_event(:'plain', 'beside') ->> 'duplicate' AS duplicate;
-- It is the same key as the one of the field; both together must agree.
SELECT submit_event(:'keyed') ->> 'duplicate' AS duplicate;
SELECT submit_event(:'keyed', 'beside') ->> 'duplicate' AS duplicate;
SELECT submit_event(:'keyed', NULL) ->> 'duplicate' AS duplicate;
SELECT submit_event(event => :'keyed', idempotency_key => 'another');
SELECT submit_event(:'plain', '');
SELECT submit_event(:'plain', repeat('k', 256));
SELECT submit_event('{"objectType":"CONVERSATION","objectId":"1","name":"other"}', 'beside');
SELECT submit_event(NULL, 'beside');
SELECT name, count(*) FROM atlas_events GROUP BY name;
