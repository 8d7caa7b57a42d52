/* atlas_events--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION atlas_events" to load this file. \quit

-- ---------------------------------------------------------------------
-- Types
-- ---------------------------------------------------------------------

CREATE TYPE atlas_object AS (
    object_type text,
    object_id text,
    external_id text
);

COMMENT ON TYPE atlas_object IS 'A reference to a support object: its type, and its Atlas id or its id in the submitter''s system of record';
COMMENT ON COLUMN atlas_object.object_type IS 'Type of the object, such as CUSTOMER; aliases and any letter case are accepted';
COMMENT ON COLUMN atlas_object.object_id IS 'Atlas id of the object';
COMMENT ON COLUMN atlas_object.external_id IS 'Id of the object in the submitter''s own system of record';

CREATE TYPE atlas_event AS (
    object_type text,
    object_id text,
    external_id text,
    name text,
    description text,
    icon text,
    payload jsonb,
    related_objects atlas_object[],
    occurred_at timestamptz,
    idempotency_key text
);

COMMENT ON TYPE atlas_event IS 'An event as submit_event() takes it; the fields are those of the Events API';
COMMENT ON COLUMN atlas_event.object_type IS 'Type of the primary object: where the event shows up in timelines, search and rules';
COMMENT ON COLUMN atlas_event.object_id IS 'Atlas id of the primary object; this or external_id is required';
COMMENT ON COLUMN atlas_event.external_id IS 'Id of the primary object in the submitter''s own system of record';
COMMENT ON COLUMN atlas_event.name IS 'Expressive name of the event: 1 to 255 characters, at least one of them visible, and no control characters; required';
COMMENT ON COLUMN atlas_event.description IS 'The highlights at a glance, plain text or HTML';
COMMENT ON COLUMN atlas_event.icon IS 'An absolute http(s) URL of at most 2,048 characters, or one visible Unicode character (a grapheme cluster of at most 32 code points)';
COMMENT ON COLUMN atlas_event.payload IS 'Any JSON object';
COMMENT ON COLUMN atlas_event.related_objects IS 'Further objects on whose timelines the event appears. They are linked afterwards, and what is wrong with one of them becomes its outcome, never an error';
COMMENT ON COLUMN atlas_event.occurred_at IS 'When it happened; null means now';
COMMENT ON COLUMN atlas_event.idempotency_key IS 'Makes a retry safe: an event that comes again with the same key is stored once';

-- ---------------------------------------------------------------------
-- Tenant of the session
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_tenant() RETURNS text
    AS 'MODULE_PATHNAME', 'atlas_tenant'
    LANGUAGE C STABLE PARALLEL SAFE;

COMMENT ON FUNCTION atlas_tenant() IS 'The tenant of this session: the setting atlas_events.tenant, empty when there is none';

-- ---------------------------------------------------------------------
-- Times and event ids
-- ---------------------------------------------------------------------

CREATE FUNCTION event_id_at(at timestamptz) RETURNS uuid
    AS 'MODULE_PATHNAME', 'event_id_at'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION event_id_at(timestamptz) IS
'The smallest event id of a time: a period is a range of ids, event_id >= event_id_at(since) AND event_id < event_id_at(until).
Events that occurred a microsecond earlier have smaller ids. Returns the smallest uuid for -infinity and the greatest for infinity. Raises an error for a time that no event can have: before 1970, or after the 48 bits of milliseconds end in the year 10889.';

-- ---------------------------------------------------------------------
-- Tables
--
-- An event row is never updated: an event that has a row in the queue is
-- PENDING or FAILED, any other is LINKED. All keys and indexes begin with the tenant, but
-- for a few that serve all tenants at once and say so. The log and the links are
-- partitioned by event id, whose order is time order. Their parents have no
-- index, and each partition has its own. A partition is made when the first
-- event of its month comes, or of its year if it is old, and is not a member of
-- the extension.
-- ---------------------------------------------------------------------

CREATE TABLE atlas_events (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    object_type text COLLATE "C" NOT NULL,
    object_id text COLLATE "C" NOT NULL,
    external_id text COLLATE "C",
    name text NOT NULL,
    description text,
    icon text,
    payload jsonb,
    related_objects jsonb
) PARTITION BY RANGE (event_id);

COMMENT ON TABLE atlas_events IS 'The event log: one row per event, never updated, in partitions by month, and by year for what is old';
COMMENT ON COLUMN atlas_events.event_id IS 'UUIDv7 whose time is occurred_at, so that its order is timeline order
Events of the same time are in the order in which they were submitted.';
COMMENT ON COLUMN atlas_events.occurred_at IS 'When it happened, as the submitter says, or else when it was received';
COMMENT ON COLUMN atlas_events.received_at IS 'When submit_event() received it';
COMMENT ON COLUMN atlas_events.tenant_id IS 'Tenant that submitted it; empty without tenants';
COMMENT ON COLUMN atlas_events.object_type IS 'Canonical type of the primary object';
COMMENT ON COLUMN atlas_events.object_id IS 'Id of the primary object, as text of the value in its own row';
COMMENT ON COLUMN atlas_events.external_id IS 'External id of the primary object: the one in its own row, or else the submitted one';
COMMENT ON COLUMN atlas_events.name IS 'Name of the event: escape it where you show it';
COMMENT ON COLUMN atlas_events.description IS 'Plain text or HTML, as submitted';
COMMENT ON COLUMN atlas_events.icon IS 'URL or one grapheme cluster: escape it where you show it';
COMMENT ON COLUMN atlas_events.payload IS 'JSON object, as submitted';
COMMENT ON COLUMN atlas_events.related_objects IS 'Array of {objectType, objectId, externalId} in submitted order. An object that can never be looked up has a reason as well. Null when there are none';

CREATE TABLE atlas_event_queue (
    event_id uuid NOT NULL,
    submitted_xid xid8 NOT NULL,
    next_attempt_at timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    depth smallint NOT NULL DEFAULT 0,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    last_error text,
    PRIMARY KEY (tenant_id, event_id)
);

-- One linker serves all tenants, so this is the one index of the queue that does not begin
-- with the tenant. Events that are to be linked at once come last, in the order of the
-- linker's cursor, and events that are to be tried again later come before them. Between
-- the two is what is FAILED: there a number of the tenant takes the place of the
-- transaction, so that a tenant's events are side by side. The condition is true
-- for every row. It keeps the planner from using this index for statements that do not
-- compare submitted_xid: once a vacuum has found the queue empty, the planner takes
-- lookups by event_id to be as cheap here as in the primary key, but they would read the
-- whole index, with all entries of dead rows. No two entries are equal.
CREATE INDEX atlas_event_queue_cursor_idx
    ON atlas_event_queue (next_attempt_at, submitted_xid, event_id)
    WITH (deduplicate_items = off) WHERE submitted_xid IS NOT NULL;

COMMENT ON TABLE atlas_event_queue IS 'Events whose related objects are not linked yet; removing the row makes the event LINKED';
COMMENT ON COLUMN atlas_event_queue.event_id IS 'The event';
COMMENT ON COLUMN atlas_event_queue.submitted_xid IS 'Transaction that submitted it: the linker''s cursor. Of a FAILED event it is a number of its tenant, by which an index finds them';
COMMENT ON COLUMN atlas_event_queue.next_attempt_at IS 'When linking is tried again. Null means at once. Infinity means that the event is FAILED, and waits for atlas_retry_failed()';
COMMENT ON COLUMN atlas_event_queue.attempts IS 'Failed attempts at linking so far';
COMMENT ON COLUMN atlas_event_queue.depth IS 'How many rules led to the event, one after the other; 0 for an event that no rule submitted';
COMMENT ON COLUMN atlas_event_queue.tenant_id IS 'Tenant of the event';
COMMENT ON COLUMN atlas_event_queue.last_error IS 'Why the last attempt failed or was put off';

CREATE TABLE atlas_event_links (
    event_id uuid NOT NULL,
    linked_at timestamptz NOT NULL,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    object_type text COLLATE "C" NOT NULL,
    object_id text COLLATE "C" NOT NULL
) PARTITION BY RANGE (event_id);

COMMENT ON TABLE atlas_event_links IS 'Related objects of linked events: one row per event and object, in the same partitions as the log';
COMMENT ON COLUMN atlas_event_links.event_id IS 'The event';
COMMENT ON COLUMN atlas_event_links.linked_at IS 'When the object was linked';
COMMENT ON COLUMN atlas_event_links.tenant_id IS 'Tenant of the event';
COMMENT ON COLUMN atlas_event_links.object_type IS 'Canonical type of the related object';
COMMENT ON COLUMN atlas_event_links.object_id IS 'Id of the related object, as text of the value in its own row';

CREATE TABLE atlas_event_unresolved (
    event_id uuid NOT NULL,
    position smallint NOT NULL,
    attempts smallint NOT NULL DEFAULT 1,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    object_type text COLLATE "C" NOT NULL,
    object_id text COLLATE "C",
    external_id text COLLATE "C",
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('NOT_FOUND', 'ERROR')),
    reason text NOT NULL,
    first_attempt_at timestamptz NOT NULL,
    next_attempt_at timestamptz,
    PRIMARY KEY (tenant_id, event_id, position)
);

-- What is due again is looked for in all tenants at once.
CREATE INDEX atlas_event_unresolved_next_attempt_at_idx ON atlas_event_unresolved (next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;

COMMENT ON TABLE atlas_event_unresolved IS 'References of linked events whose object was not found or could not be looked up; they are tried again for atlas_events.relink_window';
COMMENT ON COLUMN atlas_event_unresolved.event_id IS 'The event';
COMMENT ON COLUMN atlas_event_unresolved.position IS 'Place of the reference in the event''s related objects, counted from 1';
COMMENT ON COLUMN atlas_event_unresolved.attempts IS 'How often it was looked up';
COMMENT ON COLUMN atlas_event_unresolved.tenant_id IS 'Tenant of the event';
COMMENT ON COLUMN atlas_event_unresolved.object_type IS 'Type of the object referred to; empty if it was not given';
COMMENT ON COLUMN atlas_event_unresolved.object_id IS 'First 255 characters of the id as submitted';
COMMENT ON COLUMN atlas_event_unresolved.external_id IS 'First 255 characters of the external id as submitted';
COMMENT ON COLUMN atlas_event_unresolved.outcome IS 'NOT_FOUND when there is no such object, ERROR when it could not be looked up';
COMMENT ON COLUMN atlas_event_unresolved.reason IS 'The reason for the outcome, in words';
COMMENT ON COLUMN atlas_event_unresolved.first_attempt_at IS 'When it was looked up for the first time';
COMMENT ON COLUMN atlas_event_unresolved.next_attempt_at IS 'When it is looked up again; null means never';

CREATE TABLE atlas_event_keys (
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    idempotency_key text COLLATE "C" NOT NULL,
    event_id uuid NOT NULL,
    event_hash bytea NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (tenant_id, idempotency_key)
);

-- Keys are stored in the order of their time, and are removed by it for all tenants at once.
CREATE INDEX atlas_event_keys_stored_at_idx ON atlas_event_keys USING brin (stored_at);

COMMENT ON TABLE atlas_event_keys IS 'Idempotency keys and the events stored under them';
COMMENT ON COLUMN atlas_event_keys.tenant_id IS 'Tenant that used the key';
COMMENT ON COLUMN atlas_event_keys.idempotency_key IS 'The key, which is unique within its tenant';
COMMENT ON COLUMN atlas_event_keys.event_id IS 'The event that was stored first';
COMMENT ON COLUMN atlas_event_keys.event_hash IS 'SHA-256 of the event: that of a retry is the same, however the retry is written, and that of a different event is not';
COMMENT ON COLUMN atlas_event_keys.stored_at IS 'When the key was stored';

CREATE TABLE atlas_object_types (
    object_type text COLLATE "C" NOT NULL PRIMARY KEY,
    relation regclass NOT NULL,
    id_column name NOT NULL,
    external_id_column name,
    tenant_column name,
    label_column name,
    aliases text[] COLLATE "C" NOT NULL DEFAULT '{}',
    owner name
);

COMMENT ON TABLE atlas_object_types IS 'The registry: which table holds the objects of a type';
COMMENT ON COLUMN atlas_object_types.object_type IS 'Canonical type, upper case';
COMMENT ON COLUMN atlas_object_types.relation IS 'Table that holds the objects';
COMMENT ON COLUMN atlas_object_types.id_column IS 'Column with the Atlas id';
COMMENT ON COLUMN atlas_object_types.external_id_column IS 'Column with the id in the submitter''s system of record, if there is one';
COMMENT ON COLUMN atlas_object_types.tenant_column IS 'Column whose value must equal atlas_events.tenant, if there is one';
COMMENT ON COLUMN atlas_object_types.label_column IS 'Column with what people call the object, if there is one: whoever may search sees the labels';
COMMENT ON COLUMN atlas_object_types.aliases IS 'Further names of the type, besides the built-in ones';
COMMENT ON COLUMN atlas_object_types.owner IS 'Owner of the relation, as whom a statement looks up objects because a superuser has vouched for its code. Null when objects are read directly and no code runs';

CREATE FUNCTION atlas_object_types_changed() RETURNS trigger
    AS 'MODULE_PATHNAME', 'atlas_object_types_changed'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_object_types_changed() IS 'Tells every session that the registry has changed';

-- The triggers also fire where triggers are off (session_replication_role), and in the
-- apply worker of a subscription. That worker fires triggers FOR EACH STATEMENT only for
-- TRUNCATE, so the other trigger is FOR EACH ROW.
CREATE TRIGGER atlas_object_types_changed
    AFTER INSERT OR UPDATE OR DELETE ON atlas_object_types
    FOR EACH ROW EXECUTE FUNCTION atlas_object_types_changed();
CREATE TRIGGER atlas_object_types_emptied
    AFTER TRUNCATE ON atlas_object_types
    FOR EACH STATEMENT EXECUTE FUNCTION atlas_object_types_changed();
ALTER TABLE atlas_object_types ENABLE ALWAYS TRIGGER atlas_object_types_changed;
ALTER TABLE atlas_object_types ENABLE ALWAYS TRIGGER atlas_object_types_emptied;

-- What the HTTP API has refused. The API's extension writes these rows, reads them and
-- removes old ones. The sequence is named, because another relation of that name would
-- otherwise only make PostgreSQL choose a different one.
CREATE TABLE atlas_rejections (
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    rejection_id bigint NOT NULL
        GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME @extschema@.atlas_rejections_rejection_id_seq),
    rejected_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    request_id text COLLATE "C" NOT NULL,
    role text NOT NULL,
    subject text,
    item_index int,
    status smallint NOT NULL,
    code text NOT NULL,
    message text NOT NULL,
    details text,
    hint text,
    errors jsonb,
    request text,
    PRIMARY KEY (tenant_id, rejection_id)
);

-- What is too old is removed for all tenants at once.
CREATE INDEX atlas_rejections_rejected_at_idx ON atlas_rejections (rejected_at);

COMMENT ON TABLE atlas_rejections IS 'Requests that the HTTP API has refused: one row per refused event
The API keeps those of the last 30 days, at most 100,000 per tenant, unless the settings of PostgREST say otherwise.';
COMMENT ON SEQUENCE atlas_rejections_rejection_id_seq IS 'Numbers of rejections';
COMMENT ON COLUMN atlas_rejections.rejection_id IS 'Number of the rejection, in the order in which events were refused';
COMMENT ON COLUMN atlas_rejections.rejected_at IS 'When the event was refused';
COMMENT ON COLUMN atlas_rejections.tenant_id IS 'Tenant of the request; empty without tenants';
COMMENT ON COLUMN atlas_rejections.request_id IS 'The requestId of the answer';
COMMENT ON COLUMN atlas_rejections.role IS 'Role of the token';
COMMENT ON COLUMN atlas_rejections.subject IS 'Claim "sub" of the token';
COMMENT ON COLUMN atlas_rejections.item_index IS 'Place of the event in the batch, counted from 0; null when the request as a whole was refused';
COMMENT ON COLUMN atlas_rejections.status IS 'HTTP status';
COMMENT ON COLUMN atlas_rejections.code IS 'PT400, PT404, PT409, PT413 or PT500';
COMMENT ON COLUMN atlas_rejections.message IS 'The constant phrase that belongs to the code';
COMMENT ON COLUMN atlas_rejections.details IS 'Why the event was refused, the first 1,000 characters';
COMMENT ON COLUMN atlas_rejections.hint IS 'What the client can do about it';
COMMENT ON COLUMN atlas_rejections.errors IS 'The first ten problems of an invalid event, an array of {field, code, message}';
COMMENT ON COLUMN atlas_rejections.request IS 'The event as it was sent, the first 1,000 characters';

-- What is still to be done about an event besides linking it. No status hangs on it, so it
-- has the linker's cursor as its only index, which is like that of the queue.
CREATE TABLE atlas_event_work (
    event_id uuid NOT NULL,
    submitted_xid xid8 NOT NULL,
    next_attempt_at timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    depth smallint NOT NULL DEFAULT 0,
    what smallint NOT NULL,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    last_error text
);

CREATE INDEX atlas_event_work_cursor_idx
    ON atlas_event_work (next_attempt_at, submitted_xid, event_id)
    WITH (deduplicate_items = off) WHERE submitted_xid IS NOT NULL;

COMMENT ON TABLE atlas_event_work IS 'Events about which something is still to be done besides linking them: one row per event';
COMMENT ON COLUMN atlas_event_work.event_id IS 'The event';
COMMENT ON COLUMN atlas_event_work.submitted_xid IS 'Transaction that wrote the row: the linker''s cursor';
COMMENT ON COLUMN atlas_event_work.next_attempt_at IS 'When it is tried again; null means at once';
COMMENT ON COLUMN atlas_event_work.attempts IS 'Failed attempts so far';
COMMENT ON COLUMN atlas_event_work.depth IS 'How many rules led to the event, one after the other; 0 for an event that no rule submitted';
COMMENT ON COLUMN atlas_event_work.what IS 'What is to be done, a sum: 1 is the document by which the event is found, 2 that it takes the place of the one that is there, 4 is to evaluate the rules for the event';
COMMENT ON COLUMN atlas_event_work.tenant_id IS 'Tenant of the event';
COMMENT ON COLUMN atlas_event_work.last_error IS 'Why the last attempt failed or was put off';

CREATE TABLE atlas_event_search (
    event_id uuid NOT NULL,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    document tsvector NOT NULL,
    problem text
) PARTITION BY RANGE (event_id);

COMMENT ON TABLE atlas_event_search IS 'The documents by which events are found: one row per event, in the same partitions as the log
Only atlas_search_events() and atlas_find_objects() read it.';
COMMENT ON COLUMN atlas_event_search.event_id IS 'The event';
COMMENT ON COLUMN atlas_event_search.tenant_id IS 'Tenant of the event';
COMMENT ON COLUMN atlas_event_search.document IS 'Words of the name (weight A), the description (B) and the values of the payload (C), and exact values, whose first character is none of a word: see docs/search.md';
COMMENT ON COLUMN atlas_event_search.problem IS 'Why the document could not be made and is empty; null when it was made';

-- Each row was added by the first event without a document, or by one that had occurred
-- earlier than all before it. There is no key, so that no submitter waits for another.
CREATE TABLE atlas_search_gaps (
    since timestamptz NOT NULL
);

COMMENT ON TABLE atlas_search_gaps IS 'Since when events have no documents, because they were stored while search was not in effect; the earliest row counts';
COMMENT ON COLUMN atlas_search_gaps.since IS 'Events that occurred at this time or later may have no documents';

CREATE TABLE atlas_search_rebuild (
    id smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    since timestamptz NOT NULL,
    requested_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    wait_for_xid xid8,
    before_event uuid,
    position_tenant text COLLATE "C",
    position_event uuid,
    documents bigint NOT NULL DEFAULT 0
);

COMMENT ON TABLE atlas_search_rebuild IS 'The last call of atlas_rebuild_search(), and how far the linker has come with it: at most one row';
COMMENT ON COLUMN atlas_search_rebuild.id IS 'Always 1';
COMMENT ON COLUMN atlas_search_rebuild.since IS 'Documents of events that occurred at this time or later are made anew';
COMMENT ON COLUMN atlas_search_rebuild.requested_at IS 'When atlas_rebuild_search() was called';
COMMENT ON COLUMN atlas_search_rebuild.started_at IS 'When the linker began; null until then';
COMMENT ON COLUMN atlas_search_rebuild.finished_at IS 'When the last document had been made; null until then';
COMMENT ON COLUMN atlas_search_rebuild.wait_for_xid IS 'The linker begins when all transactions before this one have ended, because it would not see their events';
COMMENT ON COLUMN atlas_search_rebuild.before_event IS 'Events with this id or a greater one are done: the log is gone through partition by partition, the newest first';
COMMENT ON COLUMN atlas_search_rebuild.position_tenant IS 'In the partition before that id, tenants before this one are done';
COMMENT ON COLUMN atlas_search_rebuild.position_event IS 'The last event of that tenant that is done';
COMMENT ON COLUMN atlas_search_rebuild.documents IS 'Documents that were made anew so far';

-- Rules. A rule that was made or enabled begins when the transactions have ended that were
-- under way then, since these do not know of it: see src/rules/rule_begin.c.
CREATE TABLE atlas_rules (
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    rule_id bigint NOT NULL
        GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME @extschema@.atlas_rules_rule_id_seq),
    rule_name text COLLATE "C" NOT NULL,
    object_type text COLLATE "C" NOT NULL,
    event_name text,
    condition jsonpath,
    times int NOT NULL DEFAULT 1,
    within interval,
    role text COLLATE "C" NOT NULL DEFAULT 'ANY',
    owner name NOT NULL,
    owner_id oid NOT NULL,
    owner_system bigint NOT NULL,
    is_enabled boolean NOT NULL DEFAULT true,
    disabled_reason text,
    created_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    since timestamptz,
    enabled_xid xid8 NOT NULL,
    wait_for_xid xid8,
    unknown bigint NOT NULL DEFAULT 0,
    errors bigint NOT NULL DEFAULT 0,
    last_error text,
    last_error_at timestamptz,
    action_schema text COLLATE "C",
    action_name text COLLATE "C",
    channel text COLLATE "C",
    cooldown interval,
    system_identifier bigint NOT NULL,
    database_id oid NOT NULL,
    PRIMARY KEY (tenant_id, rule_id),
    CONSTRAINT atlas_rules_tenant_id_rule_name_key UNIQUE (tenant_id, rule_name)
);

-- Whether any rule is enabled, is still to begin, or was switched off, is asked for all tenants at once.
CREATE INDEX atlas_rules_enabled_idx ON atlas_rules (tenant_id, rule_id) WHERE is_enabled;
CREATE INDEX atlas_rules_switched_off_idx ON atlas_rules (tenant_id, rule_id) WHERE disabled_reason IS NOT NULL;
CREATE INDEX atlas_rules_waiting_idx ON atlas_rules (tenant_id, rule_id) WHERE is_enabled AND since IS NULL;

COMMENT ON TABLE atlas_rules IS 'Rules: which events are to be noticed, of which type of object, and how many of them within which time
They are made by atlas_create_rule(), and what they matched is in atlas_rule_matches.';
COMMENT ON SEQUENCE atlas_rules_rule_id_seq IS 'Numbers of rules';
COMMENT ON COLUMN atlas_rules.tenant_id IS 'Tenant whose events the rule is about';
COMMENT ON COLUMN atlas_rules.rule_id IS 'Number of the rule; a rule that is enabled again begins anew and gets a new one';
COMMENT ON COLUMN atlas_rules.rule_name IS 'Name of the rule, which is unique within its tenant';
COMMENT ON COLUMN atlas_rules.object_type IS 'Canonical type of the objects whose events count';
COMMENT ON COLUMN atlas_rules.event_name IS 'Name of the events that count; null is any';
COMMENT ON COLUMN atlas_rules.condition IS 'Path of SQL/JSON that the events must satisfy; null is none';
COMMENT ON COLUMN atlas_rules.times IS 'How many such events make a match';
COMMENT ON COLUMN atlas_rules.within IS 'The time within which they must occur; null if one is enough';
COMMENT ON COLUMN atlas_rules.role IS 'PRIMARY for events of which the object is the primary one, RELATED for those that it is a related object of, or ANY';
COMMENT ON COLUMN atlas_rules.owner IS 'Name of the role that made the rule, as it was then';
COMMENT ON COLUMN atlas_rules.owner_id IS 'That role in the server where it did so: one that has got the name since then is another role';
COMMENT ON COLUMN atlas_rules.owner_system IS 'System identifier of that server; in another one the name counts';
COMMENT ON COLUMN atlas_rules.is_enabled IS 'Whether events are looked at for the rule';
COMMENT ON COLUMN atlas_rules.disabled_reason IS 'Why the rule was switched off; null if somebody did so';
COMMENT ON COLUMN atlas_rules.created_at IS 'When the rule was made';
COMMENT ON COLUMN atlas_rules.since IS 'When the rule began: events that occurred or were received before do not count. Null as long as it waits for transactions that were under way when it was made or enabled';
COMMENT ON COLUMN atlas_rules.enabled_xid IS 'Transaction that made or enabled it';
COMMENT ON COLUMN atlas_rules.wait_for_xid IS 'The rule begins when all transactions before this one have ended';
COMMENT ON COLUMN atlas_rules.unknown IS 'For how many events the condition was unknown, as when a string is compared with a number';
COMMENT ON COLUMN atlas_rules.errors IS 'For how many events the evaluation of the condition ended with an error';
COMMENT ON COLUMN atlas_rules.last_error IS 'The last such error';
COMMENT ON COLUMN atlas_rules.last_error_at IS 'When it occurred';
COMMENT ON COLUMN atlas_rules.action_schema IS 'Schema of the function that is called for each match; null if none is. It takes jsonb, and belongs to the owner of the rule or to a superuser';
COMMENT ON COLUMN atlas_rules.action_name IS 'Name of that function';
COMMENT ON COLUMN atlas_rules.channel IS 'Channel on which each match is notified; null if none is';
COMMENT ON COLUMN atlas_rules.cooldown IS 'Time after an action for an object in which matches of this object have no further action; null if there is none';
COMMENT ON COLUMN atlas_rules.system_identifier IS 'Of the server in which the rule was made, enabled, or resumed: elsewhere, as in a restored database, it does not act until atlas_resume_actions()';
COMMENT ON COLUMN atlas_rules.database_id IS 'OID of that database';

CREATE FUNCTION atlas_rules_changed() RETURNS trigger
    AS 'MODULE_PATHNAME', 'atlas_rules_changed'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_rules_changed() IS 'Tells every session that the rules have changed';

-- As for the registry. The linker counts in rules all the time, which is no such change.
CREATE TRIGGER atlas_rules_changed
    AFTER INSERT OR DELETE OR UPDATE OF tenant_id, rule_id, rule_name, object_type, event_name, condition, times,
        within, role, owner, is_enabled, since, action_schema, action_name, channel ON atlas_rules
    FOR EACH ROW EXECUTE FUNCTION atlas_rules_changed();
CREATE TRIGGER atlas_rules_emptied
    AFTER TRUNCATE ON atlas_rules
    FOR EACH STATEMENT EXECUTE FUNCTION atlas_rules_changed();
ALTER TABLE atlas_rules ENABLE ALWAYS TRIGGER atlas_rules_changed;
ALTER TABLE atlas_rules ENABLE ALWAYS TRIGGER atlas_rules_emptied;

CREATE TABLE atlas_rule_hits (
    event_id uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    rule_id bigint NOT NULL,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    object_id text COLLATE "C" NOT NULL
) PARTITION BY RANGE (event_id);

COMMENT ON TABLE atlas_rule_hits IS 'Events that count for rules which need more than one of them: one row per rule, object and event, in the same partitions as the log';
COMMENT ON COLUMN atlas_rule_hits.event_id IS 'The event';
COMMENT ON COLUMN atlas_rule_hits.occurred_at IS 'When it occurred';
COMMENT ON COLUMN atlas_rule_hits.rule_id IS 'The rule';
COMMENT ON COLUMN atlas_rule_hits.tenant_id IS 'Tenant of the rule and of the event';
COMMENT ON COLUMN atlas_rule_hits.object_id IS 'Id of the object, whose type is that of the rule';

CREATE SEQUENCE atlas_rule_matches_match_id_seq;

COMMENT ON SEQUENCE atlas_rule_matches_match_id_seq IS 'Numbers of matches';

CREATE TABLE atlas_rule_matches (
    event_id uuid NOT NULL,
    matched_at timestamptz NOT NULL,
    match_id bigint NOT NULL,
    rule_id bigint NOT NULL,
    acted_at timestamptz,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    rule_name text COLLATE "C" NOT NULL,
    object_type text COLLATE "C" NOT NULL,
    object_id text COLLATE "C" NOT NULL,
    action_status text COLLATE "C"
) PARTITION BY RANGE (event_id);

COMMENT ON TABLE atlas_rule_matches IS 'What rules have matched: one row per rule, object and event, in the same partitions as the log
The event is the one with which the rule had as many events as it needs. Matches stay when the rule is dropped.';
COMMENT ON COLUMN atlas_rule_matches.event_id IS 'The event';
COMMENT ON COLUMN atlas_rule_matches.matched_at IS 'When the match was noticed, which is later than the event';
COMMENT ON COLUMN atlas_rule_matches.rule_id IS 'The rule';
COMMENT ON COLUMN atlas_rule_matches.tenant_id IS 'Tenant of the rule and of the event';
COMMENT ON COLUMN atlas_rule_matches.rule_name IS 'Name of the rule';
COMMENT ON COLUMN atlas_rule_matches.object_type IS 'Canonical type of the object';
COMMENT ON COLUMN atlas_rule_matches.object_id IS 'Id of the object: the primary or a related object of the event';
COMMENT ON COLUMN atlas_rule_matches.match_id IS 'Number of the match, by which an action or a listener finds it';
COMMENT ON COLUMN atlas_rule_matches.action_status IS 'PENDING until the action of the rule is DONE, or FAILED after max_attempts, or HELD_BACK by the cooldown, or CANCELLED because the rule was dropped or switched off; null if the rule has no action';
COMMENT ON COLUMN atlas_rule_matches.acted_at IS 'When the action came to this status; null while it is PENDING';

-- Actions that are still to be done, or have FAILED.
CREATE TABLE atlas_rule_actions (
    event_id uuid NOT NULL,
    match_id bigint NOT NULL,
    rule_id bigint NOT NULL,
    next_attempt_at timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    depth smallint NOT NULL DEFAULT 0,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    object_id text COLLATE "C" NOT NULL,
    session_role text COLLATE "C" NOT NULL,
    last_error text,
    PRIMARY KEY (tenant_id, match_id)
);

-- All tenants' at once: an action worker serves all of them.
CREATE INDEX atlas_rule_actions_due_idx ON atlas_rule_actions (session_role, rule_id, match_id)
    WHERE next_attempt_at IS NULL;
CREATE INDEX atlas_rule_actions_later_idx ON atlas_rule_actions (next_attempt_at, match_id)
    WHERE next_attempt_at IS NOT NULL;

COMMENT ON TABLE atlas_rule_actions IS 'Actions of matches that are still to be done, or have failed';
COMMENT ON COLUMN atlas_rule_actions.event_id IS 'The event of the match';
COMMENT ON COLUMN atlas_rule_actions.match_id IS 'The match';
COMMENT ON COLUMN atlas_rule_actions.rule_id IS 'The rule';
COMMENT ON COLUMN atlas_rule_actions.next_attempt_at IS 'When it is tried, or tried again. Null means at once. Infinity means that it has FAILED, and waits for atlas_retry_failed()';
COMMENT ON COLUMN atlas_rule_actions.attempts IS 'Attempts so far';
COMMENT ON COLUMN atlas_rule_actions.depth IS 'How many rules led to the event, one after the other; 0 for an event that no rule submitted';
COMMENT ON COLUMN atlas_rule_actions.tenant_id IS 'Tenant of the match';
COMMENT ON COLUMN atlas_rule_actions.object_id IS 'Id of the object of the match';
COMMENT ON COLUMN atlas_rule_actions.session_role IS 'Role in whose session the function is called, which is the owner of the rule; empty for a notification';
COMMENT ON COLUMN atlas_rule_actions.last_error IS 'Why the last attempt failed, or that it is under way';

CREATE TABLE atlas_rule_cooldowns (
    rule_id bigint NOT NULL,
    ends_at timestamptz NOT NULL,
    tenant_id text COLLATE "C" NOT NULL DEFAULT '',
    object_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, rule_id, object_id)
);

CREATE INDEX atlas_rule_cooldowns_ends_at_idx ON atlas_rule_cooldowns (ends_at);

COMMENT ON TABLE atlas_rule_cooldowns IS 'Until when rules do not act again for an object';
COMMENT ON COLUMN atlas_rule_cooldowns.rule_id IS 'The rule';
COMMENT ON COLUMN atlas_rule_cooldowns.ends_at IS 'Until then matches of the object have no action';
COMMENT ON COLUMN atlas_rule_cooldowns.tenant_id IS 'Tenant of the rule';
COMMENT ON COLUMN atlas_rule_cooldowns.object_id IS 'Id of the object, whose type is that of the rule';

-- The linker notes here what it is working on, so that after a crash the next
-- linker knows which events to treat with care. The table is never dumped. It has
-- a key for publications of all tables: without a key the row could not be deleted.
CREATE TABLE atlas_linker_state (
    started_at timestamptz NOT NULL PRIMARY KEY,
    tenants text[] COLLATE "C" NOT NULL DEFAULT '{}',
    batch uuid[] NOT NULL DEFAULT '{}',
    places tid[],
    rule_tenant text COLLATE "C",
    rule_id bigint
);

COMMENT ON TABLE atlas_linker_state IS 'One row while a linker works; when a new linker finds a row, the linker before it was killed';
COMMENT ON COLUMN atlas_linker_state.started_at IS 'When the linker began';
COMMENT ON COLUMN atlas_linker_state.tenants IS 'Tenants of those events, in the same order';
COMMENT ON COLUMN atlas_linker_state.batch IS 'Events that it is working on, noted only after a crash';
COMMENT ON COLUMN atlas_linker_state.rule_tenant IS 'Tenant of the rule that it is trying on the first of them, which may have ended a linker before';
COMMENT ON COLUMN atlas_linker_state.rule_id IS 'That rule';
COMMENT ON COLUMN atlas_linker_state.places IS 'Where their rows are in atlas_event_work; null when it is linking them';

-- ---------------------------------------------------------------------
-- Replication. Each table has a primary key, or partitions that have one. Where
-- changes of the partitions are published as changes of their parent, the parent must
-- say how its rows are identified; the subscriber then uses the keys of its partitions.
-- ---------------------------------------------------------------------

ALTER TABLE atlas_events REPLICA IDENTITY FULL;
ALTER TABLE atlas_event_links REPLICA IDENTITY FULL;
ALTER TABLE atlas_event_search REPLICA IDENTITY FULL;
ALTER TABLE atlas_rule_hits REPLICA IDENTITY FULL;
ALTER TABLE atlas_rule_matches REPLICA IDENTITY FULL;

-- The rows of these tables have no key. They live for a moment, or there are a few of them.
ALTER TABLE atlas_event_work REPLICA IDENTITY FULL;
ALTER TABLE atlas_search_gaps REPLICA IDENTITY FULL;

-- ---------------------------------------------------------------------
-- Dump and restore. Partitions are dumped as ordinary tables.
-- ---------------------------------------------------------------------

SELECT pg_catalog.pg_extension_config_dump('atlas_events', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_event_queue', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_event_links', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_event_unresolved', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_event_work', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_event_search', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_search_gaps', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_search_rebuild', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_event_keys', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_object_types',
    'WHERE relation IN (SELECT oid FROM pg_catalog.pg_class)');
SELECT pg_catalog.pg_extension_config_dump('atlas_rules', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rules_rule_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rule_hits', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rule_matches', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rule_matches_match_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rule_actions', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rule_cooldowns', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rejections', '');
SELECT pg_catalog.pg_extension_config_dump('atlas_rejections_rejection_id_seq', '');

-- ---------------------------------------------------------------------
-- Row security: a role with SELECT on these tables sees its own tenant's
-- rows. The owner, superusers and BYPASSRLS roles see all.
-- ---------------------------------------------------------------------

ALTER TABLE atlas_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_event_queue ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_event_links ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_event_unresolved ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_event_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_event_work ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_event_search ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_rule_hits ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_rule_matches ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_rule_actions ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_rule_cooldowns ENABLE ROW LEVEL SECURITY;
ALTER TABLE atlas_rejections ENABLE ROW LEVEL SECURITY;

CREATE POLICY atlas_tenant ON atlas_events
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_event_queue
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_event_links
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_event_unresolved
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_event_keys
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_event_work
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_event_search
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_rules
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_rule_hits
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_rule_matches
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_rule_actions
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_rule_cooldowns
    USING (tenant_id = @extschema@.atlas_tenant());
CREATE POLICY atlas_tenant ON atlas_rejections
    USING (tenant_id = @extschema@.atlas_tenant());

-- ---------------------------------------------------------------------
-- Object types
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_register_object_type(
    object_type text,
    relation regclass,
    id_column name DEFAULT 'id',
    external_id_column name DEFAULT NULL,
    tenant_column name DEFAULT NULL,
    aliases text[] DEFAULT '{}',
    label_column name DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_register_object_type'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_register_object_type(text, regclass, name, name, name, text[], name) IS
'Connects an object type to the table that holds its objects, or changes the connection.
The caller must own the table. The id column must be unique: by itself, together with the tenant column, or together with the partition key. An external id column must be indexed. Ids are of type uuid, smallint, integer, bigint, numeric without a scale, text, varchar, char, or a domain over one of them; external ids may be citext as well. The label column holds what people call the objects (a name, a title, an e-mail address) as text, varchar, char, name or citext: whoever may search sees the labels. A relation that cannot be read without running its code (a view, a foreign table, a table with forced row security) can be connected by a superuser only, and only if everything beneath it belongs to its owner or to a superuser.';

CREATE FUNCTION atlas_unregister_object_type(object_type text)
    RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_unregister_object_type'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_unregister_object_type(text) IS
'Disconnects an object type from its table. Events and links stay.
The caller must own the table, if it still exists.';

CREATE FUNCTION atlas_discover_object_types(
    in_schema regnamespace DEFAULT NULL,
    OUT object_type text,
    OUT relation regclass,
    OUT id_column name,
    OUT external_id_column name,
    OUT label_column name,
    OUT registered boolean)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'atlas_discover_object_types'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_discover_object_types(regnamespace) IS
'Finds tables named after the built-in object types (customers, tickets, agents, ...) and registers those not registered yet.
Looks in one schema, or in all schemas but those of the system. Only tables that the caller owns and that have a usable id column are considered. The label column is the first of name, title, subject, full_name and email that the table has. registered is true for those that this call registered.';

-- ---------------------------------------------------------------------
-- Submitting
-- ---------------------------------------------------------------------

CREATE FUNCTION submit_event(event atlas_event) RETURNS uuid
    AS 'MODULE_PATHNAME', 'submit_event_composite'
    LANGUAGE C;

COMMENT ON FUNCTION submit_event(atlas_event) IS
'Stores an event on the timeline of its primary object and returns the event id.
Raises PT400 for an invalid event (DETAIL lists all problems as JSON), PT404 when there is no such primary object, PT409 for a conflict and PT413 for an event that is too large.';

CREATE FUNCTION submit_event(
    object_type text,
    object_id text,
    name text,
    description text DEFAULT NULL,
    icon text DEFAULT NULL,
    external_id text DEFAULT NULL,
    payload jsonb DEFAULT NULL,
    related_objects atlas_object[] DEFAULT NULL,
    occurred_at timestamptz DEFAULT NULL,
    idempotency_key text DEFAULT NULL)
    RETURNS uuid
    AS 'MODULE_PATHNAME', 'submit_event_arguments'
    LANGUAGE C;

COMMENT ON FUNCTION submit_event(text, text, text, text, text, text, jsonb, atlas_object[], timestamptz, text) IS
'Stores an event, given as arguments, which may be named, and returns the event id.
Raises PT400, PT404, PT409 and PT413 like submit_event(atlas_event).';

CREATE FUNCTION submit_event(text) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_event_text'
    LANGUAGE C;

COMMENT ON FUNCTION submit_event(text) IS
'Stores an event, given as the JSON of the Events API, and returns its receipt.
The receipt is {"message":"Event Linked","eventId":...,"processingStatus":"LINKED" or "PENDING","duplicate":false}. Malformed JSON raises PT400 with its line and column. PT404, PT409 and PT413 are raised as by submit_event(atlas_event).';

CREATE FUNCTION submit_event(event text, idempotency_key text) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_event_text_key'
    LANGUAGE C;

COMMENT ON FUNCTION submit_event(text, text) IS
'Stores an event, given as the JSON of the Events API, under an idempotency key that came beside it, such as in a header.
The key counts as the field idempotencyKey of the event. An event that has a different key of its own raises PT400. With a null key the event has only the key of its own, if any. Otherwise like submit_event(text).';

CREATE FUNCTION submit_event(json) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_event_text'
    LANGUAGE C;

COMMENT ON FUNCTION submit_event(json) IS
'Stores an event, given as the JSON of the Events API, and returns its receipt.
See submit_event(text).';

CREATE FUNCTION submit_event(jsonb) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_event_jsonb'
    LANGUAGE C;

COMMENT ON FUNCTION submit_event(jsonb) IS
'Stores an event, given as the JSON of the Events API, and returns its receipt.
See submit_event(text).';

CREATE FUNCTION submit_events(events atlas_event[]) RETURNS uuid[]
    AS 'MODULE_PATHNAME', 'submit_events_array'
    LANGUAGE C;

COMMENT ON FUNCTION submit_events(atlas_event[]) IS
'Stores several events, all or nothing, and returns the event ids in order.
Raises what submit_event(atlas_event) would raise for the first event that cannot be stored.';

CREATE FUNCTION submit_events(text) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_events_text'
    LANGUAGE C;

COMMENT ON FUNCTION submit_events(text) IS
'Stores several events, given as a JSON array, each independently of the others.
Returns {"accepted":n,"rejected":n,"results":[...]} with one result per event, in order. A result has index, status, and the receipt or the error: code, message, details, hint, and with status 400 errors, an array of {field, code, message}. At most 1,000 problems are listed, and in any case the first one of each event. Raises PT400 only when the whole is not a JSON array, and PT413 when it has more than atlas_events.max_batch_size items.';

CREATE FUNCTION submit_events(json) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_events_text'
    LANGUAGE C;

COMMENT ON FUNCTION submit_events(json) IS
'Stores several events, given as a JSON array, each independently of the others.
See submit_events(text).';

CREATE FUNCTION submit_events(jsonb) RETURNS json
    AS 'MODULE_PATHNAME', 'submit_events_jsonb'
    LANGUAGE C;

COMMENT ON FUNCTION submit_events(jsonb) IS
'Stores several events, given as a JSON array, each independently of the others.
See submit_events(text).';

-- ---------------------------------------------------------------------
-- Linking
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_link_events(max_events int DEFAULT 1000) RETURNS bigint
    AS 'MODULE_PATHNAME', 'atlas_link_events'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_link_events(int) IS
'Links up to max_events pending events here and now, without any worker, and returns how many became LINKED.
Also looks up the unresolved references that are due again, makes the documents by which up to max_events events are found, and evaluates rules for them; what rules do is left to action workers. Can run beside a linker: each event is then linked by one of the two.';

CREATE FUNCTION atlas_retry_failed(event_id uuid DEFAULT NULL) RETURNS bigint
    AS 'MODULE_PATHNAME', 'atlas_retry_failed'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_retry_failed(uuid) IS
'Makes FAILED events, and FAILED actions of rules, PENDING again, with a fresh count of attempts, and returns how many these are together.
Takes one event and the actions for it, or all of every tenant when event_id is null.';

CREATE FUNCTION atlas_rebuild_search(since timestamptz) RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_rebuild_search'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_rebuild_search(timestamptz) IS
'Has the documents of all events that occurred since then made anew by the linker, or of all events at all when since is null.
Returns at once. The linker goes through the log from the newest partition to the oldest, when nothing else is due, and goes on after a restart; atlas_search_status shows how far it is. It begins when the transactions that are under way have ended. A call while another rebuild is under way begins anew, and covers both.';

-- ---------------------------------------------------------------------
-- Reading
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_timeline(
    object_type text,
    object_id text DEFAULT NULL,
    before_event uuid DEFAULT NULL,
    max_events int DEFAULT 50,
    external_id text DEFAULT NULL,
    name text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    OUT event_id uuid,
    OUT occurred_at timestamptz,
    OUT role text,
    OUT name text,
    OUT description text,
    OUT icon text,
    OUT payload jsonb,
    OUT object_type text,
    OUT object_id text,
    OUT external_id text,
    OUT processing_status text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'atlas_timeline'
    LANGUAGE C STABLE ROWS 50;

COMMENT ON FUNCTION atlas_timeline(text, text, uuid, int, text, text, timestamptz, timestamptz) IS
'The events of an object of the session''s tenant, newest first.
role is PRIMARY where it is the primary object of the event, and RELATED where it is a related object. The object is named by object_id, by external_id, or by both. An object_id without an object has the events that it had, or none; for an external_id the object is looked up, and PT404 is raised if it is not there, PT409 if the ids name two objects. before_event continues after the last event of the previous page, and max_events is the size of a page. Only events of this name are returned if name is given, and only those with since <= occurred_at < until.';

CREATE FUNCTION atlas_search_events(
    query text,
    object_type text DEFAULT NULL,
    object_id text DEFAULT NULL,
    name text DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    before_event uuid DEFAULT NULL,
    max_events int DEFAULT 50,
    max_work int DEFAULT NULL,
    OUT event_id uuid,
    OUT occurred_at timestamptz,
    OUT object_type text,
    OUT object_id text,
    OUT external_id text,
    OUT label text,
    OUT name text,
    OUT description text,
    OUT icon text,
    OUT payload jsonb,
    OUT headline text,
    OUT processing_status text,
    OUT searched_until uuid)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'atlas_search_events'
    LANGUAGE C STABLE ROWS 50;

COMMENT ON FUNCTION atlas_search_events(text, text, text, text, timestamptz, timestamptz, uuid, int, int) IS
'The events of the session''s tenant that a query finds, newest first.
A query has words, all of which an event has, "phrases", -words that it does not have, words that OR joins, begin* of words and field:value of the payload; a query that is null or empty finds every event. Only events whose primary object is of object_type are returned if that is given, and with object_id the events on the timeline of that object; only those of this name, whatever its case, if name is given, and only those with since <= occurred_at < until. An event is found when its document has been made, shortly after it was submitted. label is what people call the primary object now, and headline a piece of the event as HTML, with the words in <mark>. before_event continues after the last event of the previous page, and max_events is the size of a page. If max_work is given, the page ends after about so many rows and index entries have been looked at: then its last row has no event, and its searched_until is passed as before_event to go on.';

CREATE FUNCTION atlas_find_objects(
    object_type text,
    query text DEFAULT NULL,
    name text DEFAULT NULL,
    condition jsonpath DEFAULT NULL,
    times int DEFAULT 1,
    since timestamptz DEFAULT pg_catalog.now() OPERATOR(pg_catalog.-) '30 days'::pg_catalog.interval,
    until timestamptz DEFAULT NULL,
    before_event uuid DEFAULT NULL,
    max_objects int DEFAULT 50,
    max_work int DEFAULT NULL,
    OUT object_id text,
    OUT external_id text,
    OUT label text,
    OUT events bigint,
    OUT newest_event uuid,
    OUT newest_at timestamptz,
    OUT searched_until uuid)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'atlas_find_objects'
    LANGUAGE C STABLE ROWS 50;

COMMENT ON FUNCTION atlas_find_objects(text, text, text, jsonpath, int, timestamptz, timestamptz, uuid, int, int) IS
'The objects of a type, of the session''s tenant, that have at least so many events that match, by their newest one, newest first.
An event counts for its primary object and for its related objects that are linked. It matches if its document matches the query, if it has the name, in any case, if it satisfies the condition, a path of SQL/JSON as atlas_has_event() takes it, and if since <= occurred_at < until. events is their number in the whole period, whatever page it is. external_id and label are those in the object''s own row, and null if it is gone. before_event continues after the newest_event of the last row, and max_objects is the size of a page, which is longer only if its last event has several such objects. With max_work a page ends when it has looked at so many rows and index entries; an event for which the condition is evaluated costs one more. Its last row then has no object, and before_event continues with its searched_until. Counts are complete all the same: an object that is not settled is left to the next page, but those of the first event are settled, whatever that costs.';

CREATE FUNCTION atlas_has_event(
    object_type text,
    object_id text,
    name text DEFAULT NULL,
    condition jsonpath DEFAULT NULL,
    within interval DEFAULT NULL,
    times int DEFAULT 1)
    RETURNS boolean
    AS 'MODULE_PATHNAME', 'atlas_has_event'
    LANGUAGE C STABLE PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION atlas_has_event(text, text, text, jsonpath, interval, int) IS
'Whether an object of the session''s tenant has at least so many events of a kind.
They count if the object is their primary or a related object, if they have this name and satisfy the condition, and if they occurred within the interval before now(). Looks at the newest events first, and at no more than it needs. condition is a path of SQL/JSON over the event as the API shows it, such as ''$.payload.amount > 100 && $.payload.currency == "USD"'': one that is a predicate must be true, and any other must find something. What is unknown, such as a string that is compared with a number, is not true. There is no like_regex, .**, .datetime() or variable in it. A null name, condition or interval does not count. Null if object_type or object_id is null. An unknown object type raises PT400.';

CREATE FUNCTION atlas_count_events(
    object_type text,
    object_id text,
    name text DEFAULT NULL,
    condition jsonpath DEFAULT NULL,
    within interval DEFAULT NULL)
    RETURNS bigint
    AS 'MODULE_PATHNAME', 'atlas_count_events'
    LANGUAGE C STABLE PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION atlas_count_events(text, text, text, jsonpath, interval) IS
'How many events of a kind an object of the session''s tenant has.
They count if the object is their primary or a related object, if they have this name and satisfy the condition, and if they occurred within the interval before now(). See atlas_has_event().';

-- ---------------------------------------------------------------------
-- Rules
-- ---------------------------------------------------------------------

CREATE FUNCTION atlas_create_rule(
    rule_name text,
    object_type text,
    event_name text DEFAULT NULL,
    condition jsonpath DEFAULT NULL,
    times int DEFAULT 1,
    within interval DEFAULT NULL,
    role text DEFAULT 'ANY',
    action regprocedure DEFAULT NULL,
    channel text DEFAULT NULL,
    cooldown interval DEFAULT NULL)
    RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_create_rule'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_create_rule(text, text, text, jsonpath, int, interval, text, regprocedure, text, interval) IS
'Makes a rule of the session''s tenant, which belongs to the current role.
The rule matches an event if it has this name and satisfies the condition, and, if times is more than 1, if it is at least the times-th such event of the object within that time. With the role PRIMARY only the primary object of an event counts, with RELATED only its related objects that are linked, with ANY both. A null name or condition does not count; condition is as in atlas_has_event(). Matches are rows of atlas_rule_matches. Events count that come after the rule has begun, which is when all transactions that are under way now have ended. A notice says for how many of the last 1,000 events of the kind the condition is true, and for how many it is unknown. For each match, action is called with one jsonb, {rule, matchId, event, object, matchedAt}, at least once, in a session of the owner of the rule, or the match_id is notified on channel, whose name begins with atlas_. An action must belong to the current role or to a superuser. After an action for an object, further matches of this object have none for the time of cooldown. Raises PT400 with all that is wrong, and PT409 if the tenant has a rule of this name.';

CREATE FUNCTION atlas_drop_rule(rule_name text) RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_drop_rule'
    LANGUAGE C STRICT;

COMMENT ON FUNCTION atlas_drop_rule(text) IS
'Removes a rule of the session''s tenant. What it matched stays.
The caller must be the owner of the rule, a member of that role, or a superuser. Raises PT404 if there is no such rule.';

CREATE FUNCTION atlas_enable_rule(rule_name text, is_enabled boolean) RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_enable_rule'
    LANGUAGE C STRICT;

COMMENT ON FUNCTION atlas_enable_rule(text, boolean) IS
'Switches a rule of the session''s tenant on or off.
A rule that is switched on begins anew: events from before do not count. The caller must be the owner of the rule, a member of that role, or a superuser. Raises PT404 if there is no such rule.';

CREATE FUNCTION atlas_resume_actions() RETURNS void
    AS 'MODULE_PATHNAME', 'atlas_resume_actions'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_resume_actions() IS
'Lets the rules of all tenants act in this database.
In a database that was restored, or made as a copy of another one, rules do not act until this is called, so that a copy for tests does not do so a second time. Actions that have waited for it are done then.';

CREATE FUNCTION atlas_test_rule(
    object_type text,
    event_name text DEFAULT NULL,
    condition jsonpath DEFAULT NULL,
    times int DEFAULT 1,
    within interval DEFAULT NULL,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    max_events int DEFAULT 10000,
    role text DEFAULT 'ANY',
    OUT event_id uuid,
    OUT occurred_at timestamptz,
    OUT name text,
    OUT object_id text,
    OUT searched_since timestamptz)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'atlas_test_rule'
    LANGUAGE C STABLE ROWS 50;

COMMENT ON FUNCTION atlas_test_rule(text, text, jsonpath, int, interval, timestamptz, timestamptz, int, text) IS
'The events of the past that such a rule would have matched, and the objects, oldest first.
Looks at no more than max_events events of the session''s tenant with since <= occurred_at < until, the newest ones. If there are more, searched_since says from when on they were looked at; else it is null. A notice says for how many events the condition was unknown. Arguments and errors are as in atlas_create_rule().';

-- What each event is, LINKED or not, is looked up in the queue for the rows that are read,
-- one by one. Nothing but a sub-SELECT of one value makes sure of that: a join, or EXISTS,
-- may read and sort the whole queue for a page. A column that nobody selects costs nothing.
-- The tenant is that of the session for superusers as well. The functions are qualified,
-- since somebody might put a function with a better match into this schema.
CREATE VIEW atlas_event_logs WITH (security_invoker = true) AS
    SELECT e.event_id, e.tenant_id, e.object_type, e.object_id, e.external_id,
           e.name, e.description, e.icon, e.payload,
           (SELECT pg_catalog.jsonb_agg(
                       o.item || CASE
                           WHEN q.next_attempt_at = 'infinity' THEN
                               pg_catalog.jsonb_build_object('outcome', 'ERROR', 'reason', q.last_error)
                           WHEN q.event_id IS NOT NULL THEN pg_catalog.jsonb_build_object('outcome', 'PENDING')
                           WHEN u.event_id IS NOT NULL THEN
                               pg_catalog.jsonb_build_object('outcome', u.outcome, 'reason', u.reason)
                           ELSE pg_catalog.jsonb_build_object('outcome', 'LINKED') END
                       ORDER BY o.position)
              FROM pg_catalog.jsonb_array_elements(e.related_objects) WITH ORDINALITY AS o (item, position)
              LEFT JOIN atlas_event_unresolved u
                ON u.tenant_id = @extschema@.atlas_tenant() AND u.event_id = e.event_id AND u.position = o.position
              LEFT JOIN atlas_event_queue q
                ON q.tenant_id = @extschema@.atlas_tenant() AND q.event_id = e.event_id) AS related_objects,
           COALESCE((SELECT CASE WHEN q.next_attempt_at = 'infinity' THEN 'FAILED' ELSE 'PENDING' END
                       FROM atlas_event_queue q
                      WHERE q.tenant_id = @extschema@.atlas_tenant() AND q.event_id = e.event_id), 'LINKED') AS processing_status,
           COALESCE((SELECT q.attempts FROM atlas_event_queue q
                      WHERE q.tenant_id = @extschema@.atlas_tenant() AND q.event_id = e.event_id), 0::smallint) AS attempts,
           (SELECT q.last_error FROM atlas_event_queue q
             WHERE q.tenant_id = @extschema@.atlas_tenant() AND q.event_id = e.event_id) AS last_error,
           e.occurred_at, e.received_at,
           CASE WHEN (SELECT q.event_id FROM atlas_event_queue q
                       WHERE q.tenant_id = @extschema@.atlas_tenant() AND q.event_id = e.event_id) IS NULL
                THEN COALESCE((SELECT pg_catalog.min(l.linked_at) FROM atlas_event_links l
                                WHERE l.tenant_id = @extschema@.atlas_tenant() AND l.event_id = e.event_id),
                              (SELECT pg_catalog.min(u.first_attempt_at) FROM atlas_event_unresolved u
                                WHERE u.tenant_id = @extschema@.atlas_tenant() AND u.event_id = e.event_id),
                              e.received_at) END AS linked_at
      FROM atlas_events e
     WHERE e.tenant_id = @extschema@.atlas_tenant();

COMMENT ON VIEW atlas_event_logs IS 'The event logs of the session''s tenant: one row per event, with its processing status and the outcome of each related object. Order by event_id for a page.';
COMMENT ON COLUMN atlas_event_logs.related_objects IS 'Array of {objectType, objectId, externalId, outcome, reason}; outcome is PENDING, LINKED, NOT_FOUND or ERROR';
COMMENT ON COLUMN atlas_event_logs.processing_status IS 'PENDING, LINKED or FAILED. What is PENDING or FAILED is found fast in atlas_pending_events';
COMMENT ON COLUMN atlas_event_logs.attempts IS 'Failed attempts at linking; 0 once LINKED';
COMMENT ON COLUMN atlas_event_logs.last_error IS 'Why the last attempt at linking failed or was put off';
COMMENT ON COLUMN atlas_event_logs.linked_at IS 'When the event became LINKED; null until then';

-- What is PENDING is read in the order of the queue's primary key, and what is FAILED in
-- that of the cursor's index, where it has a number of its tenant. Each branch has its own
-- constant status and its own order, so that a page reads the newest events only, and a
-- filter on the status skips the other branch. OFFSET 0 makes sure that the row of a queued
-- event is looked up by its id.
CREATE VIEW atlas_pending_events WITH (security_invoker = true) AS
(
    SELECT q.event_id, e.tenant_id, e.object_type, e.object_id, e.external_id,
           e.name, e.description, e.icon, e.payload,
           (SELECT pg_catalog.jsonb_agg(o.item || pg_catalog.jsonb_build_object('outcome', 'PENDING') ORDER BY o.position)
              FROM pg_catalog.jsonb_array_elements(e.related_objects) WITH ORDINALITY AS o (item, position)) AS related_objects,
           'PENDING'::text AS processing_status, q.attempts, q.last_error,
           e.occurred_at, e.received_at, NULL::timestamptz AS linked_at
      FROM atlas_event_queue q,
           LATERAL (SELECT * FROM atlas_events e
                     WHERE e.tenant_id = @extschema@.atlas_tenant() AND e.event_id = q.event_id OFFSET 0) e
     WHERE q.tenant_id = @extschema@.atlas_tenant() AND q.next_attempt_at IS DISTINCT FROM 'infinity'
     ORDER BY q.event_id DESC
)
UNION ALL
(
    SELECT q.event_id, e.tenant_id, e.object_type, e.object_id, e.external_id,
           e.name, e.description, e.icon, e.payload,
           (SELECT pg_catalog.jsonb_agg(o.item || pg_catalog.jsonb_build_object('outcome', 'ERROR', 'reason', q.last_error)
                       ORDER BY o.position)
              FROM pg_catalog.jsonb_array_elements(e.related_objects) WITH ORDINALITY AS o (item, position)),
           'FAILED'::text, q.attempts, q.last_error,
           e.occurred_at, e.received_at, NULL::timestamptz
      FROM atlas_event_queue q,
           LATERAL (SELECT * FROM atlas_events e
                     WHERE e.tenant_id = @extschema@.atlas_tenant() AND e.event_id = q.event_id OFFSET 0) e
     WHERE q.next_attempt_at = 'infinity' AND q.tenant_id = @extschema@.atlas_tenant()
       AND q.submitted_xid = (pg_catalog.hashtextextended(@extschema@.atlas_tenant(), 0) & 9223372036854775807)::text::xid8
     ORDER BY q.event_id DESC
);

COMMENT ON VIEW atlas_pending_events IS 'Those of the event logs that are PENDING or FAILED, read from the queue: the columns are those of atlas_event_logs. Order by event_id for a page.';
COMMENT ON COLUMN atlas_pending_events.related_objects IS 'Array of {objectType, objectId, externalId, outcome, reason}; outcome is PENDING, or ERROR once FAILED';
COMMENT ON COLUMN atlas_pending_events.processing_status IS 'PENDING or FAILED';
COMMENT ON COLUMN atlas_pending_events.attempts IS 'Failed attempts at linking so far';
COMMENT ON COLUMN atlas_pending_events.last_error IS 'Why the last attempt at linking failed or was put off';
COMMENT ON COLUMN atlas_pending_events.linked_at IS 'Null: the event is not LINKED';

CREATE FUNCTION atlas_tables(
    OUT table_name text,
    OUT tenant_column text,
    OUT is_partitioned boolean,
    OUT is_dumped boolean,
    OUT is_published boolean,
    OUT erased_by text,
    OUT distributed_by text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'atlas_tables_list'
    LANGUAGE C IMMUTABLE;

COMMENT ON FUNCTION atlas_tables() IS 'The tables of this extension, and what tools that deal with all of them have to know
tenant_column: the column of the tenant; is_partitioned: by event id; is_dumped: pg_dump takes the rows; is_published: a subscriber has a use for the rows; erased_by: the columns that find what is about an object; distributed_by: the column that says where in a cluster a row is.';

CREATE FUNCTION atlas_status(
    OUT preloaded boolean,
    OUT worker_pid int,
    OUT worker_state text,
    OUT submitted bigint,
    OUT linked bigint,
    OUT not_found bigint,
    OUT failed bigint,
    OUT queue_depth bigint,
    OUT oldest_pending_age interval,
    OUT rules bigint,
    OUT rules_switched_off bigint,
    OUT actions_due bigint,
    OUT actions_failed bigint,
    OUT last_error text,
    OUT last_error_at timestamptz,
    OUT advice text)
    RETURNS record
    AS 'MODULE_PATHNAME', 'atlas_status'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_status() IS 'The row of the view atlas_events_status';

CREATE VIEW atlas_events_status WITH (security_invoker = true) AS
    SELECT * FROM atlas_status();

COMMENT ON VIEW atlas_events_status IS 'State of the linking in this database: one row';
COMMENT ON COLUMN atlas_events_status.preloaded IS 'Whether the library is in shared_preload_libraries, so that events are linked in the background';
COMMENT ON COLUMN atlas_events_status.worker_pid IS 'Process id of the linker; null when none runs';
COMMENT ON COLUMN atlas_events_status.worker_state IS 'What the linker does: starting, linking, idle, asleep (until the next event comes), waiting (for a free worker), backoff (after an error), held (while the database is renamed, moved, copied or dropped), off';
COMMENT ON COLUMN atlas_events_status.submitted IS 'Events stored since the server started; null when not preloaded';
COMMENT ON COLUMN atlas_events_status.linked IS 'Events that linkers linked since the server started; null when not preloaded';
COMMENT ON COLUMN atlas_events_status.not_found IS 'References that linkers did not find at the first attempt, since the server started; null when not preloaded';
COMMENT ON COLUMN atlas_events_status.failed IS 'Events that are FAILED now';
COMMENT ON COLUMN atlas_events_status.queue_depth IS 'Events that are PENDING now';
COMMENT ON COLUMN atlas_events_status.oldest_pending_age IS 'Time since the oldest pending event was received';
COMMENT ON COLUMN atlas_events_status.rules IS 'Rules that are enabled, of all tenants';
COMMENT ON COLUMN atlas_events_status.rules_switched_off IS 'Rules that were switched off because of their conditions, or because they matched too often: see disabled_reason in atlas_rules';
COMMENT ON COLUMN atlas_events_status.actions_due IS 'Actions of rules that are still to be done, those that are to be tried again included';
COMMENT ON COLUMN atlas_events_status.actions_failed IS 'Actions that have failed max_attempts times, and wait for atlas_retry_failed()';
COMMENT ON COLUMN atlas_events_status.last_error IS 'Last error of a linker of this database since the server started';
COMMENT ON COLUMN atlas_events_status.last_error_at IS 'When that error occurred';
COMMENT ON COLUMN atlas_events_status.advice IS 'What an operator should do; null when all is well';

CREATE FUNCTION atlas_search_progress(
    OUT in_effect boolean,
    OUT documents_waiting bigint,
    OUT oldest_waiting_age interval,
    OUT missing_since timestamptz,
    OUT rebuild_since timestamptz,
    OUT rebuild_requested_at timestamptz,
    OUT rebuild_started_at timestamptz,
    OUT rebuild_finished_at timestamptz,
    OUT rebuild_position timestamptz,
    OUT rebuild_documents bigint)
    RETURNS record
    AS 'MODULE_PATHNAME', 'atlas_search_progress'
    LANGUAGE C;

COMMENT ON FUNCTION atlas_search_progress() IS 'The row of the view atlas_search_status';

CREATE VIEW atlas_search_status WITH (security_invoker = true) AS
    SELECT * FROM atlas_search_progress();

COMMENT ON VIEW atlas_search_status IS 'How far the documents are by which events are found: one row';
COMMENT ON COLUMN atlas_search_status.in_effect IS 'Whether documents are made of new events: atlas_events.search is on and the library is preloaded';
COMMENT ON COLUMN atlas_search_status.documents_waiting IS 'Events of which a document is still to be made, those of a rebuild included';
COMMENT ON COLUMN atlas_search_status.oldest_waiting_age IS 'Time since the oldest of the new ones among them was received';
COMMENT ON COLUMN atlas_search_status.missing_since IS 'Events that occurred since then may have no documents: call atlas_rebuild_search(); null when all have them';
COMMENT ON COLUMN atlas_search_status.rebuild_since IS 'What the last rebuild was asked for; -infinity is everything; null when there was none';
COMMENT ON COLUMN atlas_search_status.rebuild_requested_at IS 'When it was asked for';
COMMENT ON COLUMN atlas_search_status.rebuild_started_at IS 'When the linker began with it; null until then';
COMMENT ON COLUMN atlas_search_status.rebuild_finished_at IS 'When it was finished; null until then';
COMMENT ON COLUMN atlas_search_status.rebuild_position IS 'Events that occurred since then are done; null while it is in the newest partition';
COMMENT ON COLUMN atlas_search_status.rebuild_documents IS 'Documents that were made anew so far';

-- ---------------------------------------------------------------------
-- Privileges: PUBLIC may ask for the tenant of its own session, and for the
-- event id of a time. Every other call is granted one by one.
-- ---------------------------------------------------------------------

REVOKE ALL ON FUNCTION
    submit_event(atlas_event),
    submit_event(text, text, text, text, text, text, jsonb, atlas_object[], timestamptz, text),
    submit_event(text), submit_event(text, text), submit_event(json), submit_event(jsonb),
    submit_events(atlas_event[]),
    submit_events(text), submit_events(json), submit_events(jsonb),
    atlas_register_object_type(text, regclass, name, name, name, text[], name),
    atlas_unregister_object_type(text),
    atlas_discover_object_types(regnamespace),
    atlas_object_types_changed(),
    atlas_rules_changed(),
    atlas_create_rule(text, text, text, jsonpath, int, interval, text, regprocedure, text, interval),
    atlas_drop_rule(text),
    atlas_enable_rule(text, boolean),
    atlas_resume_actions(),
    atlas_test_rule(text, text, jsonpath, int, interval, timestamptz, timestamptz, int, text),
    atlas_link_events(int),
    atlas_retry_failed(uuid),
    atlas_rebuild_search(timestamptz),
    atlas_timeline(text, text, uuid, int, text, text, timestamptz, timestamptz),
    atlas_search_events(text, text, text, text, timestamptz, timestamptz, uuid, int, int),
    atlas_find_objects(text, text, text, jsonpath, int, timestamptz, timestamptz, uuid, int, int),
    atlas_has_event(text, text, text, jsonpath, interval, int),
    atlas_count_events(text, text, text, jsonpath, interval),
    atlas_status(),
    atlas_search_progress(),
    atlas_tables()
    FROM PUBLIC;

GRANT EXECUTE ON FUNCTION atlas_status(), atlas_search_progress() TO pg_monitor;
GRANT SELECT ON atlas_events_status, atlas_search_status TO pg_monitor;
