\set n random(1, :customers)
SELECT submit_event(object_type => 'CUSTOMER', object_id => md5('customer-' || :n)::uuid::text, name => 'Checkout Completed', description => 'Paid with credit card', icon => '🛒', payload => :payload);
