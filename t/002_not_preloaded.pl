# Without the library in shared_preload_libraries everything works but the
# background, and the status says what to do about it.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('bare', preload => 0);
make_database($node, 'atlas', sample => 1);

is(status_of($node, 'atlas', 'preloaded, worker_pid, worker_state, submitted'),
	'f||off|', 'the status says that there are no workers');
like(
	status_of($node, 'atlas', 'advice'),
	qr/shared_preload_libraries.*atlas_link_events\(\)/,
	'it says what to set, and what to call instead');

my @ids = submit_events($node, 'atlas', 1, 1500);
is(scalar(@ids), 1500, 'events are accepted');
is(status_of($node, 'atlas', 'queue_depth, oldest_pending_age IS NOT NULL'),
	'1500|t', 'they wait');
like(
	violations($node, 'atlas', \@ids),
	qr/^an event is still pending\|/,
	'the oracle sees that they wait');

is($node->safe_psql('atlas', 'SELECT atlas_link_events(100)'),
	'100', 'atlas_link_events() links as many as it is asked to');
is($node->safe_psql('atlas', 'SELECT atlas_link_events()'),
	'1000', 'it links a thousand unless it is told otherwise');
is($node->safe_psql('atlas', 'SELECT atlas_link_events(10000)'), '400', 'it links all the others');
is($node->safe_psql('atlas', 'SELECT atlas_link_events()'), '0', 'then there is nothing to do');
is(status_of($node, 'atlas', 'failed, queue_depth, oldest_pending_age'),
	'0|0|', 'the status says that nothing waits');
is( $node->safe_psql(
		'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'atlas_events%'"),
	'0',
	'no worker runs');

is($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = 'clone'"),
	'0', 'there is no clone yet');
$node->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE atlas');
oracle_ok($node, 'clone', \@ids, 'a clone of the database is as good');

oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
