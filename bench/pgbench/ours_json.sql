\set n random(1, :customers)
SELECT submit_event(('{"objectType": "CUSTOMER", "objectId": "' || md5('customer-' || :n)::uuid || '", ' || :fields)::json);
