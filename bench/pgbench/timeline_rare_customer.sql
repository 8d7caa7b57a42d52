SELECT * FROM atlas_timeline('CUSTOMER', md5('customer-' || :rare)::uuid::text);
