-- Whatever a DBA adds to the log, the queue and the links is obeyed, however the
-- rows are written: one at a time or many, by a submitter whose search_path has
-- functions of his own in front. Everything is undone at the end.
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
BEGIN;
SELECT test.clean();
CREATE ROLE regress_atlas_writer;
CREATE ROLE regress_atlas_dba;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_atlas_writer;

-- What the submitter has in front of everything, and what runs of the DBA's.
CREATE SCHEMA planted AUTHORIZATION regress_atlas_writer;
CREATE SCHEMA dba;
CREATE TABLE dba.notes (note text);
GRANT USAGE ON SCHEMA dba, planted TO PUBLIC;
GRANT ALL ON dba.notes TO PUBLIC;
CREATE FUNCTION dba.note(note text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dba.notes VALUES (note || ' as ' || CASE current_user WHEN session_user THEN 'the owner' ELSE current_user END
        || ' with ' || current_setting('search_path'));
    RETURN true;
END
$$;
CREATE FUNCTION planted.upper(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'planted' FROM dba.note('the submitter''s upper()') $$;

-- Functions of the DBA that do not qualify what they call.
CREATE FUNCTION dba.key(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM dba.note('key');
    RETURN upper($1);
END
$$;
CREATE FUNCTION dba.holds(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM dba.note('condition');
    RETURN upper($1) IS DISTINCT FROM 'planted';
END
$$;
CREATE FUNCTION dba.compare(text, text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM dba.note('comparison');
    RETURN pg_catalog.bttextcmp(upper($1), upper($2));
END
$$;
CREATE OPERATOR CLASS dba.text_class FOR TYPE text USING btree AS
    OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 dba.compare(text, text);
-- Triggers.
CREATE FUNCTION dba.note_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dba.note(concat_ws(' ', lower(TG_WHEN), lower(TG_LEVEL), TG_TABLE_NAME, upper('x')));
    RETURN NEW;
END
$$;
CREATE FUNCTION dba.count_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dba.note((SELECT count(*) FROM written) || ' rows in ' || TG_TABLE_NAME);
    RETURN NULL;
END
$$;
CREATE FUNCTION dba.skip_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION dba.tenant_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.tenant_id := 'changed'; RETURN NEW; END $$;
CREATE TABLE dba.tenants (tenant_id text PRIMARY KEY);
INSERT INTO dba.tenants VALUES ('known');
CREATE SEQUENCE dba.rows;
CREATE FUNCTION dba.rows_in(relation regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM %s', relation) INTO found;
    RETURN found;
END
$$;

-- ---------------------------------------------------------------------
-- Helpers
-- ---------------------------------------------------------------------
-- Submits so many events in one call, as the submitter, with two related objects each.
CREATE FUNCTION submit(events int, at text DEFAULT '2023-02-03') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    related CONSTANT public.atlas_object[] := '{"(USER,7,)","(CUSTOMER,,195959)"}';
BEGIN
    PERFORM pg_catalog.set_config('role', 'regress_atlas_writer', true), pg_catalog.set_config('search_path', 'planted, pg_catalog, public', true);
    IF events = 1 THEN
        PERFORM public.submit_event('CONVERSATION', '1', 'event 1', related_objects => related, occurred_at => at::timestamptz);
    ELSE
        PERFORM public.submit_events(pg_catalog.array_agg(('CONVERSATION', '1', NULL, 'event ' || n, NULL, NULL, NULL, related, at, NULL)::public.atlas_event))
           FROM pg_catalog.generate_series(1, events) n;
    END IF;
    PERFORM pg_catalog.set_config('role', 'none', true), pg_catalog.set_config('search_path', 'public', true);
END
$$;

-- What becomes of events that are submitted in one call, when a statement of the DBA has
-- been run on a table and its partition. All of it is undone.
CREATE FUNCTION obeyed(relation text, partition text, events int, statement text, question text, OUT error text, OUT log bigint, OUT queued bigint,
                       OUT links bigint, OUT left_in_queue bigint, OUT last_error text, OUT answer text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setval('dba.rows', 1, false);
    EXECUTE format(statement, relation, partition);
    TRUNCATE dba.notes;
    BEGIN
        PERFORM submit(events);
    EXCEPTION WHEN OTHERS THEN
        error := concat_ws(' ', SQLSTATE, SQLERRM);
    END;
    SELECT (SELECT count(*) FROM atlas_events), (SELECT count(*) FROM atlas_event_queue) INTO log, queued;
    PERFORM set_config('search_path', 'planted, pg_catalog, public', true), atlas_link_events(), set_config('search_path', 'public', true);
    SELECT (SELECT count(*) FROM atlas_event_links), count(*), min(q.last_error) FROM atlas_event_queue q INTO links, left_in_queue, last_error;
    EXECUTE format(question, relation) INTO answer;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN NULL;
END
$$;
-- The three tables, each with one event and with more rows than are written at once.
CREATE VIEW tables (relation, partition, many) AS VALUES
    ('atlas_events', 'atlas_events_2023', 104), ('atlas_event_queue', 'atlas_event_queue', 104), ('atlas_event_links', 'atlas_event_links_2023', 52);
CREATE FUNCTION obeyed(statement text, question text DEFAULT 'SELECT string_agg(n || '' times '' || note, ''; '' ORDER BY note COLLATE "C") FROM
    (SELECT note, count(*) AS n FROM dba.notes GROUP BY note) notes')
    RETURNS TABLE (relation text, events int, error text, log bigint, queued bigint, links bigint, left_in_queue bigint, last_error text, answer text)
    LANGUAGE sql AS $$
    SELECT t.relation, n, o.* FROM tables t, unnest(ARRAY[1, t.many]) n, obeyed(t.relation, t.partition, n, statement, question) o ORDER BY n = 1 DESC, t.many DESC, t.relation
$$;

-- The month's partitions.
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END
$$;
SELECT submit(1);
SELECT atlas_link_events();
SELECT test.clean();
\pset format unaligned

-- Nothing added
SELECT * FROM obeyed('');

-- ---------------------------------------------------------------------
-- Triggers and rules
-- ---------------------------------------------------------------------
SELECT * FROM obeyed('CREATE TRIGGER t BEFORE INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION dba.note_trigger()');
SELECT * FROM obeyed('CREATE TRIGGER t AFTER INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION dba.note_trigger()');
SELECT * FROM obeyed('CREATE TRIGGER t BEFORE INSERT ON %1$s EXECUTE FUNCTION dba.note_trigger()');
SELECT * FROM obeyed('CREATE TRIGGER t AFTER INSERT ON %1$s REFERENCING NEW TABLE AS written EXECUTE FUNCTION dba.count_trigger()');
-- On the partition alone, of which only row triggers are run.
SELECT * FROM obeyed('CREATE TRIGGER t BEFORE INSERT ON %2$s FOR EACH ROW EXECUTE FUNCTION dba.note_trigger();
    CREATE TRIGGER u AFTER INSERT ON %2$s REFERENCING NEW TABLE AS written EXECUTE FUNCTION dba.count_trigger()');
-- One that leaves rows out, and one that changes them.
SELECT * FROM obeyed('CREATE TRIGGER t BEFORE INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION dba.skip_trigger()');
SELECT * FROM obeyed('CREATE TRIGGER t BEFORE INSERT ON %1$s FOR EACH ROW EXECUTE FUNCTION dba.tenant_trigger()',
                     'SELECT string_agg(DISTINCT tenant_id, '','') FROM %1$s');
-- That was of one table only, and an event is linked for its own tenant. Here all agree.
SELECT * FROM obeyed('CREATE TRIGGER t BEFORE INSERT ON atlas_events FOR EACH ROW EXECUTE FUNCTION dba.tenant_trigger();
    CREATE TRIGGER t BEFORE INSERT ON atlas_event_queue FOR EACH ROW EXECUTE FUNCTION dba.tenant_trigger();
    CREATE TRIGGER t BEFORE INSERT ON atlas_event_links FOR EACH ROW EXECUTE FUNCTION dba.tenant_trigger()',
                     'SELECT string_agg(DISTINCT tenant_id, '','') FROM %1$s');
-- PostgreSQL has no ON CONFLICT together with rules, so there are none on the links.
SELECT * FROM obeyed('CREATE RULE r AS ON INSERT TO %1$s DO ALSO INSERT INTO dba.notes VALUES (''rule'')');
SELECT * FROM obeyed('CREATE RULE r AS ON INSERT TO %1$s DO INSTEAD INSERT INTO dba.notes VALUES (NEW.tenant_id || ''instead'')');

-- ---------------------------------------------------------------------
-- What is taken out of the queue
-- ---------------------------------------------------------------------
CREATE FUNCTION dba.delete_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM dba.note(concat_ws(' ', lower(TG_WHEN), lower(TG_OP), lower(TG_LEVEL), upper('x')));
    RETURN OLD;
END
$$;
CREATE FUNCTION dba.touch_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE TG_ARGV[0] USING NEW.event_id;
    RETURN NEW;
END
$$;
SELECT n, change, o.links, o.left_in_queue, o.last_error, o.answer
  FROM (VALUES (1, 'nothing', ''),
               (2, 'a trigger before each row', 'CREATE TRIGGER t BEFORE DELETE ON atlas_event_queue FOR EACH ROW EXECUTE FUNCTION dba.delete_trigger()'),
               (3, 'a trigger after each row', 'CREATE TRIGGER t AFTER DELETE ON atlas_event_queue FOR EACH ROW EXECUTE FUNCTION dba.delete_trigger()'),
               (4, 'a trigger that keeps the rows', 'CREATE TRIGGER t BEFORE DELETE ON atlas_event_queue FOR EACH ROW EXECUTE FUNCTION dba.skip_trigger()'),
               (5, 'a rule', 'CREATE RULE r AS ON DELETE TO atlas_event_queue DO ALSO INSERT INTO dba.notes VALUES (''rule'')'),
               (6, 'no replica identity', 'SET LOCAL client_min_messages = error; ALTER TABLE atlas_event_queue REPLICA IDENTITY NOTHING;
                 CREATE PUBLICATION regress_atlas FOR TABLE atlas_event_queue WITH (publish = ''delete'')'),
               (7, 'a trigger of the links that changes the row',
                'CREATE TRIGGER t AFTER INSERT ON atlas_event_links FOR EACH ROW
                 EXECUTE FUNCTION dba.touch_trigger(''UPDATE public.atlas_event_queue SET attempts = 3 WHERE event_id = $1'')'),
               (8, 'a trigger of the links that deletes the row',
                'CREATE TRIGGER t AFTER INSERT ON atlas_event_links FOR EACH ROW
                 EXECUTE FUNCTION dba.touch_trigger(''DELETE FROM public.atlas_event_queue WHERE event_id = $1'')'))
       AS changes (number, change, statement), unnest(ARRAY[1, 104]) n,
       obeyed('atlas_event_queue', NULL, n, statement,
              'SELECT string_agg(n || '' times '' || note, ''; '' ORDER BY note COLLATE "C") FROM (SELECT note, count(*) AS n FROM dba.notes GROUP BY note) notes') o
 ORDER BY number, n;

-- ---------------------------------------------------------------------
-- Columns and constraints
-- ---------------------------------------------------------------------
SELECT * FROM obeyed('ALTER TABLE %1$s ADD COLUMN note text NOT NULL DEFAULT upper(''note''); ALTER TABLE %1$s ADD COLUMN dropped int; ALTER TABLE %1$s DROP COLUMN dropped',
                     'SELECT string_agg(DISTINCT note, '','') FROM %1$s');
SELECT * FROM obeyed('ALTER TABLE %1$s ADD COLUMN note text GENERATED ALWAYS AS (tenant_id || ''note'') STORED', 'SELECT string_agg(DISTINCT note, '','') FROM %1$s');
SELECT * FROM obeyed('ALTER TABLE %1$s ADD COLUMN note text; ALTER TABLE %1$s ALTER COLUMN note SET NOT NULL');
SELECT * FROM obeyed('ALTER TABLE %1$s ADD CONSTRAINT no CHECK (tenant_id <> '''')');
-- Of one row, behind others that are written together with it.
SELECT * FROM obeyed('ALTER TABLE %1$s ADD CONSTRAINT no CHECK (nextval(''dba.rows'') <> 103)');
SELECT * FROM obeyed('ALTER TABLE %1$s ADD CHECK (dba.holds(tenant_id))');
SELECT * FROM obeyed('ALTER TABLE %1$s ADD CONSTRAINT known FOREIGN KEY (tenant_id) REFERENCES dba.tenants');
-- A condition sees the rows that the same statement has written before.
SELECT * FROM obeyed('ALTER TABLE %1$s ADD CONSTRAINT sees_rows CHECK (dba.rows_in(''%1$s'') = nextval(''dba.rows'') - 1)');
-- Of the table that the row is in.
SELECT * FROM obeyed('ALTER TABLE %2$s ADD CONSTRAINT in_place CHECK (tableoid = ''%2$s''::regclass)');
-- A column that may be null.
ALTER TABLE atlas_events ALTER COLUMN icon SET NOT NULL;
SELECT * FROM obeyed('') LIMIT 1;
ALTER TABLE atlas_events ALTER COLUMN icon DROP NOT NULL;

-- Types that round, once the view is gone that keeps them from being changed.
SELECT t.relation, n, o.error, o.log, o.links, o.answer AS rounded
  FROM (VALUES ('atlas_events', 104, 'received_at'), ('atlas_event_links', 52, 'linked_at')) t (relation, many, attribute), unnest(ARRAY[1, many]) n,
       obeyed(t.relation, NULL, n,
              'ALTER EXTENSION atlas_events DROP VIEW atlas_event_logs; ALTER EXTENSION atlas_events DROP VIEW atlas_pending_events; DROP VIEW atlas_event_logs, atlas_pending_events; ALTER TABLE %1$s ALTER COLUMN ' || attribute || ' TYPE timestamptz(0)',
              'SELECT bool_and(' || attribute || ' = date_trunc(''second'', ' || attribute || ')) FROM %1$s') o ORDER BY n, t.relation;
-- A number that is the table's to give.
SELECT n, o.* FROM unnest(ARRAY[1, 104]) n,
       obeyed('atlas_event_queue', NULL, n, 'ALTER TABLE %1$s ALTER COLUMN attempts DROP DEFAULT, ALTER COLUMN attempts ADD GENERATED ALWAYS AS IDENTITY', 'SELECT 0') o;

-- ---------------------------------------------------------------------
-- Indexes
-- ---------------------------------------------------------------------
SELECT * FROM obeyed('CREATE INDEX ON %1$s (dba.key(tenant_id)); CREATE INDEX ON %1$s (event_id) WHERE dba.holds(tenant_id)');
-- What compares the values of an index, however often it does.
SELECT * FROM obeyed('CREATE INDEX ON %2$s (tenant_id dba.text_class)',
                     'SELECT string_agg(DISTINCT note, ''; '') FROM dba.notes');
-- Links that an index refuses are left out, as those that are there already.
SELECT * FROM obeyed('CREATE UNIQUE INDEX once ON %2$s (tenant_id)');
SELECT * FROM obeyed('ALTER TABLE %2$s ADD CONSTRAINT once UNIQUE (tenant_id) DEFERRABLE');
SELECT * FROM obeyed('ALTER TABLE %2$s ADD CONSTRAINT once EXCLUDE USING btree (tenant_id WITH =)');

-- ---------------------------------------------------------------------
-- Owners: what counts are the rights of the owner of the extension
-- ---------------------------------------------------------------------
SELECT * FROM obeyed('ALTER TABLE %1$s OWNER TO regress_atlas_dba');
SELECT * FROM obeyed('ALTER TABLE %2$s OWNER TO regress_atlas_dba; ALTER TABLE %2$s FORCE ROW LEVEL SECURITY');
\pset format aligned

-- ---------------------------------------------------------------------
-- Partitions that a DBA has made
-- ---------------------------------------------------------------------
SELECT test.clean();
CREATE FUNCTION id_of(at text) RETURNS text LANGUAGE sql AS $$
    SELECT left(hex, 8) || '-' || right(hex, 4) || '-0000-0000-000000000000'
      FROM lpad(to_hex((extract(epoch FROM at::timestamp) * 1000)::bigint), 12, '0') hex
$$;
CREATE FUNCTION attach(parent text, child text, since text, until text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, child, id_of(since), id_of(until));
END
$$;
-- With the columns in another order, with one more in front that was dropped, and divided further.
CREATE TABLE reordered (related_objects jsonb, payload jsonb, icon text, description text, name text NOT NULL, external_id text COLLATE "C", object_id text COLLATE "C" NOT NULL,
    object_type text COLLATE "C" NOT NULL, tenant_id text COLLATE "C" NOT NULL, received_at timestamptz NOT NULL, occurred_at timestamptz NOT NULL, event_id uuid NOT NULL PRIMARY KEY);
CREATE TABLE swapped (event_id uuid NOT NULL, linked_at timestamptz NOT NULL, tenant_id text COLLATE "C" NOT NULL, object_id text COLLATE "C" NOT NULL,
    object_type text COLLATE "C" NOT NULL, PRIMARY KEY (tenant_id, object_type, object_id, event_id));
CREATE TABLE with_dropped (dropped int, LIKE atlas_events, PRIMARY KEY (event_id));
ALTER TABLE with_dropped DROP COLUMN dropped;
CREATE TABLE divided (LIKE atlas_events) PARTITION BY LIST (tenant_id);
CREATE TABLE divided_some PARTITION OF divided FOR VALUES IN ('');
CREATE TABLE divided_others PARTITION OF divided DEFAULT;
CREATE TABLE links_divided (LIKE atlas_event_links) PARTITION BY LIST (object_type);
CREATE TABLE links_of_users PARTITION OF links_divided FOR VALUES IN ('USER');
CREATE TABLE links_of_others PARTITION OF links_divided DEFAULT;
SELECT attach('atlas_events', 'reordered', '2024-01-10', '2024-01-20'), attach('atlas_events', 'with_dropped', '2024-02-10', '2024-04-20'),
       attach('atlas_events', 'divided', '2024-05-01', '2024-08-01'), attach('atlas_event_links', 'swapped', '2024-01-01', '2024-03-01'),
       attach('atlas_event_links', 'links_divided', '2024-05-01', '2024-06-01');

-- Events of several months in one call, in mixed order; each where it belongs.
CREATE FUNCTION submit_at(VARIADIC times text[]) RETURNS int LANGUAGE sql AS $$
    SELECT cardinality(public.submit_events(array_agg(('CONVERSATION', '1', NULL, t, NULL, NULL, NULL, '{"(USER,7,)","(CUSTOMER,,195959)"}', t, NULL)::public.atlas_event ORDER BY n)))
      FROM unnest(times) WITH ORDINALITY AS u (t, n)
$$;
CREATE VIEW places AS
    SELECT e.name, e.object_type, e.object_id, e.occurred_at = e.name::timestamptz AS in_time, e.tableoid::regclass AS log,
           string_agg(DISTINCT l.tableoid::regclass || ' ' || l.object_type || ' ' || l.object_id, ', ') AS links
      FROM atlas_events e LEFT JOIN atlas_event_links l USING (event_id) GROUP BY e.event_id, e.name, e.object_type, e.object_id, e.occurred_at, e.tableoid;
SELECT times, submit_at(VARIADIC times) AS stored, atlas_link_events() AS linked
  FROM (VALUES ('{2024-01-15}'::text[]), ('{2024-01-19,2024-01-16}'), ('{2024-02-12}'), ('{2024-03-31,2024-02-10}'), ('{2024-05-14}'), ('{2024-05-31,2024-05-15}'),
               ('{2023-02-28,2024-01-09,2024-04-20,2024-08-01,2024-01-20,2023-02-01}'), ('{2023-02-27,2024-03-30,2024-06-30,2024-01-17,2024-02-11}')) v (times);
SELECT * FROM places ORDER BY name;
-- A default partition, which is taken from for a new one.
CREATE TABLE rest PARTITION OF atlas_events DEFAULT;
CREATE TABLE links_rest PARTITION OF atlas_event_links DEFAULT;
SELECT submit_at('2022-11-10', '2023-02-02', '2022-09-10', '2022-12-31'), submit_at('2022-10-10');
SELECT atlas_link_events();
CREATE TABLE sept (LIKE atlas_events);
WITH moved AS (DELETE FROM rest WHERE name = '2022-09-10' RETURNING *) INSERT INTO sept SELECT * FROM moved;
SELECT attach('atlas_events', 'sept', '2022-09-01', '2022-10-01');
SELECT submit_at('2022-09-11', '2022-10-11');
SELECT name, log, links FROM places WHERE name BETWEEN '2022-09-01' AND '2022-12-31' ORDER BY name;

-- ---------------------------------------------------------------------
-- Transactions
-- ---------------------------------------------------------------------
SELECT test.clean();
-- Of the writes, those after the savepoint are undone.
SELECT submit(1);
SAVEPOINT here;
SELECT submit(104);
SELECT atlas_link_events();
SELECT (SELECT count(*) FROM atlas_events) AS log, (SELECT count(*) FROM atlas_event_queue) AS queued, (SELECT count(*) FROM atlas_event_links) AS links;
ROLLBACK TO here;
SELECT submit(1);
SELECT (SELECT count(*) FROM atlas_events) AS log, (SELECT count(*) FROM atlas_event_queue) AS queued, (SELECT count(*) FROM atlas_event_links) AS links;
SELECT atlas_link_events();
SELECT (SELECT count(*) FROM atlas_events) AS log, (SELECT count(*) FROM atlas_event_queue) AS queued, (SELECT count(*) FROM atlas_event_links) AS links;

-- A statement does not see what it submits, a function that it calls does, and so does the next.
CREATE FUNCTION stored(id uuid) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT name FROM public.atlas_events WHERE event_id = id); END $$;
SELECT e.name AS seen, stored(id) AS seen_by_function FROM submit_event('CONVERSATION', '1', 'in one statement') id LEFT JOIN atlas_events e ON e.event_id = id;
SELECT count(*) FROM atlas_events WHERE name = 'in one statement';

-- Linked already, and in the queue nevertheless, as after a copy of one table after the
-- other; beside events that are not.
SELECT test.clean();
SELECT submit(3);
CREATE TEMPORARY TABLE copied AS SELECT * FROM atlas_event_queue;
SELECT atlas_link_events();
DELETE FROM atlas_event_links WHERE (event_id, object_type) = (SELECT max(event_id::text)::uuid, 'USER' FROM copied);
INSERT INTO atlas_event_queue SELECT * FROM copied;
SELECT submit(2);
SELECT atlas_link_events();
SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1;
SELECT count(*) AS links, count(DISTINCT (event_id, object_type, object_id)) AS different FROM atlas_event_links;

-- A payload of some hundred kB comes back as it was, alone and among others.
SELECT test.clean();
CREATE TEMPORARY TABLE large AS
    SELECT n, jsonb_build_object('n', n, 'text', string_agg(md5(n || ' ' || i), '' ORDER BY i)) AS payload FROM generate_series(1, 3) n, generate_series(1, 7000) i GROUP BY n;
SELECT submit_event('CONVERSATION', '1', n::text, payload => payload) IS NOT NULL AS stored FROM large WHERE n = 1;
SELECT cardinality(submit_events(array_agg(('CONVERSATION', '1', NULL, n, NULL, NULL, payload, NULL, NULL, NULL)::atlas_event))) FROM large WHERE n > 1;
SELECT name, e.payload = l.payload AS same, length(e.payload::text) AS length FROM atlas_events e JOIN large l ON n::text = name ORDER BY name;

-- Read only: nothing is written, and what is wrong with the event is said first.
SELECT test.clean();
SAVEPOINT here;
SET TRANSACTION READ ONLY;
SELECT code, message FROM test.error_of('SELECT submit(1)');
SELECT code, message FROM test.error_of('SELECT submit(104)');
SELECT code, message FROM test.error_of($$SELECT submit_event('CONVERSATION', '404', 'x')$$);
ROLLBACK TO here;
SELECT count(*) FROM atlas_events;
ROLLBACK;

-- ---------------------------------------------------------------------
-- Forced row security, of which an owner is not free who is no superuser
-- ---------------------------------------------------------------------
BEGIN;
DROP EXTENSION atlas_events;
CREATE ROLE regress_atlas_owner SUPERUSER;
GRANT CREATE ON SCHEMA public TO regress_atlas_owner;
SET LOCAL ROLE regress_atlas_owner;
CREATE EXTENSION atlas_events;
RESET ROLE;
ALTER ROLE regress_atlas_owner NOSUPERUSER;
SELECT atlas_register_object_type('CONVERSATION', 'crm.conversations'), atlas_register_object_type('USER', 'crm.agents');
CREATE FUNCTION submit(events int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM submit_event('CONVERSATION', '1', 'x', related_objects => '{"(USER,7,)"}') FROM generate_series(1, 1) WHERE events = 1;
    PERFORM submit_events(array_agg(('CONVERSATION', '1', NULL, 'x', NULL, NULL, NULL, '{"(USER,7,)"}', NULL, NULL)::atlas_event))
       FROM generate_series(1, events) HAVING events > 1;
    RETURN 'stored';
EXCEPTION WHEN OTHERS THEN
    RETURN concat_ws(' ', SQLSTATE, SQLERRM);
END
$$;
CREATE FUNCTION restricted(relation text, grants text, events int, OUT submitted text, OUT links bigint, OUT last_error text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(grants, relation);
    submitted := submit(events);
    PERFORM atlas_link_events();
    SELECT count(*) INTO links FROM atlas_event_links;
    SELECT min(q.last_error) INTO last_error FROM atlas_event_queue q;
    RAISE EXCEPTION USING ERRCODE = 'UNDO0';
EXCEPTION
    WHEN SQLSTATE 'UNDO0' THEN NULL;
END
$$;
CREATE VIEW restrictions AS SELECT * FROM unnest(ARRAY['atlas_events', 'atlas_event_queue', 'atlas_event_links']) relation, unnest(ARRAY[1, 10]) n;
SELECT relation, n, r.* FROM restrictions, restricted(relation, 'ALTER TABLE %s FORCE ROW LEVEL SECURITY', n) r ORDER BY n, relation;
SELECT relation, n, r.* FROM restrictions, restricted(relation, 'CREATE POLICY no ON %1$s AS RESTRICTIVE FOR INSERT WITH CHECK (false)', n) r ORDER BY n, relation;
SELECT relation, n, r.* FROM restrictions, restricted(relation, 'CREATE POLICY no ON %1$s AS RESTRICTIVE FOR INSERT WITH CHECK (false); ALTER TABLE %1$s FORCE ROW LEVEL SECURITY', n) r ORDER BY n, relation;
SELECT relation, n, r.* FROM restrictions, restricted(relation, 'REVOKE INSERT ON %s FROM regress_atlas_owner', n) r ORDER BY n, relation;
ROLLBACK;
