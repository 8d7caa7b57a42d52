# Without a free background worker slot events wait, the log and the status
# say what to do, and linking begins when a slot is free.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# One slot is the launcher's.
my $node = start_node(
	'slots', settings => <<'END');
max_worker_processes = 1
max_logical_replication_workers = 0
atlas_events.idle_timeout = 0
END
make_database($node, 'atlas');
my @ids = submit_events($node, 'atlas', 1, 100);

$node->wait_for_log(qr/atlas_events launcher .*LOG:  no background worker slot is free/);
like(
	log_since($node, 0),
	qr/no background worker slot is free for an atlas_events linker\n.*HINT:  Increase max_worker_processes/,
	'the log says what is missing, and what to do');
wait_until($node, 'atlas', "SELECT worker_state = 'waiting' FROM atlas_events_status",
	'the status says that the database waits');
like(status_of($node, 'atlas', 'queue_depth, advice'),
	qr/^100\|.*max_worker_processes/, 'and what to do; the events wait');
is($node->safe_psql('atlas', 'SELECT atlas_link_events(10)'),
	'10', 'they can be linked by hand meanwhile');

# A round of the launcher later it has not said so again.
make_database($node, 'other', extension => 0);
make_extension($node, 'other');
wait_until($node, 'other', "SELECT worker_state = 'waiting' FROM atlas_events_status",
	'another database waits as well');
is(scalar(() = log_since($node, 0) =~ /no background worker slot is free/g),
	1, 'the log says so once');

# With one slot for linkers, one database waits for the other.
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
linked_ok($node, 'atlas', 'with a slot the events are linked');
is(status_of($node, 'atlas', 'advice'), '', 'the advice is gone');

make_gate($node, 'other');
my @others = submit_gated($node, 'other', 1, 100, 50);
wait_at_gate($node, 'other');
push @ids, submit_events($node, 'atlas', 101, 200);
wait_until($node, 'atlas', "SELECT worker_state = 'waiting' FROM atlas_events_status",
	'a database waits while another one has the slot');
open_gate($node, 'other');
linked_ok($node, 'other', 'the other one is linked');
linked_ok($node, 'atlas', 'when the slot is free the waiting one is linked');
wait_until($node, 'atlas', 'SELECT advice IS NULL FROM atlas_events_status', 'the advice is gone');

# ----- Slots that other extensions and the server itself have taken -----

# The launcher's, and three that parallel queries may take.
$node->append_conf('postgresql.conf', <<'END');
max_worker_processes = 4
max_parallel_workers = 3
END
$node->restart;
$node->safe_psql('postgres', <<'END');
CREATE FUNCTION wait_for_lock() RETURNS int LANGUAGE plpgsql PARALLEL SAFE AS $$
BEGIN
    WHILE (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1) > 0 LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN 1;
END $$;
CREATE TABLE large AS SELECT n FROM generate_series(1, 2000) n;
ALTER TABLE large SET (parallel_workers = 3);
ANALYZE large;
END
my $lock = $node->background_psql('postgres');
$lock->query_safe('SELECT pg_advisory_lock(1)');
my $parallel = $node->background_psql('postgres');
my $query = <<'END';
SET max_parallel_workers_per_gather = 3;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET parallel_leader_participation = off;
SELECT count(*) FROM large WHERE wait_for_lock() = n;
END
wait_until($node, 'postgres',
	"SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'atlas_events linker'",
	'no linker has a slot');
$parallel->query_until(qr/^begun/m, "\\echo begun\n$query");
wait_until($node, 'postgres',
	"SELECT count(*) = 3 FROM pg_stat_activity WHERE backend_type = 'parallel worker'",
	'parallel queries have taken all the slots');
push @ids, submit_events($node, 'atlas', 201, 300);
wait_until($node, 'atlas', "SELECT worker_state = 'waiting' FROM atlas_events_status",
	'the status says that the database waits');
like(status_of($node, 'atlas', 'queue_depth, advice'), qr/^100\|.*max_worker_processes/,
	'and what to do');
$lock->query_safe('SELECT pg_advisory_unlock(1)');
linked_ok($node, 'atlas', 'when a slot is free again the events are linked');
$_->quit foreach $parallel, $lock;

oracle_ok($node, $_->[0], $_->[1]) foreach [ atlas => \@ids ], [ other => \@others ];
$node->stop;
done_testing();
