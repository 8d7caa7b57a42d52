# A DBA who wonders why an event is PENDING finds the reason, and what to do,
# in the status view, in pg_stat_activity and in the server's log.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('status', settings => 'atlas_events.idle_timeout = 1h');
make_database($node, 'atlas');
make_gate($node, 'atlas');
my @ids;

# Waits for advice, which must begin like this.
sub advice_ok
{
	my ($advice, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, 'atlas',
		"SELECT coalesce(advice, 'none') LIKE '$advice%' FROM atlas_events_status", $name);
}

# ----- The workers in pg_stat_activity -----

push @ids, submit_events($node, 'atlas', 1, 100);
linked_ok($node, 'atlas', 'events are linked');
wait_until($node, 'atlas', "SELECT worker_state = 'idle' FROM atlas_events_status",
	'the status says that the linker is idle');
is( $node->safe_psql(
		'atlas', "SELECT a.backend_type, a.application_name, a.state, a.wait_event_type, a.datname,
			a.pid = s.worker_pid FROM pg_stat_activity a, atlas_events_status s
		  WHERE a.backend_type LIKE 'atlas_events%' ORDER BY 1"),
	"atlas_events launcher|atlas_events launcher||Extension||f\n"
	  . 'atlas_events linker|atlas_events linker|idle|Extension|atlas|t',
	'pg_stat_activity shows the launcher, and the linker with its database');
like(
	$node->safe_psql('atlas',
		"SELECT string_agg(wait_event, ' ' ORDER BY backend_type) FROM pg_stat_activity
		  WHERE backend_type LIKE 'atlas_events%'"),
	$node->pg_version >= 17 ? qr/^AtlasLauncherMain AtlasLinkerMain$/ : qr/^Extension Extension$/,
	'and what they wait for');
advice_ok('none', 'while all is well there is no advice');

# ----- A linker that works for long -----

push @ids, submit_gated($node, 'atlas', 101, 200, 50);
my $pid = wait_at_gate($node, 'atlas');
advice_ok(
	'Events wait for longer than atlas_events.naptime: see in pg_stat_activity what worker_pid does',
	'when events wait behind a linker that works, the advice is to look what it does');
is(status_of($node, 'atlas', 'worker_pid, worker_state, queue_depth, oldest_pending_age IS NOT NULL'),
	"$pid|linking|100|t", 'the status says who works, and how long events wait');
is( $node->safe_psql(
		'atlas', "SELECT state, query, wait_event FROM pg_stat_activity WHERE pid = $pid"),
	'active|linking|PgSleep',
	'pg_stat_activity shows what it does');

# ----- A linker that ends with an error -----

# Nobody starts another one until the launcher goes on.
my $offset = log_size($node);
my $before = $node->safe_psql('atlas', 'SELECT now()');
my $launcher = $node->safe_psql('postgres',
	"SELECT pid FROM pg_stat_activity WHERE backend_type = 'atlas_events launcher'");
kill 'STOP', $launcher or die "no process $launcher";
is($node->safe_psql('atlas', "SELECT pg_cancel_backend($pid)"), 't', 'a linker is cancelled');
advice_ok('The linker has ended with an error and is started again',
	'the advice says that it comes back');
like(
	status_of($node, 'atlas', "last_error, last_error_at BETWEEN '$before' AND now()"),
	qr/^canceling statement due to user request\|t$/,
	'the status has the error');
like(
	log_since($node, $offset),
	qr/linker.*LOG:  the atlas_events linker ends with this error, the next one starts in 1 seconds\n.*DETAIL:  Events wait until then\..*\n.*CONTEXT:  atlas_events linker of database "atlas"\n/,
	'the log says when the next one starts, and for which database');
open_gate($node, 'atlas');
kill 'CONT', $launcher;
linked_ok($node, 'atlas', 'the next one links the events');
advice_ok('none', 'then there is no advice any more');

# ----- Events that are put off -----

$offset = log_size($node);
my $session = $node->background_psql('atlas');
$session->query_safe('BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE');
push @ids, submit_events($node, 'atlas', 201, 300);
advice_ok('Events are put off and tried again: see last_error in atlas_event_logs',
	'the advice says where to read why');
push @ids, submit_events($node, 'atlas', 301, 400);
wait_until($node, 'atlas', 'SELECT count(*) = 200 FROM atlas_event_queue WHERE last_error IS NOT NULL',
	'more events are put off');
is( scalar(
		() = log_since($node, $offset) =~
		  /linker.*LOG:  events are put off, and tried again later: the table of object type ACCOUNT is locked\n/g),
	1,
	'the log says why, once');
$session->query_safe('COMMIT');
$session->quit;
linked_ok($node, 'atlas', 'when the table is free they are linked');
advice_ok('none', 'then there is no advice any more');

# ----- No launcher -----

# The postmaster does not start it again before it goes on, nor lets anybody in.
$session = $node->background_psql('atlas');
my ($postmaster) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
kill 'STOP', $postmaster or die "no process $postmaster";
kill 'TERM', $launcher or die "no process $launcher";
my $shown = eval { $session->query_safe(<<'END'); 1 };
DO $$ BEGIN
    WHILE (SELECT coalesce(advice, '') NOT LIKE 'The launcher of atlas_events does not run: see the server log%'
             FROM atlas_events_status) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$
END
kill 'CONT', $postmaster;
ok($shown, 'the advice says that the launcher is missing');
$session->quit;
push @ids, submit_events($node, 'atlas', 401, 500);
linked_ok($node, 'atlas', 'a linker that runs needs none');
advice_ok('none', 'the launcher comes back');

is(status_of($node, 'atlas', 'submitted, linked, not_found, failed, queue_depth'),
	'500|500|100|0|0', 'the counts are right in the end');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
