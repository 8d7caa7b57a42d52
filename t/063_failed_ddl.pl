# A command on a database that fails, or is rolled back, does not hold its linking:
# not until the end of a transaction that goes on, and not for a role that may not
# run it.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('ddl', settings => 'atlas_events.idle_timeout = 1h');
make_database($node, 'atlas');
my $tablespace = $node->basedir . '/tablespace';
mkdir $tablespace;
$node->safe_psql('postgres', <<"END");
CREATE DATABASE taken;
CREATE TABLESPACE elsewhere LOCATION '$tablespace';
CREATE ROLE nobody LOGIN;
CREATE ROLE owner LOGIN;
CREATE ROLE creator LOGIN CREATEDB;
END
my @ids = submit_events($node, 'atlas', 1, 100);
linked_ok($node, 'atlas', 'events are linked');

my $linker = status_of($node, 'atlas', 'worker_pid');

# In a transaction that stays open for a while, after the command has failed.
sub links_meanwhile
{
	my ($role, $command, $error, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', $role ]);

	$session->query("BEGIN; SAVEPOINT s; $command");
	like($session->{stderr}, $error, "$name: it fails");
	$session->{stderr} = '';
	$session->query('ROLLBACK TO s');
	push @ids, submit_events($node, 'atlas', 1, 10);
	linked_ok($node, 'atlas', "$name: events are linked before the transaction has ended");
	isnt(status_of($node, 'atlas', 'worker_state'), 'held', "$name: nothing is held");
	$session->query('ROLLBACK');
	$session->quit;
	return;
}

# Those that are not even begun leave the linker alone.
for my $case (
	[ 'nobody', 'ALTER DATABASE atlas RENAME TO other', qr/must be owner/ ],
	[ 'nobody', 'DROP DATABASE atlas', qr/cannot run inside a transaction block/ ],
	[ 'postgres', 'DROP DATABASE atlas', qr/cannot run inside a transaction block/ ],
	[ 'postgres', 'ALTER DATABASE atlas SET TABLESPACE elsewhere', qr/cannot run inside a transaction block/ ],
	[ 'postgres', 'CREATE DATABASE copy TEMPLATE atlas', qr/cannot run inside a transaction block/ ])
{
	my ($role, $command, $error) = @$case;

	links_meanwhile($role, $command, $error, "$command by $role");
	is(status_of($node, 'atlas', 'worker_pid'), $linker, 'the linker is the same');
}
for my $case (
	[ 'nobody', 'DROP DATABASE atlas', qr/must be owner/ ],
	[ 'creator', 'CREATE DATABASE copy TEMPLATE atlas', qr/permission denied to copy/ ],
	[ 'nobody', 'ALTER DATABASE atlas SET TABLESPACE elsewhere', qr/must be owner/ ])
{
	my ($role, $command, $error) = @$case;

	my ($code, $stdout, $stderr) = $node->psql('postgres', $command, extra_params => [ '-U', $role ]);
	like($stderr, $error, "$command by $role is refused");
	is(status_of($node, 'atlas', 'worker_pid'), $linker, 'the linker is the same');
}

# An owner may rename it if he may create one, and anybody who may create one may
# have a template.
$node->safe_psql('postgres', 'ALTER DATABASE atlas OWNER TO owner');
links_meanwhile('owner', 'ALTER DATABASE atlas RENAME TO other',
	qr/permission denied to rename database/, 'RENAME by an owner who may not');
is(status_of($node, 'atlas', 'worker_pid'), $linker, 'the linker is the same');
$node->safe_psql('postgres', 'ALTER DATABASE atlas IS_TEMPLATE true');
my ($code, $stdout, $stderr) =
  $node->psql('postgres', 'CREATE DATABASE copy TEMPLATE atlas', extra_params => [ '-U', 'nobody' ]);
like($stderr, qr/permission denied to create database/, 'who may not create databases may have no template');
is(status_of($node, 'atlas', 'worker_pid'), $linker, 'the linker is the same');
$node->safe_psql('postgres', 'ALTER DATABASE atlas IS_TEMPLATE false');

# Those that are, end.
links_meanwhile('postgres', 'ALTER DATABASE atlas RENAME TO taken', qr/already exists/, 'RENAME to a name that is taken');
links_meanwhile('postgres', 'ALTER DATABASE atlas RENAME TO other; SELECT 1/0', qr/division by zero/, 'RENAME that is rolled back');
links_meanwhile(
	'postgres',
	'SAVEPOINT t; ALTER DATABASE atlas RENAME TO other; RELEASE t; SELECT 1/0',
	qr/division by zero/,
	'RENAME that is rolled back with the savepoint around it');
links_meanwhile('postgres', <<'END', qr/^$/, 'RENAME in a function');
DO $$
BEGIN
    ALTER DATABASE atlas RENAME TO taken;
EXCEPTION WHEN duplicate_database THEN NULL;
END $$;
END

# One that is not rolled back is done.
$node->safe_psql('postgres', 'BEGIN; SAVEPOINT s; ALTER DATABASE atlas RENAME TO other; RELEASE s; COMMIT');
push @ids, submit_events($node, 'other', 1, 10);
linked_ok($node, 'other', 'the renamed database is linked');
oracle_ok($node, 'other', \@ids);
$node->stop;
done_testing();
