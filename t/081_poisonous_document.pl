# A document that cannot be made, or that takes the linker down, costs nobody but its own
# event: all others are found, and that one is stored empty and says why.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('poison', settings => 'atlas_events.max_attempts = 2');
make_database($node, 'atlas');
my @ids;

# A thousand events, of which the 500th has this name, and every other one a related object.
sub submit_with
{
	my ($name) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text,
                    CASE WHEN n = 500 THEN '$name' ELSE 'Page Viewed' END,
                    related_objects => CASE WHEN n % 2 = 0 THEN
                        ARRAY[('ACCOUNT', md5('account-' || 1 + n % 500)::uuid, NULL)]::atlas_object[] END)
  FROM generate_series(1, 1000) AS n
END
}

# Writing its document makes a trigger do something. An empty one is written without it.
sub poison_documents
{
	my ($name, $action) = @_;

	$node->safe_psql('atlas', <<"END");
CREATE FUNCTION poison_$name() RETURNS trigger LANGUAGE plpgsql AS \$\$
BEGIN
    IF NEW.document @\@ '$name' THEN
        $action
    END IF;
    RETURN NEW;
END \$\$;
CREATE TRIGGER poison_$name BEFORE INSERT OR UPDATE ON atlas_event_search
    FOR EACH ROW EXECUTE FUNCTION poison_$name();
END
	return;
}

sub crashes
{
	return scalar(() = log_since($node, 0) =~ /was terminated by signal 9/g);
}

# ----- A document that raises an error -----

poison_documents('cursed', q{RAISE EXCEPTION 'this document is cursed';});
my @batch = submit_with('Cursed');
my $poison = $batch[499];
push @ids, @batch;
linked_ok($node, 'atlas', 'a batch with a document that raises an error comes to an end');
is( $node->safe_psql('atlas', 'SELECT count(*), count(problem) FROM atlas_event_search'),
	'1000|1', 'all others are made');
is( $node->safe_psql('atlas', "SELECT document, problem FROM atlas_event_search WHERE event_id = '$poison'"),
	'|this document is cursed', 'this one is empty, and says why');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_logs WHERE processing_status <> \'LINKED\''),
	'0', 'all events are LINKED');
my $log = log_since($node, 0);
like($log, qr/LOG:  the document of event $poison could not be made, attempt $_ of 2: this document is cursed/,
	"attempt $_ is in the server's log")
  foreach 1, 2;
oracle_ok($node, 'atlas', \@ids, 'the document harms no other');

$node->safe_psql('atlas', 'DROP TRIGGER poison_cursed ON atlas_event_search; SELECT atlas_rebuild_search(NULL)');
wait_until($node, 'atlas', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', 'a rebuild comes to its end');
linked_ok($node, 'atlas', 'and all is done');
is($node->safe_psql('atlas', q{SELECT event_id FROM atlas_event_search WHERE document @@ 'cursed'}),
	$poison, 'once the cause is repaired, the event is found');
oracle_ok($node, 'atlas', \@ids, 'as if nothing had happened');

# ----- A document that kills the linker -----

poison_documents('deadly', q{EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());});
@batch = submit_with('Deadly');
$poison = $batch[499];
push @ids, @batch;
wait_until($node, 'atlas', "SELECT problem IS NOT NULL FROM atlas_event_search WHERE event_id = '$poison'",
	'a document that kills the linker is stored empty in the end');
linked_ok($node, 'atlas', 'a batch with it comes to an end');
is( $node->safe_psql('atlas', 'SELECT count(*), count(problem) FROM atlas_event_search'),
	'2000|1', 'all others are made');
like($node->safe_psql('atlas', 'SELECT problem FROM atlas_event_search WHERE problem IS NOT NULL'),
	qr/^the linker was killed while it indexed this event/, 'this one says why');

# The first linker does not suspect anything, the second notes what it is at, the third and
# the fourth count an attempt of each.
my $crashes = crashes();
cmp_ok($crashes, '<=', 4, 'the linker is not killed more often than it must be');
oracle_ok($node, 'atlas', \@ids, 'the deadly document harms no other');
push @ids, submit_events($node, 'atlas', 1, 500);
linked_ok($node, 'atlas', 'linking and indexing go on');
is(crashes(), $crashes, 'nothing is killed any more');

# The rebuild meets it again, while linkers are careful still.
$node->safe_psql('atlas', 'SELECT atlas_rebuild_search(NULL)');
wait_until($node, 'atlas', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', 'a rebuild that meets it comes to its end');
linked_ok($node, 'atlas', 'and all is done');
is($node->safe_psql('atlas', 'SELECT count(*), count(problem) FROM atlas_event_search'), '2500|1', 'it is the only one still');
oracle_ok($node, 'atlas', \@ids);
is(status_of($node, 'atlas', 'failed, advice'), '0|', 'the status has nothing to complain of');
$node->stop;
done_testing();
