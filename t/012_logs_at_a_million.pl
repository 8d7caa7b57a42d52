# With a million events in the log, a page of it reads a page of it.

use strict;
use warnings;

use AtlasTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Nothing links what is pending here.
my $node = start_node('million', preload => 0);
make_database($node, 'atlas');

make_long_log($node, 'atlas', 1_000_000, q{''});
my @ids = submit_events($node, 'atlas', 1, 1000);

# A tenant that has few events, and these long ago. A reader who may see one tenant only.
push @ids, event_ids($node->safe_psql('atlas', <<'END'));
SET atlas_events.tenant = 'small';
SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001', name => 'Small',
                    occurred_at => date_trunc('month', now()) - interval '100 days' + n * interval '1 minute',
                    related_objects => CASE WHEN n % 2 = 0 THEN ARRAY[('TICKET', '1', NULL)]::atlas_object[] END)
  FROM generate_series(1, 200) AS n;
CREATE ROLE reader;
GRANT SELECT ON atlas_event_logs, atlas_pending_events, atlas_events, atlas_event_queue, atlas_event_links,
    atlas_event_unresolved TO reader;
END
$node->safe_psql('atlas', 'VACUUM ANALYZE');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events WHERE name = $$Page Viewed$$'),
	'1000000', 'the log is long');

# ----- Pages of the log -----

# Every node of a plan.
sub nodes
{
	my ($plan) = @_;

	return ($plan, map { nodes($_) } @{ $plan->{Plans} // [] });
}

# The nodes of the plan of a query that read a table, and how often.
sub scans
{
	my ($query, $session) = @_;
	my $plan = decode_json(
		$node->safe_psql('atlas', "$session; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) $query"));

	return grep { ($_->{'Relation Name'} // '') ne '' && $_->{'Actual Loops'} > 0 }
	  nodes($plan->[0]{Plan});
}

sub reads_little_ok
{
	my ($query, $name, $session) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @scans = scans($query, $session);
	my @whole = grep {
		$_->{'Node Type'} =~ /Seq Scan|Bitmap/
		  && $_->{'Relation Name'} =~ /^atlas_event(?:s|_links)_\d/
	} @scans;
	my $rows = 0;

	$rows += ($_->{'Actual Rows'} + ($_->{'Rows Removed by Filter'} // 0)) * $_->{'Actual Loops'}
	  foreach @scans;
	is(join(', ', map { $_->{'Relation Name'} } @whole), '', "$name reads no partition as a whole");
	return cmp_ok($rows, '<', 3000, "$name reads few rows");
}

my $middle = $node->safe_psql('atlas',
	"SELECT event_id FROM atlas_events WHERE occurred_at < now() - interval '40 days'
	  ORDER BY event_id DESC LIMIT 1");

my $ids = $node->safe_psql('atlas',
	"SELECT array_agg(event_id) FROM (SELECT event_id FROM atlas_events WHERE event_id < '$middle' ORDER BY event_id DESC LIMIT 5) AS few");
my @pages = (
	[ 'the newest page', 'atlas_event_logs', 'TRUE' ],
	[ 'a page of linked events', 'atlas_event_logs', "processing_status = 'LINKED'" ],
	[ 'one event', 'atlas_event_logs', "event_id = '$middle'" ],
	[ 'a few events', 'atlas_event_logs', "event_id = ANY ('$ids')" ],
	[ 'a page further on', 'atlas_event_logs', "event_id < '$middle'" ],
	[ 'a page of what is not linked', 'atlas_pending_events', 'TRUE' ],
	[ 'a page of pending events', 'atlas_pending_events', "processing_status = 'PENDING'" ],
	[ 'a page of pending events further on', 'atlas_pending_events',
		"processing_status = 'PENDING' AND event_id < '$middle'" ],
	[ 'a page of failed events', 'atlas_pending_events', "processing_status = 'FAILED'" ]);

# Of the tenant of all events but a few, and of the other one, to a superuser and to a reader.
my @sessions = (
	[ 'a superuser', 'RESET role' ],
	[ 'a reader', 'SET ROLE reader' ],
	[ 'a superuser of a small tenant', "SET atlas_events.tenant = 'small'" ],
	[ 'a reader of a small tenant', "SET atlas_events.tenant = 'small'; SET ROLE reader" ]);

sub all_pages_ok
{
	my ($what, @these) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $session (@sessions)
	{
		for my $page (@these)
		{
			my ($name, $view, $condition) = @$page;

			reads_little_ok("SELECT * FROM $view WHERE $condition ORDER BY event_id DESC LIMIT 50",
				"$session->[0], $what: $name", $session->[1]);
		}
	}
	return;
}

all_pages_ok('few pending', @pages);

# As if the linker had been away for months: 200,000 are pending, among events that need
# no linking, or all of the newest ones. Before the planner has heard of them, and after.
# What is LINKED comes behind the newest ones, and the page has to walk there.
for my $pending ([ 'many pending', "related_objects IS NOT NULL AND name = 'Page Viewed'", @pages ],
	[ 'the newest pending', 'true', grep { $_->[0] !~ /linked events/ } @pages ])
{
	my ($name, $condition, @these) = @$pending;

	$node->safe_psql('atlas', <<"END");
CREATE TABLE waiting AS TABLE atlas_event_queue;
INSERT INTO atlas_event_queue (event_id, submitted_xid)
SELECT event_id, pg_current_xact_id() FROM atlas_events
 WHERE tenant_id = '' AND $condition ORDER BY event_id DESC LIMIT 200000
    ON CONFLICT DO NOTHING;
UPDATE atlas_event_queue SET next_attempt_at = 'infinity', submitted_xid = (hashtextextended(tenant_id, 0) & 9223372036854775807)::text::xid8, attempts = 5
 WHERE tenant_id = '' AND event_id IN (SELECT event_id FROM atlas_event_queue WHERE tenant_id = '' ORDER BY event_id LIMIT 100);
END
	all_pages_ok("$name, unheard of", @these);
	$node->safe_psql('atlas', 'ANALYZE atlas_event_queue');
	all_pages_ok($name, @these);
	is($node->safe_psql('atlas',
			"SELECT count(*) FROM (SELECT FROM atlas_pending_events WHERE processing_status = 'FAILED' LIMIT 50) AS page"),
		'50', "$name: the page of failed events is full");
	$node->safe_psql('atlas', <<'END');
TRUNCATE atlas_event_queue;
INSERT INTO atlas_event_queue SELECT * FROM waiting;
DROP TABLE waiting;
END
}
$node->safe_psql('atlas', 'VACUUM ANALYZE atlas_event_queue');

is( $node->safe_psql(
		'atlas',
		'WITH page AS (SELECT * FROM atlas_event_logs ORDER BY event_id DESC LIMIT 50)
		 SELECT count(*), (array_agg(event_id))[1] = (SELECT event_id FROM atlas_events ORDER BY event_id DESC LIMIT 1)
		   FROM page'),
	'50|t',
	'the newest page begins with the newest event');
is( $node->safe_psql(
		'atlas', "SELECT count(*) FROM atlas_event_logs WHERE processing_status = 'PENDING'"),
	'1000',
	'all pending events are in the log');
is( $node->safe_psql(
		'atlas', "SET atlas_events.tenant = 'small'; SELECT count(*), count(*) FILTER (WHERE processing_status = 'PENDING') FROM atlas_event_logs"),
	'200|100',
	'and those of the small tenant in its own');

# ----- Pages of a timeline -----

# The plans of the statements within a call, as text, without what was not run.
sub nested_plans
{
	my ($call) = @_;
	my ($code, $stdout, $stderr) = $node->psql('atlas', <<"END");
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_level = notice;
$call;
END
	is($code, 0, "$call succeeds");
	return join("\n", grep { !/never executed/ } split(/\n/, $stderr));
}

for my $timeline ([ 'CUSTOMER', "md5('customer-7')::uuid::text" ], [ 'CONVERSATION', "'5'" ])
{
	my ($type, $object) = @$timeline;

	for my $before ('NULL', "'$middle'")
	{
		my $call = "SELECT count(*) FROM atlas_timeline('$type', $object, $before)";

		unlike(nested_plans($call), qr/ on atlas_event(?:s_\d|_links|_queue)/, 'a page is read without a statement');
		my $plans = nested_plans("SET atlas_events.direct_access = off; $call");

		is( $node->safe_psql('atlas', "SELECT string_agg(t::text, ';') FROM atlas_timeline('$type', $object, $before) t"),
			$node->safe_psql('atlas', "SET atlas_events.direct_access = off;
				SELECT string_agg(t::text, ';') FROM atlas_timeline('$type', $object, $before) t"),
			'which has the same rows as one that is read by a statement');

		like($plans, qr/Index (?:Only )?Scan.* on atlas_events_\d/, 'it reads the log by index');
		unlike($plans, qr/Seq Scan on atlas_event(?:s|_links)_\d/, 'it reads no partition as a whole');
		unlike($plans, qr/Bitmap Heap Scan on atlas_event(?:s|_links)_\d/, 'nor all events of the object');
		unlike($plans, qr/Limit.*\n +-> +(?:Incremental )?Sort.*\n +Sort Key: [pl]\.event_id/,
			'nor does it sort more than two pages');
		my ($most) = sort { $b <=> $a }
		  $plans =~ /on atlas_event(?:s|_links)_\d\S* .*\(actual rows=([\d.]+) /g;
		cmp_ok($most, '<=', 50, 'it reads no more than a page of a partition');
	}
}

# ----- The age of what is pending -----

my $plans = nested_plans('SELECT oldest_pending_age FROM atlas_events_status');
like($plans,
	qr/Scan using atlas_event_queue_cursor_idx .*actual rows=1(?:\.00)? .*\n +Index Cond: \(\(next_attempt_at IS NULL\) /,
	'the oldest pending event is the first of an index');
unlike($plans, qr/Sort Key: .*submitted_xid/, 'what is pending is not sorted for it');

is($node->safe_psql('atlas', 'SELECT atlas_link_events(10000)'), '1100', 'what was pending is linked');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
