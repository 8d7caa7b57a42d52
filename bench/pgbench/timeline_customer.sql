\set n random(1, :hottest)
SELECT * FROM atlas_timeline('CUSTOMER', md5('customer-' || :n)::uuid::text);
