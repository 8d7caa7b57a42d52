# Events that were stored while search was not in effect have no documents, and the status
# says so. atlas_rebuild_search() has them made, beside traffic and across restarts.

use strict;
use warnings;

use AtlasTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('rebuild', settings => 'atlas_events.search = off');
make_database($node, 'atlas');
my @ids;

sub progress
{
	my ($columns) = @_;

	return $node->safe_psql('atlas', "SELECT $columns FROM atlas_search_status");
}

sub switch_search
{
	my ($value) = @_;

	$node->append_conf('postgresql.conf', "atlas_events.search = $value");
	$node->reload;
	$node->poll_query_until('atlas', "SELECT current_setting('atlas_events.search') = '$value'") or die;
	return;
}

sub rebuilt_ok
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	wait_until($node, 'atlas', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', $name);
	linked_ok($node, 'atlas', "$name: all documents are made");
	return;
}

# ----- While it is off -----

push @ids, submit_events($node, 'atlas', 1, 1000);
push @ids, event_ids($node->safe_psql('atlas', <<'END'));
SET TimeZone = 'UTC';
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Imported', payload => jsonb_build_object('n', n),
                    occurred_at => date_trunc('month', now()) - n * interval '5 days')
  FROM generate_series(1, 300) AS n
END
linked_ok($node, 'atlas', 'events are linked while search is off');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_search'), '0', 'no document is made');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '0', 'nothing is queued for it');
is(progress('in_effect'), 'f', 'the status says that search is not in effect');
is(status_of($node, 'atlas', 'advice'), '', 'nobody is asked for a rebuild meanwhile');
my ($code, $stdout, $stderr) = $node->psql('atlas', 'SELECT atlas_rebuild_search(NULL)');
like($stderr, qr/search is not in effect/, 'a rebuild is refused');
oracle_ok($node, 'atlas', \@ids, 'the oracle knows of the gap');

# ----- When it is on again -----

switch_search('on');
my $since = progress('missing_since');
like(status_of($node, 'atlas', 'advice'), qr/^Events since \Q$since\E have no documents .*: call atlas_rebuild_search\('\Q$since\E'\)/,
	'the status says since when documents are missing, and what to do');
is($node->safe_psql('atlas', "SELECT bool_and(occurred_at >= '$since') FROM atlas_events"), 't', 'which covers all of the events');
push @ids, submit_events($node, 'atlas', 1001, 1100);
linked_ok($node, 'atlas', 'new events get their documents');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_search'), '100', 'only they');

# Only a part of it
$node->safe_psql('atlas', q{SELECT atlas_rebuild_search(now() - interval '1 h')});
rebuilt_ok('a rebuild of an hour');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'imported'}), '0', 'older events are left alone');
is(progress('missing_since'), $since, 'and still missed');

# ----- Killed and restarted in the middle, beside traffic -----

make_gate($node, 'atlas', 'atlas_event_search');
$node->safe_psql('atlas', <<'END');
INSERT INTO atlas_test.gate SELECT event_id FROM atlas_events WHERE name = 'Imported' AND payload->>'n' = '150';
SELECT atlas_rebuild_search('-infinity');
END
my $linker = wait_at_gate($node, 'atlas');
is(progress('missing_since IS NULL, rebuild_started_at IS NOT NULL, rebuild_finished_at IS NULL'), 't|t|t', 'a rebuild is under way');
cmp_ok(progress('rebuild_documents'), '>', 0, 'the status says how far it is');
is(status_of($node, 'atlas', 'advice'), '', 'and no advice is needed');
kill 'KILL', $linker;
isnt(wait_at_gate($node, 'atlas', $linker), $linker, 'after a kill another linker goes on');
$node->stop('immediate');
$node->start;
wait_at_gate($node, 'atlas');
push @ids, submit_events($node, 'atlas', 1101, 1200);
open_gate($node, 'atlas');
rebuilt_ok('a rebuild that was interrupted');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'imported'}), '300', 'the old events are found');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_search WHERE problem IS NOT NULL'), '0', 'none is blamed');
is(progress('rebuild_since, rebuild_position IS NOT NULL'), '-infinity|t', 'the status remembers it');
oracle_ok($node, 'atlas', \@ids);

# ----- What is written differs from what is there -----

my $before = $node->safe_psql('atlas', 'SELECT count(*), md5(string_agg(ctid::text, chr(10) ORDER BY event_id)) FROM atlas_event_search');
$node->safe_psql('atlas', 'SELECT atlas_rebuild_search(NULL)');
rebuilt_ok('a rebuild of what is there');
is($node->safe_psql('atlas', 'SELECT count(*), md5(string_agg(ctid::text, chr(10) ORDER BY event_id)) FROM atlas_event_search'),
	$before, 'documents that do not differ are not written');

# ----- A transaction that was under way when the rebuild was asked for -----

my $submitter = $node->background_psql('atlas');
push @ids, event_ids($submitter->query_safe(<<'END'));
BEGIN;
SET LOCAL atlas_events.search = off;
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Late');
END
my $other = $node->background_psql('atlas');
push @ids, event_ids($other->query_safe(<<'END'));
SET atlas_events.search = off;
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Noted');
BEGIN;
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Remembered');
END
isnt(progress('missing_since'), '', 'a session without search is noted');
$node->safe_psql('atlas', 'SELECT atlas_rebuild_search(NULL)');
wait_until($node, 'atlas', 'SELECT wait_for_xid IS NOT NULL FROM atlas_search_rebuild', 'the linker sees the request');
is(progress('rebuild_started_at'), '', 'and waits for older transactions');
push @ids, submit_events($node, 'atlas', 1201, 1210);
linked_ok($node, 'atlas', 'everything else goes on');
$submitter->query_safe('COMMIT');
$other->query_safe('COMMIT');
rebuilt_ok('when they have ended, the rebuild');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'late | noted | remembered'}), '3',
	'what they stored is found');

# The note of the session that had remembered it was taken back.
push @ids, event_ids($other->query_safe("SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Later')"));
isnt(progress('missing_since'), '', 'a session that goes on without search is noted anew');
$submitter->quit;
oracle_ok($node, 'atlas', \@ids);

# ----- A session that has not heard of the request yet, though the linker has -----

# The request stops in the middle of its commit.
my $folder = PostgreSQL::Test::Utils::tempdir();
my ($include) = run_command([ 'pg_config', '--includedir-server' ]);
chomp $include;
system_or_bail('cc', '-O2', '-shared', '-fPIC', "-I$include",
	'-o', "$folder/stop_at_commit.so", atlas_root() . '/t/stop_at_commit.c');
chmod 0755, $folder;
push @ids, event_ids($other->query_safe("SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Noted')"));
my $requester = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('atlas'), '-c', "LOAD '$folder/stop_at_commit.so'", '-c', 'SELECT atlas_rebuild_search(NULL)' ]);
my $stopped = poll_value($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE query = 'SELECT atlas_rebuild_search(NULL)'");
wait_until($node, 'postgres', "SELECT pg_read_file('/proc/$stopped/stat') ~ '^[0-9]+ \\(.*\\) T '", 'a request stops in its commit');
for my $n (1 .. 5)
{
	push @ids, event_ids($node->safe_psql('atlas', "SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Meanwhile')"));
	linked_ok($node, 'atlas', "the linker looks at it, time $n");
}
push @ids, event_ids($other->query_safe("SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Unheard')"));
kill 'CONT', $stopped;
$requester->finish;
rebuilt_ok('when that has ended, the rebuild');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'unheard'}), '1',
	'finds what a session stored that had not heard of the request');
$other->quit;
oracle_ok($node, 'atlas', \@ids);

# ----- A rebuild that cannot go on is in nobody's way -----

my $offset = log_size($node);
$node->safe_psql('atlas', <<'END');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no rebuild today'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON atlas_event_work FOR EACH ROW WHEN (NEW.what = 3) EXECUTE FUNCTION refuse();
SELECT atlas_rebuild_search(NULL);
END
$node->wait_for_log(qr/put off, and tried again later: no rebuild today/, $offset);
push @ids, submit_events($node, 'atlas', 1211, 1220);
linked_ok($node, 'atlas', 'links and documents are made meanwhile');
is(scalar(worker_errors($node, $offset)), 0, 'no linker ends with an error for it');
$node->safe_psql('atlas', 'DROP TRIGGER refuse ON atlas_event_work');
$node->reload;
rebuilt_ok('when it can, the rebuild');

# ----- A partition that is dropped while the rebuild is in it -----

$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = off');
$node->reload;
wait_until($node, 'atlas', q{SELECT worker_state = 'off' FROM atlas_events_status}, 'the linker has left');
my $partition = $node->safe_psql('atlas', q{SELECT tableoid::regclass FROM atlas_events WHERE name = 'Imported' ORDER BY event_id DESC LIMIT 1});
my %dropped = map { $_ => 1 } event_ids($node->safe_psql('atlas', "SELECT event_id FROM $partition"));
@ids = grep { !$dropped{$_} } @ids;
(my $documents = $partition) =~ s/atlas_events_/atlas_event_search_/;
$node->safe_psql('atlas', <<"END");
SELECT atlas_rebuild_search(NULL);
UPDATE atlas_search_rebuild
   SET wait_for_xid = pg_current_xact_id(), position_tenant = 'x', position_event = (SELECT event_id FROM $partition LIMIT 1),
       before_event = (SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''(.*)''\\)')::uuid FROM pg_class WHERE oid = '$partition'::regclass);
DROP TABLE $partition, $documents;
DELETE FROM atlas_event_search WHERE document @\@ 'imported';
END
$node->safe_psql('postgres', 'ALTER SYSTEM RESET atlas_events.linking');
$node->reload;
rebuilt_ok('a rebuild whose partition was dropped');
oracle_ok($node, 'atlas', \@ids, 'it leaves out nothing of the next one');

$node->stop;
done_testing();
