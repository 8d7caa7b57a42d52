SELECT * FROM atlas_event_logs ORDER BY event_id DESC LIMIT 50 OFFSET 1000;
