# The first event of a month is visible a moment before other sessions know of its
# partition. A linker that looks for it in that moment looks again at once, and soon:
# a process is stopped there, for as long as the test wants.

use strict;
use warnings;

use AtlasTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = start_node('months', settings => "atlas_events.idle_timeout = 1h\natlas_events.poll_interval = 50ms");
my $folder = PostgreSQL::Test::Utils::tempdir();
my ($include) = run_command([ 'pg_config', '--includedir-server' ]);
chomp $include;
system_or_bail('cc', '-O2', '-shared', '-fPIC', "-I$include",
	'-o', "$folder/stop_at_commit.so", atlas_root() . '/t/stop_at_commit.c');
chmod 0755, $folder;

my $ending = 'the transaction that submitted the event is about to end';

# Submits an event of so many months ago, with a related object, in a session that stops
# in the middle of its commit. Returns the session and its process id.
sub submit_and_stop
{
	my ($database, $months) = @_;
	my %session = (output => '', errors => '');

	append_to_file("$folder/$database.sql", <<"END");
LOAD '$folder/stop_at_commit.so';
SELECT submit_event('CONVERSATION', '7', 'first', occurred_at => now() - interval '$months months',
                    related_objects => ARRAY[('ACCOUNT', md5('account-3')::uuid::text, NULL)]::atlas_object[]);
END
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr($database), '-f', "$folder/$database.sql" ],
		'>', \$session{output}, '2>', \$session{errors});
	$session{pid} = poll_value($node, 'postgres',
		"SELECT pid FROM pg_stat_activity WHERE datname = '$database' AND query ~ '^SELECT submit_event'");
	wait_until($node, 'postgres', "SELECT pg_read_file('/proc/$session{pid}/stat') ~ '^[0-9]+ \\(.*\\) T '",
		"a process stops in its commit of the first event of $months months ago");
	return \%session;
}

sub go_on
{
	my ($session) = @_;

	kill 'CONT', $session->{pid};
	$session->{run}->finish;
	is($session->{errors}, '', 'its client gets no error');
	return event_ids($session->{output});
}

# Asks again and again when the queued event is tried next, until there have been so
# many answers: it is put off for a moment each time. A callback links, if nobody else does.
sub put_off_ok
{
	my ($database, $name, $link) = @_;
	my $deadline = time() + 60;
	my %answers;

	while (keys %answers < 6 && time() < $deadline)
	{
		$link->() if defined $link;
		my $answer = $node->safe_psql($database,
			"SELECT next_attempt_at FROM atlas_event_queue WHERE last_error = '$ending' AND attempts = 0");
		$answers{$answer} = 1 if $answer ne '';
		usleep(20_000);
	}
	return is(scalar keys %answers, 6, $name);
}

# ----- In a session -----

make_database($node, 'by_hand');
$node->safe_psql('by_hand', 'ALTER DATABASE by_hand SET atlas_events.linking = off');
my @ids = submit_events($node, 'by_hand', 1, 10);
my $session = $node->background_psql('by_hand');
is($session->query_safe('SELECT atlas_link_events()'), 10, 'a session links, and knows the partitions that there are');

my $stopped = submit_and_stop('by_hand', 5);
is($session->query_safe('SELECT atlas_link_events()'), 0, 'it does not find the event');
put_off_ok('by_hand', '... looks for it again and again, and counts no attempt',
	sub { $session->query_safe('SELECT atlas_link_events()') });
push @ids, go_on($stopped);
my $linked = 0;
my $deadline = time() + 60;
$linked = $session->query_safe('SELECT atlas_link_events()') while (!$linked && time() < $deadline);
is($linked, 1, '... and links it when the transaction has ended');
$session->quit;
oracle_ok($node, 'by_hand', \@ids);

# ----- In a linker -----

make_database($node, 'linker');
@ids = submit_events($node, 'linker', 1, 10);
linked_ok($node, 'linker', 'a linker links');
$stopped = submit_and_stop('linker', 6);
put_off_ok('linker', 'it looks for the first event of a month again and again');
push @ids, submit_events($node, 'linker', 11, 20);
wait_until($node, 'linker', 'SELECT count(*) = 1 FROM atlas_event_queue', 'meanwhile it links others');
push @ids, go_on($stopped);
linked_ok($node, 'linker', 'when the transaction has ended it links that one');
oracle_ok($node, 'linker', \@ids);

# ----- One that is not there, as in a restore -----

$node->safe_psql('linker', <<'END');
INSERT INTO atlas_event_queue (event_id, submitted_xid)
VALUES (gen_random_uuid(), '1'), (gen_random_uuid(), pg_current_xact_id()), (gen_random_uuid(), '9223372036854775807')
END
wait_until($node, 'linker', "SELECT count(*) = 3 FROM atlas_event_queue WHERE last_error = 'the event is not there'",
	'events that are not there at all wait for longer, whatever transaction they bear');
is($node->safe_psql('linker', "SELECT count(*) FROM atlas_event_queue WHERE attempts > 0"), 0, 'no attempt is counted');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
