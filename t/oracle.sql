-- The oracle of the tests and of the benchmarks, in a schema of its own.

SET check_function_bodies = off;
CREATE SCHEMA IF NOT EXISTS atlas_test;

-- The objects as the registry connects them, read without the extension's code.
CREATE FUNCTION atlas_test.objects(
    OUT object_type text, OUT object_id text, OUT external_id text) RETURNS SETOF record
LANGUAGE plpgsql STABLE AS $$
DECLARE
    type record;
BEGIN
    FOR type IN SELECT t.* FROM atlas_object_types t JOIN pg_class c ON c.oid = t.relation LOOP
        RETURN QUERY EXECUTE format('SELECT %L, %I::text, %s::text FROM %s',
            type.object_type, type.id_column,
            CASE WHEN type.external_id_column IS NULL THEN 'NULL'
                 ELSE quote_ident(type.external_id_column) END,
            type.relation);
    END LOOP;
END $$;

-- The oracle: a row for each thing that is not as it must be, when nothing is
-- going on any more. acknowledged are the ids that clients have received.
--
-- Every event of which nothing is to be done any more has a document, but for those that were
-- stored while search was not in effect: since when is noted.
--
-- What rules have as hits and have matched is what follows from the events and links that are there, and nothing
-- is left of rules that are gone, but their matches. Conditions are predicates on name and payload in the tests.
--
-- A reference that is recorded as unresolved may have become resolvable since:
-- that is a violation only once the linker ought to have looked again. Links
-- to a table that was dropped cannot be recomputed.
CREATE FUNCTION atlas_test.violations(
    acknowledged uuid[],
    grace interval DEFAULT '1 min',
    OUT violation text, OUT event_id uuid, OUT detail text) RETURNS SETOF record
LANGUAGE sql STABLE
SET enable_nestloop = off SET enable_mergejoin = off SET jit = off SET work_mem = '64MB' AS $$
WITH
acked AS MATERIALIZED (
    SELECT DISTINCT a AS event_id FROM unnest(acknowledged) AS a),
types AS MATERIALIZED (
    SELECT t.object_type, a.atttypid = 'uuid'::regtype AS is_uuid
      FROM atlas_object_types t
      JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = t.id_column),
objects AS MATERIALIZED (
    SELECT * FROM atlas_test.objects()),
names AS MATERIALIZED (
    SELECT object_type, 'id' AS kind, object_id AS name, object_id, external_id FROM objects
    UNION ALL
    SELECT object_type, 'external id', external_id, object_id, external_id FROM objects
     WHERE external_id IS NOT NULL),
refs AS MATERIALIZED (
    SELECT e.event_id, r.position, e.object_type AS primary_type, e.object_id AS primary_id,
           COALESCE((SELECT t.object_type FROM atlas_object_types t WHERE r.item->>'objectType' = ANY (t.aliases)),
                    r.item->>'objectType') AS object_type,
           r.item->>'objectType' AS stored_type, r.item->>'objectId' AS object_id,
           r.item->>'externalId' AS external_id
      FROM atlas_events e,
           LATERAL jsonb_array_elements(e.related_objects) WITH ORDINALITY AS r (item, position)
     WHERE e.related_objects IS NOT NULL
       AND NOT EXISTS (SELECT FROM atlas_event_queue q WHERE q.event_id = e.event_id)),
resolved AS MATERIALIZED (
    SELECT r.*, t.object_type IS NOT NULL AS is_connected, n.object_id AS found_id,
           u.event_id IS NOT NULL AS is_recorded, u.next_attempt_at, u.reason,
           (u.object_type, u.object_id, u.external_id) IS NOT DISTINCT FROM
           (r.stored_type, r.object_id, r.external_id) AS is_recorded_well
      FROM refs r
      LEFT JOIN types t ON t.object_type = r.object_type
      LEFT JOIN names n
        ON n.object_type = r.object_type
       AND n.kind = CASE WHEN r.object_id IS NULL THEN 'external id' ELSE 'id' END
       AND n.name = CASE WHEN r.object_id IS NULL THEN r.external_id
                         WHEN t.is_uuid THEN lower(r.object_id) ELSE r.object_id END
       AND (n.external_id IS NULL OR r.external_id IS NULL OR n.external_id = r.external_id)
      LEFT JOIN atlas_event_unresolved u
        ON u.event_id = r.event_id AND u.position = r.position),
expected AS MATERIALIZED (
    SELECT DISTINCT event_id, object_type, found_id AS object_id
      FROM resolved
     WHERE found_id IS NOT NULL AND NOT is_recorded
       AND (object_type, found_id) IS DISTINCT FROM (primary_type, primary_id)),
actual AS MATERIALIZED (
    SELECT l.event_id, l.object_type, l.object_id
      FROM atlas_event_links l
     WHERE l.object_type IN (SELECT object_type FROM types)),
documents AS MATERIALIZED (
    SELECT d.event_id, min(d.tenant_id) AS tenant_id, count(*) AS copies,
           bool_or((d.document = '') <> (d.problem IS NOT NULL)) AS is_odd
      FROM atlas_event_search d GROUP BY d.event_id),
missing_since AS MATERIALIZED (
    SELECT min(g.since) AS since
      FROM (SELECT since FROM atlas_search_gaps
            UNION ALL SELECT since FROM atlas_search_rebuild WHERE finished_at IS NULL) AS g),
-- Matches of rules that are there still. What a rule matched before it was enabled again has another number.
rule_hits AS MATERIALIZED (
    SELECT r.tenant_id, r.rule_id, r.times, r.within, r.object_type, o.object_id, e.event_id, e.occurred_at
      FROM atlas_rules r
      JOIN atlas_events e ON e.tenant_id = r.tenant_id AND e.name = COALESCE(r.event_name, e.name)
                         AND e.occurred_at >= r.since AND e.received_at >= r.since
      CROSS JOIN LATERAL (
          SELECT e.object_type, e.object_id WHERE r.role <> 'RELATED'
          UNION ALL
          SELECT l.object_type, l.object_id FROM atlas_event_links l
           WHERE l.event_id = e.event_id AND l.tenant_id = e.tenant_id AND r.role <> 'PRIMARY') o
     WHERE r.is_enabled AND o.object_type = r.object_type
       AND (r.condition IS NULL OR jsonb_path_match(jsonb_build_object('name', e.name, 'payload', e.payload), r.condition, silent => true))
       AND NOT EXISTS (SELECT FROM atlas_event_queue q
                        WHERE q.event_id = e.event_id AND q.next_attempt_at IS DISTINCT FROM 'infinity')),
rule_matches AS MATERIALIZED (
    SELECT tenant_id, rule_id, object_type, object_id, event_id FROM rule_hits WHERE times = 1
    UNION ALL
    SELECT h.tenant_id, h.rule_id, h.object_type, h.object_id, h.event_id
      FROM (SELECT *, lag(occurred_at, times - 1) OVER (PARTITION BY tenant_id, rule_id, object_id ORDER BY event_id) AS first_at
              FROM rule_hits WHERE times > 1) AS h
     WHERE h.first_at > h.occurred_at - extract(epoch FROM h.within) * interval '1 second'),
actual_hits AS MATERIALIZED (
    SELECT h.tenant_id, h.rule_id, h.object_id, h.event_id, h.occurred_at, r.is_enabled
      FROM atlas_rule_hits h LEFT JOIN atlas_rules r ON r.tenant_id = h.tenant_id AND r.rule_id = h.rule_id),
actual_matches AS MATERIALIZED (
    SELECT m.tenant_id, m.rule_id, m.object_type, m.object_id, m.event_id
      FROM atlas_rule_matches m JOIN atlas_rules r ON r.tenant_id = m.tenant_id AND r.rule_id = m.rule_id AND r.is_enabled),
-- Actions of matches, together with what is left to do of them. A copy of a database does not act.
actions AS MATERIALIZED (
    SELECT COALESCE(m.event_id, a.event_id) AS event_id, COALESCE(m.match_id, a.match_id) AS match_id,
           m.match_id IS NOT NULL AS is_match, m.action_status, m.acted_at,
           CASE WHEN a.match_id IS NULL THEN 'none' WHEN a.next_attempt_at = 'infinity' THEN 'failed' ELSE 'due' END AS left_over,
           a.last_error, r.rule_id IS NOT NULL AS has_rule, r.channel IS NOT NULL OR r.action_name IS NOT NULL AS acts,
           r.database_id = (SELECT oid FROM pg_database WHERE datname = current_database()) IS NOT FALSE AS acts_here
      FROM atlas_rule_matches m
      FULL JOIN atlas_rule_actions a ON a.tenant_id = m.tenant_id AND a.event_id = m.event_id AND a.match_id = m.match_id
                                    AND a.rule_id = m.rule_id AND a.object_id = m.object_id
      LEFT JOIN atlas_rules r ON r.tenant_id = m.tenant_id AND r.rule_id = m.rule_id),
owned AS MATERIALIZED (
    SELECT DISTINCT o.kind, o.event_id
      FROM (SELECT 'queue' AS kind, q.event_id FROM atlas_event_queue q
            UNION ALL SELECT 'work', w.event_id FROM atlas_event_work w
            UNION ALL SELECT 'document', d.event_id FROM documents d
            UNION ALL SELECT 'hit', h.event_id FROM atlas_rule_hits h
            UNION ALL SELECT 'match', m.event_id FROM atlas_rule_matches m
            UNION ALL SELECT 'link', l.event_id FROM atlas_event_links l
            UNION ALL SELECT 'unresolved', u.event_id FROM atlas_event_unresolved u
            UNION ALL SELECT 'key', k.event_id FROM atlas_event_keys k) AS o)

SELECT 'an acknowledged event is lost', a.event_id, NULL
  FROM acked a
 WHERE NOT EXISTS (SELECT FROM atlas_events e WHERE e.event_id = a.event_id)
UNION ALL
SELECT 'an event is there more than once', e.event_id, count(*)::text
  FROM atlas_events e GROUP BY e.event_id HAVING count(*) > 1
UNION ALL
SELECT 'an event is still pending', q.event_id, q.last_error
  FROM atlas_event_queue q WHERE q.next_attempt_at IS DISTINCT FROM 'infinity'
UNION ALL
SELECT 'an event failed without a reason', q.event_id, NULL
  FROM atlas_event_queue q
 WHERE q.next_attempt_at = 'infinity' AND (COALESCE(q.last_error, '') = '' OR q.attempts = 0)
UNION ALL
SELECT 'a row is left of an event that is not there', o.event_id, o.kind
  FROM owned o
 WHERE NOT EXISTS (SELECT FROM atlas_events e WHERE e.event_id = o.event_id)
UNION ALL
SELECT 'an event is still to be indexed', w.event_id, w.last_error
  FROM atlas_event_work w
UNION ALL
SELECT 'a document is missing', e.event_id, NULL
  FROM atlas_events e
  LEFT JOIN documents d ON d.event_id = e.event_id AND d.tenant_id = e.tenant_id
 WHERE d.event_id IS NULL
   AND date_trunc('milliseconds', e.occurred_at) < COALESCE((SELECT since FROM missing_since), 'infinity')
   AND NOT EXISTS (SELECT FROM atlas_event_work w WHERE w.event_id = e.event_id)
   AND NOT EXISTS (SELECT FROM atlas_event_queue q
                    WHERE q.event_id = e.event_id AND q.next_attempt_at IS DISTINCT FROM 'infinity')
UNION ALL
SELECT 'a document is there more than once', d.event_id, d.copies::text
  FROM documents d WHERE d.copies > 1
UNION ALL
SELECT 'a document is empty without a problem, or has one and is not', d.event_id, NULL
  FROM documents d WHERE d.is_odd
UNION ALL
SELECT 'a hit of a rule is missing', h.event_id, concat_ws(' ', h.rule_id, h.object_id)
  FROM (SELECT tenant_id, rule_id, object_id, event_id, occurred_at FROM rule_hits WHERE times > 1
        EXCEPT ALL SELECT tenant_id, rule_id, object_id, event_id, occurred_at FROM actual_hits) AS h
UNION ALL
SELECT 'a hit of a rule ought not to be there', h.event_id, concat_ws(' ', h.rule_id, h.object_id)
  FROM (SELECT tenant_id, rule_id, object_id, event_id, occurred_at FROM actual_hits WHERE is_enabled
        EXCEPT ALL SELECT tenant_id, rule_id, object_id, event_id, occurred_at FROM rule_hits WHERE times > 1) AS h
UNION ALL
SELECT 'a hit is there of a rule that is not', h.event_id, concat_ws(' ', h.rule_id, h.object_id)
  FROM actual_hits h WHERE h.is_enabled IS NULL
UNION ALL
SELECT 'a match of a rule is missing', m.event_id, concat_ws(' ', m.rule_id, m.object_type, m.object_id)
  FROM (TABLE rule_matches EXCEPT ALL TABLE actual_matches) AS m
UNION ALL
SELECT 'a match of a rule ought not to be there', m.event_id, concat_ws(' ', m.rule_id, m.object_type, m.object_id)
  FROM (TABLE actual_matches EXCEPT ALL TABLE rule_matches) AS m
UNION ALL
SELECT 'an action is of no match', a.event_id, a.match_id::text
  FROM actions a WHERE NOT a.is_match
UNION ALL
SELECT 'two matches have the same number', NULL, m.match_id::text
  FROM atlas_rule_matches m GROUP BY m.match_id HAVING count(*) > 1
UNION ALL
SELECT 'a match says ' || COALESCE(a.action_status, 'nothing') || ' and its action is ' || a.left_over, a.event_id, a.match_id::text
  FROM actions a
 WHERE a.is_match
   AND a.left_over <> CASE a.action_status WHEN 'PENDING' THEN 'due' WHEN 'FAILED' THEN 'failed' ELSE 'none' END
UNION ALL
SELECT 'a match has the status of an action that the rule does not have, or none', a.event_id, a.match_id::text
  FROM actions a
 WHERE a.has_rule AND a.acts <> (a.action_status IS NOT NULL)
UNION ALL
SELECT 'a match does not say when its action ended, or says it too early', a.event_id, a.match_id::text
  FROM actions a
 WHERE a.is_match AND (a.acted_at IS NOT NULL) <> (COALESCE(a.action_status, 'PENDING') <> 'PENDING')
UNION ALL
SELECT 'an action is still to be done', a.event_id, a.last_error
  FROM actions a WHERE a.left_over = 'due' AND a.acts_here
UNION ALL
SELECT 'an action failed without a reason', a.event_id, a.match_id::text
  FROM actions a WHERE a.left_over = 'failed' AND COALESCE(a.last_error, '') = ''
UNION ALL
SELECT 'a link is missing', m.event_id, concat_ws(' ', m.object_type, m.object_id)
  FROM (TABLE expected EXCEPT TABLE actual) AS m
UNION ALL
SELECT 'a link ought not to be there', m.event_id, concat_ws(' ', m.object_type, m.object_id)
  FROM (TABLE actual EXCEPT TABLE expected) AS m
UNION ALL
SELECT 'a link is there more than once', a.event_id, concat_ws(' ', a.object_type, a.object_id)
  FROM actual a
 GROUP BY a.event_id, a.object_type, a.object_id HAVING count(*) > 1
UNION ALL
SELECT 'a reference is neither linked nor recorded as unresolved', r.event_id,
       concat_ws(' ', r.object_type, r.object_id, r.external_id)
  FROM resolved r
 WHERE r.found_id IS NULL AND NOT r.is_recorded AND r.is_connected
UNION ALL
SELECT 'an unresolved reference could be resolved long since', r.event_id,
       concat_ws(' ', r.object_type, r.object_id, r.external_id, r.reason)
  FROM resolved r
 WHERE r.is_recorded AND r.found_id IS NOT NULL AND r.next_attempt_at < now() - grace
UNION ALL
SELECT 'an unresolved reference is not the one of the event', r.event_id,
       concat_ws(' ', r.object_type, r.object_id, r.external_id)
  FROM resolved r
 WHERE r.is_recorded AND NOT r.is_recorded_well
UNION ALL
SELECT 'a reference of no linked event is recorded as unresolved', u.event_id, u.position::text
  FROM atlas_event_unresolved u
 WHERE NOT EXISTS (SELECT FROM refs r WHERE r.event_id = u.event_id AND r.position = u.position)
$$;

-- What is wrong with what actions have written to atlas_test.done: each that is DONE has written there once, if
-- its function does so at all, and nothing else has.
CREATE FUNCTION atlas_test.action_violations(
    schema_name text, function_names text[],
    OUT violation text, OUT match_id bigint) RETURNS SETOF record
LANGUAGE sql STABLE AS $$
WITH writing AS MATERIALIZED (
    SELECT m.match_id, m.action_status
      FROM atlas_rule_matches m JOIN atlas_rules r ON r.tenant_id = m.tenant_id AND r.rule_id = m.rule_id
     WHERE r.action_schema = schema_name AND r.action_name = ANY (function_names))
SELECT 'an action that is DONE has not been done', w.match_id
  FROM writing w
 WHERE w.action_status = 'DONE' AND NOT EXISTS (SELECT FROM atlas_test.done d WHERE d.match_id = w.match_id)
UNION ALL
SELECT 'an action has been done more than once', d.match_id
  FROM atlas_test.done d GROUP BY d.match_id HAVING count(*) > 1
UNION ALL
SELECT 'an action has been done that is not DONE', w.match_id
  FROM writing w
 WHERE w.action_status IS DISTINCT FROM 'DONE' AND EXISTS (SELECT FROM atlas_test.done d WHERE d.match_id = w.match_id)
$$;
