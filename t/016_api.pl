# The Events API is installed beside atlas_events wherever that is, lets in who
# was granted a role and nobody else, and survives a dump and a restore.

use strict;
use warnings;

use AtlasApiTest;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('api');
my $create = 'CREATE EXTENSION atlas_events_api';

# Each call of the API once, as the role that it is for. Leaves one event and
# one rejection behind.
sub works_ok
{
	my ($database, $core) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %reader = (role => 'atlas_reader', read_only => 1);

	my $id = api_submit($node, $database,
		event_of(name => 'Works', relatedObjects => [ { objectType => 'TICKET', objectId => '9' } ]))->{body}{eventId};
	ok($id, "$database: an event is accepted");
	wait_until($node, $database, "SELECT NOT EXISTS (SELECT FROM $core.atlas_event_queue)",
		"$database: it is linked");
	refused_ok(api_submit($node, $database, event_of(externalId => '0')),
		404, "$database: one of an unknown object is refused");

	my ($logged) = api_rows($node, $database, 'event_logs', qq{WHERE "eventId" = '$id'});
	is($logged->{relatedObjects}[0]{outcome}, 'LINKED', "$database: the log has the outcome of each object");
	is(api_call($node, $database, "atlas_api.event('$id')", %reader)->{body}{name},
		'Works', "$database: one event can be read");
	my $timeline = api_call($node, $database, "atlas_api.timeline('TICKET', '9')", %reader);
	is($timeline->{body}[0]{eventId}, $id, "$database: it is on the timeline of the related object");
	my ($rejection) = api_rows($node, $database, 'rejections', 'LIMIT 1');
	is($rejection->{status}, 404, "$database: the rejection can be read");
	my ($customer) = api_rows($node, $database, 'object_types', q{WHERE "objectType" = 'CUSTOMER'});
	is($customer->{relation}, 'public.customers', "$database: the object types can be read");
	is(scalar(api_rows($node, $database, 'status', '', role => 'atlas_admin')),
		1, "$database: an admin sees the state of the linking");
	return;
}

# ----- Roles that somebody else has made -----

make_database($node, 'planted', extension => 0);
$node->safe_psql('planted', "SET client_min_messages = warning; $create CASCADE");

for my $role (map { "atlas_$_" } qw(authenticator submitter reader admin))
{
	for my $power (qw(SUPERUSER BYPASSRLS))
	{
		$node->safe_psql('planted', "CREATE ROLE $role $power");
		fails_ok($node, 'planted', 'SELECT atlas_api_private.create_roles()',
			'0P000', "create_roles() refuses a role $role that is there with $power");
		$node->safe_psql('planted', "DROP ROLE $role");
	}
}
is($node->safe_psql('planted', "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'atlas\\_%'"),
	'0', 'it leaves no role behind when it refuses one');

# ----- What create_roles() grants -----

# Roles, memberships and grants of the API, whoever has granted them.
my $grants = <<'END';
WITH schema AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
     WHERE nspname IN ('atlas_api', 'atlas_api_private', 'public'))
SELECT string_agg(line, chr(10) ORDER BY line COLLATE "C")
  FROM (SELECT concat_ws(' ', rolname, rolcanlogin, rolinherit, rolconnlimit, rolconfig) AS line
          FROM pg_roles WHERE rolname LIKE 'atlas\_%'
        UNION ALL
        SELECT concat_ws(' ', 'member of', roleid::regrole, member::regrole, admin_option)
          FROM pg_auth_members WHERE roleid::regrole::text LIKE 'atlas\_%'
        UNION ALL
        SELECT concat_ws(' ', 'schema', nspname, grantee::regrole, privilege_type, is_grantable)
          FROM schema, aclexplode(nspacl) WHERE grantee <> nspowner
        UNION ALL
        SELECT concat_ws(' ', 'relation', c.oid::regclass, grantee::regrole, privilege_type, is_grantable)
          FROM schema JOIN pg_class c ON relnamespace = schema.oid, aclexplode(relacl) WHERE grantee <> relowner
        UNION ALL
        SELECT concat_ws(' ', 'function', p.oid::regprocedure, grantee::regrole, privilege_type, is_grantable)
          FROM schema JOIN pg_proc p ON pronamespace = schema.oid, aclexplode(proacl) WHERE grantee <> proowner) AS g
END

my $ungranted = $node->safe_psql('planted', $grants);
unlike($ungranted, qr/ atlas_(?:submitter|reader|admin|authenticator) /, 'CREATE EXTENSION grants nothing to any role');
$node->safe_psql('planted', 'SELECT atlas_api_private.create_roles()');
my $granted = $node->safe_psql('planted', $grants);
cmp_ok(() = $granted =~ / atlas_(?:submitter|reader|admin) (?:EXECUTE|SELECT|USAGE) f$/mg,
	'>', 30, 'create_roles() makes roles and grants them what they need');
$node->safe_psql('planted', 'SELECT atlas_api_private.create_roles()');
is($node->safe_psql('planted', $grants), $granted, 'the second time it changes nothing');
unlike($granted, qr/ (?:INSERT|UPDATE|DELETE|TRUNCATE|REFERENCES|TRIGGER|CREATE) |\bt$/m,
	'no role may write to a table itself, or hand on what it was granted');

# ----- Nothing for PUBLIC -----

make_database($node, 'own_schema', extension => 0);
make_api($node, 'own_schema', schema => 'x');
$node->safe_psql('own_schema', 'CREATE ROLE stranger');

my $schemas = "('atlas_api'::regnamespace, 'atlas_api_private'::regnamespace, 'x'::regnamespace)";
is( $node->safe_psql('own_schema',
		"SELECT string_agg(p.oid::regprocedure::text, ', ' ORDER BY proname) FROM pg_proc p
		  WHERE pronamespace IN $schemas AND has_function_privilege('stranger', p.oid, 'EXECUTE')"),
	'x.atlas_tenant(), x.event_id_at(timestamp with time zone)',
	'a role without grants may ask for its own tenant and for the event id of a time, and execute nothing else');
is( $node->safe_psql('own_schema',
		"SELECT string_agg(c.oid::regclass::text, ',') FROM pg_class c
		  WHERE relnamespace IN $schemas AND CASE
		        WHEN relkind = 'S' THEN has_sequence_privilege('stranger', c.oid, 'SELECT, USAGE, UPDATE')
		        WHEN relkind IN ('r', 'p', 'v') THEN
		            has_table_privilege('stranger', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE') OR
		            has_any_column_privilege('stranger', c.oid, 'SELECT, INSERT, UPDATE') END"),
	'',
	'it may read or write no table, view or sequence');
is( $node->safe_psql('own_schema',
		"SELECT count(*) FROM pg_namespace WHERE oid IN $schemas
		    AND has_schema_privilege('stranger', oid, 'USAGE, CREATE')"),
	'0',
	'it may not look into the schemas');
works_ok('own_schema', 'x');

# ----- A schema atlas_api that is there already -----

make_database($node, 'taken');
$node->safe_psql('taken', 'CREATE ROLE mallory');

for my $plant (
	[ 'a table',    'CREATE TABLE atlas_api.events (id int)' ],
	[ 'a view',     'CREATE VIEW atlas_api.event_logs AS SELECT 1' ],
	[ 'a function', 'CREATE FUNCTION atlas_api.event(uuid) RETURNS json LANGUAGE sql RETURN NULL::json' ],
	[ 'a type',     'CREATE TYPE atlas_api.status AS ENUM ()' ],
	[ 'an operator', 'CREATE OPERATOR atlas_api.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)' ],
	[ 'an owner who is no superuser', 'ALTER SCHEMA atlas_api OWNER TO mallory' ],
	[ 'somebody who may create things in it', 'GRANT CREATE ON SCHEMA atlas_api TO mallory' ])
{
	my ($what, $statement) = @$plant;

	$node->safe_psql('taken', "CREATE SCHEMA atlas_api; $statement");
	fails_ok($node, 'taken', $create, '42P06', "the API does not go into a schema with $what");
	$node->safe_psql('taken', 'DROP EXTENSION IF EXISTS atlas_events_api; DROP SCHEMA atlas_api CASCADE');
}
$node->safe_psql('taken', 'CREATE SCHEMA atlas_api_private AUTHORIZATION mallory');
fails_ok($node, 'taken', $create, '42P06', 'nor does it use an atlas_api_private that is there');
$node->safe_psql('taken', "DROP SCHEMA atlas_api_private; CREATE SCHEMA atlas_api; $create");
pass('it goes into an empty schema of a superuser');

# ----- Dump and restore -----

make_database($node, 'atlas', extension => 0);
make_api($node, 'atlas');
works_ok('atlas', 'public');
$node->safe_psql('atlas', <<'END');
CREATE TABLE orders (id bigint PRIMARY KEY);
SELECT atlas_register_object_type('ORDER', 'orders', aliases => '{PURCHASE}');
END
api_submit($node, 'atlas', event_of(externalId => "-$_"), claims => { tenant => "t$_", sub => 'shop' }) for 1 .. 3;
my $one = api_submit($node, 'atlas', event_of(name => 'Of a tenant'), claims => { tenant => 't1' });
is($one->{status}, 200, 'there is an event of a tenant in the dump');

my $rejections = 'SELECT count(*), string_agg(r::text, chr(10) ORDER BY rejection_id) FROM atlas_rejections r';
my @same = (
	[ grants => $grants ],
	[ rejections => $rejections ],
	[ 'sequence of rejections' => 'SELECT last_value, is_called FROM atlas_rejections_rejection_id_seq' ],
	[ events => 'SELECT count(*), string_agg(e::text, chr(10) ORDER BY event_id) FROM atlas_events e' ],
	[ links => 'SELECT count(*), string_agg(l::text, chr(10) ORDER BY event_id, object_type) FROM atlas_event_links l' ],
	[ 'object types' => 'SELECT string_agg(t::text, chr(10) ORDER BY "objectType") FROM atlas_api.object_types t' ],
	[
		views => q{SELECT string_agg(concat_ws(' ', c.oid::regclass, reloptions, pg_get_viewdef(c.oid)), chr(10) ORDER BY relname)
			   FROM pg_class c WHERE relnamespace = 'atlas_api'::regnamespace AND relkind = 'v'}
	]);
my %expected = map { $_->[0] => $node->safe_psql('atlas', $_->[1]) } @same;
like($expected{rejections}, qr/^4\|/, 'so are four rejections');

$node->safe_psql('atlas', 'CREATE ROLE boss SUPERUSER LOGIN');
my $dump = $node->basedir;
$node->command_ok([ 'pg_dump', '-d', 'atlas', '-f', "$dump/plain.sql" ], 'pg_dump as a script');
$node->command_ok([ 'pg_dump', '-d', 'atlas', '-Fc', '-f', "$dump/custom" ], 'pg_dump -Fc');

for my $restore (
	[ by_pg_restore => 'pg_restore', "$dump/custom" ],
	[ by_another => 'pg_restore', '-U', 'boss', "$dump/custom" ],
	[ by_another_psql => 'psql', '-U', 'boss', '-X', '-q', '-o', '/dev/null', '-v', 'ON_ERROR_STOP=1', '-f', "$dump/plain.sql" ])
{
	my ($database, @command) = @$restore;

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
	$node->command_checks_all([ @command, '-d', $database ],
		0, [qr/^$/], [qr/^$/], "restored $database: no error, no warning");
	is($node->safe_psql($database, $_->[1]), $expected{ $_->[0] }, "$database: same $_->[0]") foreach @same;
	works_ok($database, 'public');
	is($node->safe_psql($database, 'SELECT count(*), count(DISTINCT rejection_id) FROM atlas_rejections'),
		'5|5', "$database: a new rejection has an id of its own");
}

# ----- Dropping it -----

fails_ok($node, 'atlas', 'DROP EXTENSION atlas_events', '2BP01',
	'atlas_events cannot be dropped while the API stands on it');
my $events = 'SELECT count(*), string_agg(e::text, chr(10) ORDER BY event_id) FROM atlas_events e';
my $before = $node->safe_psql('atlas', $events);
like($before, qr/^2\|/, 'there are events');
$node->safe_psql('atlas', 'DROP EXTENSION atlas_events_api');
is($node->safe_psql('atlas', $events), $before, 'DROP EXTENSION atlas_events_api leaves the events as they are');
is($node->safe_psql('atlas', $rejections), $expected{rejections}, 'and the rejections');
is( $node->safe_psql('atlas',
		"SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname LIKE 'atlas\\_api%'"),
	'0', 'and nothing of the API');
like($node->safe_psql('atlas', 'SELECT submit_event(' . quoted(event_of()) . ')'),
	qr/"message":"Event Linked"/, 'events can be submitted still');
make_api($node, 'atlas');
works_ok('atlas', 'public');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
