-- atlas_search_events(): filters, pages, the work budget, tenants and rights. What each form of
-- a query finds is in search_language.
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
SELECT test.clean();

-- Events of four years, most of them of the last one, so that a page goes through several
-- partitions and asks GIN indexes. Tenant "small" has every tenth.
SET atlas_events.oldest_event = '24000 d';
CREATE PROCEDURE submit_some(tenant text, condition text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('atlas_events.tenant', tenant, true);
    EXECUTE format($sql$
        SELECT count(submit_event(
            CASE WHEN n %% 3 = 0 THEN 'CUSTOMER' ELSE 'CONVERSATION' END,
            CASE WHEN n %% 3 = 0 THEN 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e' ELSE '1' END,
            CASE WHEN n %% 8 = 0 THEN 'Checkout Failed' ELSE 'Page Viewed' END,
            'event ' || n || CASE WHEN n %% 50 = 0 THEN ' fifty' ELSE '' END || CASE WHEN n %% 700 = 0 THEN ' seldom' ELSE '' END
                || CASE WHEN n %% 4 = 0 THEN ' alpha gap beta' ELSE '' END || CASE WHEN n = 411 THEN ' once' ELSE '' END,
            payload => jsonb_build_object('amount', n %% 100),
            occurred_at => CASE WHEN n < 800 THEN timestamptz '2011-03-01' + n * interval '30 hours' ELSE timestamptz '2014-04-11' + n * interval '5 minutes' END,
            related_objects => CASE WHEN n %% 40 = 0 THEN '{"(USER,7,)"}'::atlas_object[] END))
          FROM generate_series(1, 4000) n WHERE %s
        $sql$, condition);
END
$$;
CALL submit_some('', 'n % 10 <> 8');
CALL submit_some('small', 'n % 10 = 8');
SELECT atlas_link_events(100000) > 0 AS linked;
SELECT test.index();
ANALYZE atlas_event_search;

-- ---------------------------------------------------------------------
-- What a row says
-- ---------------------------------------------------------------------
SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId', label_column => 'name');
\x on
SELECT occurred_at, object_type, object_id, external_id, label, name, description, icon, payload, headline, processing_status, searched_until
  FROM atlas_search_events('failed seldom amount:0') LIMIT 1;
SELECT occurred_at, object_type, object_id, label, name, headline, processing_status, searched_until
  FROM atlas_search_events('once');
\x off

-- ---------------------------------------------------------------------
-- Pages: whatever their size and budget, together they are what the log has
-- ---------------------------------------------------------------------
-- The ids that the pages have together, in their order. Work is counted if max_work is given.
CREATE FUNCTION pages(query text, filters text, max_events int, max_work int) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    found uuid[] := '{}';
    before uuid;
    page record;
BEGIN
    FOR turn IN 1 .. 100000 LOOP
        EXECUTE format('SELECT array_agg(event_id) FILTER (WHERE event_id IS NOT NULL) AS ids, count(event_id)::int AS events,
                               (array_agg(searched_until) FILTER (WHERE event_id IS NULL))[1] AS searched_until
                          FROM atlas_search_events($1 %s, before_event => $2, max_events => $3, max_work => $4)', filters)
           INTO page USING query, before, max_events, max_work;
        found := found || page.ids;
        IF page.searched_until IS NULL AND page.events < max_events THEN
            RETURN found;
        END IF;
        IF before <= page.searched_until THEN
            RAISE 'a page that looked at nothing';
        END IF;
        before := COALESCE(page.searched_until, page.ids[page.events]);
    END LOOP;
    RAISE 'no end';
END
$$;
-- The ids of the events of which a condition is true: what a search is compared with.
CREATE FUNCTION wanted(condition text) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
    result uuid[];
BEGIN
    EXECUTE format('SELECT array_agg(event_id ORDER BY event_id DESC) FROM atlas_events
                     WHERE tenant_id = atlas_tenant() AND (%s)', condition) INTO result;
    RETURN COALESCE(result, '{}');
END
$$;
CREATE TABLE searches (query text, filters text, condition text);
INSERT INTO searches VALUES
    (NULL, '', 'true'),
    ('', '', 'true'),
    ('failed', '', 'name = ''Checkout Failed'''),
    ('fifty', '', 'description ~ ''fifty'''),
    ('seldom', '', 'description ~ ''seldom'''),
    ('once', '', 'description ~ ''once'''),
    ('nowhere', '', 'false'),
    ('fifty failed', '', 'description ~ ''fifty'' AND name = ''Checkout Failed'''),
    ('"alpha beta"', '', 'false'),
    ('"gap beta"', '', 'description ~ ''gap beta'''),
    ('fift*', '', 'description ~ ''fifty'''),
    ('amount:50', '', 'payload @> ''{"amount": 50}'''),
    ('-alpha', '', 'description !~ ''alpha'''),
    ('-viewed -fifty', '', 'name <> ''Page Viewed'' AND description !~ ''fifty'''),
    ('seldom OR once', '', 'description ~ ''seldom|once'''),
    ('failed', ', object_type => ''customer''', 'name = ''Checkout Failed'' AND object_type = ''CUSTOMER'''),
    (NULL, ', object_type => ''CUSTOMER''', 'object_type = ''CUSTOMER'''),
    (NULL, ', name => ''checkout failed''', 'name = ''Checkout Failed'''),
    ('fifty', ', name => ''Checkout Failed''', 'description ~ ''fifty'' AND name = ''Checkout Failed'''),
    ('-alpha', ', name => ''Checkout'' ', 'false'),
    ('failed', ', since => ''2014-04-16'', until => ''2014-04-17''', 'name = ''Checkout Failed'' AND occurred_at >= ''2014-04-16'' AND occurred_at < ''2014-04-17'''),
    ('seldom', ', since => ''2012-02-01'', until => ''2014-04-19''', 'description ~ ''seldom'' AND occurred_at >= ''2012-02-01'' AND occurred_at < ''2014-04-19'''),
    (NULL, ', since => ''2014-04-17'', until => ''2014-04-16''', 'false'),
    ('failed', ', object_type => ''CUSTOMER'', object_id => ''C19A7D78-37A1-4EE4-9E68-AAE0D4C93F7E''', 'name = ''Checkout Failed'' AND object_type = ''CUSTOMER'''),
    ('fifty', ', object_type => ''USER'', object_id => ''7''', 'description ~ ''fifty'' AND related_objects IS NOT NULL'),
    (NULL, ', object_type => ''USER'', object_id => ''7'', name => ''CHECKOUT failed'', until => ''2014-04-20''',
     'related_objects IS NOT NULL AND occurred_at < ''2014-04-20'''),
    (NULL, ', object_type => ''USER'', object_id => ''8''', 'false');

-- One large page, pages of 7 events, and budgets.
CREATE VIEW results AS
    SELECT query, filters, cardinality(wanted) AS events,
           pages(query, filters, 100000, NULL) = wanted AS one_page,
           cardinality(wanted) > 200 OR pages(query, filters, 7, NULL) = wanted AS small_pages,
           pages(query, filters, 100000, 700) = wanted AS small_budget,
           pages(query, filters, 50, 1500) = wanted AS large_budget
      FROM searches, wanted(condition);
SELECT * FROM results;
-- Where it does not depend on the pages.
CREATE VIEW failures AS
    SELECT query, filters, cardinality(wanted) AS events, pages(query, filters, 1000, 1500) AS found
      FROM searches, wanted(condition) WHERE pages(query, filters, 1000, 1500) <> wanted;
SELECT query, pages(query, filters, 3, 1) = wanted(condition) AS one_row_a_page
  FROM (VALUES ('failed', ', since => ''2014-04-24''', 'name = ''Checkout Failed'' AND occurred_at >= ''2014-04-24'''),
               ('once', ', since => ''2012-07-20'', until => ''2012-08-10''', 'description ~ ''once''')) v (query, filters, condition);

-- The same by statements.
SET atlas_events.direct_access = off;
SELECT * FROM failures;
RESET atlas_events.direct_access;

-- ---------------------------------------------------------------------
-- Tenants: each sees its own events, superusers too
-- ---------------------------------------------------------------------
SET atlas_events.tenant = 'small';
SELECT * FROM failures;
SELECT count(*) FROM atlas_search_events('failed', max_events => 10000);
SET atlas_events.tenant = 'nobody';
SELECT count(*) FROM atlas_search_events(NULL);
RESET atlas_events.tenant;
-- Where an index finds documents of other tenants too, no page ends with one of them.
BEGIN;
UPDATE atlas_event_search SET document = document || $$'!' 'seldom'$$ WHERE tenant_id = 'small';
WITH RECURSIVE pages (work, until) AS (
    SELECT work, (SELECT searched_until FROM atlas_search_events('seldom', max_work => work) WHERE event_id IS NULL)
      FROM unnest(ARRAY[100, 700, 800, 1000]) work
    UNION ALL
    SELECT work, (SELECT searched_until FROM atlas_search_events('seldom', before_event => until, max_work => work) WHERE event_id IS NULL)
      FROM pages WHERE until IS NOT NULL)
SELECT count(*) > 10 AS many, count(*) FILTER (WHERE until IN (SELECT event_id FROM atlas_events WHERE tenant_id = 'small')) AS of_others
  FROM pages;
SELECT count(*) FROM atlas_search_events('seldom');
ROLLBACK;

-- ---------------------------------------------------------------------
-- Which pages have the newest events: an index may know it of small ranges of pages, of some of them, or
-- of none, whatever the order is in which the rows lie there
-- ---------------------------------------------------------------------
CREATE PROCEDURE make_ranges(options text) LANGUAGE plpgsql AS $$
DECLARE
    index record;
BEGIN
    FOR index IN SELECT indexrelid::regclass AS name, indrelid::regclass AS partition
                   FROM pg_index i JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam JOIN pg_inherits ON inhrelid = indrelid
                  WHERE inhparent = 'atlas_event_search'::regclass AND amname = 'brin' LOOP
        EXECUTE format('DROP INDEX %s; CREATE INDEX ON %s USING brin (event_id) WITH (%s)', index.name, index.partition, options);
    END LOOP;
END
$$;
-- Every second document moves to another page, in no order.
CREATE PROCEDURE move_documents(part int) LANGUAGE plpgsql AS $$
DECLARE
    moved record;
BEGIN
    FOR moved IN SELECT tenant_id, event_id FROM atlas_event_search WHERE hashtext(event_id::text) & 1 = part ORDER BY hashtext(event_id::text) LOOP
        UPDATE atlas_event_search SET problem = '' WHERE (tenant_id, event_id) = (moved.tenant_id, moved.event_id);
    END LOOP;
END
$$;
CALL make_ranges('pages_per_range = 2');
SELECT * FROM failures;
CALL move_documents(0);
SELECT * FROM failures;
SELECT bool_or(brin_summarize_new_values(indexrelid) > 0) AS many FROM pg_index JOIN pg_class ON oid = indexrelid
 WHERE relname ~ '^atlas_event_search.*event_id_idx';
SELECT * FROM failures;
CALL move_documents(1);
CALL make_ranges('pages_per_range = 1');
SELECT * FROM failures;
UPDATE atlas_event_search SET problem = NULL WHERE problem IS NOT NULL;

-- ---------------------------------------------------------------------
-- Indexes that are missing: without GIN every document is walked through; without the key a
-- statement reads
-- ---------------------------------------------------------------------
BEGIN;
DO $$
DECLARE
    index regclass;
BEGIN
    FOR index IN SELECT i.indexrelid FROM pg_index i JOIN pg_inherits ON inhrelid = i.indrelid
                  WHERE inhparent = 'atlas_event_search'::regclass AND NOT indisprimary LOOP
        EXECUTE format('DROP INDEX %s', index);
    END LOOP;
END
$$;
SELECT * FROM failures;
DO $$
BEGIN
    EXECUTE (SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
              WHERE contype = 'p' AND conrelid = (SELECT tableoid FROM atlas_event_search WHERE event_id > event_id_at('2012-03-01') ORDER BY event_id LIMIT 1));
END
$$;
SELECT * FROM failures;
ROLLBACK;

-- ---------------------------------------------------------------------
-- What is not found: an event without a document, a document without its event
-- ---------------------------------------------------------------------
BEGIN;
DELETE FROM atlas_event_search WHERE event_id = (SELECT event_id FROM atlas_events WHERE description ~ 'once');
SELECT count(*) FROM atlas_search_events('once');
ROLLBACK;
BEGIN;
DELETE FROM atlas_events WHERE description ~ '^event 3500 ';
SELECT description FROM atlas_search_events('seldom', max_events => 2);
SET LOCAL atlas_events.direct_access = off;
SELECT description FROM atlas_search_events('seldom', max_events => 2);
ROLLBACK;
-- A document that is null.
BEGIN;
ALTER TABLE atlas_event_search ALTER document DROP NOT NULL;
UPDATE atlas_event_search SET document = NULL WHERE event_id = (SELECT event_id FROM atlas_events WHERE description ~ '^event 3500 ');
SELECT description FROM atlas_search_events('seldom', max_events => 2);
SELECT description FROM atlas_search_events('seldom', 'CONVERSATION', '1', max_events => 1);
ROLLBACK;
-- A row that was rolled back, and one that this transaction has written.
BEGIN;
SELECT count(submit_event('USER', '7', 'Brand new', occurred_at => '2014-06-01'));
SELECT count(*) FROM atlas_search_events('brand');
SELECT test.index() > 0 AS indexed;
SELECT name, processing_status FROM atlas_search_events('brand');
ROLLBACK;
SELECT count(*) FROM atlas_search_events('brand');

-- ---------------------------------------------------------------------
-- Refusals
-- ---------------------------------------------------------------------
SELECT code, message, detail FROM test.error_of($$SELECT atlas_search_events('a', 'NOTHING')$$);
SELECT code, message, detail FROM test.error_of($$SELECT atlas_search_events('a', object_id => '1')$$);
SELECT code, message FROM test.error_of($$SELECT atlas_search_events('a', max_events => 0)$$);
SELECT code, message FROM test.error_of($$SELECT atlas_search_events('a', max_work => 0)$$);
SELECT count(*) FROM atlas_search_events('failed', max_events => NULL, max_work => NULL);
SELECT count(*) FROM atlas_search_events('failed', 'CUSTOMER', 'not an id');

-- 64 terms count.
SET client_min_messages = notice;
SELECT count(*) FROM atlas_search_events((SELECT string_agg('failed', ' ') FROM generate_series(1, 64)));
SELECT count(*) FROM atlas_search_events((SELECT string_agg('failed', ' ') FROM generate_series(1, 70)));
SET client_min_messages = warning;

-- ---------------------------------------------------------------------
-- Rights: EXECUTE is enough, and nobody else reads the documents
-- ---------------------------------------------------------------------
CREATE ROLE regress_atlas_searcher;
GRANT USAGE ON SCHEMA crm TO regress_atlas_searcher;
SET ROLE regress_atlas_searcher;
SELECT code, message FROM test.error_of($$SELECT atlas_search_events('failed')$$);
SELECT code, message FROM test.error_of($$SELECT FROM atlas_event_search$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION atlas_search_events TO regress_atlas_searcher;
SET ROLE regress_atlas_searcher;
SELECT count(*), count(label) FROM atlas_search_events('failed', 'CUSTOMER');
RESET ROLE;
SET atlas_events.direct_access = off;
SET ROLE regress_atlas_searcher;
SELECT count(*) FROM atlas_search_events('failed');
RESET ROLE;
RESET atlas_events.direct_access;
DROP OWNED BY regress_atlas_searcher;
DROP ROLE regress_atlas_searcher;

SELECT atlas_register_object_type('CUSTOMER', 'crm."Customers"', 'customerId', 'externalId');
DROP VIEW results, failures;
DROP TABLE searches;
DROP FUNCTION pages, wanted;
DROP PROCEDURE submit_some;
SELECT test.clean();
