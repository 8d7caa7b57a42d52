\set k random(1, 8)
SELECT * FROM atlas_search_events(replace(:query, '%', chr(96 + :k)), max_work => :work);
