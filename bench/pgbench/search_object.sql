\set k random(1, 8)
\set n random(1, :hottest)
SELECT * FROM atlas_search_events(replace(:query, '%', chr(96 + :k)), object_type => 'CUSTOMER', object_id => md5('customer-' || :n)::uuid::text);
