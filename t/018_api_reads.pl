# What a reader gets: object types that tell a submitter no names of tables,
# timelines page by page, and a page of a long log without reading the log.

use strict;
use warnings;

use AtlasApiTest;
use AtlasTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Nothing links what is pending here.
my $node = start_node('reads', preload => 0);
make_database($node, 'atlas', extension => 0);
make_api($node, 'atlas');
my %reader = (role => 'atlas_reader', read_only => 1, claims => { tenant => 't1' });

# ----- Object types -----

$node->safe_psql('atlas', <<'END');
CREATE SCHEMA "Shop";
CREATE TABLE "Shop"."Orders" (id bigint PRIMARY KEY, external_id text UNIQUE);
CREATE TABLE invoices (id bigint PRIMARY KEY);
SELECT atlas_register_object_type('ORDER', '"Shop"."Orders"', external_id_column => 'external_id', aliases => '{PURCHASE}');
SELECT atlas_register_object_type('INVOICE', 'invoices');
DROP TABLE invoices;
END

my %types = map { $_->{objectType} => $_ } api_rows($node, 'atlas', 'object_types', '', %reader);
is_deeply($types{ORDER},
	{
		objectType => 'ORDER', aliases => ['PURCHASE'], connected => JSON::PP::true, relation => '"Shop"."Orders"',
		idColumn => 'id', externalIdColumn => 'external_id', hasExternalId => JSON::PP::true
	},
	'a reader sees what an object type is connected to');
is_deeply([ map { $types{$_}{relation} } qw(CUSTOMER CHATBOT INVOICE) ],
	[ 'public.customers', undef, undef ], 'a type without a table has no relation, nor has one whose table was dropped');
is_deeply([ map { $types{$_}{connected} ? 1 : 0 } qw(CUSTOMER CHATBOT INVOICE) ],
	[ 1, 0, 0 ], 'and is not connected');
is_deeply($types{CONVERSATION}{aliases}, ['TICKET'], 'the built-in aliases are there');
for my $type (grep { $_ ne 'INVOICE' && !$types{$_}{connected} } sort keys %types)
{
	is_deeply([ @{ $types{$type} }{qw(idColumn externalIdColumn hasExternalId)} ],
		[ undef, undef, JSON::PP::false ], "the type $type, which has no table, is there all the same");
}

my @seen = api_rows($node, 'atlas', 'object_types', '', role => 'atlas_submitter');
is(scalar(@seen), scalar(keys %types), 'a submitter sees the same types');
is_deeply([ grep { defined } map { @$_{qw(relation idColumn externalIdColumn)} } @seen ],
	[], 'and no name of a table or column');
is_deeply({ map { $_->{objectType} => [ @$_{qw(connected hasExternalId)} ] } @seen },
	{ map { $_ => [ @{ $types{$_} }{qw(connected hasExternalId)} ] } keys %types },
	'but which ones it can use');
my ($output, $errors) = api_session($node, 'atlas',
	q{SELECT * FROM public.atlas_object_types;}, role => 'atlas_submitter');
like($errors, qr/ERROR:  42501: /, 'the registry itself is not for submitters');

# ----- The built-in types stand in one place -----

# What the library lists is what the API shows, what it takes as input, and the
# only list in the sources: a file that names most of the types has another one.
my %built_in = map { my ($type, @aliases) = split /,/; $type => \@aliases }
  split /\n/, $node->safe_psql('atlas',
	q{SELECT array_to_string(object_type || aliases, ',') FROM atlas_api_private.built_in_types()});
is(scalar(keys %built_in), 8, 'eight object types are built in');
is_deeply({ map { $_ => $types{$_}{aliases} } keys %built_in }, \%built_in, 'the API shows them, with their aliases');
for my $type (sort keys %built_in)
{
	is( $node->safe_psql('atlas',
			join '', "BEGIN; DELETE FROM atlas_object_types; CREATE TABLE things (id int PRIMARY KEY);\n",
			map { "SELECT atlas_register_object_type('$_', 'things'); SELECT object_type FROM atlas_object_types;\n" }
			  $type, @{ $built_in{$type} }) =~ s/^\n//gmr,
		join("\n", ($type) x (1 + @{ $built_in{$type} })),
		"all names of $type are names of that type");
}
my $root = $ENV{TESTDIR} // '.';
my @lists = grep { my $source = slurp_file($_); (grep { $source =~ /["'{,]$_["'},]/ } keys %built_in) > 3 }
  glob("$root/*.sql $root/*.c $root/src/*/*");
is_deeply([ map { s{^\Q$root\E/}{}r } @lists ],
	['src/objects/registry.c'], 'one file of the sources has a list of them');

# ----- A long log -----

# Of two tenants; the last ones of t1 are pending.
make_long_log($node, 'atlas', 200_000, q{CASE WHEN n % 3 = 0 THEN 't2' ELSE 't1' END});
$node->safe_psql('atlas', <<'END');
SET atlas_events.tenant = 't1';
SELECT count(*) FROM atlas_test.submit(1, 1000);
RESET atlas_events.tenant;

INSERT INTO atlas_rejections (tenant_id, request_id, role, subject, status, code, message)
SELECT CASE WHEN n % 2 = 0 THEN 't2' ELSE 't1' END, 'request', 'atlas_submitter', 'sub-' || n % 50, 404, 'PT404', 'Object Not Found'
  FROM generate_series(1, 100000) AS n;
VACUUM ANALYZE;
END

my $middle = $node->safe_psql('atlas',
	"SELECT event_id FROM atlas_events WHERE occurred_at < now() - interval '40 days' AND tenant_id = 't1'
	  ORDER BY event_id DESC LIMIT 1");
my $object = $node->safe_psql('atlas', "SELECT object_id FROM atlas_events WHERE event_id = '$middle'");

# Every node of a plan that was executed, but for those that compute a column.
sub executed
{
	my ($plan) = @_;

	return () if $plan->{'Actual Loops'} == 0 || ($plan->{'Subplan Name'} // '') =~ /^SubPlan/;
	return ($plan, map { executed($_) } @{ $plan->{Plans} // [] });
}

# The nodes of the plan of a query of PostgREST, whose parameters are PostgREST's:
# kept plans do not know their values. Without a mode it is the plan of a statement
# that was executed so often that the server may keep one.
sub plan_of
{
	my ($mode, $view, $rest, $parameters, %request) = @_;
	my $statement = api_page($view, $rest);
	my $values = join ', ', map { quoted($_) } @$parameters;
	my $set_mode = defined $mode ? "SET LOCAL plan_cache_mode = force_${mode}_plan;" : '';
	my $executions = defined $mode ? '' : "EXECUTE page ($values) \\g /dev/null\n" x 8;
	my ($stdout, $stderr) = api_session($node, 'atlas', <<"END", %reader, path => "/$view", %request);
$set_mode
PREPARE page AS $statement;
$executions
EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) EXECUTE page ($values);
END

	die "no plan of $rest: $stderr" if $stderr ne '';
	return executed(decode_json($stdout)->[0]{Plan});
}

# The rows that a plan reads of the tables with such names.
sub rows_of
{
	my ($table, @nodes) = @_;
	my $rows = 0;

	$rows += ($_->{'Actual Rows'} + ($_->{'Rows Removed by Filter'} // 0)) * $_->{'Actual Loops'}
	  foreach grep { ($_->{'Relation Name'} // '') =~ $table } @nodes;
	return $rows;
}

# The pages that a plan reads, of the first of its nodes.
sub blocks_of
{
	my ($top) = @_;

	return $top->{'Shared Hit Blocks'} + $top->{'Shared Read Blocks'};
}

# Whatever is sorted has not been read from that table, and what is read of it
# is found by an index. (The queue, whose rows are narrow, may be sorted.)
sub reads_a_page_ok
{
	my ($nodes, $table, $most, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @whole = grep { $_->{'Node Type'} =~ /Seq Scan|Bitmap/ && ($_->{'Relation Name'} // '') =~ $table } @$nodes;
	my @sorts = grep { $_->{'Node Type'} =~ /Sort/ && rows_of($table, executed($_)) > 0 } @$nodes;
	my $rows = rows_of($table, @$nodes);

	is(join(', ', map { @{ $_->{'Sort Key'} } } @sorts), '', "$name: nothing is sorted");
	is(join(', ', map { $_->{'Relation Name'} } @whole), '', "$name: nothing is read as a whole");
	ok($rows > 0 && $rows <= $most, "$name: it reads few rows") or diag "$rows rows";
	return;
}

my @pages = (
	[ 'the newest page', 'LIMIT $1 OFFSET $2', [ 50, 0 ] ],
	[ 'the newest page in order', 'ORDER BY "eventId" DESC LIMIT $1 OFFSET $2', [ 50, 0 ] ],
	[ 'a page further on', 'WHERE "eventId" < $1 ORDER BY "eventId" DESC LIMIT $2 OFFSET $3', [ $middle, 50, 0 ] ],
	[ 'a page of pending events', 'WHERE "processingStatus" = $1 LIMIT $2 OFFSET $3', [ 'PENDING', 50, 0 ] ],
	[
		'a page of pending events in order',
		'WHERE "processingStatus" = $1 ORDER BY "eventId" DESC LIMIT $2 OFFSET $3', [ 'PENDING', 50, 0 ]
	],
	[
		'a page of linked events',
		'WHERE "processingStatus" = $1 ORDER BY "eventId" DESC LIMIT $2 OFFSET $3', [ 'LINKED', 50, 0 ]
	],
	[ 'one event', 'WHERE "eventId" = $1 LIMIT $2 OFFSET $3', [ $middle, 1000, 0 ] ]);

for my $page (@pages)
{
	my ($what, $rest, $parameters) = @$page;

	for my $mode (qw(custom generic))
	{
		my @nodes = plan_of($mode, 'event_logs', $rest, $parameters);
		reads_a_page_ok(\@nodes, qr/^atlas_event(?:s|_links)_\d/, 1500, "$what ($mode plan)");
	}
}

# A request for the logs of a period: the headers that nginx sends with it. The
# days are counted back from now.
sub period
{
	my ($since, $until) = @_;
	my @parameters = $node->safe_psql('atlas', <<"END");
SELECT string_agg(name || '=' || to_char(now() AT TIME ZONE 'UTC' - ago, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '&')
  FROM (VALUES ('since', interval '$since days'), ('until', interval '$until days')) AS p (name, ago)
END

	return (headers => { 'x-original-request' => "GET /events?limit=50&$parameters[0]" });
}

# With the plan that such a request has.
for my $period ([ 'forty days ago', 45, 35 ], [ 'the last hundred days', 100, -1 ])
{
	my ($when, @days) = @$period;
	my %request = period(@days);

	for my $page (
		[ 'a page', 'LIMIT $1 OFFSET $2', [ 50, 0 ] ],
		[ 'a page in order', 'ORDER BY "eventId" DESC LIMIT $1 OFFSET $2', [ 50, 0 ] ],
		[ 'a page further on', 'WHERE "eventId" < $1 ORDER BY "eventId" DESC LIMIT $2 OFFSET $3', [ $middle, 50, 0 ] ],
		[
			'a page of linked events',
			'WHERE "processingStatus" = $1 ORDER BY "eventId" DESC LIMIT $2 OFFSET $3', [ 'LINKED', 50, 0 ]
		])
	{
		my ($what, $rest, $parameters) = @$page;
		my @nodes = plan_of(undef, 'event_logs_of_period', $rest, $parameters, %request);

		# The planner knows nothing of the status, and takes each one to be rare. So a period
		# that has no more than some 10,000 events of the tenant is read from end to end.
		if ($what =~ /linked/ && $days[0] < 100)
		{
			cmp_ok(rows_of(qr/^atlas_events_\d/, @nodes), '<=', 10_000, "$what of $when reads the period at most");
			next;
		}
		reads_a_page_ok(\@nodes, qr/^atlas_event(?:s|_links)_\d/, 1500, "$what of $when");
	}
}

# Where a filter finds nothing, the period is read from end to end, and nothing else.
my $of_day = $node->safe_psql('atlas', "SELECT count(*) FROM atlas_events
	 WHERE occurred_at >= now() - interval '41 days' AND occurred_at < now() - interval '40 days'");
cmp_ok(rows_of(qr/^atlas_events_\d/,
		plan_of(undef, 'event_logs_of_period', 'WHERE name = $1 LIMIT $2 OFFSET $3', [ 'nobody', 50, 0 ], period(41, 40))),
	'<=', $of_day + 10, 'a filter that finds nothing reads the events of the period only');

# Of an object all events are read, and all that are pending, but no others.
for my $order ('', 'ORDER BY "eventId" DESC')
{
	for my $mode (qw(custom generic))
	{
		my @nodes = plan_of($mode, 'event_logs', qq{WHERE "objectType" = \$1 AND "objectId" = \$2 $order LIMIT \$3 OFFSET \$4},
			[ 'CUSTOMER', $object, 50, 0 ]);
		my $log = qr/^atlas_events_\d/;
		my $all = $node->safe_psql('atlas', "SELECT count(*) FROM atlas_events WHERE object_id = '$object'");

		is_deeply([ grep { $_->{'Node Type'} =~ /Seq Scan/ && $_->{'Relation Name'} =~ $log } @nodes ],
			[], "a page of an object ($mode plan, $order) is found by an index");
		cmp_ok(rows_of($log, @nodes), '<=', $all + 1000, 'and reads its events and the pending ones only');
	}
}

my @newest = api_rows($node, 'atlas', 'event_logs', 'LIMIT 50', %reader);
is($newest[0]{eventId}, $node->safe_psql('atlas',
		"SELECT event_id FROM atlas_events WHERE tenant_id = 't1' ORDER BY event_id DESC LIMIT 1"),
	'the log begins with the newest event of the tenant');
is_deeply([ map { $_->{eventId} } @newest ], [ reverse sort map { $_->{eventId} } @newest ],
	'and goes on in their order');
is( scalar(api_rows($node, 'atlas', 'event_logs', qq{WHERE "eventId" = '$middle'}, %reader, claims => { tenant => 't2' })),
	0, 'an event of another tenant is not there');
is( scalar(api_rows($node, 'atlas', 'event_logs', q{WHERE "processingStatus" = 'PENDING' LIMIT 2000}, %reader)),
	1000, 'all pending events are in the log');

# ----- Pending and failed events -----

# A page costs the same whether few events are pending, or all of the tenant, or none.
sub pending_pages_ok
{
	my ($when, $status, $cursor, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @between = period(100, -1);
	my @always = (headers => { 'x-original-request' => "GET /events?processingStatus=eq.$status&limit=50" });

	for my $page (
		[ 'a page', 'WHERE "processingStatus" = $1 LIMIT $2 OFFSET $3', [ $status, 50, 0 ] ],
		[ 'a page in order', 'WHERE "processingStatus" = $1 ORDER BY "eventId" DESC LIMIT $2 OFFSET $3', [ $status, 50, 0 ] ],
		[
			'a page further on',
			'WHERE "processingStatus" = $1 AND "eventId" < $2 ORDER BY "eventId" DESC LIMIT $3 OFFSET $4',
			[ $status, $cursor, 50, 0 ]
		])
	{
		my ($what, $rest, $parameters) = @$page;

		for my $mode ([ 'custom plan', 'custom', @always ], [ 'generic plan', 'generic', @always ], [ 'of a period', undef, @between ])
		{
			my ($how, $plan_mode, @request) = @$mode;
			my @nodes = plan_of($plan_mode, 'pending_events', $rest, $parameters, @request);
			my $rows = rows_of(qr/^atlas_event/, @nodes);
			my $blocks = blocks_of($nodes[0]);

			is(join(', ', map { $_->{'Relation Name'} } grep { $_->{'Node Type'} =~ /Seq Scan/ } @nodes),
				'', "$when, $what $status ($how): nothing is read as a whole");
			cmp_ok($rows, '<=', $expected * 3, "$when, $what $status ($how): it reads few rows");
			cmp_ok($blocks, '<=', 50 + $expected * 30, "$when, $what $status ($how): it reads few pages");
		}
	}
	return;
}

# What the log has, and what the queue has, for the same filter.
sub same_as_log_ok
{
	my ($when, $rest, %request) = @_;
	my $view = $request{headers} ? 'event_logs_of_period' : 'event_logs';

	is_deeply(
		[ api_rows($node, 'atlas', 'pending_events', $rest, %reader, %request) ],
		[ api_rows($node, 'atlas', $view, $rest, %reader, %request) ],
		"$when: the log has the same for $rest");
	return;
}

my $newest = $newest[0]{eventId};
pending_pages_ok('the newest 1,000', 'PENDING', $newest, 51);
pending_pages_ok('the newest 1,000', 'FAILED', $newest, 0);

# Ten of the pending events become FAILED, and so do those of another tenant.
$node->safe_psql('atlas', <<'END');
UPDATE atlas_event_queue SET next_attempt_at = 'infinity', attempts = 5, last_error = 'for a test',
       submitted_xid = (hashtextextended(tenant_id, 0) & 9223372036854775807)::text::xid8
 WHERE event_id IN (SELECT event_id FROM atlas_event_queue ORDER BY event_id DESC OFFSET 5 LIMIT 10);
VACUUM ANALYZE atlas_event_queue;
END
for my $status (qw(PENDING FAILED))
{
	my $where = qq{WHERE "processingStatus" = '$status'};

	same_as_log_ok('ten have failed', "$where LIMIT 2000");
	same_as_log_ok('ten have failed', qq{$where AND "eventId" < '$newest' ORDER BY "eventId" DESC LIMIT 7});
	same_as_log_ok('ten have failed', "$where LIMIT 2000", period(100, 50));
	same_as_log_ok('ten have failed', "$where LIMIT 2000", period(1, -1));
}
is(scalar(api_rows($node, 'atlas', 'pending_events', '', %reader)), 1000, 'without a filter all of both are there');
is( scalar(api_rows($node, 'atlas', 'pending_events', '', %reader, claims => { tenant => 't2' })),
	0, 'and none of another tenant');
pending_pages_ok('ten have failed', 'FAILED', $newest, 10);

# All events of t1, and the failed ones among them.
$node->safe_psql('atlas', <<'END');
INSERT INTO atlas_event_queue (tenant_id, event_id, submitted_xid)
SELECT tenant_id, event_id, pg_current_xact_id() FROM atlas_events WHERE tenant_id = 't1' ON CONFLICT DO NOTHING;
VACUUM ANALYZE atlas_event_queue;
END
pending_pages_ok('all of the tenant', 'PENDING', $middle, 55);
pending_pages_ok('all of the tenant', 'FAILED', $newest, 10);
$node->safe_psql('atlas', 'DELETE FROM atlas_event_queue');
pending_pages_ok('none, before a vacuum', 'FAILED', $newest, 0);
$node->safe_psql('atlas', 'VACUUM ANALYZE atlas_event_queue');
pending_pages_ok('none', $_, $middle, 0) foreach qw(PENDING FAILED);

# ----- Many rejections -----

for my $who ([ 'a reader', 100 ], [ 'a submitter', 5000, role => 'atlas_submitter', claims => { tenant => 't1', sub => 'sub-7' } ])
{
	my ($name, $most, %request) = @$who;

	for my $page (
		[ 'the newest rejections', 'LIMIT $1 OFFSET $2' ],
		[ 'the newest rejections in order', 'ORDER BY "rejectionId" DESC LIMIT $1 OFFSET $2' ])
	{
		my ($what, $rest) = @$page;


		for my $mode (qw(custom generic))
		{
			my @nodes = plan_of($mode, 'rejections', $rest, [ 50, 0 ], %request);
			reads_a_page_ok(\@nodes, qr/^atlas_rejections$/, $most, "$what, for $name ($mode plan)");
		}
	}
}
my @rejections = api_rows($node, 'atlas', 'rejections', 'LIMIT 50', %reader);
is(join(' ', map { $_->{rejectionId} } @rejections), join(' ', map { 99999 - 2 * $_ } 0 .. 49),
	'the rejections begin with the newest one of the tenant');

# ----- Timelines -----

sub timeline
{
	my ($arguments, %request) = @_;

	return api_call($node, 'atlas', "atlas_api.timeline($arguments)", %reader, %request);
}

# All pages, by way of the links from one to the next.
for my $way ([ '/rpc/timeline', 'pageSize', {} ], [ '/v1/timeline', 'limit', { 'x-forwarded-prefix' => '/v1' } ])
{
	my ($path, $size, $headers) = @$way;
	my ($pages, $before, @ids) = (0, 'NULL');

	while ($pages < 10)
	{
		my $page = timeline("'customer', '$object', $before, 40", headers => $headers);
		$pages++;
		push @ids, map { $_->{eventId} } @{ $page->{body} };
		my $link = $page->{headers}{Link} // last;
		my ($next) = $link =~ /before=([0-9a-f-]+)/;
		is($link, "<$path?objectType=customer&objectId=$object&before=$next&$size=40>; rel=\"next\"",
			"page $pages links to the next one at $path");
		is($next, $ids[-1], 'which begins after its last event');
		$before = "'$next'";
	}
	is( join(' ', @ids),
		$node->safe_psql('atlas',
			"SELECT string_agg(event_id::text, ' ' ORDER BY event_id DESC) FROM atlas_events
			  WHERE tenant_id = 't1' AND object_id = '$object'"),
		'the pages are the whole timeline of the tenant, newest first');
	cmp_ok($pages, '>', 2, 'they are several');
}

api_submit($node, 'atlas', event_of(objectType => 'TICKET', objectId => '78', externalId => undef), claims => { tenant => 't1' })
  for 1 .. 4;
my $four = timeline(q{'TICKET', '78', NULL, 4});
is(scalar(@{ $four->{body} }), 4, 'a page may be as long as the timeline');
is($four->{headers}{Link}, undef, 'the last page has no link');
is_deeply(timeline(q{'TICKET', '0', NULL, 4}),
	{ status => 200, headers => {}, body => [], errors => '' }, 'an object that does not exist has an empty timeline');
for my $prefix ("/v1>; rel=\"evil\"", "/v1\r\nX-Evil: 1", '//evil.example?', 'v1')
{
	like(timeline(q{'TICKET', '78', NULL, 2}, headers => { 'x-forwarded-prefix' => $prefix })->{headers}{Link},
		qr{^</rpc/timeline\?objectType=TICKET&objectId=78&before=[0-9a-f-]{36}&pageSize=2>; rel="next"$},
		'a prefix that is no path is not taken into the link');
}
for my $bad ([ q{NULL, '78'}, '/objectType' ], [ q{'TICKET', ''}, '/objectId' ], [ q{'TICKET', '78', NULL, 0}, '/limit' ],
	[ q{'TICKET', '78', NULL, 1001}, '/limit' ], [ q{'SPACESHIP', '78'}, '/objectType' ])
{
	my ($arguments, $field) = @$bad;
	my $answer = timeline($arguments);

	refused_ok($answer, 400, "timeline($arguments) is answered with 400");
	is($answer->{body}{errors}[0]{field}, $field, 'which names the field');
}

$node->stop;
done_testing();
