\set k random(1, 8)
SELECT * FROM peer.gin_events WHERE to_tsvector('simple', peer.text_of(name, description, payload)) @@ to_tsquery('simple', replace(:tsquery, '%', chr(96 + :k))) AND tenant_id = '' ORDER BY event_id DESC LIMIT 50;
