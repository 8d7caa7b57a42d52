# While somebody has locked a table of objects, the events that name it wait;
# all others go on, and nothing counts as a failure.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node(
	'locks', settings => <<'END');
atlas_events.max_attempts = 1
atlas_events.batch_size = 100
END
make_database($node, 'atlas');

my $session = $node->background_psql('atlas');
$session->query_safe('BEGIN; LOCK TABLE conversations IN ACCESS EXCLUSIVE MODE');

# Three in five name a conversation.
my @ids = submit_events($node, 'atlas', 1, 1000);
wait_until(
	$node, 'atlas',
	"SELECT count(*) = 600 AND bool_and(last_error LIKE '%CONVERSATION%locked%')
	   FROM atlas_event_queue",
	'events that name the locked table are put off, and say why');
is( $node->safe_psql(
		'atlas',
		"SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1"),
	"LINKED|400\nPENDING|600",
	'all others are linked meanwhile');
is( $node->safe_psql('atlas', "SELECT count(*) FROM atlas_event_links WHERE event_id IN
		(SELECT event_id FROM atlas_event_queue)"),
	'0',
	'an event is linked as a whole, or not yet');

for my $round (1 .. long_or(10, 2))
{
	my $last = $node->safe_psql('atlas', 'SELECT max(next_attempt_at) FROM atlas_event_queue');
	wait_until($node, 'atlas', "SELECT min(next_attempt_at) > '$last' FROM atlas_event_queue",
		"they are tried again, and put off again, round $round");
}
is($node->safe_psql('atlas', 'SELECT count(*), max(attempts) FROM atlas_event_queue'),
	'600|0', 'waiting uses up no attempts');

# Two that are tried in the same batch, one of which has waited for an hour.
my ($patient, $young) = split /\n/,
  $node->safe_psql('atlas', 'SELECT event_id FROM atlas_event_queue ORDER BY event_id LIMIT 2');
my $due = $node->safe_psql('atlas', <<"END");
BEGIN;
UPDATE atlas_events SET received_at = received_at - interval '1 hour' WHERE event_id = '$patient';
UPDATE atlas_event_queue SET next_attempt_at = now() WHERE event_id IN ('$patient', '$young');
SELECT now();
COMMIT;
END
wait_until($node, 'atlas',
	"SELECT min(next_attempt_at) > '$due' FROM atlas_event_queue WHERE event_id IN ('$patient', '$young')",
	'both are put off again');
is( $node->safe_psql(
		'atlas', "SELECT event_id FROM atlas_event_queue WHERE event_id IN ('$patient', '$young')
		   ORDER BY next_attempt_at DESC LIMIT 1"),
	$patient,
	'the longer an event has waited, the later it is tried again');

my ($other) = event_ids($node->safe_psql('atlas',
	"SELECT submit_event('{\"objectType\": \"CUSTOMER\", \"externalId\": \"190001\", \"name\": \"New\",
		\"relatedObjects\": [{\"objectType\": \"ACCOUNT\", \"externalId\": \"ACC-000001\"}]}')->>'eventId'"));
push @ids, $other;
wait_until($node, 'atlas',
	"SELECT NOT EXISTS (SELECT FROM atlas_event_queue WHERE event_id = '$other')",
	'new events that do not name it are linked meanwhile');
is(status_of($node, 'atlas', 'queue_depth, failed, oldest_pending_age IS NOT NULL'),
	'600|0|t', 'the status shows what waits');

$session->query_safe('COMMIT');
# The longer they have waited, the later they are tried again, up to a minute.
wait_until($node, 'atlas', 'SELECT NOT EXISTS (SELECT FROM atlas_event_queue)',
	'when the lock is gone they are linked');
$session->quit;
is(status_of($node, 'atlas', 'failed'), '0', 'none has failed');
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');

oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
