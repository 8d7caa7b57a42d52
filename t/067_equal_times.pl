# Events of the same time are in the order in which they were submitted, through whatever
# sessions and databases, whatever the clock does, and no two have the same id.

use strict;
use warnings;

use AtlasClock;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $time = '2025-03-01T12:00:00Z';
my $single = <<"END";
SELECT submit_event('{"objectType": "CONVERSATION", "objectId": "1", "name": "Said", "occurredAt": "$time"}')->>'eventId'
END

# A call with so many events of the same time.
sub call_with
{
	my ($nevents) = @_;

	return <<"END";
SELECT r->>'eventId' FROM json_array_elements(submit_events((
       SELECT json_agg(json_build_object('objectType', 'CONVERSATION', 'objectId', '1', 'name', 'Said',
                                         'occurredAt', '$time')) FROM generate_series(1, $nevents)))->'results') AS r
END
}

# The arrival of an event, in microseconds, and the tail of its id.
sub arrival_and_tail
{
	my ($id) = @_;
	my $digits = $id =~ tr/-//dr;
	my $high = hex substr $digits, 13, 3;
	my $low = hex(substr $digits, 16, 16) & ((1 << 62) - 1);

	return (($high & 3) << 48 | $low >> 14, $low & 0x3fff);
}

sub arrivals
{
	my @ids = @_;

	return map { (arrival_and_tail($_))[0] } @ids;
}

# in_order(NAME, IDS): they are, and no two are equal.
sub in_order
{
	my ($name, @ids) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $faults = grep { $ids[ $_ - 1 ] ge $ids[$_] } 1 .. $#ids;

	return is(@ids . " ids, $faults faults", @ids . ' ids, 0 faults', $name);
}

# Submits events by turns in some sessions, and returns all ids.
sub by_turns
{
	my ($rounds, @sessions) = @_;
	my @ids;

	foreach my $round (1 .. $rounds)
	{
		push @ids, event_ids($_->query_safe($single)) foreach @sessions;
	}
	return @ids;
}

# Sessions submit at the same time, in calls with one event and in calls with many. The ids
# of each session are in order, and no two are equal. Returns all, the arrivals of the calls
# with one event, and the different tails that each session had.
sub race_in_order
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $calls = long_or(20_000, 2000);
	my $script = $single . "FROM generate_series(1, $calls);\n" . call_with(1000) . ';';
	my (@all, @arrivals, @tails);

	foreach my $result (race($node, 'one', ($script) x 8))
	{
		my @ids = event_ids($result->[0]);

		is("$result->[1] " . scalar(@ids), ' ' . ($calls + 1000), "$name: a session has submitted its events");
		in_order("$name: in order", @ids);
		push @all, @ids;
		push @arrivals, arrivals(@ids[ 0 .. $calls - 1 ]);
		my %tails = map { (arrival_and_tail($_))[1] => 1 } @ids;
		push @tails, keys %tails;
	}
	in_order("$name: no two sessions have the same id", sort @all);
	return (\@all, \@arrivals, \@tails);
}

my $node = with_clock(sub { return start_node('equal_times', settings => 'atlas_events.max_batch_size = 20000') });
make_database($node, $_) foreach 'one', 'two';

sub connect_all
{
	return map { $node->background_psql($_) } 'one', 'one', 'two';
}

# ----- One after another -----

my @sessions = connect_all();
my @ids = by_turns(10, @sessions);
in_order('events of three sessions in two databases are in the order of their arrival', @ids);
my %tails = map { (arrival_and_tail($_))[1] => 1 } @ids;
cmp_ok(scalar(keys %tails), '>', 20, 'tails are random');

set_clock(-1 / 24);
my @hour_back = by_turns(10, @sessions);
in_order('so they are after the clock was set back by an hour', @ids, @hour_back);
my @times = arrivals(@hour_back);
is(scalar(grep { $times[$_] - $times[ $_ - 1 ] == 1 } 1 .. $#times),
	0, 'arrivals go on by time: they do not count events');
set_clock(-40);
my @days_back = by_turns(10, @sessions);
in_order('by forty days', @hour_back, @days_back);
stop_clock(1_793_491_199);
is($node->safe_psql('one', 'SELECT extract(epoch FROM clock_timestamp())::bigint'),
	'1793491199', 'the server goes by the clock of this test');
my @standing = by_turns(10, @sessions);
in_order('while it stands still', @days_back, @standing);
set_clock(70);
my @ahead = by_turns(10, @sessions);
in_order('after it was set forward', @standing, @ahead);
set_clock(0);
my @right = by_turns(10, @sessions);
in_order('and when it is right again', @ahead, @right);

# ----- Many in one call -----

@ids = event_ids($sessions[0]->query_safe(call_with(20_000)));
is(scalar(@ids), 20_000, 'a call with 20,000 events');
in_order('its events are in order, after the events before and before the event after it',
	$right[-1], @ids, by_turns(1, $sessions[2]));
my %arrivals = map { $_ => 1 } arrivals(@ids);
cmp_ok(scalar(keys %arrivals), '<=', 3, 'a call takes few arrivals, however many events it has');

# ----- At the same time -----

my ($raced, $raced_arrivals) = race_in_order($node, 'sessions at once');
stop_clock(1_793_491_199);
my ($still, $still_arrivals) = race_in_order($node, 'while the clock stands still');
in_order('no id is given out twice', sort @$raced, @$still);
%arrivals = map { $_ => 1 } @$raced_arrivals, @$still_arrivals;
is(scalar(keys %arrivals), @$raced_arrivals + @$still_arrivals, 'no two calls have the same arrival');

# ----- Restarts -----

set_clock(0);
my @before = by_turns(1, @sessions);
my $victim = $sessions[0]->query_safe('SELECT pg_backend_pid()');
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
set_clock(-2);
my $log = log_size($node);
kill 'KILL', $victim;
ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $log), 'the server has crashed');
wait_until($node, 'one', 'SELECT true', 'it is back');
$_->{run}->kill_kill foreach @sessions;
@sessions = connect_all();
my @crashed = by_turns(3, @sessions);
in_order('after a crash, with the clock set back meanwhile, events come after those before it', @before, @crashed);
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the same postmaster');

set_clock(0);
$_->quit foreach @sessions;
$node->stop;
set_clock(-1);
with_clock(sub { return $node->start });
@sessions = connect_all();
my @restarted = by_turns(3, @sessions);
in_order('after a restart with the clock set back as well', @crashed, @restarted);
$_->quit foreach @sessions;

set_clock(0);
with_clock(sub { return $node->restart });
is($node->safe_psql('one', 'SELECT count(*) = count(DISTINCT event_id) FROM atlas_events'), 't', 'all ids are different');
$node->stop;

# ----- Not preloaded -----

$node = with_clock(sub { return start_node('own_clocks', preload => 0) });
make_database($node, 'one');
my $session = $node->background_psql('one');
@ids = by_turns(10, $session);
push @ids, event_ids($session->query_safe(call_with(10_000)));
set_clock(-1);
push @ids, by_turns(10, $session);
stop_clock(1_793_491_199);
push @ids, by_turns(10, $session), event_ids($session->query_safe(call_with(10_000)));
in_order('a session that is not preloaded has its events in order, whatever the clock does', @ids);
my (undef, undef, $tails) = race_in_order($node, 'not preloaded, while the clock stands still');
%tails = map { $_ => 1 } @$tails;
is(scalar(keys %tails), scalar(@$tails), 'no two sessions have the same tail');
cmp_ok(scalar(keys %tails), '>', 8, 'which are random beside the number of the backend');
$session->quit;
$node->stop;
done_testing();
