# Where a subscription fills the queue, the events are the publisher's to link.

use strict;
use warnings;

use AtlasTest;
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

is_deeply([ worker_errors($_) ], [], 'no worker logs an error') foreach $publisher, $subscriber;
$_->stop foreach $subscriber, $publisher;
done_testing();
