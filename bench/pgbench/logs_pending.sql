SELECT * FROM atlas_pending_events WHERE processing_status = 'PENDING' ORDER BY event_id DESC LIMIT 50;
