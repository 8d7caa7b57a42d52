-- The peers that are plain SQL. Each writes the row that submit_event() writes
-- to a table with the columns and the two indexes of a partition of the log.

CREATE SCHEMA peer;

-- Ids that are as cheap as can be, and in order of time like ours.
CREATE SEQUENCE peer.ids CACHE 1000;

CREATE FUNCTION peer.make_id() RETURNS uuid LANGUAGE sql
RETURN lpad(to_hex(nextval('peer.ids')), 32, '0')::uuid;

CREATE TABLE peer.events (LIKE atlas_events INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, event_id));
CREATE INDEX ON peer.events (tenant_id, object_type, object_id, event_id) WITH (deduplicate_items = off);
CREATE TABLE peer.event_queue (LIKE atlas_event_queue INCLUDING DEFAULTS INCLUDING INDEXES);

-- What a user would write first: the object's id has the type of the key it
-- refers to.
CREATE TABLE peer.fk_events (LIKE atlas_events INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, event_id));
ALTER TABLE peer.fk_events
    ALTER COLUMN object_id TYPE uuid USING object_id::uuid,
    ADD FOREIGN KEY (object_id) REFERENCES customers;
CREATE INDEX ON peer.fk_events (tenant_id, object_type, object_id, event_id) WITH (deduplicate_items = off);

-- What a user would write second.
CREATE FUNCTION peer.submit(event jsonb) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    customer customers;
    id uuid;
BEGIN
    IF event->>'objectType' IS DISTINCT FROM 'CUSTOMER' THEN
        RAISE 'unknown object type %', event->>'objectType';
    END IF;
    IF event->>'name' IS NULL THEN
        RAISE 'name is required';
    END IF;
    SELECT * INTO customer FROM customers c WHERE c.id = (event->>'objectId')::uuid;
    IF NOT FOUND THEN
        RAISE 'no such customer: %', event->>'objectId';
    END IF;
    id := peer.make_id();
    INSERT INTO peer.events (event_id, occurred_at, received_at, object_type, object_id, external_id, name,
                             description, icon, payload, related_objects)
    VALUES (id, coalesce((event->>'occurredAt')::timestamptz, clock_timestamp()), clock_timestamp(), 'CUSTOMER',
            customer.id, customer.external_id, event->>'name', event->>'description', event->>'icon',
            event->'payload', event->'relatedObjects');
    IF event ? 'relatedObjects' THEN
        INSERT INTO peer.event_queue (event_id, submitted_xid) VALUES (id, pg_current_xact_id());
    END IF;
    RETURN id;
END $$;

-- The linker's work as one statement over our own tables: takes at most
-- max_events from the queue, and links what they refer to.
CREATE FUNCTION peer.link(max_events bigint) RETURNS bigint LANGUAGE sql AS $$
    WITH batch AS (
        DELETE FROM atlas_event_queue
         WHERE (tenant_id, event_id) IN (SELECT tenant_id, event_id FROM atlas_event_queue
                                          WHERE next_attempt_at IS NULL
                                          ORDER BY next_attempt_at, submitted_xid, event_id
                                          LIMIT max_events FOR UPDATE SKIP LOCKED)
        RETURNING tenant_id, event_id),
    refs AS (
        SELECT e.event_id, e.tenant_id, r->>'objectType' AS object_type, r->>'objectId' AS object_id
          FROM batch
          JOIN atlas_events e ON e.tenant_id = batch.tenant_id AND e.event_id = batch.event_id,
               LATERAL jsonb_array_elements(e.related_objects) AS r),
    links AS (
        INSERT INTO atlas_event_links (event_id, tenant_id, object_type, object_id, linked_at)
        SELECT event_id, tenant_id, object_type, a.id::text, now()
          FROM refs JOIN accounts a ON a.id = CASE WHEN object_type = 'ACCOUNT' THEN object_id::uuid END
        UNION ALL
        SELECT event_id, tenant_id, object_type, c.id::text, now()
          FROM refs JOIN conversations c ON c.id = CASE WHEN object_type = 'CONVERSATION' THEN object_id::bigint END
        ON CONFLICT DO NOTHING)
    SELECT count(*) FROM batch
$$;

CREATE PROCEDURE peer.link_all(batch_size bigint) LANGUAGE plpgsql AS $$
BEGIN
    WHILE peer.link(batch_size) > 0 LOOP
        COMMIT;
    END LOOP;
END $$;
