# What an event costs, in things that no clock is needed for: the statements that
# are run for it, the records and bytes of WAL, and the pages looked at. A change
# that makes an event dearer must be meant: then the ceiling is raised here.

use strict;
use warnings;

use AtlasTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $events = 1000;

# Nothing works in the background, and no page is logged as a whole.
my $node = start_node(
	'costs',
	preload => 0,
	settings => <<'END');
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = all
pg_stat_statements.track_utility = off
wal_level = replica
full_page_writes = off
autovacuum = off
checkpoint_timeout = 1h
END
make_database($node, 'atlas');
$node->safe_psql('atlas', <<'END');
CREATE EXTENSION pg_stat_statements;

-- The row that submit_event() writes, in a table with the indexes of a partition.
CREATE TABLE bare (LIKE atlas_events, PRIMARY KEY (tenant_id, event_id));
CREATE INDEX ON bare (tenant_id, object_type, object_id, event_id) WITH (deduplicate_items = off);
END

# costs(STATEMENT, WARM_UP): what a statement costs for each of its thousand
# events, in a session that has run the warm-up and so has its plans.
sub costs
{
	my ($statement, $warm_up) = @_;
	my $output = $node->safe_psql('atlas', <<"END");
\\o /dev/null
$warm_up;
SELECT pg_stat_statements_reset();
\\o
EXPLAIN (ANALYZE, BUFFERS, WAL, TIMING OFF, SUMMARY OFF, FORMAT JSON) $statement;
END
	my $plan = decode_json($output)->[0]{Plan};
	# From PostgreSQL 17 on the explained statement is one of them.
	my $statements = $node->safe_psql('atlas',
		q{SELECT coalesce(sum(calls), 0) FROM pg_stat_statements
		   WHERE NOT toplevel AND query !~ 'submit_event|atlas_link_events'});

	return {
		statements => $statements / $events,
		records => $plan->{'WAL Records'} / $events,
		bytes => $plan->{'WAL Bytes'} / $events,
		pages => ($plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'}) / $events,
	};
}

# The ceilings are a few per cent above what was measured. Lower them with every
# improvement: a ceiling that was left behind guards nothing.
sub within_ok
{
	my ($costs, $ceilings, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $kind (sort keys %$ceilings)
	{
		my ($cost, $ceiling) = ($costs->{$kind}, $ceilings->{$kind});

		note sprintf '%s: %.3f %s, at most %s', $name, $cost, $kind, $ceiling;
		cmp_ok($cost, '<=', $ceiling, "$name: $kind");
	}
	return;
}

my $payload = '{"orderId": "SO-2026-104711", "total": 149.90, "currency": "EUR", "city": "Berlin"}';

# submit_event() once for each number.
sub submit
{
	my ($count, $related) = @_;

	return "SELECT count(submit_event(object_type => 'CUSTOMER',
		object_id => md5('customer-' || 1 + n % 1000)::uuid::text, name => 'Checkout Completed',
		payload => '$payload', related_objects => $related)) FROM generate_series(1, $count) AS n";
}

my $account = "ARRAY[('ACCOUNT', md5('account-' || 1 + n % 500)::uuid, NULL)]::atlas_object[]";
my $bare = "INSERT INTO bare (event_id, occurred_at, received_at, tenant_id, object_type, object_id, external_id, name, payload)
	SELECT lpad(to_hex(n), 32, '0')::uuid, now(), now(), '', 'CUSTOMER', md5('customer-' || 1 + n % 1000)::uuid,
	       190001 + n % 1000, 'Checkout Completed', '$payload'";

my $floor = costs("$bare FROM generate_series(1, $events) AS n", "$bare FROM generate_series(10001, 10100) AS n");
note sprintf 'a bare INSERT: %.3f records, %.1f bytes of WAL, %.3f pages', @$floor{qw(records bytes pages)};

# ----- Submitting -----

# No statement is run for it, and what it adds to the WAL is what a bare INSERT adds.
my $none = costs(submit($events, 'NULL'), submit(100, 'NULL'));
within_ok($none, { statements => 0, records => 3.1, pages => 8.3 }, 'an event without related objects');
cmp_ok($none->{bytes}, '<=', $floor->{bytes} * 1.05, 'an event without related objects: WAL of a bare INSERT');

# The row in the queue is three records more.
within_ok(costs(submit($events, $account), submit(100, $account)),
	{ statements => 0, records => 6.2, bytes => 900, pages => 13.2 },
	'an event with a related object');

# Of many events in a call, a record has the rows of a page.
$node->safe_psql('atlas', <<"END");
CREATE TABLE batches AS
SELECT last, atlas_test.make_events(1, last) AS events FROM (VALUES (100), ($events)) AS v (last);
END
within_ok(costs("SELECT submit_events(events) FROM batches WHERE last = $events",
		'SELECT submit_events(events) FROM batches WHERE last = 100'),
	{ statements => 0, records => 4.2, bytes => 775, pages => 11.5 },
	'an event among a thousand');

# ----- Linking -----

# Of the two references of an event, 1.4 become a link and 0.2 are not found.
$node->safe_psql('atlas', 'SELECT atlas_link_events(10000)');
my @ids = submit_events($node, 'atlas', 1, $events + 100);
within_ok(costs("SELECT atlas_link_events($events)", 'SELECT atlas_link_events(100)'),
	{ statements => 0.007, records => 5.6, bytes => 615, pages => 17 },
	'an event that is linked');

# ----- By statements -----

# Without direct access it is three statements, which write the same.
within_ok(costs(submit($events, $account), 'SET atlas_events.direct_access = off; ' . submit(100, $account)),
	{ statements => 3, records => 6.2, bytes => 900, pages => 13.5 },
	'an event with a related object, by statements');
$node->safe_psql('atlas', 'SELECT atlas_link_events(10000)');

is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_queue'), '0', 'all events are linked');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
