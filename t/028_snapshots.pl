# While somebody holds a snapshot, and no dead row of the queue can be removed,
# a claim costs a linker what it ever did: what it reads for an event does not grow
# with the events that were linked before.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $parts = 5;
my $size = long_or(200_000, 4_000);

# Without the rounds of naptime, in which the whole queue is read, without looking
# up again what was not found, which is work of its own, and without autovacuum,
# which would read pages of the queue at any time.
my $node = start_node(
	'snapshots', settings => <<'END');
max_prepared_transactions = 5
atlas_events.idle_timeout = 1h
atlas_events.naptime = 1h
atlas_events.relink_window = 0
autovacuum = off
shared_buffers = 512MB
synchronous_commit = off
END

my $submit = q{SELECT submit_event('{"objectType": "CUSTOMER", "externalId": "190001", "name": "Late",
	"relatedObjects": [{"objectType": "TICKET", "objectId": "1"}]}')->>'eventId'};

# Waits until so many events have been taken out of the queue, and says how many
# entries of its indexes, and how many pages of it, were read since the server started.
sub linked
{
	my ($database, $count) = @_;

	$node->poll_query_until($database,
		"SELECT n_tup_del >= $count FROM pg_stat_all_tables WHERE relname = 'atlas_event_queue'")
	  or die 'not all events were linked';
	return reads_of($database);
}

sub reads_of
{
	my ($database) = @_;

	return split /\|/, $node->safe_psql($database, <<'END');
SELECT sum(i.idx_tup_read), t.heap_blks_read + t.heap_blks_hit + t.idx_blks_read + t.idx_blks_hit
  FROM pg_stat_all_indexes i JOIN pg_statio_all_tables t USING (relid)
 WHERE t.relname = 'atlas_event_queue'
 GROUP BY 2
END
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
	my (@ids, @entries, @pages);

	make_database($node, $database);
	push @ids, submit_events($node, $database, 1, $size);
	linked($database, $size);
	my $session = $begin->($database, \@ids);

	for my $part (1 .. $parts)
	{
		$node->safe_psql($database, <<'END');
VACUUM ANALYZE atlas_event_queue;
SELECT pg_stat_force_next_flush();
END
		my @before = reads_of($database);
		push @ids, submit_events($node, $database, $part * $size + 1, ($part + 1) * $size);
		my @after = linked($database, ($part + 1) * $size);

		push @entries, ($after[0] - $before[0]) / $size;
		push @pages, ($after[1] - $before[1]) / $size;
	}
	note sprintf '%s: read for an event: index entries %s; pages %s', $name,
	  join(' ', map { sprintf '%.1f', $_ } @entries), join(' ', map { sprintf '%.1f', $_ } @pages);

	my $dead = $node->safe_psql($database,
		"SELECT n_dead_tup FROM pg_stat_all_tables WHERE relname = 'atlas_event_queue'");
	cmp_ok($dead, '>=', $parts * $size, "$name keeps the dead rows of the queue");
	cmp_ok($entries[-1], '<', $entries[0] + 2, "with $name a claim does not read more and more of the index");
	cmp_ok($pages[-1], '<', $pages[0] + 2, "with $name it does not read more and more pages");
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
