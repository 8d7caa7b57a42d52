\set k random(1, 8)
SELECT * FROM peer.plain_events WHERE peer.text_of(name, description, payload) ILIKE '%' || replace(:first, '%', chr(96 + :k)) || '%' AND peer.text_of(name, description, payload) ILIKE '%' || replace(:second, '%', chr(96 + :k)) || '%' AND tenant_id = '' ORDER BY event_id DESC LIMIT 50;
