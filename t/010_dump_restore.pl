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
INSERT INTO atlas_api_private.rejections (tenant_id, request_id, role, status, code, message)
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
	   (SELECT count(*) FROM atlas_api_private.rejections)";
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

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
