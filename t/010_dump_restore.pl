# A dump holds everything, and can be restored into a server that links in the
# background while the restore is at work.

use strict;
use warnings;

use AtlasContent;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('dump');
make_database($node, 'atlas');
$node->safe_psql('atlas', <<'END');
SET client_min_messages = warning;
CREATE EXTENSION atlas_events_api;
SELECT atlas_api_private.create_roles();
INSERT INTO atlas_rejections (tenant_id, request_id, role, status, code, message)
VALUES ('', 'r1', 'atlas_submitter', 404, 'PT404', 'Object Not Found');
END

# Events of several months, with keys, and with references that are not found.
my @ids = submit_events($node, 'atlas', 1, 2000, keys => 'order-');
$node->safe_psql('atlas', <<'END');
CREATE TABLE orders (id bigint PRIMARY KEY);
INSERT INTO orders SELECT generate_series(1, 100);
SELECT atlas_register_object_type('ORDER', 'orders', aliases => '{PURCHASE}');
END
for my $months (1 .. 5)
{
	push @ids, event_ids(
		$node->safe_psql('atlas',
			"SELECT submit_event(object_type => 'ACCOUNT', object_id => NULL,
				external_id => 'ACC-000001', name => 'Invoice Paid',
				occurred_at => now() - interval '$months months',
				related_objects => ARRAY[('CUSTOMER', NULL, '190059'),
				                         ('PURCHASE', '$months', NULL),
				                         ('USER', '999', NULL)]::atlas_object[])"));
}
linked_ok($node, 'atlas', 'the first events are linked');

$node->safe_psql('postgres', 'ALTER DATABASE atlas SET atlas_events.linking = off');
wait_until($node, 'atlas', 'SELECT worker_pid IS NULL FROM atlas_events_status', 'the linker leaves');
push @ids, submit_events($node, 'atlas', 3001, 13_000);
is(status_of($node, 'atlas', 'queue_depth'), '10000', 'ten thousand events are pending in the dump');

# These are linked in the copies only when they are there.
my $pending = "SELECT event_id FROM atlas_events WHERE (payload->>'n')::int > 3000";
my $at_once = content_at_once($node, 'atlas', $pending);
cmp_ok(() = $at_once->{partitions} =~ /^atlas_events\|/mg, '>=', 6, 'there are partitions of several months');

# Of the API there is nothing but its tables and what its roles may do.
my $api = "SELECT (SELECT string_agg(concat_ws(' ', p.oid::regprocedure, p.proowner::regrole, p.proacl), chr(10)
	           ORDER BY p.oid::regprocedure::text)
	      FROM pg_proc p WHERE p.pronamespace IN ('atlas_api'::regnamespace, 'atlas_api_private'::regnamespace)),
	   (SELECT count(*) FROM atlas_rejections)";
my $api_at_once = $node->safe_psql('atlas', $api);
like($api_at_once, qr/atlas_api.*atlas_submitter.*\|1$/s, 'there is an API with its roles, and a rejection');

my $dump = $node->basedir;
$node->command_ok([ 'pg_dump', '-d', 'atlas', '-f', "$dump/plain.sql" ], 'pg_dump as a script');
$node->command_ok([ 'pg_dump', '-d', 'atlas', '-Fc', '-f', "$dump/custom" ], 'pg_dump -Fc');
$node->command_ok([ 'pg_dump', '-d', 'atlas', '-Fd', '-j2', '-f', "$dump/directory" ], 'pg_dump -Fd');

# The original, for comparison.
$node->safe_psql('postgres', 'ALTER DATABASE atlas RESET atlas_events.linking');
$node->reload;
linked_ok($node, 'atlas', 'the original is linked');
my $when_linked = content_when_linked($node, 'atlas');
oracle_ok($node, 'atlas', \@ids);

for my $restore (
	[ by_psql => 'psql', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', "$dump/plain.sql" ],
	[ by_custom => 'pg_restore', '-j4', "$dump/custom" ],
	[ by_directory => 'pg_restore', '-j4', "$dump/directory" ])
{
	my ($database, @command) = @$restore;

	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
	$node->command_checks_all([ @command, '-d', $database ],
		0, [qr/^$/], [qr/^$/], "restored $database: no error, no warning");

	same_content_ok(content_at_once($node, $database, $pending), $at_once, $database);

	is($node->safe_psql($database, $api), $api_at_once, "$database: same API");

	linked_ok($node, $database, "$database: what was pending is linked");

	# What was linked before its objects came is healed when it is looked up again.
	my $unresolved = $when_linked->{unresolved} =~ s/\|.*//r;
	$node->safe_psql($database,
		'UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL');
	wait_until(
		$node, $database,
		"SELECT count(*) = $unresolved AND count(*) FILTER (WHERE next_attempt_at <= now()) = 0
		   FROM atlas_event_unresolved",
		"$database: no reference stays lost");
	same_content_ok(content_when_linked($node, $database), $when_linked, $database);

	my @new = submit_events($node, $database, 20_001, 20_100);
	linked_ok($node, $database, "$database: new events are linked");
	is( $node->safe_psql(
			$database,
			"SELECT count(*) FROM json_array_elements(
				submit_events(atlas_test.make_events(1, 10, 'order-'))->'results') AS r
			  WHERE (r->>'duplicate')::bool"),
		'10',
		"$database: the keys still know their events");
	oracle_ok($node, $database, [ @ids, @new ]);
}

# ----- Restored by another superuser -----

# The statements that are run to write two events and the links of one.
sub inserts_of
{
	my ($database, $settings) = @_;
	my ($code, $stdout, $stderr) = $node->psql($database, <<"END");
SET atlas_events.linking = off;
$settings;
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET client_min_messages = log;
SELECT submit_event('CONVERSATION', '7', 'alone'),
       submit_event('CONVERSATION', '7', 'linked', related_objects => ARRAY[('ACCOUNT', NULL, 'ACC-000003')]::atlas_object[]);
SELECT atlas_link_events();
END

	is($code, 0, "$database: events are submitted and linked");
	return join ' ', sort map { /(\w+)$/ } $stderr =~ /INSERT INTO [\w.]+/g;
}

$node->safe_psql('postgres', <<'END');
CREATE ROLE other_dba SUPERUSER LOGIN;
CREATE DATABASE by_other ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;
ALTER DATABASE by_other SET atlas_events.linking = off;
END
$node->command_ok([ 'pg_restore', '--exit-on-error', '-U', 'other_dba', '-d', 'by_other', "$dump/custom" ],
	'restored by another superuser');
is( $node->safe_psql('by_other', <<'END'),
SELECT string_agg(DISTINCT relowner::regrole::text, ' ' ORDER BY relowner::regrole::text) FROM pg_class
 WHERE relname ~ '^atlas_event' AND relkind IN ('r', 'p')
END
	'other_dba postgres', 'the partitions have another owner than the extension');
$node->safe_psql('by_other', 'SELECT atlas_link_events(100000)');
is(inserts_of('by_other', 'SET atlas_events.direct_access = off'),
	'atlas_event_links atlas_event_queue atlas_event_search atlas_event_work atlas_event_work atlas_events atlas_events',
	'what is run when everything is a statement');
is(inserts_of('by_other', 'SET atlas_events.direct_access = on'), '', 'rows go into them without a statement nevertheless');
oracle_ok($node, 'by_other', [ event_ids($node->safe_psql('by_other', 'SELECT event_id FROM atlas_events')) ]);

# ----- Additions of a DBA, as docs/operations.md says -----

$node->safe_psql('by_other', <<'END');
ALTER TABLE atlas_events ADD COLUMN label text GENERATED ALWAYS AS (object_type || ': ' || name) STORED;
ALTER TABLE atlas_event_queue ADD COLUMN note text NOT NULL DEFAULT 'none';
CREATE INDEX label_idx ON atlas_events (label);
END
$node->command_ok([ 'pg_dump', '-d', 'by_other', '-Fc', '-f', "$dump/with_additions" ], 'dumped with additions');
$node->safe_psql('postgres', "CREATE DATABASE with_additions ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0;
	ALTER DATABASE with_additions SET atlas_events.linking = off");
$node->safe_psql('with_additions', <<'END');
CREATE EXTENSION atlas_events;
ALTER TABLE atlas_events ADD COLUMN label text GENERATED ALWAYS AS (object_type || ': ' || name) STORED;
ALTER TABLE atlas_event_queue ADD COLUMN note text NOT NULL DEFAULT 'none';
END
my ($stdout, $stderr);
IPC::Run::run([ 'pg_restore', '-d', $node->connstr('with_additions'), "$dump/with_additions" ],
	'>', \$stdout, '2>', \$stderr);
unlike($stderr =~ s/error: could not execute query: ERROR:  relation "public.label_idx" does not exist//gr,
	qr/error: /, 'restored after the columns were made; only the index on the parent is missed');
$node->safe_psql('with_additions', 'CREATE INDEX label_idx ON atlas_events (label)');
is( $node->safe_psql('with_additions', 'SELECT count(DISTINCT indexrelid) FROM pg_index JOIN pg_inherits ON inhrelid = indexrelid
		WHERE inhparent = $$label_idx$$::regclass AND indisvalid'),
	$node->safe_psql('with_additions', 'SELECT count(*) FROM pg_inherits WHERE inhparent = $$atlas_events$$::regclass'),
	'the index takes over those of the partitions');
is( $node->safe_psql('with_additions', 'SELECT count(*) FROM pg_index WHERE indrelid = (SELECT min(inhrelid) FROM pg_inherits WHERE inhparent = $$atlas_events$$::regclass)'),
	3, 'of which there are no others');
is( $node->safe_psql('with_additions', 'SELECT count(*), count(label) FROM atlas_events'),
	$node->safe_psql('by_other', 'SELECT count(*), count(label) FROM atlas_events'),
	'all events are there');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
