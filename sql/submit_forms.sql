-- An event can be submitted as a composite value, as named arguments, or as
-- JSON in a text, json or jsonb; each form stores the same.
\set customer '{"objectType":"CUSTOMER","objectId":"c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e"'

CREATE VIEW stored AS
    SELECT * FROM atlas_events WHERE name LIKE 'form %';

-- ---------------------------------------------------------------------
-- The sample request of the Events API
-- ---------------------------------------------------------------------
SELECT now() AS before \gset
SELECT test.receipt(submit_event('{"objectType": "CUSTOMER", "objectId": "c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e",
 "name": "form sample", "description": "Viewed HelpCenter Article - How does it work?",
 "icon": "📖", "externalId": "195959",
 "payload": {"company": "Atlas", "hq": "Dellas", "give": "superpower", "to": "your agents", "filter": "all the agents"}}'));

\x on
SELECT tenant_id, object_type, object_id, external_id, name, description, icon, payload, related_objects,
       occurred_at = received_at AS occurred_when_received,
       received_at BETWEEN :'before' AND now() AS received_just_now
  FROM stored WHERE name = 'form sample';
\x off

-- ---------------------------------------------------------------------
-- All forms, with all fields
-- ---------------------------------------------------------------------
\set rest ',"description":"d","icon":"💳","externalId":"195959","payload":{"amount":49.990},"relatedObjects":[{"objectType":"agent","objectId":"7"},{"objectType":"ACCOUNT","externalId":"ACME-1"}],"occurredAt":"2025-02-03T04:05:06.789+01:00"}'
\set text :customer ',"name":"form text"' :rest
\set json :customer ',"name":"form json"' :rest
\set jsonb :customer ',"name":"form jsonb"' :rest

SELECT test.receipt(submit_event(:'text'::text)) AS text;
SELECT test.receipt(submit_event(:'json'::json)) AS json;
SELECT test.receipt(submit_event(:'jsonb'::jsonb)) AS jsonb;

SELECT submit_event(ROW('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', '195959', 'form composite',
                        'd', '💳', '{"amount":49.990}',
                        ARRAY[('AGENT', '7', NULL), ('ACCOUNT', NULL, 'ACME-1')]::atlas_object[],
                        '2025-02-03 03:05:06.789+00', NULL)::atlas_event) IS NOT NULL AS composite;

SELECT submit_event(object_type => 'CUSTOMER', object_id => 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e',
                    name => 'form arguments', description => 'd', icon => '💳', external_id => '195959',
                    payload => '{"amount":49.990}',
                    related_objects => ARRAY[('AGENT', '7', NULL), ('ACCOUNT', NULL, 'ACME-1')]::atlas_object[],
                    occurred_at => '2025-02-03 03:05:06.789+00') IS NOT NULL AS arguments;

-- Five names, one content.
SELECT count(*), object_type, object_id, external_id, description, icon, payload, related_objects,
       occurred_at AT TIME ZONE 'UTC' AS occurred_at_utc
  FROM stored
 WHERE name IN ('form text', 'form json', 'form jsonb', 'form composite', 'form arguments')
 GROUP BY 2, 3, 4, 5, 6, 7, 8, 9;

-- ---------------------------------------------------------------------
-- Ways of calling
-- ---------------------------------------------------------------------

-- An untyped literal and an untyped parameter are JSON.
SELECT pg_typeof(submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"form literal"}'));
PREPARE submit AS SELECT test.receipt(submit_event($1));
EXECUTE submit('{"objectType":"CUSTOMER","externalId":"195959","name":"form prepared"}');
DEALLOCATE submit;

-- What goes back: the id alone, or a receipt.
SELECT pg_typeof(submit_event('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', 'form three arguments'));
SELECT pg_typeof(submit_events('{}'::atlas_event[])), pg_typeof(submit_events('[]'));

-- The id is that of the stored event.
SELECT submit_event('CONVERSATION', '1', 'form with this id') AS event_id \gset
SELECT event_id = :'event_id' AS is_this_id FROM stored WHERE name = 'form with this id';

-- With only an external id, and with both; what is kept is what the row says.
SELECT submit_event('CONVERSATION', NULL, 'form external', external_id => '9001') IS NOT NULL;
SELECT submit_event('CONVERSATION', '2', 'form id') IS NOT NULL;
SELECT submit_event('CUSTOMER', 'c3333333-0000-4000-8000-000000000003', 'form both', external_id => 'theirs') IS NOT NULL;
SELECT name, object_type, object_id, external_id FROM stored
 WHERE name IN ('form external', 'form id', 'form both') ORDER BY event_id;

-- Many rows in one statement, from a table.
SELECT count(submit_event('CONVERSATION', id::text, 'form from a table')) FROM crm.conversations;
SELECT object_id FROM stored WHERE name = 'form from a table' ORDER BY event_id;

-- ---------------------------------------------------------------------
-- Nulls
-- ---------------------------------------------------------------------
SELECT submit_event(NULL::text);
SELECT submit_event(NULL::json);
SELECT submit_event(NULL::jsonb);
SELECT submit_event(NULL::atlas_event);
SELECT submit_event(NULL, NULL, NULL);
SELECT submit_events(NULL::atlas_event[]);
SELECT submit_events(NULL::text);

-- A JSON null is as good as no field, and so is an SQL null.
SELECT test.receipt(submit_event('{"objectType":"CUSTOMER","objectId":null,"externalId":"195959","name":"form nulls",
 "description":null,"icon":null,"payload":null,"relatedObjects":null,"occurredAt":null,"idempotencyKey":null}'));
SELECT test.receipt(submit_event('{"objectType":"CUSTOMER","externalId":"195959","name":"form nulls","relatedObjects":[],"payload":{}}'));
SELECT description, icon, payload, related_objects FROM stored WHERE name = 'form nulls' ORDER BY event_id;

DROP VIEW stored;
