# Evaluating conditions: a request to cancel is not taken for a limit of ours, whatever comes
# first; memory is limited while a condition is evaluated, and none stays behind; the timer rests
# when nothing is evaluated, also after an error that was caught.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('conditions', settings => "atlas_events.search = off\natlas_events.max_event_size = '1MB'");
make_database($node, 'atlas');
my $customer = $node->safe_psql('atlas', "SELECT md5('customer-1')::uuid");
$node->safe_psql('atlas', <<"END");
SELECT submit_event('CUSTOMER', '$customer', 'Big', payload => jsonb_build_object(
    'a', (SELECT jsonb_agg(n) FROM generate_series(1, 10000) n),
    'long', repeat('7', 60000)::numeric));
SELECT count(submit_event('CUSTOMER', '$customer', 'Small', payload => jsonb_build_object('n', n))) FROM generate_series(1, 1000) n;
CREATE FUNCTION atlas_test.count(condition text) RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
    RETURN atlas_count_events('CUSTOMER', '$customer', 'Big', condition::jsonpath);
EXCEPTION
    WHEN program_limit_exceeded THEN
        RETURN SQLERRM;
END;
\$\$;
END
my $slow = '$.payload.a[*] ? (exists($.payload.a[*] ? (@ < 0)))';
my $large = q{('$.payload.long[' || repeat('0, ', 20000) || '0].abs() ? (@ < 0)')};
# Which of the two comes first depends on the machine.
my $limit = qr/^a condition takes (more than 64 MB|longer than 100 ms) for one event$/;

# A line of /proc/PID/status.
sub status_line
{
	my ($pid, $name) = @_;
	my ($value) = slurp_file("/proc/$pid/status") =~ /^\Q$name\E:\s+(\d+)/m;

	return $value;
}

# ----- Limits -----

my $session = $node->background_psql('atlas', on_error_stop => 0);
my $pid = $session->query_safe('SELECT pg_backend_pid()');
like($session->query("SELECT atlas_test.count('$slow')"), $limit, 'a slow condition is stopped');
like($session->query("SELECT atlas_test.count($large)"), $limit, 'so is a large one');
like($session->query("SELECT atlas_test.count('(-' || replace($large, '.abs()', ')'))"), qr/^a condition may copy too many numbers of one event$/,
	'what would be large before anybody can look is refused');
# None of these can be interrupted while it runs, so an estimate that is too low would keep the session at work.
my $keyvalues = '$.payload.keyvalue()' . '.keyvalue()' x 9;
my $again = '(-$.payload.a[0])[0' . ', 0' x 5000 . ']';
for my $condition (
	'strict $.payload.a ? (@[*] == (-@[*]))',
	'$.payload.keyvalue() ? (@.value == (-@.value))',
	'strict $.payload.a ? (@.size() > 0)[*] < (-$.payload.a ? (@.size() > 0)[*])',
	"$keyvalues < $keyvalues",
	"$again < $again")
{
	like($session->query("SELECT atlas_test.count('$condition')"), qr/^a condition may compare too many values of one event with each other$/,
		'refused: ' . substr($condition, 0, 60));
}
like($session->query("SELECT atlas_test.count('" . '-' x 200 . "\$.payload.a < 0')"), qr/^a condition may copy too many numbers of one event$/,
	'so are signs before signs');
is($session->query("SELECT atlas_test.count('-\$.payload.a < 0')"), '1', 'but not one sign');
my $peak = status_line($pid, 'VmHWM');
cmp_ok($peak, '<', 400 * 1024, "such a condition takes no more memory than is allowed, by far ($peak kB)");

# ----- Nothing stays behind -----

$session->query_safe("SELECT atlas_count_events('CUSTOMER', '$customer', condition => '\$.payload.n > 5')");
my $before = status_line($pid, 'VmData');
$session->query_safe("SELECT count(atlas_count_events('CUSTOMER', '$customer', condition => '\$.payload.n > 5')) FROM generate_series(1, 100)");
$session->query_safe("SELECT atlas_test.count('$slow') FROM generate_series(1, 5)");
my $after = status_line($pid, 'VmData');
cmp_ok($after - $before, '<', 8 * 1024, "100,000 evaluations and five that are stopped leave no memory behind ($before kB, $after kB)");
is($session->query_safe("SELECT atlas_test.count('\$.payload.a[*] > 9999')"), '1', 'the session can evaluate conditions');

# The timer would wake the session a hundred times a second. Meanwhile another session evaluates
# a condition for its hundred milliseconds, three times.
$session->query_safe("BEGIN; SELECT atlas_test.count('$slow')");
my $woken = status_line($pid, 'voluntary_ctxt_switches');
like($node->safe_psql('atlas', "SELECT min(atlas_test.count('$slow')) FROM generate_series(1, 3)"),
	$limit, 'another session evaluates a condition');
$woken = status_line($pid, 'voluntary_ctxt_switches') - $woken;
cmp_ok($woken, '<', 10, "nothing wakes a session up that evaluates no condition any more ($woken times)");
$session->query_safe('COMMIT');

# ----- Cancel and terminate -----

# A condition that is slow, but within the limit, again and again.
my $endless = "SELECT count(atlas_test.count('\$.payload.a[*] ? (exists(\$.payload.a[*] ? (@ < 0))) ? (1 == ' || n || ')')) FROM generate_series(1, 1000000) n";
for my $attempt (1 .. 5)
{
	$session->query_until(qr/begins/, "\\echo begins\n$endless;\n");
	wait_until($node, 'atlas', "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $pid", "a session is at work ($attempt)");
	is($node->safe_psql('atlas', "SELECT pg_cancel_backend($pid)"), 't', 'it is cancelled');
	wait_until($node, 'atlas', "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid", 'and stops, although its errors are caught');
	like($session->query("SELECT atlas_test.count('\$.payload.a[*] > 9999')"), qr/^1$/m, 'and goes on');
}
is($node->safe_psql('atlas', <<"END"), '1', 'a statement after a limit is not cancelled');
SELECT atlas_test.count('$slow') \\g /dev/null
SELECT atlas_test.count('\$.payload.a[*] > 9999');
END
my ($code, $stdout, $stderr) = $node->psql('atlas', "SET statement_timeout = 30; $endless");
like($stderr, qr/canceling statement due to statement timeout/, 'statement_timeout is what it is');

$session->query_until(qr/begins/, "\\echo begins\n$endless;\n");
wait_until($node, 'atlas', "SELECT state = 'active' FROM pg_stat_activity WHERE pid = $pid", 'a session is at work');
is($node->safe_psql('atlas', "SELECT pg_terminate_backend($pid)"), 't', 'it is terminated');
wait_until($node, 'atlas', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)", 'and ends');
$session->{run}->finish;

$node->stop;
done_testing();
