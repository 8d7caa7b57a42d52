-- Settings: units, defaults, bounds, and who may change them. Loading the
-- library defines them, preloaded or not.
LOAD 'atlas_events';
SELECT name, boot_val, unit, min_val, max_val, vartype, context FROM pg_settings WHERE name LIKE 'atlas\_events.%' ORDER BY name;
SELECT name FROM pg_settings WHERE name LIKE 'atlas\_events.%' AND (COALESCE(short_desc, '') = '' OR short_desc !~ '\.$' OR extra_desc !~ '\.$');

-- With their units.
SHOW atlas_events.max_event_size;
SHOW atlas_events.oldest_event;
SHOW atlas_events.relink_window;
SET atlas_events.max_event_size = '1MB';
SET atlas_events.relink_window = '90min';
SELECT current_setting('atlas_events.max_event_size'), current_setting('atlas_events.relink_window');
RESET atlas_events.max_event_size;
RESET atlas_events.relink_window;

-- Every bound is accepted, and nothing beyond.
SELECT name, e.message
  FROM pg_settings, unnest(ARRAY[min_val::bigint, max_val::bigint]) bound
  LEFT JOIN LATERAL test.error_of(format('SET %s = %L', name, bound)) e ON true
 WHERE name LIKE 'atlas\_events.%' AND vartype = 'integer' AND context = 'superuser' AND e.code IS NOT NULL;
SELECT name, e.code
  FROM pg_settings, unnest(ARRAY[min_val::bigint - 1, max_val::bigint + 1]) beyond
  LEFT JOIN LATERAL test.error_of(format('SET %s = %L', name, beyond)) e ON true
 WHERE name LIKE 'atlas\_events.%' AND vartype = 'integer' AND context = 'superuser' ORDER BY name, beyond;

-- The workers' own are the server's, not a session's.
SET atlas_events.naptime = 10;
SET atlas_events.max_workers = 10;

-- An ordinary role may change none of them, unless it is granted.
CREATE ROLE regress_atlas_app;
SET ROLE regress_atlas_app;
SELECT name, e.code, e.message
  FROM pg_settings, test.error_of(format('SET %s = %L', name, reset_val)) e
 WHERE name LIKE 'atlas\_events.%' ORDER BY name;
SELECT count(*) AS readable FROM (SELECT name FROM pg_settings WHERE name LIKE 'atlas\_events.%') s, current_setting(name) WHERE current_setting IS NOT NULL;
RESET ROLE;
DROP ROLE regress_atlas_app;

-- The prefix is taken: a misspelt setting is an error.
SET atlas_events.tennant = 'x';
SELECT set_config('atlas_events.new', 'x', false);

-- The tenant is any text.
SET atlas_events.tenant = 'Ümläut & Söhne; ''x''';
SELECT atlas_tenant();
RESET atlas_events.tenant;
SELECT atlas_tenant() = '' AS none;
