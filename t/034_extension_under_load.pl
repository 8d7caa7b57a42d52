# The extension is dropped and created again and again while clients submit. No
# process crashes, DROP EXTENSION gets its turn, the log is not flooded, and what
# is submitted to the extension that is there in the end is linked.

use strict;
use warnings;

use AtlasLoad;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = start_node('extension');
make_database($node, 'atlas');
my $load = load_start($node, 'atlas', forgets => 1);
my $rounds = long_or(100, 5);
my ($deadlocks, $created) = (0, 0);

# As its user would: again after a deadlock. The test fails if DROP EXTENSION does
# not get its turn.
sub drop_extension
{
	for (1 .. 20)
	{
		my ($code, undef, $errors) = $node->psql('atlas',
			"\\set VERBOSITY verbose\nSET client_min_messages = warning;
			 DROP EXTENSION atlas_events CASCADE;", timeout => $PostgreSQL::Test::Utils::timeout_default);
		return if $errors !~ /ERROR/;
		die $errors if $errors !~ /ERROR:  40P01/;
		$deadlocks++;
	}
	die 'DROP EXTENSION is in a deadlock each time';
}

for my $round (1 .. $rounds)
{
	load_wait($load, 20);
	drop_extension();
	make_extension($node, 'atlas');
	$created = time();
}
pass("DROP EXTENSION gets its turn, $rounds times, after $deadlocks deadlocks");

# More than is looked for below: batches that had begun before are acknowledged now.
load_wait($load, 200);
my $result = load_stop($load);
is_deeply($result->{wrong}, [], 'no client is given up');
my @states = sort keys %{ $result->{errors} };
is_deeply([ grep { !/^(?:42883|42P01|42704|40P01|PT404)$/ } @states ],
	[], 'clients are told that the extension is not there');
linked_ok($node, 'atlas', 'what was submitted since is linked');
my @ids = load_ids_since($load, $created);
cmp_ok(scalar @ids, '>=', 100, 'clients submit to the extension that is there in the end');
is(status_of($node, 'atlas', 'failed'), '0', 'no event has failed');
oracle_ok($node, 'atlas', \@ids);

my @errors = worker_errors($node);
note $_ foreach @errors;
cmp_ok(scalar @errors, '<=', $rounds, 'workers log an error for a DROP EXTENSION at most');
unlike(log_since($node, 0), qr/terminated by signal|PANIC|reinitializing/, 'nothing has crashed');
$node->stop;
done_testing();
