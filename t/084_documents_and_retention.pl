# Events that are removed take their documents along, also those that are still due, and
# nothing is held up by what is gone.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('retention');
make_database($node, 'atlas');

# The procedure as the documentation has it.
my ($procedure) = slurp_file(atlas_root() . '/docs/operations.md') =~ /(CREATE PROCEDURE drop_events_before.*?\n\$\$;\n)/s
  or die 'docs/operations.md has no procedure';
$node->safe_psql('atlas', $procedure);

sub submit_at
{
	my ($time, $name) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text, '$name', occurred_at => $time) FROM generate_series(1, 100) AS n
END
}

submit_at(q{now() - interval '3 years'}, 'Old');
my @ids = submit_at('now()', 'Young');
linked_ok($node, 'atlas', 'documents are made');
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = off');
$node->reload;
wait_until($node, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status", 'the linker has left');
submit_at(q{now() - interval '3 years'}, 'Old');
push @ids, submit_at('now()', 'Young');

# ----- By partitions -----

$node->safe_psql('atlas', q{CALL drop_events_before(now() - interval '13 months')});
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_events WHERE name = 'Old'}), '0', 'old events are gone');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '100', 'so is what was due about them');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_search'), '100', 'and their documents');

# ----- By rows: what is due about an event that is gone holds nothing up -----

my @gone = splice @ids, -50;
my $gone = join ',', map { "'$_'" } @gone;
$node->safe_psql('atlas', "DELETE FROM atlas_events WHERE event_id IN ($gone)");
$node->safe_psql('postgres', 'ALTER SYSTEM RESET atlas_events.linking');
$node->reload;
wait_until($node, 'atlas', q{SELECT count(*) = 150 FROM atlas_event_search}, 'the other documents are made');
is($node->safe_psql('atlas', q{SELECT count(*), min(last_error) FROM atlas_event_work WHERE next_attempt_at > now()}),
	'50|the event is not there', 'what is due about the others waits, and says why');

# A linker that was killed beside them makes no document of one either.
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = off');
$node->reload;
wait_until($node, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status", 'the linker has left again');
my $offset = log_size($node);
$node->safe_psql('atlas', <<'END');
UPDATE atlas_event_work SET attempts = 10;
INSERT INTO atlas_linker_state (started_at, tenants, batch, places)
SELECT now(), array_agg(tenant_id), array_agg(event_id), array_agg(ctid) FROM atlas_event_work;
END
$node->safe_psql('postgres', 'ALTER SYSTEM RESET atlas_events.linking');
$node->reload;
$node->wait_for_log(qr/linker before this one was killed; 50 events are indexed one by one/, $offset);
wait_until($node, 'atlas', 'SELECT bool_and(attempts = 11) FROM atlas_event_work', 'what is due about events that are gone still waits after a kill');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_search'), '150', 'without documents');
$node->safe_psql('atlas', 'UPDATE atlas_event_work SET attempts = 30, next_attempt_at = now()');
linked_ok($node, 'atlas', 'in the end it goes');
is($node->safe_psql('atlas', q{SELECT count(*), count(problem) FROM atlas_event_search}), '150|0', 'without a document');
oracle_ok($node, 'atlas', \@ids);

# ----- The partitions of the coming months -----

is( $node->safe_psql('atlas', <<'END'), '3', 'the documents have partitions of the coming months');
SELECT count(*) FROM pg_inherits, regexp_match(inhrelid::regclass::text, '(\d{4})_(\d\d)$') AS m
 WHERE inhparent = 'atlas_event_search'::regclass
   AND make_date(m[1]::int, m[2]::int, 1) >= date_trunc('month', now() AT TIME ZONE 'UTC')
END
$node->stop;
done_testing();
