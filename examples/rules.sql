--
-- examples/rules.sql
--
-- Five rules of a support team, on the sample database of examples/atlas.sql.
-- Load it as a superuser, once the extension is there and knows the tables:
--
--     psql --dbname=atlas --set=ON_ERROR_STOP=1 --file=examples/rules.sql
--
-- The rules belong to a role of their own, whose rights are all that their
-- actions have. It must be able to log in, because actions are done in a
-- session of it; it needs no password, since that session is the server's own.
--

BEGIN;

CREATE ROLE support_rules LOGIN;
COMMENT ON ROLE support_rules IS 'Owner of the rules of the support team';

CREATE SCHEMA support_rules AUTHORIZATION support_rules;
COMMENT ON SCHEMA support_rules IS 'Actions of the rules of the support team';

GRANT EXECUTE ON FUNCTION atlas_create_rule, atlas_drop_rule, atlas_enable_rule, atlas_test_rule TO support_rules;
GRANT SELECT ON atlas_rules, atlas_rule_matches TO support_rules;
GRANT SELECT ON accounts, customers TO support_rules;
GRANT SELECT, INSERT, UPDATE (tags, priority) ON conversations TO support_rules;

SET LOCAL ROLE support_rules;


--
-- 1. Three failed payments within a week: the open tickets of the customer get
--    a tag, so that whoever answers one knows. Once a day is enough.
--

CREATE FUNCTION support_rules.tag_tickets(match jsonb) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, public
AS $$
    UPDATE conversations
       SET tags = array_append(tags, 'payment-trouble')
     WHERE customer_id = (match->'object'->>'objectId')::uuid
       AND status <> 'closed'
       AND NOT tags @> ARRAY['payment-trouble'];
$$;

COMMENT ON FUNCTION support_rules.tag_tickets(jsonb) IS 'Tags the open tickets of a customer whose payments fail';

SELECT atlas_create_rule('Payments fail', 'CUSTOMER', 'Payment Failed',
    times => 3, within => '7 days', cooldown => '1 day', action => 'support_rules.tag_tickets(jsonb)');


--
-- 2. An enterprise account cancels: a ticket is opened, with the agent who
--    owns the account. The number of the match makes that of the ticket, so
--    that an action that is repeated would open no second one.
--

CREATE FUNCTION support_rules.open_ticket(match jsonb) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, public
AS $$
    INSERT INTO conversations (number, subject, channel, status, priority, customer_id, assignee_id, tags, created_at)
    SELECT 'RULE-' || (match->>'matchId'),
           'Account ' || a.name || ' has cancelled: ' || coalesce(match->'event'->'payload'->>'reason', 'no reason given'),
           'email', 'open', 'urgent', c.id, a.owner_id, ARRAY['cancellation'], (match->>'matchedAt')::timestamptz
      FROM accounts a
      JOIN customers c ON c.account_id = a.id
     WHERE a.id = (match->'object'->>'objectId')::uuid
     ORDER BY c.created_at, c.id
     LIMIT 1
        ON CONFLICT (number) DO NOTHING;
$$;

COMMENT ON FUNCTION support_rules.open_ticket(jsonb) IS 'Opens a ticket about an account that has cancelled';

SELECT atlas_create_rule('Enterprise cancels', 'ACCOUNT', 'Subscription Cancelled',
    '$.payload.plan == "enterprise"', role => 'PRIMARY', action => 'support_rules.open_ticket(jsonb)');


--
-- 3. A bad rating: whoever listens to the channel gets the number of the match
--    at once, and reads the rest from atlas_rule_matches and the log.
--

SELECT atlas_create_rule('Bad rating', 'CONVERSATION', 'ticket.csat_received',
    '$.payload.score <= 2', channel => 'atlas_escalations');


--
-- 4. Payments time out for one and the same customer, twice within an hour.
--    One call in a quarter of an hour is enough.
--

SELECT atlas_create_rule('Checkout is broken', 'CUSTOMER', 'Error Encountered',
    '$.payload.code starts with "PAYMENT_"', times => 2, within => '1 hour',
    channel => 'atlas_escalations', cooldown => '15 min');


--
-- 5. Sign-ins fail, five times within ten minutes. Nothing is done: the match
--    is there to be read, as by the agent whom this customer calls.
--

SELECT atlas_create_rule('Locked out', 'CUSTOMER', 'Sign-in Failed', times => 5, within => '10 min', role => 'PRIMARY');

COMMIT;
