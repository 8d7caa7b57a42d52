# A standby can be read, and takes over the linking when it is promoted.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_node('primary', streaming => 1);
make_database($primary, 'atlas');
$primary->safe_psql('atlas', 'CREATE EXTENSION atlas_events_api');
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

# ----- With the API -----

for my $ask (
	[ 'the log' => 'SELECT count(*) FROM atlas_api.event_logs' ],
	[ 'the status' => 'SELECT "queueDepth" FROM atlas_api.status' ])
{
	my ($name, $sql) = @$ask;

	is($standby->safe_psql('atlas', $sql), $primary->safe_psql('atlas', $sql),
		"$name of the API can be read there");
}

# ----- A standby of the standby, and a crash of the first one -----

$standby->backup('cascade');
my $second = PostgreSQL::Test::Cluster->new('second');
$second->init_from_backup($standby, 'cascade', has_streaming => 1);
$second->start;
push @ids, submit_events($primary, 'atlas', 1501, 1600);
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
$standby->stop('immediate');
push @ids, submit_events($primary, 'atlas', 1601, 1700);
$standby->start;
wait_until($_, 'atlas', 'SELECT count(*) = 1200 FROM atlas_event_queue',
	'after a crash of the standby ' . $_->name . ' has what is pending')
  foreach $standby, $second;
is($second->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_logs'),
	'1700', 'the log can be read on the second one');

$primary->stop;
$standby->promote;
linked_ok($standby, 'atlas', 'after promotion what was pending is linked');
push @ids, submit_events($standby, 'atlas', 2001, 2100);
linked_ok($standby, 'atlas', 'and so are new events');
# A linker's commits reach the disk, and the second standby, somewhat later.
linked_ok($second, 'atlas', 'the second standby gets what the first one has linked');
my $list = join ',', map { "'$_'" } @ids;
is($second->safe_psql('atlas', "SELECT * FROM atlas_test.violations(ARRAY[$list]::uuid[])"),
	'', 'the oracle finds nothing wrong on the second standby');
is( $second->safe_psql(
		'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'atlas_events%'"),
	'0',
	'where no worker runs');

# Promotion after a crash: the linker starts when recovery is done.
$standby->stop;
$second->stop('immediate');
$second->start;
$second->promote;
push @ids, submit_events($second, 'atlas', 3001, 3100);
linked_ok($second, 'atlas', 'when it is promoted it links as well');

is_deeply([ worker_errors($_) ], [], 'no worker logs an error') foreach $standby, $second;
oracle_ok($second, 'atlas', \@ids);
$second->stop;
done_testing();
