-- The extension, a small Atlas database, and two helpers for all the other
-- tests, which run in this database one after another.
SET client_min_messages = warning;

-- Events are linked by atlas_link_events() only, so that nothing depends on
-- whether the server preloads the library.
SELECT format('ALTER DATABASE %I SET atlas_events.linking = off', current_database()) \gexec
-- Documents are made by test.index() only, for the same reason.
SELECT format('ALTER DATABASE %I SET atlas_events.search = off', current_database()) \gexec
-- Compiling would take longer than all the queries.
SELECT format('ALTER DATABASE %I SET jit = off', current_database()) \gexec

CREATE EXTENSION atlas_events;

-- ---------------------------------------------------------------------
-- One table a built-in type, and each type of id once
-- ---------------------------------------------------------------------
CREATE SCHEMA crm;

CREATE DOMAIN crm.account_id AS uuid;

CREATE TABLE crm."Customers" (
    "customerId" uuid PRIMARY KEY,
    "externalId" varchar(64) UNIQUE,
    name text NOT NULL
);
CREATE TABLE crm.accounts (
    id crm.account_id PRIMARY KEY,
    external_id text UNIQUE,
    name text NOT NULL
);
CREATE TABLE crm.conversations (
    id bigint PRIMARY KEY,
    external_id bigint UNIQUE,
    subject text NOT NULL
);
CREATE TABLE crm.agents (
    id integer PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE crm.chatbots (
    id smallint PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE crm.companies (
    id text PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE crm.helpcenters (
    id varchar(32) PRIMARY KEY,
    name text NOT NULL
);
CREATE TABLE crm.session_recordings (
    id uuid,
    recorded_on date,
    PRIMARY KEY (id, recorded_on)
) PARTITION BY RANGE (recorded_on);
CREATE TABLE crm.session_recordings_2025 PARTITION OF crm.session_recordings
    FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');

INSERT INTO crm."Customers" VALUES
    ('c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e', '195959', 'Ada'),
    ('c2222222-0000-4000-8000-000000000002', '200002', 'Ben'),
    ('c3333333-0000-4000-8000-000000000003', NULL, 'Cy');
INSERT INTO crm.accounts VALUES
    ('a1111111-0000-4000-8000-000000000001', 'ACME-1', 'Acme'),
    ('a2222222-0000-4000-8000-000000000002', 'BOLT-2', 'Bolt');
INSERT INTO crm.conversations VALUES
    (1, 9001, 'Where is my order?'),
    (2, 9002, 'Refund'),
    (9223372036854775807, NULL, 'The last one');
INSERT INTO crm.agents VALUES (7, 'Grace'), (-7, 'Imported');
INSERT INTO crm.chatbots VALUES (3, 'Bolt the bot');
INSERT INTO crm.companies VALUES ('acme', 'Acme'), ('Øresund A/S', 'Øresund');
INSERT INTO crm.helpcenters VALUES ('en-US', 'Help center');
INSERT INTO crm.session_recordings VALUES ('5e551011-0000-4000-8000-000000000001', '2025-02-03');

SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId');
SELECT atlas_register_object_type('ACCOUNT', 'crm.accounts', external_id_column => 'external_id');
SELECT atlas_register_object_type('CONVERSATION', 'crm.conversations', external_id_column => 'external_id');
SELECT atlas_register_object_type('USER', 'crm.agents');
SELECT atlas_register_object_type('CHATBOT', 'crm.chatbots');
SELECT atlas_register_object_type('COMPANY', 'crm.companies');
SELECT atlas_register_object_type('HELPCENTER', 'crm.helpcenters');
SELECT atlas_register_object_type('SESSION_RECORDING', 'crm.session_recordings');

-- ---------------------------------------------------------------------
-- Helpers
-- ---------------------------------------------------------------------
CREATE SCHEMA test;
GRANT USAGE ON SCHEMA test TO PUBLIC;

-- The error that a statement raises; no row when it raises none. Whatever the
-- statement did is undone.
CREATE FUNCTION test.error_of(statement text,
                              OUT code text, OUT message text, OUT detail text, OUT hint text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        EXECUTE statement;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION
        WHEN SQLSTATE 'UNDO0' THEN
            RETURN;
        WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
                detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    END;
    RETURN NEXT;
END
$$;

-- What is wrong with an event given as JSON, a row a problem; one row with the
-- code "accepted" when nothing is. The event is not kept.
CREATE FUNCTION test.problems(event text, OUT field text, OUT code text, OUT message text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    error record;
BEGIN
    SELECT * INTO error FROM test.error_of(format('SELECT submit_event(%L::text)', event)) e;
    IF NOT FOUND THEN
        RETURN QUERY SELECT '', 'accepted', '';
    ELSIF error.code <> 'PT400' OR error.message <> 'Invalid Event' THEN
        RETURN QUERY SELECT '', error.code, error.message || ': ' || error.detail;
    ELSE
        RETURN QUERY SELECT p ->> 'field', p ->> 'code', p ->> 'message'
                       FROM json_array_elements(error.detail::json) p;
    END IF;
END
$$;

-- A receipt without what differs from run to run, after a check of its form.
CREATE FUNCTION test.receipt(receipt json) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN EXISTS (SELECT FROM atlas_events WHERE event_id = (receipt ->> 'eventId')::uuid)
                THEN replace(receipt::text, receipt ->> 'eventId', '<id of a stored event>')
                ELSE 'no such event: ' || receipt::text END
$$;

-- Empties the log and all that hangs on it.
CREATE FUNCTION test.clean() RETURNS void LANGUAGE sql AS $$
    TRUNCATE atlas_events, atlas_event_queue, atlas_event_links, atlas_event_unresolved, atlas_event_keys,
             atlas_event_work, atlas_event_search, atlas_search_gaps
$$;

-- Makes the documents of the events that have none, also where the library is not preloaded,
-- and returns how many there are then.
CREATE FUNCTION test.index() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO atlas_event_work (event_id, submitted_xid, what, tenant_id)
    SELECT e.event_id, pg_current_xact_id(), 1, e.tenant_id FROM atlas_events e
     WHERE NOT EXISTS (SELECT FROM atlas_event_search s WHERE s.tenant_id = e.tenant_id AND s.event_id = e.event_id)
       AND NOT EXISTS (SELECT FROM atlas_event_work w WHERE w.event_id = e.event_id);
    PERFORM atlas_link_events(1000000);
    RETURN (SELECT count(*) FROM atlas_event_search);
END
$$;

-- Rows of the log and of the links that this transaction has read, by scans of
-- the tables or of their indexes; it counts on from what it was when the
-- transaction began.
CREATE FUNCTION test.rows_read() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_tuples_returned(oid))::bigint FROM pg_class
     WHERE relname ~ '^atlas_(events|event_links)_[0-9]'
$$;
