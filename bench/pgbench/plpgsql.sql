\set n random(1, :customers)
SELECT peer.submit(('{"objectType": "CUSTOMER", "objectId": "' || md5('customer-' || :n)::uuid || '", ' || :fields)::jsonb);
