\set n random(1, :customers)
SELECT message_store.write_message(gen_random_uuid()::varchar, 'customer-' || md5('customer-' || :n)::uuid, 'CheckoutCompleted', :payload);
