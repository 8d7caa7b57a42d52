\set n random(1, :hottest)
SELECT * FROM atlas_timeline('ACCOUNT', md5('account-' || :n)::uuid::text);
