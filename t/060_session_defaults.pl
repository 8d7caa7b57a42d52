# What a DBA sets for the sessions of a server, a database or a role is not for
# the workers: they link whatever it is, and end when they are told to.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('defaults', settings => 'max_prepared_transactions = 5');
make_database($node, 'atlas');
make_database($node, 'other', extension => 0);
my @ids = submit_events($node, 'atlas', 1, 100);
linked_ok($node, 'atlas', 'events are linked');

# ----- Transactions that wait for a safe snapshot, and may not write -----

# It is not safe as long as a serializable transaction may still write.
push @ids, event_ids($node->safe_psql('atlas', <<'END'));
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT atlas_test.submit(101, 200);
PREPARE TRANSACTION 'open';
END
$node->append_conf('postgresql.conf', <<'END');
default_transaction_isolation = serializable
default_transaction_read_only = on
default_transaction_deferrable = on
END
$node->restart;
$ENV{PGOPTIONS} = '-c default_transaction_isolation=read\ committed -c default_transaction_read_only=off';
push @ids, submit_events($node, 'atlas', 201, 300);
linked_ok($node, 'atlas', 'events are linked where sessions wait for a safe snapshot');
make_extension($node, 'other');
my @others = submit_events($node, 'other', 1, 100);
linked_ok($node, 'other', 'and in a database that was not known before');
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');

# pg_ctl waits for a minute.
ok($node->stop('fast', fail_ok => 1), 'the server stops while the prepared transaction is open');
$node->start;
is($node->safe_psql('atlas', 'SELECT gid FROM pg_prepared_xacts'), 'open', 'it is still open');
$node->safe_psql('atlas', "COMMIT PREPARED 'open'");
linked_ok($node, 'atlas', 'when it is committed its events are linked');

# ----- A lock that the launcher waits for -----

like(
	$node->safe_psql('postgres', <<'END'),
SELECT pid AS launcher FROM pg_stat_activity WHERE backend_type = 'atlas_events launcher' \gset
BEGIN;
LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE;
CREATE PROCEDURE pg_temp.wait_for_launcher(launcher int) LANGUAGE plpgsql AS $$
BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_locks WHERE pid = launcher AND NOT granted) LOOP
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
CALL pg_temp.wait_for_launcher(:launcher);
SELECT pg_terminate_backend(:launcher, 60000);
END
	qr/^t$/m,
	'a launcher that waits for a lock ends when it is told to');
wait_until($node, 'postgres',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'atlas_events launcher'",
	'another one comes');

# ----- Settings of the database and of the role -----

$ENV{PGOPTIONS} .= ' -c role=none -c statement_timeout=0 -c session_replication_role=origin'
  . ' -c search_path=public -c row_security=on -c atlas_events.tenant=';
$node->safe_psql('atlas', <<'END');
CREATE ROLE nobody;
ALTER ROLE postgres SET statement_timeout = 1;
ALTER ROLE postgres IN DATABASE atlas SET idle_in_transaction_session_timeout = 1;
ALTER DATABASE atlas SET lock_timeout = 1;
ALTER DATABASE atlas SET role = 'nobody';
ALTER DATABASE atlas SET search_path = 'pg_temp';
ALTER DATABASE atlas SET session_replication_role = 'replica';
ALTER DATABASE atlas SET row_security = off;
ALTER DATABASE atlas SET DateStyle = 'SQL, DMY';
ALTER DATABASE atlas SET IntervalStyle = 'sql_standard';
ALTER DATABASE atlas SET TimeZone = 'Asia/Kathmandu';
ALTER DATABASE atlas SET enable_indexscan = off;
ALTER DATABASE atlas SET enable_bitmapscan = off;
ALTER DATABASE atlas SET plan_cache_mode = 'force_custom_plan';
ALTER DATABASE atlas SET quote_all_identifiers = on;
ALTER DATABASE atlas SET transform_null_equals = on;
ALTER DATABASE atlas SET atlas_events.tenant = 'acme';
END
if ($node->pg_version >= 17)
{
	$node->safe_psql('atlas', 'ALTER DATABASE atlas SET transaction_timeout = 1');
	$ENV{PGOPTIONS} .= ' -c transaction_timeout=0';
}
wait_until($node, 'atlas', 'SELECT worker_pid IS NULL FROM atlas_events_status',
	'the linker with the old settings has left');
push @ids, submit_events($node, 'atlas', 301, 400);
linked_ok($node, 'atlas', 'events are linked whatever is set for the database and the role');
is(status_of($node, 'atlas', 'worker_state, last_error'), 'idle|', 'the linker is well');
is($node->safe_psql('atlas', "SELECT DISTINCT tenant_id FROM atlas_event_links"),
	'', 'the links are those of the tenant of the events');

oracle_ok($node, 'atlas', \@ids);
oracle_ok($node, 'other', \@others);
$node->stop;
done_testing();
