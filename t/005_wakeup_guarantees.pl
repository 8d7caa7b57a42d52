# A commit wakes the linker. Where it cannot, events are found nevertheless:
# within poll_interval while a linker runs, within naptime while none does.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node(
	'wakeup', settings => <<'END');
max_prepared_transactions = 5
atlas_events.poll_interval = 100ms
atlas_events.idle_timeout = 500ms
END
make_database($node, 'atlas');
my @ids = submit_events($node, 'atlas', 1, 10);
linked_ok($node, 'atlas', 'events are linked');

my $submit = q{SELECT submit_event('{"objectType": "CUSTOMER", "externalId": "190001", "name": "Late",
	"relatedObjects": [{"objectType": "TICKET", "objectId": "1"}]}')->>'eventId'};

# ----- New months -----

# The commit that wakes the linker also brings a partition that it has not seen.
push @ids, event_ids($node->safe_psql('atlas',
	"SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001',
		name => 'Long Ago', occurred_at => now() - interval '$_ months',
		related_objects => ARRAY[('TICKET', '1', NULL)]::atlas_object[])"))
  foreach 1 .. 20;
linked_ok($node, 'atlas', 'events of new months are linked');

sub wait_for_no_linker
{
	$node->poll_query_until('atlas', 'SELECT worker_pid IS NULL FROM atlas_events_status')
	  or die 'the linker does not exit';
	return;
}

# ----- Prepared transactions -----

push @ids, event_ids($node->safe_psql('atlas', "BEGIN; $submit; PREPARE TRANSACTION 'one'"));
wait_for_no_linker();
$node->safe_psql('atlas', "COMMIT PREPARED 'one'");
linked_ok($node, 'atlas', 'a prepared transaction is linked when no linker runs');

push @ids, event_ids($node->safe_psql('atlas', "BEGIN; $submit; PREPARE TRANSACTION 'two'"));
push @ids, event_ids($node->safe_psql('atlas', "$submit; COMMIT PREPARED 'two'"));
linked_ok($node, 'atlas', 'a prepared transaction is linked when a linker runs');

push @ids, event_ids($node->safe_psql('atlas', "BEGIN; $submit; PREPARE TRANSACTION 'three'"));
$node->restart;
$node->safe_psql('atlas', "COMMIT PREPARED 'three'");
linked_ok($node, 'atlas', 'a prepared transaction is linked after a restart');

push @ids, event_ids($node->safe_psql('atlas', "BEGIN; $submit; PREPARE TRANSACTION 'four'"));
$node->stop('immediate');
$node->start;
$node->safe_psql('atlas', "COMMIT PREPARED 'four'");
linked_ok($node, 'atlas', 'a prepared transaction is linked after a crash');

my ($gone) = event_ids($node->safe_psql('atlas', "BEGIN; $submit; PREPARE TRANSACTION 'five'"));
$node->safe_psql('atlas', "ROLLBACK PREPARED 'five'");
is( $node->safe_psql(
		'atlas',
		"SELECT (SELECT count(*) FROM atlas_events WHERE event_id = '$gone'),
		        (SELECT count(*) FROM atlas_event_queue WHERE event_id = '$gone')"),
	'0|0',
	'ROLLBACK PREPARED leaves nothing');
oracle_ok($node, 'atlas', \@ids, 'nothing is lost in two phases');

# ----- Rollback -----

my $submitted = status_of($node, 'atlas', 'submitted');
push @ids, event_ids($node->safe_psql('atlas', <<"END") =~ s/^gone .*$//mgr);
BEGIN;
SAVEPOINT a;
SELECT 'gone ' || ($submit);
ROLLBACK TO a;
$submit;
SAVEPOINT b;
$submit;
RELEASE b;
SAVEPOINT c;
SAVEPOINT d;
SELECT 'gone ' || ($submit);
RELEASE d;
ROLLBACK TO c;
COMMIT;
END
is(status_of($node, 'atlas', 'submitted') - $submitted,
	2, 'only events that were committed are counted');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events'),
	scalar(@ids), 'a savepoint that was rolled back leaves no event');
$node->safe_psql('atlas', "BEGIN; $submit; ROLLBACK");

# An error in a block of PL/pgSQL, the other way to roll back a part.
my $perform = $submit =~ s/^SELECT/PERFORM/r;
push @ids, event_ids($node->safe_psql('atlas', <<"END"));
CREATE FUNCTION submit_and_fail() RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
    $perform;
    PERFORM 1 / 0;
EXCEPTION WHEN division_by_zero THEN
    NULL;
END \$\$;
BEGIN;
SELECT submit_and_fail();
SELECT submit_and_fail() FROM generate_series(1, 100);
COMMIT;
END
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events'),
	scalar(@ids), 'a block that failed leaves no event');
is(status_of($node, 'atlas', 'submitted') - $submitted,
	2, 'a transaction that was rolled back counts nothing');
linked_ok($node, 'atlas', 'what was committed is linked');
oracle_ok($node, 'atlas', \@ids, 'nothing is left of what was rolled back');

# ----- Queue rows that come by another way -----

# As a restore or a replication would bring them: with foreign transaction ids.
wait_for_no_linker();
my $requeue = 'DELETE FROM atlas_event_links; DELETE FROM atlas_event_unresolved;
	INSERT INTO atlas_event_queue (event_id, submitted_xid)
	SELECT event_id, xid FROM atlas_events, (VALUES (%s::xid8)) AS x (xid)
	 WHERE related_objects IS NOT NULL';
for my $xid ("'3'", "'18446744073709551000'")
{
	$node->safe_psql('atlas', "BEGIN; @{[ sprintf $requeue, $xid ]}; COMMIT");
	linked_ok($node, 'atlas', "rows that were inserted with transaction id $xid are linked");
	oracle_ok($node, 'atlas', \@ids, 'as if they had been submitted');
}

# ----- Without any wake-up -----

wait_for_no_linker();
$node->safe_psql('atlas', sprintf $requeue, "'3'");
linked_ok($node, 'atlas', 'while no linker runs, a round of naptime finds what nobody was told of');

# Now only poll_interval can be it, for a round comes in an hour.
$node->safe_psql('postgres', "ALTER SYSTEM SET atlas_events.$_ = '1h'") foreach qw(naptime idle_timeout);
$node->reload;
for my $round (1 .. 3)
{
	push @ids, submit_events($node, 'atlas', 10 * $round + 101, 10 * $round + 105);
	linked_ok($node, 'atlas', 'a linker is there');
	push @ids, event_ids($node->safe_psql('atlas', "BEGIN; $submit; PREPARE TRANSACTION 'poll'"));
	$node->safe_psql('atlas', "COMMIT PREPARED 'poll'");
	linked_ok($node, 'atlas', 'while a linker runs, it looks for it every poll_interval');
}
$node->safe_psql('postgres', "ALTER SYSTEM RESET atlas_events.$_") foreach qw(naptime idle_timeout);
$node->reload;
oracle_ok($node, 'atlas', \@ids);

# ----- Linking turned off -----

$node->safe_psql('postgres', 'ALTER DATABASE atlas SET atlas_events.linking = off');
wait_for_no_linker();
push @ids, submit_events($node, 'atlas', 11, 20);
wait_until($node, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status",
	'the status says that linking is off');
like(
	status_of($node, 'atlas', 'queue_depth, advice'),
	qr/^10\|.*atlas_events\.linking/,
	'and what to set; the events wait');
is($node->safe_psql('atlas', 'SELECT atlas_link_events(4)'),
	'4', 'they can be linked by hand nevertheless');
$node->safe_psql('postgres', 'ALTER DATABASE atlas RESET atlas_events.linking');
linked_ok($node, 'atlas', 'when linking is on again they are linked');
like(status_of($node, 'atlas', "coalesce(advice, 'none')"), qr/^none$/, 'the advice is gone');

# For the whole server, and while a linker runs.
push @ids, submit_events($node, 'atlas', 21, 30);
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = off');
$node->reload;
wait_until($node, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status",
	'a running linker leaves when linking is turned off');
push @ids, submit_events($node, 'atlas', 31, 40);
is($node->safe_psql('atlas', 'SELECT count(*) >= 10 FROM atlas_event_queue'), 't', 'events wait');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET atlas_events.linking');
$node->reload;
linked_ok($node, 'atlas', 'a reload with linking on wakes it');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
