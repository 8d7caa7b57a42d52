# A worker that stands still, as on a machine that is out of breath, holds up
# nobody who submits; when it goes on, it catches up.

use strict;
use warnings;

use AtlasLoad;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('stopped');
make_database($node, 'atlas');
make_gate($node, 'atlas');
my $meanwhile = long_or(20_000, 300);    # events that are acknowledged while a worker stands still
my @ids;

sub pid_of
{
	my ($condition) = @_;

	return poll_value($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE $condition");
}

# While the process stands still, clients submit; one that waited for it would get
# no answer.
sub submit_meanwhile
{
	my ($who, $pid) = @_;
	my $load;

	kill 'STOP', $pid or die "no process $pid";
	$load = load_start($node, 'atlas', from => scalar @ids);
	load_wait($load, 100) foreach 1 .. $meanwhile / 100;
	my $result = load_stop($load);
	push @ids, @{ $result->{ids} };

	pass("$who stands still, and every client gets its events acknowledged");
	is_deeply($result->{errors}, {}, '... and no error');
	is_deeply($result->{wrong}, [], '... and no other answer');
	return scalar @{ $result->{ids} };
}

sub go_on
{
	my ($who, $pid) = @_;

	kill 'CONT', $pid;
	linked_ok($node, 'atlas', "$who goes on, and all events are linked");
	return;
}

# ----- A linker that has nothing to do -----

push @ids, submit_events($node, 'atlas', 1, 10);
linked_ok($node, 'atlas', 'a linker is there');
my $pid = pid_of("backend_type = 'atlas_events linker'
	AND wait_event IN ('AtlasLinkerMain', 'Extension')");
my $submitted = submit_meanwhile('an idle linker', $pid);
cmp_ok(status_of($node, 'atlas', 'queue_depth'), '>=', $submitted, 'events wait for it');
go_on('the linker', $pid);

# ----- A linker in the middle of a batch, with locks on its rows -----

push @ids, submit_gated($node, 'atlas', 1001, 2000, 500);
$pid = wait_at_gate($node, 'atlas');
submit_meanwhile('a linker in the middle of a batch', $pid);
open_gate($node, 'atlas');
go_on('the linker', $pid);

# ----- The launcher, when there is no linker -----

$pid = pid_of("backend_type = 'atlas_events launcher'");
kill 'STOP', $pid;
$node->safe_psql('postgres',
	"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'atlas_events linker'");
wait_until($node, 'postgres',
	"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'atlas_events linker')",
	'there is no linker');
submit_meanwhile('the launcher', $pid);
go_on('the launcher', $pid);

is(status_of($node, 'atlas', 'failed'), '0', 'no event is blamed');
is_deeply([ grep { !/terminating background worker/ } worker_errors($node) ],
	[], 'no worker logs an error');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
