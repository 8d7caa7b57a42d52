# Where a subscription fills the queue, the events are the publisher's to link.

use strict;
use warnings;

use AtlasTest;
use DBI;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = start_node('publisher', streaming => 'logical',
	settings => 'atlas_events.linking = off');
my $subscriber = start_node('subscriber', streaming => 'logical');
make_database($_, 'atlas') foreach $publisher, $subscriber;

# Both have the partition of this month.
my @ids = submit_events($publisher, 'atlas', 1, 10);
my @own = submit_events($subscriber, 'atlas', 1001, 1010);
linked_ok($subscriber, 'atlas', 'the subscriber links its own events at first');

$publisher->safe_psql('atlas',
	'CREATE PUBLICATION events FOR TABLE atlas_events, atlas_event_queue
	   WITH (publish_via_partition_root = true)');
my $source = $publisher->connstr('atlas') =~ s/'/''/gr;
$subscriber->safe_psql('atlas',
	"CREATE SUBSCRIPTION events CONNECTION '$source' PUBLICATION events WITH (copy_data = true)");
$subscriber->wait_for_subscription_sync($publisher, 'events', 'atlas');
push @ids, submit_events($publisher, 'atlas', 11, 20);
$publisher->wait_for_catchup('events');

wait_until($subscriber, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status",
	'the linker of the subscriber stands still');
like(status_of($subscriber, 'atlas', 'queue_depth, advice'),
	qr/^20\|.*subscription/, 'the status says why; the events wait');
is( $subscriber->safe_psql(
		'atlas',
		'SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1'),
	"LINKED|10\nPENDING|20",
	'the log can be read there');

# The publisher goes out of business.
$subscriber->safe_psql('atlas', 'DROP SUBSCRIPTION events');
linked_ok($subscriber, 'atlas', 'without the subscription it links them itself');
oracle_ok($subscriber, 'atlas', [ @ids, @own ]);

$publisher->append_conf('postgresql.conf', 'atlas_events.linking = on');
$publisher->reload;
linked_ok($publisher, 'atlas', 'the publisher links them as well');
oracle_ok($publisher, 'atlas', \@ids);

# ----- Only the log and the links -----

# What is read on the subscriber, of a few objects.
sub timelines
{
	my ($node) = @_;

	return $node->safe_psql('reads', <<'END');
SELECT t.object_type, t.object_id, e.event_id, e.role, e.name, e.processing_status
  FROM (VALUES ('CUSTOMER', md5('customer-7')::uuid::text), ('ACCOUNT', md5('account-3')::uuid::text),
               ('TICKET', '8')) AS t (object_type, object_id),
       LATERAL atlas_timeline(t.object_type, t.object_id) AS e
END
}

make_database($_, 'reads') foreach $publisher, $subscriber;
my @read = submit_events($publisher, 'reads', 1, 2000);
linked_ok($publisher, 'reads', 'the publisher links');
$publisher->safe_psql('reads',
	'CREATE PUBLICATION reads FOR TABLE atlas_events, atlas_event_links
	   WITH (publish_via_partition_root = true)');

# The subscriber has no partition at all yet, of this month or any other.
$source = $publisher->connstr('reads') =~ s/'/''/gr;
my $offset = log_size($subscriber);
$subscriber->safe_psql('reads',
	"CREATE SUBSCRIPTION reads CONNECTION '$source' PUBLICATION reads");
$subscriber->wait_for_log(qr/no partition of relation "atlas_events" found for row/, $offset);
pass('without the partition the subscription stops, and the log says why');

# The partitions come as docs/operations.md says.
my $schema = $publisher->basedir . '/partitions.sql';
$publisher->command_ok(
	[
		'pg_dump', '--schema-only', '-t', 'atlas_events_*', '-t', 'atlas_event_links_*',
		'-d', 'reads', '-f', $schema
	],
	'pg_dump --schema-only of the partitions');
$subscriber->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'reads', '-f', $schema ],
	'they are made on the subscriber');
$subscriber->wait_for_subscription_sync($publisher, 'reads', 'reads');
push @read, submit_events($publisher, 'reads', 2001, 2100);
linked_ok($publisher, 'reads', 'the publisher goes on');
# The linker commits asynchronously: its last links may not have been written yet.
$publisher->wait_for_catchup('reads', 'replay', $publisher->lsn('insert'));

is($subscriber->safe_psql('reads', 'SELECT count(*) FROM atlas_events'),
	scalar(@read), 'the subscriber has all events');
is(timelines($subscriber), timelines($publisher), 'timelines are the same there');
is( $subscriber->safe_psql('reads', 'SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1'),
	'LINKED|' . @read,
	'in the log all events count as LINKED');
is(status_of($subscriber, 'reads', 'queue_depth, failed'), '0|0', 'the status has no queue');
oracle_ok($publisher, 'reads', \@read);

# It can have events of its own beside them.
my @mine = submit_events($subscriber, 'reads', 10_001, 10_100);
linked_ok($subscriber, 'reads', 'events that the subscriber takes itself are linked there');
$subscriber->safe_psql('reads', 'DROP SUBSCRIPTION reads');

# ----- The registry -----

# A session that knows the registry learns what a subscription changes in it, whose
# worker fires no ordinary triggers.
$_->safe_psql('reads', 'CREATE TABLE bugs (id int PRIMARY KEY); INSERT INTO bugs VALUES (1)')
  foreach $publisher, $subscriber;
my $session = DBI->connect('dbi:Pg:' . $subscriber->connstr('reads') =~ s/'//gr =~ s/ /;/gr,
	'', '', { PrintError => 0, RaiseError => 0 });
my $submit = q{SELECT submit_event('BUG', '1', 'Bug Found') IS NOT NULL};
$session->selectrow_array($submit);
is($session->state, 'PT400', 'a type that is not registered is unknown');
$publisher->safe_psql('reads', 'CREATE PUBLICATION registry FOR TABLE atlas_object_types');
$subscriber->safe_psql('reads',
	"CREATE SUBSCRIPTION registry CONNECTION '$source' PUBLICATION registry WITH (copy_data = false)");
$publisher->safe_psql('reads', q{SELECT atlas_register_object_type('BUG', 'bugs')});
$publisher->wait_for_catchup('registry');
ok($session->selectrow_array($submit), 'the subscription registers it: the session knows it');
$publisher->safe_psql('reads', q{SELECT atlas_unregister_object_type('BUG')});
$publisher->wait_for_catchup('registry');
$session->selectrow_array($submit);
is($session->state, 'PT400', 'and that it is not any more, once it is unregistered');
$session->disconnect;
$subscriber->safe_psql('reads', 'DROP SUBSCRIPTION registry');

is_deeply([ worker_errors($_) ], [], 'no worker logs an error') foreach $publisher, $subscriber;
$_->stop foreach $subscriber, $publisher;
done_testing();
