# When the disk is full, nothing that was acknowledged is lost and no event is to
# blame: submitting fails with an error that says so, what is pending waits, and
# when there is space again it is linked without anybody's help.

use strict;
use warnings;

use AtlasDisk;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('tables', settings => 'atlas_events.max_attempts = 1');
my $folder = disk_folder('tablespace');
$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$folder'");

# psql's output and errors, with the SQLSTATE of these.
sub verbose
{
	my ($database, $sql) = @_;
	my ($code, $stdout, $stderr) = $node->psql($database, "\\set VERBOSITY verbose\n$sql");

	return ($code, $stdout, $stderr);
}

# Events that were put off, if there was space to note that, are tried again in about a
# minute. The long form waits for it.
sub try_again_now
{
	my ($database) = @_;

	return if long_or(1, 0);
	$node->safe_psql($database,
		'UPDATE atlas_event_queue SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL;
		 UPDATE atlas_event_work SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL');
	return;
}

# ----- No space for any table -----

make_database($node, 'atlas');
make_gate($node, 'atlas');
$node->safe_psql('postgres', 'ALTER DATABASE atlas SET TABLESPACE small');

# The linker has written a part of its batch when the disk is full.
my @ids = submit_gated($node, 'atlas', 1, 3000, 900);
wait_at_gate($node, 'atlas');
fill_disk();
open_gate($node, 'atlas');
wait_until($node, 'atlas',
	"SELECT last_error LIKE 'could not extend file%No space left%' FROM atlas_events_status",
	'the status says that there is no space left');
like(
	log_since($node, 0),
	qr/\] atlas_events linker : ERROR:  could not extend file .*: No space left on device/,
	'so does the log');
is(status_of($node, 'atlas', 'failed, queue_depth, oldest_pending_age IS NOT NULL'),
	'0|3000|t', 'events wait, and none has failed');

# What is on the pages that are there can still be written. Then nothing can.
my ($code, $stdout, $stderr);
for my $n (1 .. 1000)
{
	($code, $stdout, $stderr) = verbose('atlas',
		sprintf 'SELECT atlas_test.submit(%d, %d)', 100 * $n + 10_000, 100 * $n + 10_099);
	last if $code != 0;
	push @ids, event_ids($stdout);
}
like(
	$stderr,
	qr/ERROR:  53100: could not extend file .*No space left on device\nHINT:/,
	'submitting several events fails with the reason');

my $stored = $node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events');
is($stored, scalar(@ids), 'nothing is stored of what was refused');
($code, $stdout, $stderr) = verbose('atlas', <<'END');
SELECT submit_event(json_build_object('objectType', 'CUSTOMER', 'externalId', '190001', 'name', 'Too Much',
	'payload', json_build_object('text', string_agg(md5(n::text), '')))) FROM generate_series(1, 4000) n;
END
like($stderr, qr/ERROR:  53100: /, 'so does submitting one event');
is($stdout, '', 'which has no receipt');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events'), $stored, 'and is not stored');
is( $node->safe_psql(
		'atlas',
		"SELECT count(*) > 0 FROM atlas_timeline('CUSTOMER', md5('customer-7')::uuid::text)"),
	't',
	'timelines can be read meanwhile');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_logs'), $stored, 'so can the log');

empty_disk();
try_again_now('atlas');
linked_ok($node, 'atlas', 'when there is space again all is linked');
push @ids, submit_events($node, 'atlas', 200_001, 200_100);
linked_ok($node, 'atlas', 'and so are new events');
is(status_of($node, 'atlas', 'failed'), '0', 'none has failed');
oracle_ok($node, 'atlas', \@ids);

# ----- No space for the links -----

# Here the linker can write to the queue, so it puts the events off.
make_database($node, 'links');
@ids = submit_events($node, 'links', 1, 100);
linked_ok($node, 'links', 'events are linked while there is space');
my $partition = $node->safe_psql('links', 'SELECT tableoid::regclass FROM atlas_event_links LIMIT 1');
$node->safe_psql('links', "ALTER TABLE $partition SET TABLESPACE small");
fill_disk();
push @ids, submit_events($node, 'links', 101, 1100);
wait_until(
	$node, 'links',
	"SELECT count(*) > 0 AND bool_and(last_error LIKE 'could not extend file%No space left%')
	   FROM atlas_event_queue",
	'events that there is no space for are put off, and say why');
is($node->safe_psql('links', 'SELECT max(attempts) FROM atlas_event_queue'),
	'0', 'waiting uses up no attempts');
is(status_of($node, 'links', 'failed, queue_depth > 0'), '0|t', 'none has failed');

empty_disk();
try_again_now('links');
wait_until($node, 'links', 'SELECT count(*) = 0 FROM atlas_event_queue',
	'when there is space again they are linked in their next attempt');
oracle_ok($node, 'links', \@ids);
$node->stop;

# ----- No space for the write-ahead log -----

$folder = disk_folder('wal');
$node = start_node(
	'wal',
	initdb => [ '--waldir', $folder, '--wal-segsize', '1' ],
	settings => <<'END');
wal_recycle = off
min_wal_size = 2MB
max_wal_size = 20MB
END
make_database($node, 'atlas');
make_gate($node, 'atlas');
@ids = submit_gated($node, 'atlas', 1, 5000, 900);
wait_at_gate($node, 'atlas');
my $offset = log_size($node);
fill_disk();

# Whoever needs the next segment first, be it the linker, a client, or even the one
# that opens the gate: the others may find the server in recovery, or gone.
$node->psql('atlas', 'DELETE FROM atlas_test.gate');
for my $n (1 .. 1000)
{
	($code, $stdout, $stderr) = verbose('atlas',
		sprintf 'SELECT atlas_test.submit(%d, %d)', 100 * $n + 10_000, 100 * $n + 10_099);
	push @ids, event_ids($stdout);
	last if $code != 0;
}
$node->wait_for_log(qr/PANIC:  could not write to file .*: No space left on device/, $offset);
pass('without space for the write-ahead log the server stops, and the log says why');
$node->stop('immediate', fail_ok => 1);

empty_disk();
$node->start;
open_gate($node, 'atlas');
linked_ok($node, 'atlas', 'when there is space again, and the server is started, all is linked');
push @ids, submit_events($node, 'atlas', 200_001, 200_100);
linked_ok($node, 'atlas', 'and so are new events');
is(status_of($node, 'atlas', 'failed, advice'), '0|', 'none has failed');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
