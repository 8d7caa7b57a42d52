\set k random(1, 8)
SELECT * FROM peer.rum_events WHERE document @@ to_tsquery('simple', replace(:tsquery, '%', chr(96 + :k))) AND tenant_id = '' ORDER BY occurred_at <=| '9999-01-01'::timestamptz LIMIT 50;
