\set k random(1, 8)
\set day random(2, :days)
SELECT * FROM atlas_search_events(replace(:query, '%', chr(96 + :k)), since => now() - make_interval(days => :day), until => now() - make_interval(days => :day - 1));
