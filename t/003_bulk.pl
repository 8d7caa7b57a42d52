# A hundred thousand events, a thousand a call: every one is linked.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('bulk');
make_database($node, 'atlas');

my @ids = submit_events($node, 'atlas', 1, 100_000);
is(scalar(@ids), 100_000, 'all events are accepted');
linked_ok($node, 'atlas', 'all events are linked');

is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_queue'), '0', 'the queue is empty');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_links'),
	'140000', 'each related object is linked once an event');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_unresolved'),
	'20000', 'those that do not exist are recorded');
is(status_of($node, 'atlas', 'submitted, linked, not_found, failed'),
	'100000|100000|20000|0', 'the status has counted them');
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');

oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
