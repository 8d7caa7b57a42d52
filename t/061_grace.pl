# A linker that is stuck gives way to other databases: what it does is cancelled,
# and if it heeds not even that it is terminated. What it was linking is tried
# again, and only the event that it was stuck with is ever blamed.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# One worker for databases with work, and one for visits.
my $node = start_node('grace', settings => <<'END');
atlas_events.max_workers = 2
atlas_events.max_attempts = 2
END

# A view that ends for nobody as long as it is shut, and that can be cancelled or not.
sub make_slow_view
{
	my ($database, $heeds_cancel) = @_;
	my $wait = 'WHILE EXISTS (SELECT FROM shut) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN true;';

	$wait = "LOOP BEGIN $wait EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP;" if !$heeds_cancel;
	$node->safe_psql($database, <<"END");
CREATE TABLE shut (n int);
INSERT INTO shut VALUES (1);
CREATE FUNCTION may_pass() RETURNS boolean LANGUAGE plpgsql SET search_path = public AS \$\$
BEGIN
    $wait
END \$\$;
CREATE TABLE slow (id int PRIMARY KEY);
INSERT INTO slow VALUES (1);
CREATE VIEW slow_view AS SELECT id FROM slow WHERE may_pass();
SELECT atlas_register_object_type('SLOW', 'slow_view');
END
	return;
}

# An event that the linker is stuck with, among others, in one transaction.
sub submit_slow
{
	my ($database, $first, $last) = @_;
	my $middle = int(($first + $last) / 2);

	return event_ids(
		$node->safe_psql(
			$database, "BEGIN; SELECT atlas_test.submit($first, $middle);
			SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Slow',
			                    related_objects => ARRAY[('SLOW', '1', NULL)]::atlas_object[]);
			SELECT atlas_test.submit($middle + 1, $last); COMMIT"));
}

sub others_linked_ok
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, $database,
		"SELECT NOT EXISTS (SELECT FROM atlas_event_queue JOIN atlas_events USING (event_id) WHERE name <> 'Slow')",
		$name);
}

# ----- Views that never end, in as many databases as there are workers -----

my %ids;
make_database($node, $_) foreach qw(one two good);
make_slow_view($_, 1) foreach qw(one two);
push @{ $ids{$_} }, submit_slow($_, 1, 100) foreach qw(one two);
$node->poll_query_until('postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'atlas_events linker' AND wait_event = 'PgSleep'")
  or die 'no linker is stuck';
push @{ $ids{good} }, submit_events($node, 'good', 1, 100);
linked_ok($node, 'good', 'the next database is linked');
for my $database (qw(one two))
{
	others_linked_ok($database, "the other events of $database are linked");
	is( $node->safe_psql($database, 'SELECT last_error, attempts FROM atlas_event_queue'),
		'looking up object type SLOW took too long|0',
		'the one that is stuck is put off, and not blamed');
}
like(
	log_since($node, 0),
	qr/launcher .*LOG:  the atlas_events linker of database "(one|two)" has not made room for other databases for 2 seconds; what it does is cancelled\n.*DETAIL:  What it was linking is tried again/,
	'the log says so');
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
for my $database (qw(one two))
{
	$node->safe_psql($database, 'DELETE FROM shut; UPDATE atlas_event_queue SET next_attempt_at = now(); UPDATE atlas_event_work SET next_attempt_at = now()');
	linked_ok($node, $database, "when the view of $database ends, the event is linked");
	oracle_ok($node, $database, $ids{$database});
}

# ----- A linker that is stuck in the middle of writing -----

make_gate($node, 'one');
push @{ $ids{one} }, submit_gated($node, 'one', 101, 200, 50);
wait_at_gate($node, 'one');
push @{ $ids{good} }, submit_events($node, 'good', 101, 200);
push @{ $ids{two} }, submit_events($node, 'two', 101, 200);
linked_ok($node, $_, "$_ is linked meanwhile") foreach qw(good two);
is(status_of($node, 'one', 'queue_depth, failed, last_error'), '100|0|', 'the others wait, and are not blamed');
open_gate($node, 'one');
linked_ok($node, 'one', 'then they are linked');
oracle_ok($node, 'one', $ids{one});

# ----- A linker that cannot be cancelled -----

$node->safe_psql('postgres', "DROP DATABASE $_") foreach qw(one two);
delete @ids{qw(one two)};
make_database($node, $_) foreach qw(three four);
make_slow_view($_, 0) foreach qw(three four);
push @{ $ids{$_} }, submit_slow($_, 1, 20) foreach qw(three four);
push @{ $ids{good} }, submit_events($node, 'good', 201, 300);
linked_ok($node, 'good', 'another database is linked');
for my $database (qw(three four))
{
	others_linked_ok($database, "the other events of $database are linked in the end");
	wait_until($node, $database, 'SELECT failed = 1 AND queue_depth = 0 FROM atlas_events_status',
		'the one that is to blame has failed');
	is( $node->safe_psql($database, 'SELECT last_error, attempts FROM atlas_event_queue'),
		'the linker came to no end with this event and was terminated|2',
		'and says why');
	$node->safe_psql($database, 'DELETE FROM shut');
	oracle_ok($node, $database, $ids{$database});
}
is( scalar(keys %{ { map { $_ => 1 } log_since($node, 0) =~ /event (\S+) could not be linked/g } }),
	2, 'and no other event is blamed');
like(
	log_since($node, 0),
	qr/launcher .*LOG:  the atlas_events linker of database "three" cannot be cancelled; it is terminated/,
	'the log says that it was terminated');
is_deeply(
	[ grep { !/terminating background worker|canceling statement/ } worker_errors($node) ],
	[], 'no worker logs any other error');

# ----- No attempt is counted when a DBA terminates linkers -----

make_gate($node, 'good');
push @{ $ids{good} }, submit_gated($node, 'good', 301, 400, 50);
for my $round (1 .. 3)
{
	my $pid = wait_at_gate($node, 'good');
	my $offset = log_size($node);
	is($node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 60000)"), 't', "a linker is terminated, round $round");
	wait_at_gate($node, 'good');
	unlike(log_since($node, $offset), qr/linked one by one/, 'the next one suspects nobody');
	is($node->safe_psql('good', 'SELECT max(attempts) FROM atlas_event_queue'), '0', 'no attempt is counted');
}
open_gate($node, 'good');
linked_ok($node, 'good', 'then the events are linked');
oracle_ok($node, $_, $ids{$_}) foreach sort keys %ids;
unlike(log_since($node, 0), qr/terminated by signal|PANIC/, 'no process has crashed');
$node->stop;
done_testing();
