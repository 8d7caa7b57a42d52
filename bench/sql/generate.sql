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

-- ----- Events to be searched for -----

-- A word of a family: letters only, which are the digits of k, the lowest one first.
CREATE FUNCTION generator.word(family text, k int, digits int) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN family || translate(reverse(lpad(k::text, digits, '0')), '0123456789', 'abcdefghij');

-- Puts events number first to last of total into the log like make_events(), about 400
-- bytes each, and notes that each is to have a document, which the linker makes. Words
-- come about so often, x and its like being letters:
--
--     web                     in each event
--     credit, paid            in half of them, the same ones, and never side by side
--     regiox                  in 1 of 8, for each x from a to h; never two of them together
--     branchxx                in 1 of 50, xx being a number of two digits
--     agentxxxx               in 1 of 2,000
--     quartzx                 in 10 events in all, for each x from a to h
--     legacy                  in 1 of 8 of the oldest twelfth
--     Checkout Completed      is the name of 1 in 8
--
-- total is from 0 to 999. One event in ten has an account as its primary object.
CREATE PROCEDURE generator.make_searched_events(first bigint, last bigint, total bigint, until timestamptz, span interval,
                                                customers int, every_nth int)
LANGUAGE plpgsql
SET synchronous_commit = off AS $$
BEGIN
    INSERT INTO atlas_events (event_id, occurred_at, received_at, object_type, object_id, external_id, name,
                              description, icon, payload, related_objects)
    SELECT generator.id_of(n, at), at, at, CASE WHEN is_account THEN 'ACCOUNT' ELSE 'CUSTOMER' END,
           CASE WHEN is_account THEN md5('account-' || 1 + customer % (customers / 10))::uuid
                ELSE md5('customer-' || customer)::uuid END,
           CASE WHEN is_account THEN 'A-' || 1 + customer % (customers / 10) ELSE 'C-' || customer END,
           (ARRAY['Checkout Completed', 'Order Shipped', 'Payment Failed', 'Article Viewed', 'Ticket Escalated',
                  'Plan Upgraded', 'Refund Issued', 'Session Recorded'])[generator.pick(n, 10, 8, false)],
           CASE WHEN generator.pick(n, 14, 2, false) = 1 THEN 'Order paid by <b>customer</b> with credit card'
                ELSE 'Opened by phone &amp; answered' END, '🛒',
           jsonb_strip_nulls(jsonb_build_object(
               'orderId', 'SO-' || n, 'total', generator.pick(n, 15, 1000, false) - 1, 'currency', 'EUR', 'channel', 'web',
               'region', generator.word('regio', generator.pick(n, 11, 8, false) - 1, 1),
               'branch', generator.word('branch', generator.pick(n, 12, 50, false) - 1, 2),
               'handler', generator.word('agent', generator.pick(n, 13, 2000, false) - 1, 4),
               'note', CASE WHEN n % (total / 10) < 8 THEN generator.word('quartz', (n % (total / 10))::int, 1) END,
               'origin', CASE WHEN n < total / 12 AND generator.pick(n, 16, 8, false) = 1 THEN 'legacy' END,
               'shipping', jsonb_build_object('method', 'express', 'city', 'Berlin', 'days', 1 + n % 7),
               'items', '[{"sku": "TSHIRT-M-BLUE", "quantity": 2, "price": 49.95}, {"sku": "MUG-ATLAS", "quantity": 1}]'::jsonb)),
           CASE WHEN n % every_nth = 0 THEN jsonb_build_array(
               jsonb_build_object('objectType', 'ACCOUNT', 'objectId',
                   md5('account-' || generator.pick(n, 2, customers / 10, true))::uuid),
               jsonb_build_object('objectType', 'CONVERSATION', 'objectId', generator.pick(n, 3, customers, false)::text)) END
      FROM (SELECT n, generator.time_of(n, total, until, span) AS at, generator.pick(n, 1, customers, true) AS customer,
                   generator.pick(n, 17, 10, false) = 1 AS is_account
              FROM generate_series(first, last) AS n OFFSET 0) AS e;

    INSERT INTO atlas_event_links (event_id, linked_at, object_type, object_id)
    SELECT generator.id_of(n, at), at, l.object_type, l.object_id
      FROM (SELECT n, generator.time_of(n, total, until, span) AS at,
                   CASE WHEN generator.pick(n, 17, 10, false) = 1
                        THEN md5('account-' || 1 + generator.pick(n, 1, customers, true) % (customers / 10))::uuid::text END AS account
              FROM generate_series(first, last) AS n WHERE n % every_nth = 0 OFFSET 0) AS e,
           LATERAL (VALUES ('ACCOUNT', md5('account-' || generator.pick(n, 2, customers / 10, true))::uuid::text),
                           ('CONVERSATION', generator.pick(n, 3, customers, false)::text)) AS l (object_type, object_id)
     WHERE l.object_type <> 'ACCOUNT' OR l.object_id IS DISTINCT FROM e.account;

    INSERT INTO atlas_event_work (event_id, submitted_xid, what)
    SELECT generator.id_of(n, generator.time_of(n, total, until, span)), pg_current_xact_id(), 1
      FROM generate_series(first, last) AS n;
END $$;

-- Copies the events of the log so many times, with what the linker left of them, spread
-- over a span of time. The copies are to have documents, the originals are deleted.
CREATE PROCEDURE generator.multiply_events(copies int, until timestamptz, span interval)
LANGUAGE plpgsql
SET synchronous_commit = off AS $$
BEGIN
    CREATE TEMP TABLE originals ON COMMIT DROP AS
    SELECT row_number() OVER (ORDER BY event_id) AS n, count(*) OVER () AS total, e.* FROM atlas_events e;
    CREATE TEMP TABLE copies ON COMMIT DROP AS
    SELECT o.tenant_id, o.event_id AS original, generator.id_of(m, at) AS event_id, at
      FROM originals o, generate_series(0, copies - 1) AS copy,
           LATERAL (SELECT copy * o.total + o.n AS m) AS numbered,
           LATERAL (SELECT generator.time_of(m, copies * o.total, until, span) AS at) AS timed;
    CREATE TEMP TABLE links ON COMMIT DROP AS TABLE atlas_event_links;
    CREATE TEMP TABLE unresolved ON COMMIT DROP AS TABLE atlas_event_unresolved;
    DELETE FROM atlas_events;
    DELETE FROM atlas_event_links;
    DELETE FROM atlas_event_unresolved;
    DELETE FROM atlas_event_keys;
    DELETE FROM atlas_event_search;
    DELETE FROM atlas_event_work;

    INSERT INTO atlas_events (tenant_id, event_id, occurred_at, received_at, object_type, object_id, external_id, name,
                              description, icon, payload, related_objects)
    SELECT c.tenant_id, c.event_id, c.at, c.at, o.object_type, o.object_id, o.external_id, o.name,
           o.description, o.icon, o.payload, o.related_objects
      FROM copies c JOIN originals o ON o.event_id = c.original ORDER BY c.event_id;
    INSERT INTO atlas_event_links (tenant_id, event_id, linked_at, object_type, object_id)
    SELECT c.tenant_id, c.event_id, c.at, l.object_type, l.object_id
      FROM copies c JOIN links l ON l.event_id = c.original;
    -- Without a time at which they would be tried again.
    INSERT INTO atlas_event_unresolved (tenant_id, event_id, position, object_type, object_id, external_id, outcome, reason, first_attempt_at)
    SELECT c.tenant_id, c.event_id, u.position, u.object_type, u.object_id, u.external_id, u.outcome, u.reason, u.first_attempt_at
      FROM copies c JOIN unresolved u ON u.event_id = c.original;
    INSERT INTO atlas_event_work (tenant_id, event_id, submitted_xid, what)
    SELECT tenant_id, event_id, pg_current_xact_id(), 1 FROM copies ORDER BY event_id;
END $$;
