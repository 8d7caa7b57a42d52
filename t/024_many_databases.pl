# Twenty databases share two workers. Each is served, also one that comes later, and
# one where linking is off is left alone. A command that needs one of them without
# other sessions gets it.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node(
	'many', settings => <<'END');
atlas_events.max_workers = 2
atlas_events.batch_size = 100
max_worker_processes = 8
END
my $events = long_or(5000, 100);
my %ids;

# Runs an SQL statement in each of these databases; returns what each answers.
sub everywhere
{
	my (%statements) = @_;
	my $output = $node->safe_psql('postgres',
		join '', map { "\\connect $_\n\\echo == $_\n$statements{$_};\n" } sort keys %statements);

	return "$output\n" =~ /^== (\w+)\n(.*?)(?=^== |\z)/msg;
}

sub submit_everywhere
{
	my ($first, @databases) = @_;
	my $last = $first + $events - 1;
	my %output = everywhere(map { $_ => "SELECT atlas_test.submit($first, $last)" } @databases);

	push @{ $ids{$_} }, event_ids($output{$_}) foreach @databases;
	return;
}

# Waits until nothing is pending in any of these databases.
sub linked_everywhere_ok
{
	my ($name, @databases) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
	my @waiting = @databases;

	while (@waiting && time < $deadline)
	{
		my %left = everywhere(map { $_ => 'SELECT count(*) FROM atlas_event_queue' } @waiting);
		@waiting = grep { $left{$_} != 0 } @waiting;
	}
	is("@waiting", '', $name);
	return;
}

sub oracle_everywhere_ok
{
	my (@databases) = @_;
	my %violations = everywhere(
		map {
			my $list = join ',', map { "'$_'" } @{ $ids{$_} };
			$_ => "SELECT * FROM atlas_test.violations(ARRAY[$list]::uuid[]) LIMIT 10"
		} @databases);

	is($violations{$_}, '', "the oracle finds nothing wrong in $_") foreach @databases;
	return;
}

make_database($node, 'original');
my @databases = map { "db$_" } 1 .. 20;
$node->safe_psql('postgres', join '', map { "CREATE DATABASE $_ TEMPLATE original;\n" } @databases);
$node->safe_psql('postgres', 'ALTER DATABASE db20 SET atlas_events.linking = off');
$node->reload;

submit_everywhere(1, @databases);
my $most = 0;
for my $look (1 .. 5)
{
	my $linkers = $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'atlas_events linker'");
	$most = $linkers if $linkers > $most;
}
cmp_ok($most, '<=', 2, 'there are no more linkers than max_workers');
linked_everywhere_ok('each database is linked', @databases[ 0 .. 18 ]);
is(status_of($node, 'db20', 'queue_depth, worker_state'),
	"$events|off", 'where linking is off events wait');

make_database($node, 'late');
push @databases, 'late';
submit_everywhere(1, 'late');
linked_ok($node, 'late', 'a database that came later is linked');

$node->safe_psql('postgres', 'ALTER DATABASE db20 RESET atlas_events.linking');
$node->reload;
linked_ok($node, 'db20', 'when linking is on again its events are linked');
oracle_everywhere_ok(@databases);

# ----- Commands that want a database for themselves, with load in all of them -----

my $folder = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', "CREATE TABLESPACE other LOCATION '$folder'");
submit_everywhere(200_001, @databases);
done_ok($node, 'postgres', 'ALTER DATABASE db1 SET TABLESPACE other',
	'linkers make way for ALTER DATABASE SET TABLESPACE');
done_ok($node, 'postgres', 'ALTER DATABASE db2 RENAME TO renamed', 'for ALTER DATABASE RENAME');
done_ok($node, 'postgres', 'CREATE DATABASE copy TEMPLATE db3', 'for CREATE DATABASE TEMPLATE');
$ids{renamed} = delete $ids{db2};
$ids{copy} = [ @{ $ids{db3} } ];

# A command that is rolled back leaves nothing held.
$node->safe_psql('postgres', 'BEGIN; ALTER DATABASE db4 RENAME TO elsewhere; ROLLBACK');
submit_everywhere(300_001, 'db4');
my @taken = qw(db1 renamed db3 copy db4);
linked_everywhere_ok('all of them are linked afterwards', @taken);
oracle_everywhere_ok(@taken);

# Half of these have work to do, the others have done theirs.
submit_everywhere(400_001, map { "db$_" } 5 .. 12);
done_ok($node, 'postgres', "DROP DATABASE $_", "for DROP DATABASE $_") foreach map { "db$_" } 5 .. 20;

submit_everywhere(500_001, 'late');
linked_ok($node, 'late', 'those that are left go on');
oracle_everywhere_ok('late');
is_deeply([ grep { !/terminating background worker/ } worker_errors($node) ],
	[], 'no worker logs an error');
$node->stop;
done_testing();
