# Claims, headers and settings of a request are believed in sessions of
# PostgREST only: not in those of superusers and of background processes, in
# which code of other roles runs, and not in those of any other role.

use strict;
use warnings;

use AtlasApiTest;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('sessions', settings => 'autovacuum_naptime = 1s');
make_database($node, 'atlas', extension => 0);
make_api($node, 'atlas');

my %victim = (claims => { tenant => 'victim', sub => 'shop' });
my $whoami = "json_build_object('tenant', atlas_api_private.tenant())";
my $is_request = 'to_json(atlas_api_private.is_request())';

# ----- Whose sessions are requests -----

$node->safe_psql('atlas', <<'END');
CREATE ROLE boss LOGIN SUPERUSER;
CREATE ROLE member LOGIN;
GRANT atlas_authenticator, atlas_submitter, atlas_reader, atlas_admin TO member;
CREATE ROLE app LOGIN;
GRANT atlas_submitter, atlas_reader TO app;
END

is(api_call($node, 'atlas', $is_request, %victim)->{body}, 1, 'a session of atlas_authenticator is a request');
for my $login (qw(boss member app))
{
	my %forger = (login => $login, role => 'atlas_submitter', %victim);

	is(api_call($node, 'atlas', $whoami, %forger)->{error}, '42501', "check_request() refuses to be called by $login");
	is(api_call($node, 'atlas', $is_request, %forger, unchecked => 1)->{body} ? 1 : 0,
		0, "a session of $login is no request");
	is(api_call($node, 'atlas', 'to_json(atlas_api_private.subject())', %forger, unchecked => 1)->{body},
		undef, "$login has no subject by made-up claims");
	is( api_call($node, 'atlas', 'to_json(atlas_api_private.rejection_age() || chr(32) || atlas_api_private.rejection_rows())',
			%forger, unchecked => 1, settings => { rejections_max_age => '1 s', rejections_max_rows => 1 })->{body},
		'30 days 100000', "$login does not say how long rejections are kept");
	refused_ok(api_submit($node, 'atlas', event_of(externalId => '0'), %forger, unchecked => 1), 404,
		"an event that $login submits is refused");
}
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rejections'), '0', 'none of it is noted');

# ----- An index expression of a submitter -----

# It makes up a request of another tenant, and notes where it ran. An immutable
# function writes nothing, but may call one that does.
$node->safe_psql('atlas', <<'END');
CREATE ROLE mallory LOGIN;
GRANT atlas_submitter, pg_read_all_stats TO mallory;
CREATE SCHEMA mallory AUTHORIZATION mallory;
SET ROLE mallory;
CREATE TABLE mallory.notes (backend text, outcome text);
CREATE FUNCTION mallory.act() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    outcome text := 'believed';
BEGIN
    PERFORM set_config('app.settings.audience', 'atlas_events', true),
            set_config('request.headers', '{}', true),
            set_config('request.jwt.claims', '{"role": "atlas_submitter", "aud": "atlas_events", "tenant": "victim", "sub": "shop"}', true);
    BEGIN
        PERFORM atlas_api_private.check_request();
        PERFORM atlas_api.submit_event('{"objectType": "CUSTOMER", "externalId": "190001", "name": "Forged"}'::text),
                atlas_api.submit_event('{"objectType": "CUSTOMER", "externalId": "0", "name": "Forged"}'::text);
    EXCEPTION WHEN OTHERS THEN
        outcome := SQLSTATE;
    END;
    INSERT INTO mallory.notes
    SELECT backend_type, outcome FROM pg_stat_activity WHERE pid = pg_backend_pid();
END $$;
CREATE FUNCTION mallory.expression(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM mallory.act();
    RETURN $1;
END $$;
CREATE TABLE mallory.bait (id text);
CREATE INDEX ON mallory.bait (mallory.expression(id));
ALTER TABLE mallory.bait SET (autovacuum_analyze_threshold = 1, autovacuum_analyze_scale_factor = 0);
INSERT INTO mallory.bait SELECT n::text FROM generate_series(1, 100) n;
END
wait_until($node, 'atlas', "SELECT EXISTS (SELECT FROM mallory.notes WHERE backend LIKE 'autovacuum%')",
	'autovacuum has evaluated the expression');
$node->safe_psql('atlas', 'ANALYZE mallory.bait; REINDEX TABLE mallory.bait');
is( $node->safe_psql('atlas', "SELECT DISTINCT backend || ' ' || outcome FROM mallory.notes ORDER BY 1"),
	"autovacuum worker 42501\nclient backend 42501",
	'it is believed neither in autovacuum nor in a session of a superuser');
is($node->safe_psql('atlas', "SELECT count(*) FROM atlas_events WHERE tenant_id = 'victim'"),
	'0', 'no event is stored for another tenant');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rejections'), '0', 'and no rejection is noted');

# The same table, analyzed in a session of PostgREST: code of others is no request there either.
$node->safe_psql('atlas', 'TRUNCATE mallory.notes; GRANT mallory TO atlas_authenticator');
$node->safe_psql('atlas', 'SET ROLE mallory; ANALYZE mallory.bait', extra_params => [ '-U', 'atlas_authenticator' ]);
is( $node->safe_psql('atlas', "SELECT DISTINCT backend || ' ' || outcome FROM mallory.notes"),
	'client backend 42501', 'nor while the server executes it in a session of PostgREST');

# ----- How long a request may take, and where its names come from -----

for my $time (
	[ '/rpc/submit_event', '30s' ], [ '/rpc/submit_events', '30s' ], [ '/event_logs', '5s' ],
	[ '/rpc/timeline', '5s' ], [ '/', '5s' ], [ '/rpc/submit%5fevent', '5s' ])
{
	my ($path, $limit) = @$time;

	is( api_call($node, 'atlas', q{to_json(current_setting('statement_timeout'))}, path => $path)->{body},
		$limit, "what is asked of $path may take $limit");
}
is(api_call($node, 'atlas', q{to_json(current_setting('jit'))})->{body}, 'off', 'no plan is compiled');
is( api_call($node, 'atlas', q{to_json(current_setting('search_path'))}, path => '/event_logs')->{body},
	'atlas_api_refused, atlas_api, pg_catalog, pg_temp', 'operators and types that are refused come first');
is( api_call($node, 'atlas', q{to_json('pg_class'::regclass::oid::int)}, path => '/')->{body},
	1259, 'PostgREST itself may cast when it describes its resources');
my ($after) = api_session($node, 'atlas', '', path => '/event_logs',
	after => q{SELECT current_setting('statement_timeout'), current_setting('search_path');});
is($after, '30s|"$user", public', 'after the request both are those of the session');

# ----- Rejections of all tenants -----

$node->safe_psql('atlas', <<'END');
CREATE ROLE auditor LOGIN;
GRANT pg_read_all_data TO auditor;
END
api_submit($node, 'atlas', event_of(externalId => '0'), claims => { tenant => $_, sub => 'shop' }) for qw(t1 t2);
api_submit($node, 'atlas', event_of(externalId => '0'));
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rejections'),
	'3', 'there are rejections of three tenants');
for my $from ('atlas_rejections', 'atlas_api_private.rejections')
{
	my $seen = "SELECT count(*), min(tenant_id) FROM $from";
	my @as_auditor = (extra_params => [ '-U', 'auditor' ]);

	is($node->safe_psql('atlas', $seen, @as_auditor), '1|', "who may read every table sees those of its own tenant in $from");
	$node->safe_psql('atlas', q{ALTER ROLE auditor SET atlas_events.tenant = 't2'});
	is($node->safe_psql('atlas', $seen, @as_auditor), '1|t2', 'which may be one that it is pinned to');
	$node->safe_psql('atlas', 'ALTER ROLE auditor RESET atlas_events.tenant');
}
for my $who ([ 'a reader', 'atlas_reader' ], [ 'a submitter', 'atlas_submitter' ])
{
	my ($name, $role) = @$who;

	is(scalar(api_rows($node, 'atlas', 'rejections', '', role => $role, claims => { tenant => 't1', sub => 'shop' })),
		1, "$name sees those of the tenant of the token");
}

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
