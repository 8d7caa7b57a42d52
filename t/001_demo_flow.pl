# An event is stored, its related objects are linked without any further call,
# and it can be read on the timelines of all of them.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $customer = 'c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e';

# With this naptime a commit that wakes nobody would be found an hour later.
my $node = start_node('demo', settings => "atlas_events.naptime = 1h\natlas_events.idle_timeout = 500ms");
make_database($node, 'atlas', sample => 1);
my @ids;

# One event, step by step.

my $receipt = $node->safe_psql('atlas', <<"END");
SELECT r->>'eventId', r->>'message', r->>'processingStatus', r->>'duplicate'
  FROM submit_event('{"objectType": "CUSTOMER", "objectId": "$customer",
    "name": "Checkout Completed", "icon": "🛒", "payload": {"total": 49.99},
    "relatedObjects": [{"objectType": "ACCOUNT", "externalId": "ACC-000001"},
                       {"objectType": "TICKET", "objectId": "42"},
                       {"objectType": "USER", "objectId": "4711"}]}') AS r;
END
like($receipt, qr/^[0-9a-f-]{36}\|Event Linked\|PENDING\|false$/,
	'the receipt of an event with related objects says PENDING');
my ($id) = split /\|/, $receipt;
push @ids, $id;

wait_until($node, 'atlas',
	"SELECT processing_status = 'LINKED' FROM atlas_event_logs WHERE event_id = '$id'",
	'the event becomes LINKED without a further call');
is( $node->safe_psql(
		'atlas',
		"SELECT string_agg(o->>'objectType' || ' ' || (o->>'outcome'), ', ' ORDER BY n)
		   FROM atlas_event_logs, jsonb_array_elements(related_objects) WITH ORDINALITY AS r (o, n)
		  WHERE event_id = '$id'"),
	'ACCOUNT LINKED, CONVERSATION LINKED, USER NOT_FOUND',
	'each related object has its outcome');

for my $timeline (
	[ 'CUSTOMER', "'$customer'", 'PRIMARY' ],
	[ 'ACCOUNT', "(SELECT id::text FROM accounts WHERE external_id = 'ACC-000001')", 'RELATED' ],
	[ 'ticket', "'42'", 'RELATED' ])
{
	my ($type, $object, $role) = @$timeline;
	is( $node->safe_psql(
			'atlas',
			"SELECT role, name, processing_status FROM atlas_timeline('$type', $object)
			  WHERE event_id = '$id'"),
		"$role|Checkout Completed|LINKED",
		"the event is on the timeline of the $type");
}
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_timeline('USER', '4711')}),
	'0', 'it is on no timeline of an object that does not exist');

# All events of the examples, each submitted on its own.

my @requests = split /\n/, slurp_file(atlas_root() . '/examples/events.ndjson');
my $sql = "\\set VERBOSITY verbose\n";
$sql .= "SELECT submit_event(\$atlas\$$_\$atlas\$)->>'eventId';\n" foreach @requests;
my ($code, $stdout, $stderr) = $node->psql('atlas', $sql, on_error_stop => 0);
my @accepted = event_ids($stdout);
my @refused = $stderr =~ /ERROR:  (\w{5}): /g;
push @ids, @accepted;

is(scalar(@accepted), 237, 'the good events of the examples are accepted');
is_deeply(\@refused, [ ('PT404') x 3 ], 'those whose primary object is unknown are refused');
linked_ok($node, 'atlas', 'all events of the examples are linked');

my $examples = "event_id <> '$id'";
is( $node->safe_psql(
		'atlas', "SELECT sum(jsonb_array_length(related_objects)) FROM atlas_events WHERE $examples"),
	'299',
	'all references of the examples are kept');
is($node->safe_psql('atlas', "SELECT count(*) FROM atlas_event_links WHERE $examples"),
	'264', 'each object is linked once an event');
is( $node->safe_psql(
		'atlas',
		"SELECT outcome, count(*) FROM atlas_event_unresolved WHERE $examples GROUP BY outcome"),
	'NOT_FOUND|17',
	'those that do not exist are recorded');
is( $node->safe_psql(
		'atlas',
		"SELECT o->>'outcome', count(*)
		   FROM atlas_event_logs, jsonb_array_elements(related_objects) AS o
		  WHERE $examples GROUP BY 1 ORDER BY 1"),
	"LINKED|282\nNOT_FOUND|17",
	'the log shows the outcome of every reference');

# What the status says.

is(status_of($node, 'atlas', 'preloaded, failed, queue_depth'),
	't|0|0', 'the status says that nothing waits');
is(status_of($node, 'atlas', 'submitted'), '238', 'it counts the events that were stored');
is( status_of($node, 'atlas', 'linked'),
	$node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events WHERE related_objects IS NOT NULL'),
	'it counts the events that were linked');
is(status_of($node, 'atlas', 'not_found'), '18', 'it counts the references that were not found');
is( status_of($node, 'atlas', 'oldest_pending_age, last_error, last_error_at, advice'),
	'|||',
	'it has nothing to complain of');

wait_until($node, 'atlas',
	'SELECT worker_pid IS NULL AND NOT EXISTS (SELECT FROM atlas_linker_state)
	   FROM atlas_events_status',
	'an idle linker exits and leaves nothing behind');
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');

oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
