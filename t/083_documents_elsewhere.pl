# Documents that are due are made wherever the database goes: after a restore, and on a
# standby that is promoted.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = start_node('primary', streaming => 1);
make_database($primary, 'atlas');
my @ids = submit_events($primary, 'atlas', 1, 300);
linked_ok($primary, 'atlas', 'the primary makes documents');
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;

# From now on the primary leaves the rest to others.
$primary->append_conf('postgresql.conf', 'atlas_events.linking = off');
$primary->reload;
wait_until($primary, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status", 'the linker of the primary has left');
push @ids, submit_events($primary, 'atlas', 301, 400);
push @ids, event_ids($primary->safe_psql('atlas', <<'END'));
SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text, 'Plain ' || n) FROM generate_series(1, 700) AS n
END
my $waiting = 'SELECT documents_waiting, rebuild_documents FROM atlas_search_status';
is($primary->safe_psql('atlas', $waiting), '700|', 'documents are due');

# ----- A dump, restored into a server that begins to work at once -----

my $dump = $primary->basedir . '/dump';
$primary->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', $dump, '-d', $primary->connstr('atlas') ], 'pg_dump takes it');
my $copy = start_node('copy');
$copy->safe_psql('postgres', "CREATE DATABASE copy ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
$copy->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', $copy->connstr('copy'), $dump ], 'pg_restore restores it');

# What was put off because the log came later is tried again at once.
$copy->safe_psql('copy', $_) foreach
	'UPDATE atlas_event_queue SET next_attempt_at = now() WHERE next_attempt_at > now()',
	'UPDATE atlas_event_work SET next_attempt_at = now() WHERE next_attempt_at > now()';
linked_ok($copy, 'copy', 'after a restore the documents that were due are made');
is($copy->safe_psql('copy', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'plain'}), '700', 'the events are found');
oracle_ok($copy, 'copy', \@ids, 'nothing is lost or doubled by a restore');
$copy->safe_psql('copy', 'SELECT atlas_rebuild_search(NULL)');
wait_until($copy, 'copy', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', 'a rebuild comes to its end there');
$copy->stop;

# ----- A standby -----

$primary->wait_for_catchup($standby, 'replay', $primary->lsn('flush'));
is($standby->safe_psql('atlas', $waiting), '700|', 'the standby shows what is due');
my ($code, $stdout, $stderr) = $standby->psql('atlas', '\set VERBOSITY verbose
	SELECT atlas_rebuild_search(NULL)');
like($stderr, qr/ERROR:  25006: /, 'a rebuild is refused there');
$primary->stop;
$standby->promote;
linked_ok($standby, 'atlas', 'after promotion the documents that were due are made');
is($standby->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'plain'}), '700', 'the events are found');
oracle_ok($standby, 'atlas', \@ids, 'nothing is lost or doubled by promotion');
$standby->stop;
done_testing();
