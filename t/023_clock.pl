# Whatever the clock does, ids are unique, each session's events keep their order
# as long as the clock does, and every event is linked.

use strict;
use warnings;

use AtlasClock;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = with_clock(
	sub {
		return start_node(
			'clock', settings => <<'END');
max_prepared_transactions = 5
atlas_events.poll_interval = 100ms
atlas_events.idle_timeout = 500ms
END
	});
make_database($node, 'atlas');
my $session = $node->background_psql('atlas');
my @ids;

# Submits events in the session that has been there from the start.
sub submit_in_session
{
	my ($first, $last) = @_;
	my @new = event_ids($session->query_safe("SELECT atlas_test.submit($first, $last)"));

	is(scalar(@new), $last - $first + 1, 'events are accepted');
	is_deeply(\@new, [ sort @new ], 'their ids are in order');
	push @ids, @new;
	return @new;
}

sub wait_for_no_linker
{
	wait_until($node, 'atlas', 'SELECT worker_pid IS NULL FROM atlas_events_status',
		'the linker leaves');
	return;
}

# ----- Set back -----

my @before = submit_in_session(1, 500);
linked_ok($node, 'atlas', 'events are linked');
set_clock(-1 / 24);
my @hour_back = submit_in_session(501, 1000);
cmp_ok($hour_back[-1], 'lt', $before[0], 'an hour earlier by the clock, an hour earlier in the log');
linked_ok($node, 'atlas', 'after the clock was set back by an hour events are linked');

wait_for_no_linker();
set_clock(-40);
my @days_back = submit_in_session(1001, 1500);
is( $node->safe_psql(
		'atlas',
		"SELECT DISTINCT tableoid::regclass::text = 'atlas_events_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')
		   FROM atlas_events WHERE event_id <= '$days_back[-1]'"),
	't',
	'events of an earlier month by the clock are in the partition of that month');
linked_ok($node, 'atlas', 'after the clock was set back by a month events are linked');
oracle_ok($node, 'atlas', \@ids);

# What wakes nobody is found by the rounds, in real time.
wait_for_no_linker();
push @ids, event_ids($node->safe_psql('atlas',
	"BEGIN; SELECT atlas_test.submit(1501, 1600); PREPARE TRANSACTION 'one'"));
wait_for_no_linker();
set_clock(-41);
$node->safe_psql('atlas', "COMMIT PREPARED 'one'");
linked_ok($node, 'atlas', 'a prepared transaction is linked after the clock was set back');

# A linker that has failed is started again.
$node->safe_psql('atlas', 'ALTER TABLE atlas_linker_state RENAME COLUMN batch TO hidden');
submit_in_session(1601, 1700);
wait_until($node, 'atlas', 'SELECT last_error IS NOT NULL FROM atlas_events_status',
	'a linker has failed');
set_clock(-42);
$node->safe_psql('atlas', 'ALTER TABLE atlas_linker_state RENAME COLUMN hidden TO batch');
linked_ok($node, 'atlas', 'after the clock was set back another one is started');

# ----- Standing still -----

my $sessions = 16;
my $each = long_or(2000, 100);
my $submit = <<"END";
SELECT format('SELECT submit_event(%L)->>''eventId''', event)
  FROM json_array_elements(atlas_test.make_events(1, $each)) AS event \\gexec
END
stop_clock(1_793_491_199);
is( $node->safe_psql('atlas', 'SELECT count(DISTINCT clock_timestamp()) FROM generate_series(1, 100000)'),
	'1', 'the clock stands still');
my %seen;
for my $result (race($node, 'atlas', ($submit) x $sessions))
{
	my @new = event_ids($result->[0]);

	push @ids, @new;
	is("$result->[1] " . scalar(@new), " $each", 'a session has submitted its events');
	is_deeply(\@new, [ sort @new ], 'in order');
	$seen{$_}++ foreach @new;
}
is(scalar(keys %seen), $sessions * $each,
	'no two events of sessions at the same moment have the same id');
is( $node->safe_psql('atlas',
		'SELECT max(n) >= 16 FROM (SELECT count(*) n FROM atlas_events GROUP BY occurred_at) AS c'),
	't',
	'events have the same time');
linked_ok($node, 'atlas', 'while the clock stands still events are linked');

# ----- Set forward, and right again -----

set_clock(70);
submit_in_session(1701, 1800);
linked_ok($node, 'atlas', 'after the clock was set forward events are linked');
set_clock(0);
submit_in_session(1801, 1900);
linked_ok($node, 'atlas', 'so they are when it is right again');
is($node->safe_psql('atlas', 'SELECT count(*), count(DISTINCT event_id) FROM atlas_events'),
	join('|', (scalar @ids) x 2), 'no id is there twice');

$session->quit;
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
