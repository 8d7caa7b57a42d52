\set n random(1, :customers)
INSERT INTO peer.rum_events (event_id, occurred_at, received_at, object_type, object_id, external_id, name, description, icon, payload, related_objects) VALUES (peer.make_id(), now(), now(), 'CUSTOMER', md5('customer-' || :n)::uuid::text, 'C-' || :n, 'Checkout Completed', 'Paid with credit card', '🛒', :payload, :references);
