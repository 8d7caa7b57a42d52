-- The peer that needs an extension, postgresql-15-rum of Debian.

CREATE EXTENSION rum;
CREATE TABLE peer.rum_events (LIKE peer.gin_events INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, event_id));
ALTER TABLE peer.rum_events ADD COLUMN document tsvector
    GENERATED ALWAYS AS (to_tsvector('simple', peer.text_of(name, description, payload))) STORED;
INSERT INTO peer.rum_events SELECT * FROM peer.gin_events;
CREATE INDEX ON peer.rum_events (tenant_id, object_type, object_id, event_id) WITH (deduplicate_items = off);
CREATE INDEX ON peer.rum_events USING rum (document rum_tsvector_addon_ops, occurred_at)
    WITH (attach = 'occurred_at', to = 'document');
VACUUM ANALYZE peer.rum_events;
