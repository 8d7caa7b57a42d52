SELECT * FROM atlas_timeline('ACCOUNT', md5('account-' || :rare)::uuid::text);
