\set n random(1, :customers)
SELECT pgq.insert_event('events', 'CUSTOMER', :payload, md5('customer-' || :n)::uuid::text, 'Checkout Completed', NULL, NULL);
