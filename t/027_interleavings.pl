# What two sessions do at the same time, in every order of their steps:
# register, discover, unregister, rename, drop, submit, link, retry, delete and
# drop a month. The short form takes the pairs that touch the same things, the
# long form any two, and rolls back either. Whatever the order, nobody deadlocks,
# nobody fails but for a reason that he is told, and the oracle finds nothing wrong.
#
# The steps are sent through dblink from one session. A step that has to wait
# for a lock is left waiting while the other session goes on, as isolationtester
# does it; unlike there, an order that cannot be (because the next step is one of
# the session that waits) goes on with the other session's.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('interleavings', settings => "atlas_events.linking = off\ndeadlock_timeout = 200ms");
make_database($node, 'atlas');

# ----- The state that each order begins with -----

$node->safe_psql('atlas', <<'END');
CREATE EXTENSION dblink;

CREATE FUNCTION atlas_test.say(customer int, account int, key text DEFAULT NULL, months_ago int DEFAULT NULL)
RETURNS text LANGUAGE sql AS $$
    SELECT submit_event(jsonb_strip_nulls(jsonb_build_object(
               'objectType', 'CUSTOMER', 'objectId', customer::text, 'name', 'Said',
               'idempotencyKey', key, 'payload', jsonb_build_object('key', key),
               'occurredAt', date_trunc('month', now()) + interval '14 days' - make_interval(months => months_ago),
               'relatedObjects', jsonb_build_array(
                   jsonb_build_object('objectType', 'ACCOUNT', 'objectId', account::text),
                   jsonb_build_object('objectType', 'ACCOUNT', 'objectId', '9'),
                   jsonb_build_object('objectType', 'CUSTOMER', 'objectId', '2')))))->>'eventId'
$$;

-- Several events in one call, whose keys are taken in the order of the array.
CREATE FUNCTION atlas_test.say_all(keys text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT r->>'eventId'
      FROM json_array_elements(submit_events((
               SELECT json_agg(json_build_object('objectType', 'CUSTOMER', 'objectId', '1', 'name', 'Said',
                                                 'idempotencyKey', k, 'payload', json_build_object('key', k),
                                                 'relatedObjects', json_build_array(
                                                     json_build_object('objectType', 'ACCOUNT', 'objectId', '1'))))
                 FROM unnest(keys) AS k))->'results') AS r
$$;

-- One event is pending, one has failed, and one month is old.
CREATE FUNCTION atlas_test.reset() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    month regclass;
BEGIN
    DELETE FROM atlas_event_queue;
    DELETE FROM atlas_event_work;
    DELETE FROM atlas_event_search;
    DELETE FROM atlas_event_links;
    DELETE FROM atlas_event_unresolved;
    DELETE FROM atlas_event_keys;
    DELETE FROM atlas_events;
    DELETE FROM atlas_object_types;
    FOR month IN SELECT inhrelid FROM pg_inherits
                  WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass, 'atlas_event_search'::regclass)
                    AND right(inhrelid::regclass::text, 7) < to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') LOOP
        EXECUTE format('DROP TABLE %s', month);
    END LOOP;
    SET LOCAL client_min_messages = warning;
    DROP TABLE IF EXISTS customers, accounts, conversations, clients, renamed;
    CREATE TABLE customers (id int PRIMARY KEY);
    CREATE TABLE accounts (id int PRIMARY KEY);
    CREATE TABLE clients (id int PRIMARY KEY);
    INSERT INTO customers VALUES (1), (2);
    INSERT INTO accounts VALUES (1), (2);
    INSERT INTO clients VALUES (1), (2), (9);
    PERFORM atlas_register_object_type('CUSTOMER', 'customers');
    PERFORM atlas_register_object_type('ACCOUNT', 'accounts');
    RETURN NEXT atlas_test.say(1, 1);
    -- As the linker does it when an event fails
    INSERT INTO atlas_event_work (event_id, submitted_xid, what) SELECT event_id, pg_current_xact_id(), 1 FROM atlas_event_queue;
    UPDATE atlas_event_queue SET attempts = 5, last_error = 'out of order', next_attempt_at = 'infinity';
    RETURN NEXT atlas_test.say(1, 2);
    PERFORM atlas_test.say(1, 2, months_ago => 3);
    DELETE FROM atlas_event_work w USING atlas_events e
     WHERE e.event_id = w.event_id AND e.occurred_at < now() - interval '2 months';
    DELETE FROM atlas_event_search s USING atlas_events e
     WHERE e.event_id = s.event_id AND e.occurred_at < now() - interval '2 months';
    DELETE FROM atlas_event_queue q USING atlas_events e
     WHERE e.event_id = q.event_id AND e.occurred_at < now() - interval '2 months';
    DELETE FROM atlas_events WHERE occurred_at < now() - interval '2 months';
END $$;

-- The first id of a month, so many months ago.
CREATE FUNCTION atlas_test.first_id(months_ago int) RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM (date_trunc('month', now() AT TIME ZONE 'UTC')
                                                 - make_interval(months => months_ago)) AT TIME ZONE 'UTC') * 1000)::bigint),
                     12, '0'), 32, '0')::uuid
$$;

-- Whether an event is of the old month and may go with it.
CREATE FUNCTION atlas_test.is_old(event_id uuid) RETURNS bool LANGUAGE sql STABLE AS $$
    SELECT event_id >= atlas_test.first_id(3) AND event_id < atlas_test.first_id(2)
$$;

-- Drops the old month, as docs/operations.md says.
CREATE FUNCTION atlas_test.drop_month() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    month text := to_char(now() AT TIME ZONE 'UTC' - interval '3 months', 'YYYY_MM');
    tables text;
BEGIN
    SELECT string_agg(inhrelid::regclass::text, ', ' ORDER BY inhparent = 'atlas_event_links'::regclass)
      INTO tables
      FROM pg_inherits
     WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass, 'atlas_event_search'::regclass)
       AND right(inhrelid::regclass::text, 7) = month;
    IF tables IS NOT NULL THEN
        EXECUTE 'DROP TABLE ' || tables;
    END IF;
    DELETE FROM atlas_event_queue WHERE atlas_test.is_old(event_id);
    DELETE FROM atlas_event_work WHERE atlas_test.is_old(event_id);
    DELETE FROM atlas_event_unresolved WHERE atlas_test.is_old(event_id);
    DELETE FROM atlas_event_keys WHERE atlas_test.is_old(event_id);
END $$;

-- What has been put off is due.
CREATE FUNCTION atlas_test.make_due() RETURNS void LANGUAGE sql AS $$
    UPDATE atlas_event_queue SET next_attempt_at = now() WHERE next_attempt_at <> 'infinity';
    UPDATE atlas_event_work SET next_attempt_at = now();
    UPDATE atlas_event_unresolved SET next_attempt_at = now();
$$;
END

# ----- Taking the steps of an order -----

# One order: steps are like '1:BEGIN'. What it returns is wrong.
$node->safe_psql('atlas', <<'END');
CREATE FUNCTION atlas_test.interleaving(steps text[], allowed text[]) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
    pids int[] := ARRAY(SELECT pid FROM atlas_test.sessions() ORDER BY n);
    running text[] := array_fill(NULL::text, ARRAY[cardinality(pids)]);
    pending text[] := array_fill(''::text, ARRAY[cardinality(pids)]);
    is_open bool[] := array_fill(false, ARRAY[cardinality(pids)]);
    acknowledged text := '';
    remaining text[] := steps;
    said text;
    error text;
    is_moving bool;
    s int;
BEGIN
    SELECT string_agg(r, ' ') INTO acknowledged FROM dblink('s0', 'SELECT atlas_test.reset()') AS t (r text);
    WHILE cardinality(remaining) > 0 OR cardinality(array_remove(running, NULL)) > 0 LOOP
        FOR i IN 1 .. cardinality(remaining) LOOP
            s := split_part(remaining[i], ':', 1);
            IF running[s] IS NULL THEN
                running[s] := substr(remaining[i], 3);
                PERFORM dblink_send_query('s' || s, running[s]);
                remaining := remaining[:i - 1] || remaining[i + 1:];
                EXIT;
            END IF;
        END LOOP;
        -- Until whoever runs is done or has to wait.
        LOOP
            is_moving := false;
            FOR s IN 1 .. cardinality(pids) LOOP
                CONTINUE WHEN running[s] IS NULL;
                IF dblink_is_busy('s' || s) = 1 THEN
                    is_moving := is_moving OR NOT pg_isolation_test_session_is_blocked(pids[s], pids);
                    CONTINUE;
                END IF;
                is_moving := true;
                error := NULL;
                said := NULL;
                BEGIN
                    SELECT string_agg(r, ' ') INTO said FROM dblink_get_result('s' || s) AS t (r text);
                EXCEPTION WHEN OTHERS THEN
                    error := SQLSTATE;
                    IF error <> ALL (allowed) THEN
                        RETURN NEXT format('session %s: %s: %s %s', s, running[s], error, SQLERRM);
                    END IF;
                END;
                PERFORM FROM dblink_get_result('s' || s, false) AS t (r text);
                CASE
                    WHEN running[s] LIKE 'BEGIN%' THEN
                        is_open[s] := true;
                    WHEN running[s] IN ('COMMIT', 'ROLLBACK') THEN
                        IF said = 'COMMIT' THEN
                            acknowledged := concat_ws(' ', acknowledged, pending[s]);
                        END IF;
                        is_open[s] := false;
                        pending[s] := '';
                    WHEN running[s] LIKE '%say%' AND error IS NULL THEN
                        pending[s] := concat_ws(' ', pending[s], said);
                    ELSE
                END CASE;
                running[s] := NULL;
            END LOOP;
            EXIT WHEN NOT is_moving;
            PERFORM pg_sleep(0.0002);
        END LOOP;
    END LOOP;
    PERFORM FROM dblink('s0', 'SELECT atlas_test.make_due()') AS t (r text);
    PERFORM FROM dblink('s0', 'SELECT atlas_link_events()') AS t (r text);
    PERFORM FROM dblink('s0', 'SELECT atlas_test.make_due()') AS t (r text);
    PERFORM FROM dblink('s0', 'SELECT atlas_link_events()') AS t (r text);
    RETURN QUERY SELECT r FROM dblink('s0', format($s$
        SELECT v::text
          FROM atlas_test.violations(string_to_array(trim(regexp_replace(%L, ' +', ' ', 'g')), ' ')::uuid[], '-1 day') AS v
         WHERE NOT (%L AND v.violation = 'an acknowledged event is lost' AND atlas_test.is_old(v.event_id))
        UNION ALL
        SELECT 'a key has two events' FROM atlas_events WHERE payload ? 'key'
         GROUP BY payload->>'key' HAVING count(*) > 1$s$, acknowledged, array_to_string(steps, ' ') LIKE '%drop_month%')) AS t (r text);
END $$;
END

# ----- What a session can do -----

# Name => [statement, errors that may be the answer to it].
my %operations = (
	'register' => [ q{SELECT atlas_register_object_type('ACCOUNT', 'clients')::text} ],
	'register the same' => [ q{SELECT atlas_register_object_type('CUSTOMER', 'customers')::text}, '42P01' ],
	'discover' => [ q{SELECT count(*)::text FROM atlas_discover_object_types()} ],
	'unregister' => [ q{SELECT atlas_unregister_object_type('ACCOUNT')::text}, '42704' ],
	'unregister the primary type' => [ q{SELECT atlas_unregister_object_type('CUSTOMER')::text}, '42704' ],
	'rename' => [ q{ALTER TABLE accounts RENAME TO renamed}, '42P01', '42P07' ],
	'drop' => [ q{DROP TABLE accounts}, '42P01' ],
	'submit' => [ q{SELECT atlas_test.say(1, 1)}, 'PT404' ],
	'submit with a key' => [ q{SELECT atlas_test.say(1, 2, 'a')}, 'PT404' ],
	'submit with keys' => [ q{SELECT atlas_test.say_all('{b,c,d}')} ],
	'submit with keys, backwards' => [ q{SELECT atlas_test.say_all('{d,c,b}')} ],
	'submit in a new month' => [ q{SELECT atlas_test.say(1, 1, months_ago => 7)}, 'PT404' ],
	'submit in an old month' => [ q{SELECT atlas_test.say(1, 2, months_ago => 3)}, 'PT404' ],
	'link' => [ q{SELECT atlas_link_events()::text} ],
	'retry' => [ q{SELECT atlas_retry_failed()::text} ],
	'delete the object' => [ q{DELETE FROM customers WHERE id = 1} ],
	'drop a month' => [ q{SELECT atlas_test.drop_month()::text}, '42P01' ],
);

# All orders of the steps of some sessions: lists of session numbers.
sub orders
{
	my (@left) = @_;
	my @orders;

	return ([]) unless grep { $_ > 0 } @left;
	foreach my $s (grep { $left[$_] > 0 } 0 .. $#left)
	{
		my @rest = @left;
		$rest[$s]--;
		push @orders, map { [ $s, @$_ ] } orders(@rest);
	}
	return @orders;
}

# The calls that take some sessions, each a list of an operation and how its
# transaction begins and ends, through all orders.
sub calls
{
	my (@sessions) = @_;
	my @statements = map { [ $operations{ $_->[0] }[0], $_->[2] ] } @sessions;
	my %allowed = ('25P02' => 1);
	my @calls;

	foreach my $session (@sessions)
	{
		my ($operation, $begin) = @$session;
		my (undef, @errors) = @{ $operations{$operation} };
		$allowed{$_} = 1 foreach @errors;
		$allowed{'40001'} = 1 if $begin =~ /REPEATABLE/;
	}
	foreach my $order (orders(map { scalar @$_ } @statements))
	{
		my @next = map { 0 } @statements;
		my @steps = map { ($_ + 1) . ":$sessions[$_][1]" } 0 .. $#sessions;
		push @steps, map { ($_ + 1) . ':' . $statements[$_][ $next[$_]++ ] } @$order;
		my $title = join ', ', map { "$_->[0] ($_->[1], $_->[2])" } @sessions;
		my $shown = join '', map { $_ + 1 } @$order;
		push @calls, "SELECT \$t\$$title, order $shown\$t\$, v FROM atlas_test.interleaving(ARRAY["
		  . join(', ', map { "\$s\$$_\$s\$" } @steps) . "], ARRAY["
		  . join(', ', map { "'$_'" } sort keys %allowed) . "]) AS v;\n";
	}
	return @calls;
}

# Takes all of these calls; nothing may come of it.
sub none_wrong
{
	my ($name, @calls) = @_;
	my $connect = 'dbname=atlas host=' . $node->host . ' port=' . $node->port
	  . ' options=-cstatement_timeout=60s';
	my @lines = split /\n/, $node->safe_psql('atlas', <<"END" . join('', @calls));
SET client_min_messages = warning;
SELECT dblink_connect('s' || n, '$connect') FROM generate_series(0, 3) AS n \\g /dev/null
CREATE TEMPORARY TABLE numbered AS
    SELECT n, (SELECT pid FROM dblink('s' || n, 'SELECT pg_backend_pid()') AS t (pid int)) AS pid
      FROM generate_series(1, 3) AS n;
CREATE OR REPLACE FUNCTION atlas_test.sessions(OUT n int, OUT pid int) RETURNS SETOF record
    LANGUAGE sql AS 'SELECT n, pid FROM pg_temp.numbered';
END

	note scalar(@calls) . ' orders';
	$#lines = 39 if @lines > 40;
	return is(join("\n", @lines), '', $name);
}

# ----- Two sessions -----

my @names = sort keys %operations;
my @pairs = map {
	my $i = $_;
	map { [ @names[ $i, $_ ] ] } $i .. $#names
} 0 .. $#names;

# Those that touch the same rows, tables or locks.
my @close = (
	[ 'register', 'submit' ],
	[ 'register', 'link' ],
	[ 'register', 'register' ],
	[ 'discover', 'register the same' ],
	[ 'unregister the primary type', 'submit' ],
	[ 'unregister', 'link' ],
	[ 'rename', 'submit' ],
	[ 'rename', 'link' ],
	[ 'drop', 'link' ],
	[ 'drop', 'register' ],
	[ 'retry', 'link' ],
	[ 'retry', 'retry' ],
	[ 'link', 'link' ],
	[ 'submit', 'link' ],
	[ 'submit in a new month', 'submit in a new month' ],
	[ 'submit with a key', 'submit with a key' ],
	[ 'submit with keys', 'submit with keys, backwards' ],
	[ 'drop a month', 'link' ],
	[ 'drop a month', 'submit in an old month' ],
	[ 'delete the object', 'submit' ]);

@pairs = @close unless long_or(1, 0);
foreach my $first (@names)
{
	my @mine = grep { $_->[0] eq $first } @pairs or next;
	none_wrong("$first and another session, in every order",
		map { calls([ $_->[0], 'BEGIN', 'COMMIT' ], [ $_->[1], 'BEGIN', 'COMMIT' ]) } @mine);
}
if (long_or(1, 0))
{
	none_wrong('the first rolls back, in every order',
		map { calls([ $_->[0], 'BEGIN', 'ROLLBACK' ], [ $_->[1], 'BEGIN', 'COMMIT' ]) } @pairs);
	none_wrong('the second rolls back, in every order',
		map { calls([ $_->[0], 'BEGIN', 'COMMIT' ], [ $_->[1], 'BEGIN', 'ROLLBACK' ]) } @pairs);
}
$node->stop;
done_testing();
