# A standby can be read, and takes over the linking when it is promoted.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_node('primary', streaming => 1);
make_database($primary, 'atlas');
my @ids = submit_events($primary, 'atlas', 1, 500);
linked_ok($primary, 'atlas', 'the primary links');

$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# From now on the primary leaves the linking to others.
$primary->append_conf('postgresql.conf', 'atlas_events.linking = off');
$primary->reload;
wait_until($primary, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status",
	'the linker of the primary has left');
push @ids, submit_events($primary, 'atlas', 501, 1500);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));

is( $standby->safe_psql(
		'atlas',
		'SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1'),
	"LINKED|500\nPENDING|1000",
	'the log can be read on the standby');
is( $standby->safe_psql(
		'atlas',
		"SELECT count(*) FROM atlas_timeline('CUSTOMER', md5('customer-7')::uuid::text)"),
	$primary->safe_psql(
		'atlas',
		"SELECT count(*) FROM atlas_timeline('CUSTOMER', md5('customer-7')::uuid::text)"),
	'so can a timeline');
is( status_of($standby, 'atlas', 'preloaded, worker_pid, worker_state, queue_depth, advice'),
	't||off|1000|This server is a standby: events are linked on the primary.',
	'so can the status, which says who links');
is( $standby->safe_psql(
		'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'atlas_events%'"),
	'0',
	'no worker runs there');

my ($code, $stdout, $stderr) =
  $standby->psql('atlas', '\set VERBOSITY verbose
	SELECT atlas_test.submit(1, 1)');
like($stderr, qr/ERROR:  25006: /, 'submit_event() is refused: the standby is read-only');
($code, $stdout, $stderr) =
  $standby->psql('atlas', '\set VERBOSITY verbose
	SELECT atlas_link_events()');
like($stderr, qr/ERROR:  25006: /, 'so is atlas_link_events()');

$primary->stop;
$standby->promote;
linked_ok($standby, 'atlas', 'after promotion what was pending is linked');
push @ids, submit_events($standby, 'atlas', 2001, 2100);
linked_ok($standby, 'atlas', 'and so are new events');

is_deeply([ worker_errors($standby) ], [], 'no worker logs an error');
oracle_ok($standby, 'atlas', \@ids);
$standby->stop;
done_testing();
