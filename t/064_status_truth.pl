# The status tells the truth when linkers cannot come: whose fault that is, and
# that they wait for it.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('truth', settings => 'atlas_events.max_workers = 1');
make_database($node, 'atlas');
make_database($node, 'other');
my (@ids, @others);

# Waits for a state and the advice that goes with it, which must begin like this.
sub status_ok
{
	my ($state, $advice, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, 'atlas',
		"SELECT worker_state = '$state' AND coalesce(advice, 'none') LIKE '$advice%' FROM atlas_events_status", $name);
}

sub pid_of
{
	my ($backend_type) = @_;

	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = '$backend_type'");
}

push @ids, submit_events($node, 'atlas', 1, 100);
linked_ok($node, 'atlas', 'events are linked');
status_ok('asleep', 'none', 'a linker that has nothing to do is asleep');

# ----- After an error -----

$node->safe_psql('atlas', <<'END');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not now'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON atlas_linker_state FOR EACH ROW EXECUTE FUNCTION refuse();
END
push @ids, submit_events($node, 'atlas', 101, 200);
status_ok('backoff', 'The linker has ended with an error and is started again',
	'one that has ended with an error is not asleep');
is(status_of($node, 'atlas', 'last_error'), 'not now', 'and says which one');
$node->safe_psql('atlas', 'DROP TRIGGER refuse ON atlas_linker_state');
linked_ok($node, 'atlas', 'the next one links the events');
status_ok('asleep', 'none', 'then all is well');

# ----- While the database is held -----

# The command waits for the session that asks for the status, and fails then.
my $watcher = $node->background_psql('atlas');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query_until(qr/^begun/m, "\\echo begun\nCREATE DATABASE copy TEMPLATE atlas;\n");
like(
	$watcher->query_safe(<<'END'),
CREATE FUNCTION pg_temp.watch() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    FOR i IN 1 .. 3000 LOOP
        SELECT advice INTO result FROM atlas_events_status WHERE worker_state = 'held';
        EXIT WHEN FOUND;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN result;
END $$;
SELECT pg_temp.watch();
END
	qr/^A transaction renames, moves, copies or drops this database/,
	'a database that is held is');
$_->quit foreach $watcher, $session;
push @ids, submit_events($node, 'atlas', 201, 300);
linked_ok($node, 'atlas', 'afterwards the events are linked');
status_ok('asleep', 'none', 'and all is well');

# ----- While another database has the only worker -----

make_gate($node, 'other');
push @others, submit_gated($node, 'other', 1, 100, 50);
my $linker = wait_at_gate($node, 'other');
kill 'STOP', $linker or die "no process $linker";
push @ids, submit_events($node, 'atlas', 301, 400);
status_ok('waiting', 'Events wait for longer than atlas_events.naptime: other databases have all atlas_events.max_workers',
	'events that wait for a worker say so');
open_gate($node, 'other');
kill 'CONT', $linker;
linked_ok($node, $_, "$_ is linked in the end") foreach qw(atlas other);
status_ok('asleep', 'none', 'and all is well');

# ----- A launcher that does nothing -----

my $launcher = pid_of('atlas_events launcher');
kill 'STOP', $launcher or die "no process $launcher";
push @ids, submit_events($node, 'atlas', 401, 500);
status_ok('waiting', 'The launcher of atlas_events does not answer: see in pg_stat_activity what it waits for',
	'the status sees a launcher that does not answer');
kill 'CONT', $launcher;
linked_ok($node, 'atlas', 'when it goes on the events are linked');
status_ok('asleep', 'none', 'and all is well');

# ----- Linking that is off -----

$node->safe_psql('postgres', 'ALTER DATABASE atlas SET atlas_events.linking = off');
push @ids, submit_events($node, 'atlas', 501, 600);
status_ok('off', 'atlas_events.linking is off: set it to on', 'linking that is off is');
$node->safe_psql('postgres', 'ALTER DATABASE atlas RESET atlas_events.linking');
$node->reload;
linked_ok($node, 'atlas', 'when it is on again the events are linked');
status_ok('asleep', 'none', 'and all is well');

oracle_ok($node, $_->[0], $_->[1]) foreach [ atlas => \@ids ], [ other => \@others ];
$node->stop;
done_testing();
