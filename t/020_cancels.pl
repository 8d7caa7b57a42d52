# A storm of cancellations, terminations and signals on the sessions of clients
# and on the workers does no harm: nothing crashes, no event is lost, doubled or
# blamed, and the workers come back.

use strict;
use warnings;

use AtlasLoad;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = $ENV{ATLAS_SEED} || int rand 1_000_000;
srand $seed;
note "ATLAS_SEED=$seed";

my $node = start_node('cancels');
make_database($node, 'atlas');
my $load = load_start($node, 'atlas');
my $session = $node->background_psql('postgres');
my %hits;

# Who is hit, how often in relation to the others.
my @victims = (('linker') x 3, ('submitter') x 6, 'launcher');
my %is_victim = (
	linker => "backend_type = 'atlas_events linker'",
	launcher => "backend_type = 'atlas_events launcher'",
	submitter => "application_name = 'atlas_load'");
my @blows = ('pg_cancel_backend', 'pg_terminate_backend', qw(INT TERM HUP USR1));

# A worker that ended with an error may be away for a while; then there is a
# submitter, who connects again at once.
sub strike
{
	my ($victim) = @_;
	my $blow = $blows[ rand @blows ];
	my $is_function = $blow =~ /^pg_/;
	my $hit = $is_function ? "$blow(pid)" : 'pid';
	my $answer = $session->query_safe(
		"SELECT $hit FROM pg_stat_activity WHERE $is_victim{$victim} ORDER BY random() LIMIT 1");

	return if $answer eq '';
	$hits{$victim}++ if $is_function || kill $blow, $answer;
	return;
}

for my $victim (sort keys %is_victim)
{
	until ($hits{$victim})
	{
		strike($victim);
		usleep(rand 50_000);
	}
}
for my $round (1 .. long_or(1000, 60))
{
	strike($victims[ rand @victims ]);
	usleep(rand 50_000);
	load_wait($load, 1) if $round % 10 == 0;
}
note join ', ', map { "$hits{$_} blows on $_" } sort keys %hits;

load_wait($load, 100);
my $result = load_stop($load);
is_deeply(
	[ grep { !/^(?:08...|57P0[123]|57014|unconnected|none)$/ } keys %{ $result->{errors} } ],
	[], 'clients get no other errors than of cancellations and lost connections');
is($node->safe_psql('atlas', 'SELECT 1'), '1', 'the server is there');
wait_until(
	$node, 'atlas',
	q{SELECT NOT EXISTS (SELECT FROM atlas_event_queue WHERE next_attempt_at IS DISTINCT FROM 'infinity')},
	'the workers come back, and all events are linked');
is(status_of($node, 'atlas', 'failed'), '0', 'no event is blamed');
unlike(log_since($node, 0), qr/terminated by signal|PANIC|reinitializing/, 'nothing has crashed');
load_is_whole($load, $result, 'each key is one event, which the client knows of');
oracle_ok($node, 'atlas', $result->{ids});
$session->quit;
$node->stop;
done_testing();
