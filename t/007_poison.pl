# An event that cannot be linked, or that takes the linker down, costs nobody
# but itself: all others are linked, and it is FAILED after max_attempts.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('poison', settings => 'atlas_events.max_attempts = 2');
make_database($node, 'atlas');
my @ids;

# Two accounts that no other event names.
$node->safe_psql('atlas', <<'END');
INSERT INTO accounts VALUES (md5('error')::uuid, 'error'), (md5('crash')::uuid, 'crash');
END

# 1,000 events, the 500th of which names the account.
sub submit_with
{
	my ($account, $first) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
WITH batch AS (
    SELECT json_agg(CASE WHEN n <> 500 THEN event ELSE
        json_build_object('objectType', 'CUSTOMER', 'externalId', '190001', 'name', 'Poison',
            'relatedObjects', json_build_array(
                json_build_object('objectType', 'TICKET', 'objectId', '1'),
                json_build_object('objectType', 'ACCOUNT', 'externalId', '$account'))) END ORDER BY n) AS events
      FROM json_array_elements(atlas_test.make_events($first, $first + 999))
           WITH ORDINALITY AS e (event, n))
SELECT r->>'eventId' FROM batch, json_array_elements(submit_events(events)->'results') AS r
END
}

# Linking the account makes a trigger do something.
sub poison_links
{
	my ($account, $action) = @_;

	$node->safe_psql('atlas', <<"END");
CREATE FUNCTION poison_$account() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
    IF NEW.object_id = md5('$account')::uuid::text THEN
        $action
    END IF;
    RETURN NEW;
END \$\$;
CREATE TRIGGER poison_$account BEFORE INSERT ON atlas_event_links
    FOR EACH ROW EXECUTE FUNCTION poison_$account();
END
	return;
}

# ----- An event that raises an error -----

poison_links('error', q{RAISE EXCEPTION 'this account is cursed';});
my @batch = submit_with('error', 1);
my $poison = $batch[499];
push @ids, @batch;
is(scalar(@batch), 1000, 'a batch is accepted');

linked_ok($node, 'atlas', 'a batch with an event that raises an error comes to an end');
is( $node->safe_psql(
		'atlas',
		'SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1'),
	"FAILED|1\nLINKED|999",
	'all others are linked');
is( $node->safe_psql(
		'atlas',
		"SELECT processing_status, attempts, last_error, related_objects->1->>'outcome'
		   FROM atlas_event_logs WHERE event_id = '$poison'"),
	'FAILED|2|this account is cursed|ERROR',
	'the event is FAILED after max_attempts, and says why');
like(status_of($node, 'atlas', 'failed, advice'),
	qr/^1\|.*atlas_retry_failed/, 'the status says what to do');

my $log = log_since($node, 0);
like($log, qr/LOG:  event $poison could not be linked, attempt $_ of 2: this account is cursed/,
	"attempt $_ is in the server's log")
  foreach 1, 2;
oracle_ok($node, 'atlas', \@ids, 'the failed event harms no other');

$node->safe_psql('atlas', 'DROP TRIGGER poison_error ON atlas_event_links');
is($node->safe_psql('atlas', "SELECT atlas_retry_failed('$poison')"), '1', 'it can be tried again');
linked_ok($node, 'atlas', 'once the cause is repaired');
is( $node->safe_psql(
		'atlas',
		"SELECT processing_status, attempts, last_error FROM atlas_event_logs WHERE event_id = '$poison'"),
	'LINKED|0|',
	'it is linked then');
oracle_ok($node, 'atlas', \@ids, 'as if nothing had happened');

# ----- An event that kills the linker -----

sub crashes
{
	return scalar(() = log_since($node, 0) =~ /was terminated by signal 9/g);
}

poison_links('crash', q{
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());});
@batch = submit_with('crash', 1001);
$poison = $batch[499];
push @ids, @batch;

wait_until($node, 'atlas',
	"SELECT processing_status = 'FAILED' FROM atlas_event_logs WHERE event_id = '$poison'",
	'an event that kills the linker is FAILED in the end');
linked_ok($node, 'atlas', 'a batch with it comes to an end');
is( $node->safe_psql(
		'atlas',
		'SELECT processing_status, count(*) FROM atlas_event_logs GROUP BY 1 ORDER BY 1'),
	"FAILED|1\nLINKED|1999",
	'all others are linked');
like(
	$node->safe_psql('atlas', "SELECT attempts, last_error FROM atlas_event_queue"),
	qr/^2\|the linker was killed/,
	'the failed event says why');

# The first linker does not suspect anything, the second notes what it is at,
# the third and the fourth count an attempt of each.
my $crashes = crashes();
cmp_ok($crashes, '<=', 4, 'the linker is not killed more often than it must be');
oracle_ok($node, 'atlas', \@ids, 'the deadly event harms no other');

push @ids, submit_events($node, 'atlas', 3001, 3500);
linked_ok($node, 'atlas', 'linking goes on');
is(crashes(), $crashes, 'nothing is killed any more');

$node->safe_psql('atlas',
	'DROP TRIGGER poison_crash ON atlas_event_links; SELECT atlas_retry_failed()');
linked_ok($node, 'atlas', 'once the cause is repaired it is linked as well');
is(status_of($node, 'atlas', 'failed, advice'), '0|', 'the status has nothing to complain of');

oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
