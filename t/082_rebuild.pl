# Events that were stored while search was not in effect have no documents, and the status
# says so. atlas_rebuild_search() has them made, beside traffic and across restarts.

use strict;
use warnings;

use AtlasTest;
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
isnt(wait_at_gate($node, 'atlas'), $linker, 'after a kill another linker goes on');
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
$other->quit;
oracle_ok($node, 'atlas', \@ids);

$node->stop;
done_testing();
