# While somebody holds a snapshot, and no dead row of the queue can be removed,
# a linker claims and links as fast as ever: what it reads for an event does not
# grow with the events that were linked before.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $parts = 5;
my $size = long_or(200_000, 4_000);

# Without the rounds of naptime, in which the whole queue is read, and without
# looking up again what was not found, which is work of its own.
my $node = start_node(
	'snapshots', settings => <<'END');
max_prepared_transactions = 5
atlas_events.idle_timeout = 1h
atlas_events.naptime = 1h
atlas_events.relink_window = 0
autovacuum_naptime = 1s
shared_buffers = 512MB
synchronous_commit = off
END

my $submit = q{SELECT submit_event('{"objectType": "CUSTOMER", "externalId": "190001", "name": "Late",
	"relatedObjects": [{"objectType": "TICKET", "objectId": "1"}]}')->>'eventId'};

# Waits until so many events have been taken out of the queue, says how many
# entries of its indexes were read since the server started, and how long it took.
sub linked
{
	my ($database, $count) = @_;
	my $seconds = seconds_of(
		sub {
			$node->poll_query_until($database,
				"SELECT n_tup_del >= $count FROM pg_stat_all_tables WHERE relname = 'atlas_event_queue'")
			  or die 'not all events were linked';
		});

	return (
		$node->safe_psql($database,
			"SELECT sum(idx_tup_read) FROM pg_stat_all_indexes WHERE relname = 'atlas_event_queue'"),
		$seconds);
}

# A session that may be idle for longer than a query may take.
sub open_session
{
	my ($database) = @_;
	my $session = $node->background_psql($database);

	$session->set_query_timer_restart;
	return $session;
}

# With each kind of session that keeps dead rows from being removed. Each begins
# when something has been linked, and ends when all the rest has.
sub try_with
{
	my ($name, $begin, $end) = @_;
	my $database = $name =~ s/\W+/_/gr;
	my (@ids, @read, @seconds);

	make_database($node, $database);
	push @ids, submit_events($node, $database, 1, $size);
	my ($before) = linked($database, $size);
	my $session = $begin->($database, \@ids);

	for my $part (1 .. $parts)
	{
		push @ids, submit_events($node, $database, $part * $size + 1, ($part + 1) * $size);
		my ($read, $seconds) = linked($database, ($part + 1) * $size);

		push @read, ($read - $before) / $size;
		push @seconds, $seconds;
		$before = $read;
	}
	note sprintf '%s: index entries read an event %s; seconds %s', $name,
	  join(' ', map { sprintf '%.1f', $_ } @read), join(' ', map { sprintf '%.1f', $_ } @seconds);

	my $dead = $node->safe_psql($database,
		"SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'atlas_event_queue'");
	cmp_ok($dead, '>=', $parts * $size, "$name keeps the dead rows of the queue");
	cmp_ok($read[-1], '<', $read[0] + 2, "with $name a claim does not get more expensive");
	cmp_ok($seconds[-1], '<', 2 * $seconds[0] + 2, "with $name linking does not get slower");
	$end->($database, $session);
	linked_ok($node, $database, "after $name everything is linked");
	oracle_ok($node, $database, \@ids);
	return;
}

try_with(
	'a snapshot',
	sub {
		my ($database) = @_;
		my $session = open_session($database);

		$session->query_safe($_)
		  foreach 'BEGIN ISOLATION LEVEL REPEATABLE READ', 'SELECT count(*) FROM atlas_events';
		return $session;
	},
	sub { $_[1]->query_safe('COMMIT'); $_[1]->quit; });

# Its own event comes to the queue with a transaction id that is long past.
try_with(
	'an idle transaction that has submitted',
	sub {
		my ($database, $ids) = @_;
		my $session = open_session($database);

		$session->query_safe('BEGIN');
		push @$ids, event_ids($session->query_safe($submit));
		return $session;
	},
	sub { $_[1]->query_safe('COMMIT'); $_[1]->quit; });

try_with(
	'a prepared transaction',
	sub {
		my ($database, $ids) = @_;

		push @$ids, event_ids($node->safe_psql($database, "BEGIN; $submit; PREPARE TRANSACTION 'late'"));
		return;
	},
	sub { $node->safe_psql($_[0], "COMMIT PREPARED 'late'") });

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
