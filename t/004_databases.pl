# Every database with the extension is served, however many there are and
# however they came; and nobody has to wait who needs a database without other sessions.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('databases', settings => <<'END');
atlas_events.max_workers = 2
atlas_events.batch_size = 100
END
my %ids;

# ----- Many databases -----

# The first has the extension when the launcher comes to it, the others get it
# later.
make_database($node, 'db1');
$node->restart;
make_database($node, "db$_", extension => 0) foreach 2 .. 6;
make_extension($node, "db$_") foreach 2 .. 6;
my @databases = map { "db$_" } 1 .. 6;

foreach my $round (0, 1)
{
	push @{ $ids{$_} }, submit_events($node, $_, 1000 * $round + 1, 1000 * $round + 1000)
	  foreach @databases;
	linked_ok($node, $_, "$_ is linked with more databases than workers, round $round")
	  foreach @databases;
}
oracle_ok($node, $_, $ids{$_}) foreach @databases;

# ----- A clone, with events that wait -----

$node->safe_psql('postgres', 'ALTER DATABASE db1 SET atlas_events.linking = off');
$node->poll_query_until('db1', 'SELECT worker_pid IS NULL FROM atlas_events_status')
  or die 'the linker does not leave';
push @{ $ids{db1} }, submit_events($node, 'db1', 2001, 2500);
$node->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE db1');
linked_ok($node, 'clone', 'a clone links the events that waited in the original');
oracle_ok($node, 'clone', $ids{db1});
is(status_of($node, 'db1', 'queue_depth'), '500', 'in the original they wait');
$node->safe_psql('postgres', 'ALTER DATABASE db1 RESET atlas_events.linking');
$node->reload;
linked_ok($node, 'db1', 'until linking is turned on again');

# ----- Commands that need the database without other sessions -----

# From here on there are workers for all databases, so that no linker has to make room for
# another: one that is stuck would be cancelled for that, and say so.
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.max_workers = 16');
$node->reload;
$node->safe_psql('postgres', "DROP DATABASE $_") foreach 'clone', map { "db$_" } 3 .. 6;

# One whose linker is busy with many batches, and one whose linker is stuck. While
# a linker is connected to the database, PostgreSQL refuses these commands.
for my $linker ('busy', 'stuck')
{
	make_database($node, $linker);
	make_gate($node, $linker);
	my $name = $linker;
	my $first = 1;

	my $set_linker_to_work = sub {
		my $last = $first + 3999;
		if ($linker eq 'stuck')
		{
			push @{ $ids{$linker} }, submit_gated($node, $name, $first, $last, 2000);
			wait_at_gate($node, $name);
		}
		else
		{
			push @{ $ids{$linker} }, submit_events($node, $name, $first, $last);
			wait_for_linker($node, $name);
		}
		$first = $last + 1;
	};

	$set_linker_to_work->();
	done_ok($node, 'postgres', "CREATE DATABASE ${linker}_copy TEMPLATE $name",
		"a $linker linker makes way for CREATE DATABASE TEMPLATE");
	open_gate($node, "${linker}_copy");
	linked_ok($node, "${linker}_copy", 'the copy is linked');
	oracle_ok($node, "${linker}_copy", $ids{$linker});
	$node->safe_psql('postgres', "DROP DATABASE ${linker}_copy");

	open_gate($node, $name);
	$set_linker_to_work->();
	done_ok($node, 'postgres', "ALTER DATABASE $name RENAME TO ${linker}_renamed",
		"a $linker linker makes way for ALTER DATABASE RENAME");
	$name = "${linker}_renamed";
	open_gate($node, $name);
	linked_ok($node, $name, 'it is linked under its new name');
	oracle_ok($node, $name, $ids{$linker});

	$set_linker_to_work->();
	done_ok($node, 'postgres', "DROP DATABASE $name", "a $linker linker makes way for DROP DATABASE");
}
# A linker that was stuck is terminated, and says so; nothing else is an error.
is_deeply(
	[ grep { !/terminating background worker/ } worker_errors($node) ],
	[], 'no worker logs an error');

# ----- The extension comes and goes -----

my $offset = log_size($node);
for my $round (1 .. 5)
{
	submit_events($node, 'db2', 1, 3000);
	$node->safe_psql('db2',
		'SET client_min_messages = warning; DROP EXTENSION atlas_events CASCADE');
	make_extension($node, 'db2');
}
my @last = submit_events($node, 'db2', 1, 1000);
linked_ok($node, 'db2', 'after DROP and CREATE EXTENSION events are linked');
is_deeply([ worker_errors($node, $offset) ], [], 'no worker logs an error meanwhile');
unlike(log_since($node, 0), qr/terminated by signal/, 'no process has crashed');
oracle_ok($node, 'db2', \@last);

$node->stop;
done_testing();
