-- Events at scale, made in the server: rows as submit_event() and the linker
-- would have left them, several ten thousand a second and session.

CREATE SCHEMA generator;

-- A number in 1 .. most, the same for the same n and seed; zipf: k is drawn
-- about 1/k as often as 1, so that a few objects are very hot.
CREATE FUNCTION generator.pick(n bigint, seed bigint, most int, zipf boolean) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN zipf THEN floor(exp(ln(most + 1) * ((hashint8extended(n, seed) & 1048575) + 0.5) / 1048576))
            ELSE 1 + (hashint8extended(n, seed) & 1073741823) % most END::int;

-- Event n of total, which are spread evenly over a span of time that ends now.
CREATE FUNCTION generator.time_of(n bigint, total bigint, until timestamptz, span interval) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN until - span * ((total - n + 1)::float8 / total);

CREATE FUNCTION generator.id_of(n bigint, at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || left(md5(n::text), 3) || '8' || substr(md5(n::text), 4, 15))::uuid;

-- One of so many tenants: the first has more than a quarter of all events, the
-- last of a thousand has one in 30,000.
CREATE FUNCTION generator.tenant_of(n bigint, tenants int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN tenants = 0 THEN '' ELSE 'tenant-' || floor(
    (1 - (1 - (tenants + 1) ^ -0.3::float8) * ((hashint8extended(n, 4) & 1048575) + 0.5) / 1048576) ^ (-1 / 0.3::float8))::int END;

-- Makes the partitions, as submit_event() does it when the first event of a
-- month comes.
CREATE PROCEDURE generator.make_partitions(until timestamptz, span interval)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM submit_event(object_type => 'CUSTOMER', object_id => md5('customer-1')::uuid::text, name => 'First',
                         occurred_at => at, related_objects => ARRAY[('ACCOUNT', md5('account-1')::uuid, NULL)]::atlas_object[])
       FROM generate_series(until - span, until, '10 days') AS at;
    PERFORM submit_event(object_type => 'CUSTOMER', object_id => md5('customer-1')::uuid::text, name => 'First',
                         occurred_at => until, related_objects => ARRAY[('ACCOUNT', md5('account-1')::uuid, NULL)]::atlas_object[]);
    PERFORM atlas_link_events();
    DELETE FROM atlas_event_work;
    DELETE FROM atlas_event_search;
    DELETE FROM atlas_event_links;
    DELETE FROM atlas_events;
END $$;

-- Puts events number first to last of total into the log, with their links,
-- or with is_pending into the queue. One in every_nth has two related objects:
-- an account and a conversation. They are of so many tenants, or of none.
CREATE PROCEDURE generator.make_events(first bigint, last bigint, total bigint, until timestamptz, span interval,
                                       customers int, every_nth int, is_pending boolean DEFAULT false, tenants int DEFAULT 0)
LANGUAGE plpgsql
SET synchronous_commit = off AS $$
BEGIN
    INSERT INTO atlas_events (tenant_id, event_id, occurred_at, received_at, object_type, object_id, external_id, name,
                              description, icon, payload, related_objects)
    SELECT generator.tenant_of(n, tenants), generator.id_of(n, at), at, at, 'CUSTOMER', md5('customer-' || customer)::uuid, 'C-' || customer,
           'Checkout Completed', 'Paid with credit card', '🛒',
           jsonb_build_object('orderId', 'SO-' || n, 'total', n % 1000, 'currency', 'EUR', 'customer', customer,
                              'shipping', jsonb_build_object('method', 'express', 'city', 'Berlin'),
                              'items', '[{"sku": "TSHIRT-M-BLUE", "quantity": 2}, {"sku": "MUG-ATLAS", "quantity": 1}]'::jsonb),
           CASE WHEN n % every_nth = 0 THEN jsonb_build_array(
               jsonb_build_object('objectType', 'ACCOUNT', 'objectId',
                   md5('account-' || generator.pick(n, 2, customers / 10, true))::uuid),
               jsonb_build_object('objectType', 'CONVERSATION', 'objectId', generator.pick(n, 3, customers, false)::text)) END
      FROM (SELECT n, generator.time_of(n, total, until, span) AS at, generator.pick(n, 1, customers, true) AS customer
              FROM generate_series(first, last) AS n OFFSET 0) AS e;

    IF is_pending THEN
        INSERT INTO atlas_event_queue (tenant_id, event_id, submitted_xid)
        SELECT generator.tenant_of(n, tenants), generator.id_of(n, generator.time_of(n, total, until, span)), pg_current_xact_id()
          FROM generate_series(first, last) AS n WHERE n % every_nth = 0;
        RETURN;
    END IF;

    INSERT INTO atlas_event_links (tenant_id, event_id, linked_at, object_type, object_id)
    SELECT generator.tenant_of(n, tenants), generator.id_of(n, at), at, l.object_type, l.object_id
      FROM (SELECT n, generator.time_of(n, total, until, span) AS at
              FROM generate_series(first, last) AS n WHERE n % every_nth = 0 OFFSET 0) AS e,
           LATERAL (VALUES ('ACCOUNT', md5('account-' || generator.pick(n, 2, customers / 10, true))::uuid::text),
                           ('CONVERSATION', generator.pick(n, 3, customers, false)::text)) AS l (object_type, object_id);
END $$;
