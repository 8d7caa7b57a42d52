# Without the library in shared_preload_libraries everything works but the
# background, and the status says what to do about it.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('bare', preload => 0);
make_database($node, 'atlas');

is(status_of($node, 'atlas', 'preloaded, worker_pid, worker_state, submitted'),
	'f||off|', 'the status says that there are no workers');
like(
	status_of($node, 'atlas', 'advice'),
	qr/shared_preload_libraries.*atlas_link_events\(\)/,
	'it says what to set, and what to call instead');

my @ids = submit_events($node, 'atlas', 1, 1500);
is(scalar(@ids), 1500, 'events are accepted');
is(status_of($node, 'atlas', 'queue_depth, oldest_pending_age IS NOT NULL'),
	'1500|t', 'they wait');
like(
	violations($node, 'atlas', \@ids),
	qr/^an event is still pending\|/,
	'the oracle sees that they wait');

is($node->safe_psql('atlas', 'SELECT atlas_link_events(100)'),
	'100', 'atlas_link_events() links as many as it is asked to');
is($node->safe_psql('atlas', 'SELECT atlas_link_events()'),
	'1000', 'it links a thousand unless it is told otherwise');
is($node->safe_psql('atlas', 'SELECT atlas_link_events(10000)'), '400', 'it links all the others');
is($node->safe_psql('atlas', 'SELECT atlas_link_events()'), '0', 'then there is nothing to do');
is(status_of($node, 'atlas', 'failed, queue_depth, oldest_pending_age'),
	'0|0|', 'the status says that nothing waits');
is( $node->safe_psql(
		'postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'atlas_events%'"),
	'0',
	'no worker runs');

# The oracle is what all of these tests rely on: it must see every damage.

my $any_event = '(SELECT event_id FROM atlas_events ORDER BY event_id LIMIT 1 OFFSET 700)';
my $any_link = '(SELECT ctid FROM atlas_event_links ORDER BY event_id LIMIT 1 OFFSET 700)';
my $links = $node->safe_psql('atlas', 'SELECT tableoid::regclass FROM atlas_event_links LIMIT 1');

my $documents = $links =~ s/links/search/r;

for my $damage (
	[ 'an acknowledged event is lost', "DELETE FROM atlas_events WHERE event_id = $any_event" ],
	[
		'a row is left of an event that is not there',
		"DELETE FROM atlas_events WHERE event_id = $any_event"
	],
	[
		'an event is still pending',
		"DELETE FROM atlas_event_links WHERE event_id = $any_event;
		 DELETE FROM atlas_event_unresolved WHERE event_id = $any_event;
		 INSERT INTO atlas_event_queue (event_id, submitted_xid) VALUES ($any_event, '1')"
	],
	[
		'an event is still to be indexed',
		"INSERT INTO atlas_event_work (event_id, submitted_xid, what) VALUES ($any_event, '1', 1)"
	],
	[ 'a document is missing', 'DELETE FROM atlas_search_gaps' ],
	[
		'a document is empty without a problem, or has one and is not',
		"INSERT INTO atlas_event_work (event_id, submitted_xid, what) VALUES ($any_event, '1', 1);
		 DO 'BEGIN PERFORM atlas_link_events(); END';
		 UPDATE atlas_event_search SET problem = 'x'"
	],
	[
		'a document is there more than once',
		"INSERT INTO atlas_event_work (event_id, submitted_xid, what) VALUES ($any_event, '1', 1);
		 DO 'BEGIN PERFORM atlas_link_events(); END';
		 ALTER TABLE $documents DROP CONSTRAINT ${documents}_pkey;
		 INSERT INTO atlas_event_search TABLE atlas_event_search"
	],
	[
		'an event failed without a reason',
		"INSERT INTO atlas_event_queue (event_id, submitted_xid, next_attempt_at)
		 VALUES ($any_event, '1', 'infinity')"
	],
	[ 'a link is missing', "DELETE FROM $links WHERE ctid = $any_link" ],
	[
		'a link ought not to be there',
		"UPDATE $links SET object_id = '1' WHERE ctid = $any_link"
	],
	[
		'a link is there more than once',
		"ALTER TABLE $links DROP CONSTRAINT ${links}_pkey;
		 INSERT INTO $links SELECT * FROM $links WHERE ctid = $any_link"
	],
	[
		'a reference is neither linked nor recorded as unresolved',
		'DELETE FROM atlas_event_unresolved'
	],
	[
		'an unresolved reference could be resolved long since',
		"INSERT INTO conversations SELECT object_id::bigint FROM atlas_event_unresolved LIMIT 1;
		 UPDATE atlas_event_unresolved SET next_attempt_at = now() - interval '1 h'"
	],
	[
		'an unresolved reference is not the one of the event',
		"UPDATE atlas_event_unresolved SET object_id = '1'"
	],
	[
		'a reference of no linked event is recorded as unresolved',
		'UPDATE atlas_event_unresolved SET position = 77'
	])
{
	my ($violation, $sql) = @$damage;
	my $ids = join(',', map { "'$_'" } @ids);

	is( $node->safe_psql(
			'atlas', "SET client_min_messages = warning; BEGIN; $sql;
			SELECT DISTINCT violation FROM atlas_test.violations(ARRAY[$ids]::uuid[])
			 WHERE violation = '$violation'"),
		$violation, "the oracle sees when $violation");
}

# ----- Settings that are made before the session has loaded the library -----

# Then PostgreSQL takes any value from anybody, and drops it when the library is
# loaded, with what a superuser had fixed for the role.
$node->safe_psql('atlas', <<'END');
CREATE ROLE nobody LOGIN;
CREATE ROLE api LOGIN;
CREATE ROLE pinned LOGIN;
GRANT SET ON PARAMETER atlas_events.tenant TO api;
ALTER ROLE pinned SET atlas_events.tenant = 'acme';
ALTER ROLE pinned SET atlas_events.max_event_size = '1kB';
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO pinned;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO pinned;
END
my $refused = qr/^psql:<stdin>:\d+: ERROR:  this session has made a setting of atlas_events that its role may not make$/m;
my $set = "SET atlas_events.tenant = 'shop';";

# Runs statements as a role, with options of the connection.
sub as_role
{
	my ($role, $options, $sql) = @_;
	local $ENV{PGOPTIONS} = $options if defined $options;
	my ($code, $stdout, $stderr) =
	  $node->psql('atlas', $sql, extra_params => [ '-U', $role ], on_error_stop => 0);

	return ($stdout, $stderr);
}

# The values are what psql prints; nothing may be refused.
sub tenant_is
{
	my ($role, $options, $sql, $tenant, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($stdout, $stderr) = as_role($role, $options, $sql);

	return is("$stdout|$stderr", "$tenant|", $name);
}

sub is_refused
{
	my ($role, $options, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($stdout, $stderr) = as_role($role, $options, $sql);

	return ok($stdout eq '' && $stderr =~ $refused, $name)
	  || diag("$stdout\n$stderr");
}

isnt($node->psql('atlas', "ALTER ROLE nobody SET atlas_events.tenant = 'acme'", extra_params => [ '-U', 'nobody' ]),
	0, 'who may not set the tenant cannot set it for his next session');
tenant_is('api', undef, "$set SELECT atlas_tenant()", 'shop', 'who may set it has it');
tenant_is('api', '-c atlas_events.tenant=shop', 'SELECT atlas_tenant()',
	'shop', 'by an option of the connection too');
tenant_is('pinned', undef, "SELECT atlas_tenant() || ' ' || current_setting('atlas_events.max_event_size')",
	'acme 1kB', 'a role has what was fixed for it');

for my $case (
	[ 'SET', undef, $set ],
	[ 'an option of the connection', '-c atlas_events.tenant=shop', '' ],
	[ 'an empty tenant', '-c atlas_events.tenant=', '' ],
	[ 'the tenant it has anyway', '-c atlas_events.tenant=acme', '' ],
	[ 'the name in capitals', '-c ATLAS_EVENTS.TENANT=shop', '' ],
	[ 'a limit', '-c atlas_events.max_event_size=1MB', '' ],
	[ 'SET LOCAL', undef, "BEGIN; SET LOCAL atlas_events.tenant = 'shop';" ],
	[ 'a value beneath another one', undef, "$set BEGIN; RESET atlas_events.tenant;" ],
	[ 'SET in a savepoint', undef, "BEGIN; SAVEPOINT s; $set" ])
{
	my ($how, $options, $sql) = @$case;
	is_refused('nobody', $options, "$sql SELECT atlas_tenant()", "who may not is refused: $how");
	is_refused('pinned', $options, "$sql SELECT atlas_tenant()", "a pinned role does not escape by it: $how");
}

tenant_is('pinned', undef, "BEGIN; $set ROLLBACK; SELECT atlas_tenant()",
	'acme', 'what was rolled back before the library was loaded does not count');
is_refused('pinned', undef, "BEGIN;\n$set\nSELECT atlas_tenant();\nROLLBACK;\nSELECT atlas_tenant();",
	'what is rolled back afterwards does');
is_refused('pinned', undef, "$set\nSELECT atlas_tenant();\nRESET ALL;\nDISCARD ALL;\nSELECT atlas_tenant();",
	'nor does the session recover by itself');

my ($seen, $errors) = as_role('pinned', undef,
	"$set SELECT count(*) FROM atlas_events; SELECT count(*) FROM atlas_event_logs;");
is($seen, '', 'such a session sees no rows');
($seen, $errors) = as_role('pinned', undef, <<"END");
$set
SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SELECT count(*) FROM atlas_events;
END
ok($seen eq '' && $errors =~ $refused, 'nor do its parallel workers');
$node->append_conf('postgresql.conf', "session_preload_libraries = 'atlas_events'");
$node->reload;
is_refused('pinned', '-c atlas_events.tenant=', 'SELECT atlas_tenant()',
	'it is the same when the library is loaded with the session');
tenant_is('pinned', undef, 'SELECT atlas_tenant()', 'acme', 'where the pinned role has its tenant, too');
$node->append_conf('postgresql.conf', "session_preload_libraries = ''");
$node->reload;

# ----- Everything else that can be called -----

# A call of each function of the extension, in a session of its own: there the
# library is loaded by that call.
my $json = q('{"objectType": "CUSTOMER", "externalId": "190001", "name": "Called",
	"relatedObjects": [{"objectType": "TICKET", "objectId": "1"}]}');
my $row = q(('CUSTOMER', NULL, '190001', 'Called', NULL, NULL, NULL, NULL, NULL, NULL)::atlas_event);
my %calls = (
	'atlas_tenant()' => 'atlas_tenant()',
	'submit_event(atlas_event)' => "submit_event($row)",
	'submit_event(text,text,text,text,text,text,jsonb,atlas_object[],timestamp with time zone,text)' =>
	  q(submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001', name => 'Called')),
	'submit_event(text)' => "submit_event($json)",
	'submit_event(text,text)' => "submit_event($json, 'key')",
	'submit_event(json)' => "submit_event($json\::json)",
	'submit_event(jsonb)' => "submit_event($json\::jsonb)",
	'submit_events(atlas_event[])' => "submit_events(ARRAY[$row, $row])",
	'submit_events(text)' => "submit_events('[' || $json || ']')",
	'submit_events(json)' => "submit_events(('[' || $json || ']')::json)",
	'submit_events(jsonb)' => "submit_events(('[' || $json || ']')::jsonb)",
	'atlas_register_object_type(text,regclass,name,name,name,text[],name)' =>
	  q(atlas_register_object_type('PERSON', 'customers')),
	'atlas_unregister_object_type(text)' => q(atlas_unregister_object_type('PERSON')),
	'atlas_discover_object_types(regnamespace)' => 'count(*) FROM atlas_discover_object_types()',
	'atlas_link_events(integer)' => 'atlas_link_events()',
	'atlas_retry_failed(uuid)' => 'atlas_retry_failed()',
	'atlas_timeline(text,text,uuid,integer,text,text,timestamp with time zone,timestamp with time zone)' => q(count(*) FROM atlas_timeline('TICKET', '1')),
	'atlas_find_objects(text,text,text,jsonpath,integer,timestamp with time zone,timestamp with time zone,uuid,integer,integer)' =>
	  q(count(*) FROM atlas_find_objects('TICKET', condition => '$.name')),
	'atlas_has_event(text,text,text,jsonpath,interval,integer)' => q(atlas_has_event('TICKET', '1', condition => '$.name')),
	'atlas_count_events(text,text,text,jsonpath,interval)' => q(atlas_count_events('TICKET', '1')),
	'atlas_rebuild_search(timestamp with time zone)' => 'atlas_rebuild_search(NULL)',
	'atlas_search_progress()' => 'atlas_search_progress()',
	'atlas_create_rule(text,text,text,jsonpath,integer,interval,text,regprocedure,text,interval)' => q(atlas_create_rule('called', 'CUSTOMER')),
	'atlas_drop_rule(text)' => q(atlas_drop_rule('called')),
	'atlas_enable_rule(text,boolean)' => q(atlas_enable_rule('kept', false)),
	'atlas_resume_actions()' => q(atlas_resume_actions()),
	'atlas_test_rule(text,text,jsonpath,integer,interval,timestamp with time zone,timestamp with time zone,integer,text)' =>
	  q(count(*) FROM atlas_test_rule('CUSTOMER')),
	'atlas_search_events(text,text,text,text,timestamp with time zone,timestamp with time zone,uuid,integer,integer)' =>
	  q(count(*) FROM atlas_search_events('refund')),
	'atlas_status()' => 'atlas_status()');

$node->safe_psql('atlas', "SET client_min_messages = error; SELECT atlas_create_rule('kept', 'CUSTOMER')");

# In the order of what they need.
for my $function (qw(atlas_register_object_type atlas_unregister_object_type), '')
{
	for my $name (grep { /^\Q$function\E/ } sort keys %calls)
	{
		my ($code, $stdout, $stderr) = $node->psql('atlas', "SELECT $calls{$name}");
		if ($name =~ /rebuild/)
		{
			like($stderr, qr/ERROR:  search is not in effect.*HINT:  Add atlas_events to shared_preload_libraries/s, "$name says what to do");
		}
		elsif ($name =~ /create_rule/)
		{
			like($stderr, qr/WARNING:  the rule is not in effect.*HINT:  Add atlas_events to shared_preload_libraries/s, "$name says what to do");
		}
		else
		{
			is("$code $stderr", '0 ', "$name can be called");
		}
		push @ids, $stdout =~ /([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{22})/g if $name =~ /^submit/;
		is_refused('pinned', undef, "$set SELECT $calls{$name}", "$name refuses a session with settings that are not its own");
	}
}
my $members = "SELECT objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'atlas_events')";
is( $node->safe_psql(
		'atlas',
		"SELECT oid::regprocedure FROM pg_proc WHERE oid IN ($members)
		    AND prorettype <> 'trigger'::regtype ORDER BY oid::regprocedure::text COLLATE \"C\""),
	join("\n", sort(keys %calls, 'atlas_tables()', 'event_id_at(timestamp with time zone)')),
	'these are all functions that there are, besides two that depend on no setting');

for my $relation (
	split /\n/,
	$node->safe_psql('atlas', "SELECT oid::regclass FROM pg_class WHERE oid IN ($members) AND relkind IN ('r', 'p', 'v')"))
{
	my ($code, $stdout, $stderr) = $node->psql('atlas', "SELECT count(*) FROM $relation");
	is("$code $stderr", '0 ', "$relation can be read");
}

# Settings are there before anything is called: with a warning if it is too early.
is($node->safe_psql('atlas', "SET atlas_events.tenant = 'shop'; SELECT atlas_tenant()"),
	'shop', 'a setting can be made before the library is loaded');

# What docs/sql.md and docs/operations.md say about settings.
foreach my $command ('SHOW atlas_events.max_attempts', 'ALTER SYSTEM SET atlas_events.max_attempts = 3')
{
	like(($node->psql('atlas', $command))[2], qr/unrecognized configuration parameter/, "$command fails before the library is loaded");
	is(($node->psql('atlas', "SELECT atlas_tenant()", extra_params => [ '-c', $command ]))[0],
		0, 'and works after a function was called');
}
$node->safe_psql('atlas', 'SELECT atlas_tenant()', extra_params => [ '-c', 'ALTER SYSTEM RESET atlas_events.max_attempts' ]);

# A month that has no related objects has no links, which retention has to know.
$node->safe_psql('atlas', <<'END');
SELECT submit_event('{"objectType": "CUSTOMER", "externalId": "190001", "name": "Old", "occurredAt": "2026-01-15T00:00:00Z"}');
END
like(
	($node->psql('atlas', 'DROP TABLE atlas_events_2026_01, atlas_event_links_2026_01'))[2],
	qr/"atlas_event_links_2026_01" does not exist/,
	'DROP TABLE of a month needs IF EXISTS');
$node->safe_psql('atlas', 'DROP TABLE IF EXISTS atlas_events_2026_01, atlas_event_links_2026_01');

is($node->safe_psql('atlas', 'SELECT atlas_link_events(100)'), '7', 'what was submitted is linked by hand');
unlike(log_since($node, 0), qr/terminated by signal|PANIC/, 'no process has crashed');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
