SELECT * FROM atlas_event_logs WHERE processing_status = 'PENDING' ORDER BY event_id DESC LIMIT 50;
