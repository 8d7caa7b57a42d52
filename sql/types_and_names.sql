-- Names of object types: upper and lower case, blanks, hyphens and aliases.
BEGIN;
SELECT test.clean();

-- Submits an event about an object, and says under which type it was stored.
CREATE FUNCTION stored_type(given text, id text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    stored uuid;
BEGIN
    stored := submit_event(given, id, 'x');
    RETURN (SELECT object_type FROM atlas_events WHERE event_id = stored);
EXCEPTION WHEN SQLSTATE 'PT400' THEN
    RETURN SQLERRM;
END
$$;

-- The eight built-in types.
SELECT given, stored_type(given, id)
  FROM (VALUES ('CONVERSATION', '1'), ('ACCOUNT', 'a1111111-0000-4000-8000-000000000001'),
               ('CUSTOMER', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'), ('USER', '7'), ('CHATBOT', '3'), ('COMPANY', 'acme'),
               ('HELPCENTER', 'en-US'), ('SESSION_RECORDING', '5e551011-0000-4000-8000-000000000001')) v (given, id);

-- Their aliases, in any case, with blanks or hyphens for underscores.
SELECT given, stored_type(given, id)
  FROM (VALUES ('TICKET', '1'), ('ticket', '1'), ('Conversation', '1'), ('cUsToMeR', 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e'),
               ('AGENT', '7'), ('agent', '7'), ('USER (AGENT)', '7'), ('User (Agent)', '7'), ('user-(agent)', '7'), ('USER_(AGENT)', '7'),
               ('SESSION RECORDING', '5e551011-0000-4000-8000-000000000001'), ('session-recording', '5e551011-0000-4000-8000-000000000001'),
               ('Session_Recording', '5e551011-0000-4000-8000-000000000001')) v (given, id);

-- What is none of them.
SELECT left(given, 20) AS given, length(given), stored_type(given, '1')
  FROM (VALUES ('TICKETS'), ('CUSTOMERS'), ('USER(AGENT)'), ('SESSIONRECORDING'), (' USER'), ('USER '), ('USER  (AGENT)'), (E'USER\t(AGENT)'),
               ('Üser'), (repeat('X', 63)), (repeat('X', 64)), (repeat('X', 1000))) v (given);

-- Related objects likewise; the log has the canonical names.
SELECT submit_event('conversation', '1', 'related', related_objects => ARRAY[
    ('session recording', '5e551011-0000-4000-8000-000000000001', NULL), ('Agent', '7', NULL), ('ticket', '2', NULL)]::atlas_object[]) IS NOT NULL;
SELECT related_objects FROM atlas_events WHERE name = 'related';

-- ---------------------------------------------------------------------
-- Types of one's own
-- ---------------------------------------------------------------------
CREATE TABLE orders (id text PRIMARY KEY);
INSERT INTO orders VALUES ('1');
SELECT stored_type('SALES ORDER', '1');
SELECT atlas_register_object_type('sales order', 'orders', aliases => '{purchase,Web-Order,SALES_ORDER}');
SELECT object_type, aliases FROM atlas_object_types WHERE relation = 'orders'::regclass;
SELECT given, stored_type(given, '1')
  FROM (VALUES ('SALES_ORDER'), ('Sales-Order'), ('sales order'), ('PURCHASE'), ('web_order'), ('web order'), ('ORDER')) v (given);

-- A built-in type can be given aliases, and keeps its own.
SELECT atlas_register_object_type('agent', 'crm.agents', aliases => '{operator}');
SELECT object_type, aliases FROM atlas_object_types WHERE relation = 'crm.agents'::regclass;
SELECT given, stored_type(given, '7') FROM (VALUES ('operator'), ('AGENT'), ('USER'), ('USER (AGENT)')) v (given);

-- A name means one type only.
SELECT v.*, e.code, e.message, e.hint
  FROM (VALUES ('CUSTOMER', '{user}'), ('CUSTOMER', '{AGENT}'), ('CUSTOMER', '{operator}'), ('CUSTOMER', '{ticket}'), ('SALES_ORDER', '{customer}'),
               ('PURCHASE', '{}'), ('operator', '{}'), ('INVOICE', '{bill,"web order"}')) v (object_type, aliases),
       test.error_of(format('SELECT atlas_register_object_type(%L, %L, aliases => %L)', object_type, 'orders', aliases)) e;
-- Its own names are no conflict, and an alias that was given up is free.
SELECT atlas_register_object_type('CONVERSATION', 'crm.conversations', external_id_column => 'external_id', aliases => '{ticket,conversation,CASE}');
SELECT given, stored_type(given, '2') FROM (VALUES ('case'), ('ticket')) v (given);
SELECT atlas_register_object_type('SALES_ORDER', 'orders');
SELECT given, stored_type(given, '1') FROM (VALUES ('SALES_ORDER'), ('PURCHASE')) v (given);
SELECT atlas_register_object_type('PURCHASE', 'orders');
SELECT given, stored_type(given, '1') FROM (VALUES ('SALES_ORDER'), ('PURCHASE')) v (given);

-- Events of a type that is not registered any more stay as they are.
SELECT atlas_unregister_object_type('SALES_ORDER');
SELECT object_type, count(*) FROM atlas_events WHERE object_type IN ('SALES_ORDER', 'PURCHASE') GROUP BY 1 ORDER BY 1;
ROLLBACK;
