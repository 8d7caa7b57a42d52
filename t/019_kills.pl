# Under load, linkers and submitting clients' backends are killed at random
# moments, and the server is stopped in the middle: each event that a client asked
# for is there once, and is linked.

use strict;
use warnings;

use AtlasLoad;
use AtlasTest;
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = $ENV{ATLAS_SEED} || int rand 1_000_000;
srand $seed;
note "ATLAS_SEED=$seed";

my $node = start_node('kills', settings => 'synchronous_commit = on');
make_database($node, 'atlas');
my $load = load_start($node, 'atlas');
my %done;

my %victims = (
	linker => "backend_type = 'atlas_events linker'",
	submitter => "application_name = 'atlas_load'");

sub kill_one
{
	my ($kind) = @_;
	my $offset = log_size($node);

	load_wait($load, 1 + int rand 20);
	for (;;)
	{
		my $pid = poll_value($node, 'postgres',
			"SELECT pid FROM pg_stat_activity WHERE $victims{$kind} ORDER BY random() LIMIT 1");
		usleep(rand 20_000);
		last if kill 'KILL', $pid;
	}
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	return;
}

sub stop_server
{
	load_wait($load, 1 + int rand 100);
	$node->stop('immediate');
	$node->start;
	return;
}

for my $kind (
	shuffle(
		('linker') x long_or(100, 6),
		('submitter') x long_or(50, 4),
		('server') x long_or(20, 2)))
{
	$kind eq 'server' ? stop_server() : kill_one($kind);
	$done{$kind}++;
}
my $log = log_since($node, 0);
my $batches = () = $log =~ /linker before this one was killed; [1-9]/g;
note "$done{linker} linkers and $done{submitter} submitters killed, $done{server} immediate stops;",
  " $batches times linkers were in the middle of a batch";

load_wait($load, 100);
my $result = load_stop($load);
is_deeply(
	[ grep { !/^(?:08...|57P0[123]|57014|unconnected|none)$/ } keys %{ $result->{errors} } ],
	[], 'clients get no other errors than of lost connections');
wait_until(
	$node, 'atlas',
	q{SELECT NOT EXISTS (SELECT FROM atlas_event_queue WHERE next_attempt_at IS DISTINCT FROM 'infinity')},
	'all events are linked in the end');
is(status_of($node, 'atlas', 'failed'), '0', 'no event is blamed for a kill');
load_is_whole($load, $result, 'each key is one event, which the client knows of');
oracle_ok($node, 'atlas', $result->{ids});
$node->stop;
done_testing();
