-- What users would search events with: a GIN index on an expression of the log, which they
-- would write first; RUM, which keeps times in its index and so has the newest first; and
-- no index at all, which is the log itself. Each has the rows and the other indexes of the
-- log, in one table.

CREATE FUNCTION peer.text_of(name text, description text, payload jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN name || ' ' || coalesce(description, '') || ' ' || coalesce(payload::text, '');

CREATE TABLE peer.gin_events (LIKE atlas_events INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, event_id));
INSERT INTO peer.gin_events SELECT * FROM atlas_events ORDER BY event_id;
CREATE INDEX ON peer.gin_events (tenant_id, object_type, object_id, event_id) WITH (deduplicate_items = off);
CREATE TABLE peer.plain_events (LIKE peer.gin_events INCLUDING ALL);
INSERT INTO peer.plain_events TABLE peer.gin_events;
CREATE INDEX ON peer.gin_events USING gin (to_tsvector('simple', peer.text_of(name, description, payload)));
VACUUM ANALYZE peer.gin_events, peer.plain_events;
