# Every event gets its document, whatever happens to the linker and the server while
# documents are due, and links never wait for them.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('documents', settings => 'atlas_events.max_attempts = 2');
make_database($node, 'atlas');
make_gate($node, 'atlas', 'atlas_event_search');
my @ids;

# Events without related objects.
sub submit_plain
{
	my ($first, $last) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
SELECT submit_event('CUSTOMER', md5('customer-' || 1 + n % 1000)::uuid::text, 'Order ' || n,
                    payload => jsonb_build_object('order', 'ORD-' || n))
  FROM generate_series($first, $last) AS n
END
}

sub found
{
	my ($words) = @_;

	return $node->safe_psql('atlas', "SELECT count(*) FROM atlas_event_search WHERE document @\@ '$words'");
}

# ----- An event without related objects is LINKED at once -----

push @ids, event_ids($node->safe_psql('atlas', <<'END'));
BEGIN;
CREATE TEMPORARY TABLE submitted AS
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Gated') AS event_id;
INSERT INTO atlas_test.gate SELECT event_id FROM submitted;
SELECT event_id FROM submitted;
COMMIT;
END
wait_at_gate($node, 'atlas');
is($node->safe_psql('atlas', 'SELECT processing_status FROM atlas_event_logs'), 'LINKED',
	'an event without related objects is LINKED while its document is due');
is($node->safe_psql('atlas', 'SELECT documents_waiting FROM atlas_search_status'), '1', 'the status counts it');
is($node->safe_psql('atlas', 'SELECT oldest_waiting_age > interval \'0\' FROM atlas_search_status'), 't', 'and says for how long');
open_gate($node, 'atlas');
linked_ok($node, 'atlas', 'then it is made');
is(found('gated'), '1', 'and the event is found');
push @ids, submit_events($node, 'atlas', 1, 1000);
push @ids, submit_plain(1, 1000);
linked_ok($node, 'atlas', 'events with and without related objects are done');
is(found('order & 77'), '1', 'an event without related objects is found');
is(found('checkout'), '1000', 'so are those with related objects');
oracle_ok($node, 'atlas', \@ids);

# ----- The server stops, and the linker is killed, while documents are due -----

sub submit_plain_gated
{
	my ($first, $last, $gated) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
BEGIN;
CREATE TEMPORARY TABLE submitted AS
SELECT n, submit_event('CUSTOMER', md5('customer-' || 1 + n % 1000)::uuid::text, 'Order ' || n) AS event_id
  FROM generate_series($first, $last) AS n;
INSERT INTO atlas_test.gate SELECT event_id FROM submitted WHERE n = $gated;
SELECT event_id FROM submitted ORDER BY n;
COMMIT;
END
}

push @ids, submit_plain_gated(1001, 3000, 2100);
wait_at_gate($node, 'atlas');
$node->stop('immediate');
$node->start;
cmp_ok($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '>', 500, 'the server was stopped while documents were due');
open_gate($node, 'atlas');
linked_ok($node, 'atlas', 'after crash recovery they are made');
oracle_ok($node, 'atlas', \@ids, 'nothing is lost or doubled by an immediate stop');

$node->restart;
push @ids, submit_plain_gated(3001, 5000, 4100);
my $offset = log_size($node);
foreach (1 .. 2)
{
	my $before = log_size($node);

	kill 'KILL', wait_at_gate($node, 'atlas');
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $before);
	$node->poll_query_until('atlas', 'SELECT true') or die 'the server does not come back';
}
wait_at_gate($node, 'atlas');
like(log_since($node, $offset), qr/linker before this one was killed; [1-9]\d* events are indexed one by one/,
	'a linker that finds others were killed goes one by one');
open_gate($node, 'atlas');
linked_ok($node, 'atlas', 'what was left is made');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_search WHERE problem IS NOT NULL'), '0',
	'an event is not blamed before the last attempt');
oracle_ok($node, 'atlas', \@ids, 'nothing is lost or doubled by killing linkers');

for my $round (1 .. 3)
{
	my $first = 5001 + 2000 * ($round - 1);
	push @ids, submit_plain($first, $first + 1999);
	push @ids, submit_events($node, 'atlas', $first, $first + 499);
	kill 'KILL', wait_for_linker($node, 'atlas');
	$node->poll_query_until('atlas', 'SELECT true') or die 'the server does not come back';
	linked_ok($node, 'atlas', "a linker that was killed is replaced, round $round");
}
oracle_ok($node, 'atlas', \@ids, 'nothing is lost or doubled by a kill at any moment');

# ----- A lock that is in the way of documents is not in the way of links -----

my $locker = $node->background_psql('atlas');
$locker->query_safe('BEGIN; LOCK atlas_event_search IN ACCESS EXCLUSIVE MODE');
push @ids, submit_events($node, 'atlas', 20_001, 20_100);
wait_until($node, 'atlas', "SELECT count(*) = 0 FROM atlas_event_queue", 'links are made while the documents are locked');
cmp_ok($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '>', 0, 'documents wait');
is(scalar(worker_errors($node, $offset)), scalar(grep { /terminat/ } worker_errors($node, $offset)), 'no linker ends with an error for it');
$locker->query_safe('COMMIT');
$locker->quit;
linked_ok($node, 'atlas', 'and are made when the lock is gone');
oracle_ok($node, 'atlas', \@ids);

# One partition that is locked holds up its own documents only.
sub submit_backdated
{
	my ($name) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text, '$name',
                    occurred_at => CASE WHEN n = 20 THEN now() - interval '6 months' ELSE now() END)
  FROM generate_series(1, 40) AS n
END
}

push @ids, submit_backdated('Backdated');
linked_ok($node, 'atlas', 'an event of an earlier month is indexed');
my $earlier = $node->safe_psql('atlas', 'SELECT tableoid::regclass FROM atlas_event_search ORDER BY event_id LIMIT 1');
$locker = $node->background_psql('atlas');
$locker->query_safe("BEGIN; LOCK $earlier IN ACCESS EXCLUSIVE MODE");
push @ids, submit_backdated('Waiting');
wait_until($node, 'atlas', 'SELECT count(*) = 1 FROM atlas_event_work', 'while a partition is locked, the documents of other ones are made');
is($node->safe_psql('atlas', q{SELECT atlas_link_events()}), '0', 'linking by hand gets no error either');
$locker->query_safe('COMMIT');
$locker->quit;
linked_ok($node, 'atlas', 'and the one that waited is made when the lock is gone');
is(found('waiting'), '40', 'all are found');
oracle_ok($node, 'atlas', \@ids);

# ----- An event that has FAILED, and is linked after all -----

$node->safe_psql('atlas', <<'END');
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no links today'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON atlas_event_links FOR EACH ROW EXECUTE FUNCTION refuse();
END
push @ids, event_ids($node->safe_psql('atlas', q{SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Unlucky',
	related_objects => ARRAY[('ACCOUNT', md5('account-7')::uuid, NULL)]::atlas_object[])}));
wait_until($node, 'atlas', "SELECT processing_status = 'FAILED' FROM atlas_event_logs WHERE name = 'Unlucky'", 'an event fails');
linked_ok($node, 'atlas', 'its document is made');
is(found('unlucky'), '1', 'it is found');
oracle_ok($node, 'atlas', \@ids, 'the oracle allows an event that has FAILED its document');
$node->safe_psql('atlas', 'DROP TRIGGER refuse ON atlas_event_links; SELECT atlas_retry_failed()');
linked_ok($node, 'atlas', 'it is linked after all');
is(found('unlucky'), '1', 'and still has one document');
oracle_ok($node, 'atlas', \@ids);

# ----- Pending lists, which a search would have to read -----

$node->safe_psql('atlas', 'CREATE EXTENSION pgstattuple');
is( $node->safe_psql('atlas', <<'END'), '0', 'no pending list has anything');
SELECT sum(pending_tuples)
  FROM pg_inherits JOIN pg_index ON indrelid = inhrelid, LATERAL pgstatginindex(indexrelid)
 WHERE inhparent = 'atlas_event_search'::regclass AND pg_get_indexdef(indexrelid) ~ ' USING gin '
END

$node->stop;
done_testing();
