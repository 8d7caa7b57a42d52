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

# The nodes of the plan of a query that read a table, and how often. Rows that are
# written before the query are rolled back.
sub scans
{
	my ($query, $before) = @_;
	my $plan = decode_json(
		$node->safe_psql(
			'atlas', "BEGIN; $before; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, FORMAT JSON) $query; ROLLBACK"));

	return grep { ($_->{'Relation Name'} // '') ne '' && $_->{'Actual Loops'} > 0 }
	  nodes($plan->[0]{Plan});
}

sub reads_little_ok
{
	my ($query, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @scans = scans($query, $options{before} // '');
	my @whole = grep {
		$_->{'Node Type'} =~ /Seq Scan|Bitmap/
		  && $_->{'Relation Name'} =~ /^atlas_event(?:s|_links)_\d/
	} @scans;
	my $rows = 0;

	$rows += ($_->{'Actual Rows'} + ($_->{'Rows Removed by Filter'} // 0)) * $_->{'Actual Loops'}
	  foreach @scans;
	is(join(', ', map { $_->{'Relation Name'} } @whole), '', "$name reads no partition as a whole");
	return cmp_ok($rows, '<', 3000 + ($options{also} // 0), "$name reads few rows");
}

my $middle = $node->safe_psql('atlas',
	"SELECT event_id FROM atlas_events WHERE occurred_at < now() - interval '40 days'
	  ORDER BY event_id DESC LIMIT 1");

my $ids = $node->safe_psql('atlas',
	"SELECT array_agg(event_id) FROM (SELECT event_id FROM atlas_events WHERE event_id < '$middle' ORDER BY event_id DESC LIMIT 5) AS few");
my @pages = (
	[ 'the newest page', 'TRUE' ],
	[ 'a page of linked events', "processing_status = 'LINKED'" ],
	[ 'a page of pending events', "processing_status = 'PENDING'" ],
	[ 'a page of failed events', "processing_status = 'FAILED'" ],
	[ 'one event', "event_id = '$middle'" ],
	[ 'a few events', "event_id = ANY ('$ids')" ]);

# Also as if the linker had been away for months, among events that need none.
my $many_pending = "INSERT INTO atlas_event_queue (event_id, submitted_xid)
	SELECT event_id, pg_current_xact_id() FROM atlas_events
	 WHERE related_objects IS NOT NULL AND name = 'Page Viewed' ORDER BY event_id DESC LIMIT 20000;
	ANALYZE atlas_event_queue";

# From PostgreSQL 16 on the planner sorts the queue for what is LINKED, if many are pending.
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
my $queue = $version >= 160000 ? 21_000 : 0;

for my $page (@pages, [ 'a page further on', "event_id < '$middle'" ])
{
	my ($name, $condition) = @$page;

	reads_little_ok("SELECT * FROM atlas_event_logs WHERE $condition ORDER BY event_id DESC LIMIT 50", $name);
}
for my $page (@pages)
{
	my ($name, $condition) = @$page;

	reads_little_ok("SELECT * FROM atlas_event_logs WHERE $condition ORDER BY event_id DESC LIMIT 50",
		"$name, with many pending", before => $many_pending, also => $name =~ /newest|linked/ ? $queue : 0);
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

is($node->safe_psql('atlas', 'SELECT atlas_link_events(10000)'), '1000', 'what was pending is linked');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
