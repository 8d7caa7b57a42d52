=pod

=head1 NAME

AtlasTest - what the TAP tests of atlas_events have in common

=head1 DESCRIPTION

Starts servers, makes databases with objects for events to be about, submits
events and waits for them to be linked. Every test ends with C<oracle_ok>, the
oracle: it knows which events the server has acknowledged, computes from them
and from the tables of objects what must be stored, and describes each
difference.

=cut

package AtlasTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(
  atlas_root start_node make_database make_extension
  submit_events make_long_log event_ids make_gate submit_gated wait_at_gate open_gate
  poll_value wait_until linked_ok done_ok oracle_ok violations
  long_or status_of wait_for_linker race worker_errors log_size log_since
);

$ENV{PGCLIENTENCODING} = 'UTF8';

# The folder of the extension's sources.
sub atlas_root
{
	return dirname(__FILE__) . '/..';
}

# The first value in the long form of the tests, the second in the short one.
sub long_or
{
	my ($long, $short) = @_;

	return $ENV{ATLAS_LONG} ? $long : $short;
}

# ----- Servers -----

# What a server of the tests looks like. The line prefix has the backend type,
# by which worker_errors() knows the workers.
my $settings = <<'END';
log_statement = none
log_line_prefix = '%m [%p] %b %d: '
restart_after_crash = on
max_worker_processes = 16
max_connections = 60
shared_buffers = 64MB
autovacuum_naptime = 1h
END

# start_node(NAME, preload => 1, settings => TEXT, streaming => 1 or 'logical',
#            install_path => PREFIX OF ANOTHER SERVER, initdb => [OPTION...])
# Returns a running server.
sub start_node
{
	my ($name, %options) = @_;
	my $path = $options{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, defined $path ? (install_path => $path) : ());

	$node->init(allows_streaming => $options{streaming} // 0, extra => $options{initdb} // []);
	$node->append_conf('postgresql.conf', $settings);
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'atlas_events'\natlas_events.naptime = 2s")
	  if $options{preload} // 1;
	$node->append_conf('postgresql.conf', $options{settings})
	  if defined $options{settings};
	$node->start;
	return $node;
}

# ----- Databases -----

# A small Atlas database, whose objects have the same ids as the first ones of
# examples/atlas.sql.
my $small_schema = <<'END';
CREATE TABLE customers (id uuid PRIMARY KEY, external_id text NOT NULL UNIQUE);
CREATE TABLE accounts (id uuid PRIMARY KEY, external_id text NOT NULL UNIQUE);
CREATE TABLE conversations (id bigint PRIMARY KEY, external_id text UNIQUE);

INSERT INTO customers
SELECT md5('customer-' || n)::uuid, 190000 + n FROM generate_series(1, 1000) n;
INSERT INTO accounts
SELECT md5('account-' || n)::uuid, 'ACC-' || lpad(n::text, 6, '0') FROM generate_series(1, 500) n;
INSERT INTO conversations
SELECT n, 'ZD-' || 480000 + n FROM generate_series(1, 1000) n;
ANALYZE customers, accounts, conversations;
END

# Events number first to last, each with two related objects. Of the second
# ones a fifth is missing, a fifth is named by its external id, a fifth is the
# primary object and a fifth is the first one once more.
my $helpers = <<'END';
CREATE FUNCTION atlas_test.make_events(first int, last int, keys text DEFAULT NULL) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_agg(json_strip_nulls(json_build_object(
               'objectType', 'CUSTOMER',
               'objectId', md5('customer-' || 1 + n % 1000)::uuid,
               'name', 'Checkout Completed',
               'payload', json_build_object('n', n),
               'idempotencyKey', keys || n,
               'relatedObjects', json_build_array(
                   json_build_object('objectType', 'ACCOUNT',
                                     'objectId', md5('account-' || 1 + n % 500)::uuid),
                   CASE n % 5
                       WHEN 0 THEN json_build_object('objectType', 'TICKET',
                                                     'objectId', (1000000 + n)::text)
                       WHEN 1 THEN json_build_object('objectType', 'CONVERSATION',
                                                     'externalId', 'ZD-' || 480001 + n % 1000)
                       WHEN 2 THEN json_build_object('objectType', 'CONVERSATION',
                                                     'objectId', (1 + n % 1000)::text)
                       WHEN 3 THEN json_build_object('objectType', 'CUSTOMER',
                                                     'objectId', md5('customer-' || 1 + n % 1000)::uuid)
                       ELSE json_build_object('objectType', 'ACCOUNT',
                                              'externalId', 'ACC-' || lpad((1 + n % 500)::text, 6, '0'))
                   END))) ORDER BY n)
      FROM (SELECT n FROM generate_series(first, last) AS n) AS numbers
$$;

CREATE FUNCTION atlas_test.submit(first int, last int, keys text DEFAULT NULL) RETURNS SETOF uuid
LANGUAGE sql AS $$
    SELECT (r->>'eventId')::uuid
      FROM json_array_elements(submit_events(atlas_test.make_events(first, last, keys))->'results') AS r
$$;
END

# The gate: a linker that comes to an event in this table stops in the middle of
# its transaction until the event is taken out, or it is killed.
my $gate = <<'END';
CREATE TABLE atlas_test.gate (event_id uuid PRIMARY KEY);

CREATE FUNCTION atlas_test.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM atlas_test.gate g WHERE g.event_id = NEW.event_id) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN NEW;
END $$;
END

# make_database(NODE, NAME, sample => 1, extension => 0)
# A database with the small schema, or the sample, and with the extension, the
# object types connected, and the helpers and the oracle of the tests.
sub make_database
{
	my ($node, $name, %options) = @_;

	$node->safe_psql('postgres',
		"CREATE DATABASE $name ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($name,
		$options{sample}
		? slurp_file(atlas_root() . '/examples/atlas.sql')
		: $small_schema);
	$node->safe_psql($name, <<"END");
CREATE SCHEMA atlas_test;
SET check_function_bodies = off;
$helpers
END
	$node->safe_psql($name, slurp_file(atlas_root() . '/t/oracle.sql'));
	make_extension($node, $name) if $options{extension} // 1;
	return;
}

sub make_extension
{
	my ($node, $name) = @_;

	$node->safe_psql($name,
		'CREATE EXTENSION atlas_events; SELECT atlas_discover_object_types();');
	return;
}

# ----- Events -----

# submit_events(NODE, DATABASE, FIRST, LAST, keys => PREFIX, batch => 1000)
# Submits the events with these numbers and returns their ids, as received.
sub submit_events
{
	my ($node, $database, $first, $last, %options) = @_;
	my $batch = $options{batch} // 1000;
	my $keys = defined $options{keys} ? "'$options{keys}'" : 'NULL';
	my $sql = '';

	for (my $n = $first; $n <= $last; $n += $batch)
	{
		my $end = $n + $batch - 1;
		$end = $last if $end > $last;
		$sql .= "SELECT atlas_test.submit($n, $end, $keys);\n";
	}
	return event_ids($node->safe_psql($database, $sql));
}

# Spreads events over the five months before this one, as whole months: a table of a few
# rows would be read as a whole. They are about 1000 customers, and have ids as
# submit_event() would make them; one in four has been linked to a conversation. The
# tenant is an expression of n.
sub make_long_log
{
	my ($node, $database, $events, $tenant) = @_;

	$node->safe_psql($database, <<"END");
SET TimeZone = 'UTC';
SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001',
                    name => 'First', occurred_at => month,
                    related_objects => ARRAY[('TICKET', '1', NULL)]::atlas_object[])
  FROM generate_series(date_trunc('month', now()) - interval '5 months',
                       date_trunc('month', now()) - interval '1 month', '1 month') AS month;
SELECT atlas_link_events();
SET synchronous_commit = off;
INSERT INTO atlas_events (event_id, occurred_at, received_at, tenant_id, object_type, object_id, name, related_objects)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || left(hash, 3) || '8' || substr(hash, 4, 15))::uuid,
       at, at, $tenant, 'CUSTOMER', md5('customer-' || 1 + n % 1000)::uuid, 'Page Viewed',
       CASE WHEN n % 4 = 0 THEN jsonb_build_array(
           jsonb_build_object('objectType', 'CONVERSATION', 'objectId', (1 + n % 1000)::text)) END
  FROM generate_series(1, $events) AS n,
       LATERAL (SELECT this_month - n * (this_month - (this_month - interval '5 months')) / $events AS at,
                       md5(n::text) AS hash
                  FROM date_trunc('month', now()) AS this_month) AS made;
INSERT INTO atlas_event_links (event_id, linked_at, tenant_id, object_type, object_id)
SELECT event_id, received_at, tenant_id, 'CONVERSATION', related_objects->0->>'objectId'
  FROM atlas_events WHERE related_objects IS NOT NULL AND name = 'Page Viewed';
END
	return;
}

# Installs the gate in a database: for linking, or where this table is written.
sub make_gate
{
	my ($node, $database, $table) = @_;

	$table //= 'atlas_event_links';
	$node->safe_psql($database, <<"END");
$gate
CREATE TRIGGER wait_at_gate BEFORE INSERT ON $table
    FOR EACH ROW EXECUTE FUNCTION atlas_test.wait_at_gate();
END
	return;
}

# submit_gated(NODE, DATABASE, FIRST, LAST, N): submits events whose linking
# stops at the N-th of them, which must name an account. Returns their ids.
sub submit_gated
{
	my ($node, $database, $first, $last, $n) = @_;

	return event_ids($node->safe_psql($database, <<"END"));
BEGIN;
CREATE TEMPORARY TABLE submitted (event_id uuid, n int GENERATED ALWAYS AS IDENTITY);
INSERT INTO submitted SELECT s
  FROM generate_series($first, $last, 1000) AS f,
       LATERAL atlas_test.submit(f, LEAST(f + 999, $last)) AS s;
INSERT INTO atlas_test.gate SELECT event_id FROM submitted WHERE n = $n;
SELECT event_id FROM submitted ORDER BY n;
COMMIT;
END
}

# Waits until a linker stands at the gate; returns its process id. One that was killed is
# shown for a moment still, and is told.
sub wait_at_gate
{
	my ($node, $database, $killed) = @_;

	return poll_value($node, 'postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'atlas_events linker'
		    AND datname = '$database' AND wait_event = 'PgSleep' AND pid <> " . ($killed // 0));
}

sub open_gate
{
	my ($node, $database) = @_;

	$node->safe_psql($database, 'DELETE FROM atlas_test.gate');
	return;
}

# The event ids in an output of psql, one a line.
sub event_ids
{
	my ($output) = @_;

	return grep { /^[0-9a-f]{8}-[0-9a-f]{4}-7/ } split /\n/, $output;
}

# ----- Waiting and asking -----

# Waits until a query returns t; a failed test and its name otherwise.
sub wait_until
{
	my ($node, $database, $query, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return ok($node->poll_query_until($database, $query), $name);
}

# Waits until no event is pending any more, nor is a document due, for a minute. An
# event that nobody was told of, or that was put off without need, may take longer.
sub linked_ok
{
	my ($node, $database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $minute = $PostgreSQL::Test::Utils::timeout_default / 3;

	return ok(
		defined poll(
			$node, $database,
			q{SELECT 'linked' WHERE NOT EXISTS (SELECT FROM atlas_event_queue
			   WHERE next_attempt_at IS DISTINCT FROM 'infinity')
			   AND NOT EXISTS (SELECT FROM atlas_event_work)},
			$minute),
		$name);
}

# Runs a statement, which must succeed. One that waits for ever fails in the end.
sub done_ok
{
	my ($node, $database, $statement, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($stderr, $timed_out) = ('');

	$node->psql(
		$database, $statement,
		stderr => \$stderr,
		timeout => $PostgreSQL::Test::Utils::timeout_default,
		timed_out => \$timed_out);
	return is($timed_out ? 'no answer' : $stderr, '', $name);
}

# What the oracle finds, at most ten lines of it; acknowledged is a list of ids.
sub violations
{
	my ($node, $database, $acknowledged) = @_;
	my $ids = join("\n", @$acknowledged);

	$ids .= "\n" if $ids ne '';
	return $node->safe_psql($database, <<"END");
CREATE TEMPORARY TABLE acknowledged (event_id uuid);
COPY acknowledged FROM STDIN;
$ids\\.
SELECT v.* FROM atlas_test.violations(ARRAY(SELECT event_id FROM acknowledged)) AS v LIMIT 10;
END
}

sub oracle_ok
{
	my ($node, $database, $acknowledged, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	# Documents are made after the links. If they are not made, the oracle says so.
	poll($node, $database, 'SELECT 1 WHERE NOT EXISTS (SELECT FROM atlas_event_work)',
		$PostgreSQL::Test::Utils::timeout_default / 3);
	return is(violations($node, $database, $acknowledged),
		'', $name // "the oracle finds nothing wrong in $database");
}

# A column, or an expression, of the status view.
sub status_of
{
	my ($node, $database, $column) = @_;

	return $node->safe_psql($database, "SELECT $column FROM atlas_events_status");
}

# Asks until a query returns something, for so many seconds, and returns it. The
# server may be down at first.
sub poll
{
	my ($node, $database, $query, $seconds) = @_;
	my $deadline = time() + $seconds;

	while (time() < $deadline)
	{
		my ($code, $stdout) = $node->psql($database, $query);
		return $stdout if $code == 0 && $stdout ne '';
		usleep(20_000);
	}
	return;
}

# Waits until a query returns something, and returns it.
sub poll_value
{
	my ($node, $database, $query) = @_;

	return poll($node, $database, $query, $PostgreSQL::Test::Utils::timeout_default)
	  // die "no result of: $query";
}

# Waits until a linker works in a database; returns its process id. The caller
# sees to it that there is enough to do.
sub wait_for_linker
{
	my ($node, $database) = @_;

	return poll_value($node, 'postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'atlas_events linker'
		    AND datname = '$database' LIMIT 1");
}

# ----- Many sessions at once -----

# race(NODE, DATABASE, SCRIPT...): runs the scripts, one a session, all let loose
# at the same moment. Returns a list of [output, errors] in their order.
sub race
{
	my ($node, $database, @scripts) = @_;
	my $starter = $node->background_psql($database);
	my (@output, @errors, @runs);

	$starter->query_safe('SELECT pg_advisory_lock(4711)');
	for my $i (0 .. $#scripts)
	{
		my $file = $node->basedir . "/race_$i.sql";
		append_to_file($file, <<"END");
\\set VERBOSITY verbose
\\o /dev/null
SELECT pg_advisory_lock_shared(4711);
\\o
$scripts[$i]
END
		($output[$i], $errors[$i]) = ('', '');
		push @runs,
		  IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $node->connstr($database), '-f', $file ],
			'>', \$output[$i], '2>', \$errors[$i]);
	}
	$node->poll_query_until($database,
		'SELECT count(*) = ' . @scripts . " FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
	  or die 'not all sessions came to the start';
	$starter->query_safe('SELECT pg_advisory_unlock(4711)');
	$_->finish foreach @runs;
	$starter->quit;
	unlink map { $node->basedir . "/race_$_.sql" } 0 .. $#scripts;
	return map { [ $output[$_], $errors[$_] ] } 0 .. $#scripts;
}

# ----- The server's log -----

sub log_size
{
	my ($node) = @_;

	return -s $node->logfile;
}

sub log_since
{
	my ($node, $offset) = @_;

	return slurp_file($node->logfile, $offset);
}

# What the workers have logged as an error, from an offset on.
sub worker_errors
{
	my ($node, $offset) = @_;

	return grep { /\] atlas_events (?:linker|launcher|action worker) .*?: (?:WARNING|ERROR|FATAL|PANIC): / }
	  split /\n/, log_since($node, $offset // 0);
}

1;
