# A request is checked before anything else, a refused one is answered and
# noted, and nobody but PostgREST is believed when he says who he is.

use strict;
use warnings;

use AtlasApiTest;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('requests', streaming => 1, settings => 'atlas_events.linking = off');
make_database($node, 'atlas', extension => 0);
make_api($node, 'atlas');

my %t1 = (claims => { tenant => 't1', sub => 'shop' });
my %t2 = (claims => { tenant => 't2', sub => 'shop' });
my $unknown = event_of(externalId => '0');

# What superusers see of the rejections.
sub rejections
{
	my ($columns, $condition) = @_;

	return $node->safe_psql('atlas',
		"SELECT $columns FROM atlas_rejections WHERE $condition");
}

# The text of a batch of so many events of an unknown object.
sub unknown_events
{
	my ($count) = @_;

	return '[' . join(',', ($unknown) x $count) . ']';
}

sub submit_batch
{
	my ($batch, %request) = @_;

	return api_call($node, 'atlas', 'atlas_api.submit_events(' . quoted($batch) . '::text)',
		role => 'atlas_submitter', %request);
}

# ----- check_request() -----

my $whoami = "json_build_object('tenant', atlas_api_private.tenant())";

for my $bad (
	[ 'without claims',           { no_claims => 1 },                            'no claim "role"' ],
	[ 'without role',             { claims => { role => undef } },               'no claim "role"' ],
	[ 'whose role is a number',   { claims => { role => 1 } },                   'no claim "role"' ],
	[ 'without audience',         { claims => { aud => undef } },                'audience' ],
	[ 'for another audience',     { claims => { aud => 'atlas' } },              'audience' ],
	[ 'for several others',       { claims => { aud => [ 'a', 'b' ] } },         'audience' ],
	[ 'whose tenant is a number', { claims => { tenant => 1 } },                 'claim "tenant"' ],
	[ 'whose tenant is null',     { claims => { tenant => undef } },             'claim "tenant"' ],
	[ 'whose tenant is empty',    { claims => { tenant => '' } },                'claim "tenant"' ],
	[ 'whose tenant is too long', { claims => { tenant => 'x' x 256 } },         'claim "tenant"' ],
	[ 'whose tenant is a list',   { claims => { tenant => ['t1'] } },            'claim "tenant"' ])
{
	my ($what, $request, $why) = @$bad;
	my $answer = api_call($node, 'atlas', $whoami, %$request);

	is($answer->{error}, 'PT401', "a token $what is answered with 401");
	like($answer->{errors}, qr/ERROR:  PT401: Unauthorized\nDETAIL:  .*$why/, "which says why, a token $what");
}
for my $settings ({ audience => undef }, { audience => '' })
{
	is(api_call($node, 'atlas', $whoami, settings => $settings)->{error},
		'PT500', 'a PostgREST that does not say which audience is answered with 500');
}
is(api_call($node, 'atlas', $whoami, claims => { aud => [ 'a', 'atlas_events' ] })->{body}{tenant},
	'', 'one audience of several is enough, and no tenant is the empty one');
is(api_call($node, 'atlas', $whoami, %t1)->{body}{tenant}, 't1', 'the tenant is that of the token');

for my $kind (qw(planned estimated))
{
	is(api_call($node, 'atlas', $whoami, %t1, headers => { prefer => "count=$kind" })->{error},
		'PT400', "no count is $kind, which would be made of other tenants' rows");
}

for my $end ('COMMIT', 'ROLLBACK')
{
	my ($tenants) = api_session($node, 'atlas', "SELECT atlas_api_private.tenant();\n$end;\nBEGIN;",
		%t1, after => "SET ROLE atlas_reader; SELECT atlas_api_private.tenant() = '';");
	is($tenants, "t1\nt", "after $end the connection has no tenant");
}
for my $statement (
	q{SET atlas_events.tenant = 't2'},
	q{SET LOCAL atlas_events.tenant = 't2'},
	q{SELECT set_config('atlas_events.tenant', 't2', true)})
{
	my ($output, $errors) = api_session($node, 'atlas', "$statement;", %t1);
	like($errors, qr/ERROR:  42501: /, "the role of a token may not: $statement");
}

# ----- Refused requests -----

my $long = event_of(externalId => '0', payload => { text => "\xc3\xa4" x 2000 });
my $answer = api_submit($node, 'atlas', $long, %t1, headers => { 'x-request-id' => 'request-0001' });
refused_ok($answer, 404, 'an event of an unknown object is answered with 404');
is($answer->{headers}{'X-Request-Id'}, 'request-0001', 'and with the id of the request');
is($answer->{body}{requestId}, 'request-0001', 'which is in the body too');
is( rejections('tenant_id, role, subject, status, code, message, item_index, details = ' . quoted($answer->{body}{details}),
		"request_id = 'request-0001'"),
	't1|atlas_submitter|shop|404|PT404|Object Not Found||t',
	'once that is committed, the rejections say who and why');
is(rejections('char_length(request), request = left(' . quoted($long) . ', 1000)', "request_id = 'request-0001'"),
	'1000|t', 'and how the request began');

my @bad_objects = map { [] } 1 .. 20;
$answer = api_submit($node, 'atlas', event_of(relatedObjects => \@bad_objects),
	%t1, headers => { 'x-request-id' => 'request-0002' });
refused_ok($answer, 400, 'an invalid event is answered with 400');
is(scalar(@{ $answer->{body}{errors} }), 20, 'and with all of its problems');
is(rejections("jsonb_array_length(errors), errors->9->>'field'", "request_id = 'request-0002'"),
	'10|/relatedObjects/9', 'of which the first ten are noted');

for my $id ('short', "request-1\nX-Evil: 1", 'x' x 41)
{
	$answer = api_submit($node, 'atlas', $unknown, %t1, headers => { 'x-request-id' => $id });
	like($answer->{headers}{'X-Request-Id'}, qr/^[0-9a-f-]{36}$/, 'an id of a request that is none is replaced');
}
$answer = api_submit($node, 'atlas', event_of(name => 'Once'), %t1, headers => { 'idempotency-key' => 'once' });
is($answer->{status}, 200, 'an event is stored under the key of the header');
refused_ok(api_submit($node, 'atlas', event_of(name => 'Twice'), %t1, headers => { 'idempotency-key' => 'once' }),
	409, 'another one under the same key is answered with 409');

my $count = rejections('count(*)', 'true');
is(submit_batch('[' . event_of() . ']', %t1)->{status}, 200, 'a batch of which all is stored is answered with 200');
is(submit_batch('[' . event_of() . ",$unknown]", %t1)->{status}, 207, 'one of which a part is stored with 207');
refused_ok(submit_batch("[$unknown,$unknown]", %t1), 400, 'one of which nothing is stored with 400');
is(rejections('string_agg(item_index::text, \',\' ORDER BY rejection_id), count(DISTINCT request_id)',
		"item_index IS NOT NULL"),
	'1,0,1|2', 'each item that was refused is noted with its place');
is(rejections('count(*)', 'true'), $count + 3, 'and nothing else is');

# ----- Errors that nobody has foreseen -----

$node->safe_psql('atlas', <<'END');
CREATE FUNCTION atlas_test.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'inside information' USING ERRCODE = TG_ARGV[0], DETAIL = 'inside detail', HINT = 'inside hint';
END $$;
CREATE TRIGGER fail BEFORE INSERT ON atlas_events FOR EACH ROW EXECUTE FUNCTION atlas_test.fail('XX000');
END
my $offset = log_size($node);
$answer = api_submit($node, 'atlas', event_of(), %t1, headers => { 'x-request-id' => 'request-0003' });
refused_ok($answer, 500, 'an error inside is answered with 500');
unlike(join("\n", values %{ $answer->{body} }, $answer->{errors}), qr/inside/, 'which says nothing of the inside');
like(log_since($node, $offset), qr/LOG:  request request-0003 failed: inside information\n.*DETAIL:  inside detail/,
	'the server log does, with the id of the request');
is( rejections("status, concat(details, hint, errors) LIKE '%inside%'", "request_id = 'request-0003'"),
	'500|f', 'the rejection says no more than the answer');
$node->safe_psql('atlas', 'DROP TRIGGER fail ON atlas_events');

for my $state ('XX000', '53100', '40001')
{
	$node->safe_psql('atlas', <<"END");
CREATE TRIGGER fail BEFORE INSERT ON atlas_rejections
    FOR EACH ROW EXECUTE FUNCTION atlas_test.fail('$state');
END
	$offset = log_size($node);
	refused_ok(api_submit($node, 'atlas', $unknown, %t1), 404, "a rejection that cannot be noted ($state) is answered");
	is(submit_batch('[' . event_of() . ",$unknown]", %t1)->{body}{accepted}, 1, 'what is good of a batch is stored then');
	like(log_since($node, $offset), qr/WARNING:  could not note a rejection: inside information/, 'and the server log says so');
	$node->safe_psql('atlas', 'DROP TRIGGER fail ON atlas_rejections');
}

my $holder = $node->background_psql('atlas');
$holder->query_safe('BEGIN; LOCK TABLE atlas_rejections');
refused_ok(api_submit($node, 'atlas', $unknown, %t1), 404, 'nor does an answer wait until a lock on the rejections is gone');
$holder->quit;

# ----- Room for rejections -----

# Rejections of a tenant, made so long ago.
sub old_rejections
{
	my ($tenant, $number, $age) = @_;

	return $node->safe_psql('atlas', <<"END");
INSERT INTO atlas_rejections (rejected_at, tenant_id, request_id, role, status, code, message)
SELECT now() - interval '$age', '$tenant', 'old', 'atlas_submitter', 404, 'PT404', 'Object Not Found'
  FROM generate_series(1, $number);
END
}

for my $age ([ '31 days', {}, '29 days' ], [ '2 hours', { rejections_max_age => '90 min' }, '1 hour' ])
{
	my ($old, $settings, $recent) = @$age;

	$node->safe_psql('atlas', 'TRUNCATE atlas_rejections');
	old_rejections('t1', 20, $old);
	old_rejections('t2', 20, $old);
	old_rejections('t2', 20, $recent);
	is(scalar(api_rows($node, 'atlas', 'rejections', '', %t2, settings => $settings)),
		20, "a rejection of $old ago is not seen any more");
	submit_batch(unknown_events(100), %t1, settings => $settings);
	is(rejections("count(*) FILTER (WHERE rejected_at < now() - interval '$recent' - interval '1 min'), count(*)", 'true'),
		'0|120', 'rejections that are too old go when a hundred come, those of other tenants as well');
}

$node->safe_psql('atlas', 'TRUNCATE atlas_rejections');
old_rejections($_, 150, '1 hour') for 't1', 't2';
submit_batch(unknown_events(120), %t1, settings => { rejections_max_rows => 50 });
is(rejections("string_agg(DISTINCT request_id, ','), count(*)", "tenant_id = 't1' AND request_id = 'old'"),
	'|0', 'the oldest rejections of a tenant go when it has too many');
is(rejections('count(*), min(item_index)', "tenant_id = 't1'"), '50|70', 'as many as are to be kept stay');
is(rejections('count(*)', "tenant_id = 't2'"), '150', 'those of other tenants all stay');

# ----- Sessions that are not PostgREST's -----

$node->safe_psql('atlas', <<'END');
TRUNCATE atlas_rejections;
CREATE ROLE app LOGIN;
GRANT atlas_submitter TO app;
CREATE ROLE auditor LOGIN;
GRANT atlas_reader TO auditor;
END
api_submit($node, 'atlas', $unknown, claims => { sub => 'shop' });
api_submit($node, 'atlas', $unknown, %t1);
is(scalar(api_rows($node, 'atlas', 'rejections', '', role => 'atlas_submitter', claims => { sub => 'shop' })),
	1, 'a submitter sees the rejections of its own');
is(scalar(api_rows($node, 'atlas', 'rejections', '', role => 'atlas_submitter', claims => { sub => 'other' })),
	0, 'and none of another subject');
is(scalar(api_rows($node, 'atlas', 'rejections', '', claims => { sub => 'other' })),
	1, 'a reader sees all of its tenant, and of no other');

my $stored = $node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events');
my $noted = $node->safe_psql('atlas', 'SELECT json_agg(r) FROM atlas_rejections r');

for my $login ([ app => 'atlas_submitter' ], [ auditor => 'atlas_reader' ])
{
	my ($name, $role) = @$login;
	my %forger = (login => $name, role => $role, %t1);

	is(api_call($node, 'atlas', $whoami, %forger)->{error},
		'42501', "check_request() refuses to be called by $name, whatever the claims");
	is(api_call($node, 'atlas', $whoami, %forger, unchecked => 1)->{body}{tenant},
		'', "$name has no tenant by made-up claims");
	my ($output, $errors) = api_session($node, 'atlas', q{SELECT set_config('atlas_events.tenant', 't1', true);},
		%forger, unchecked => 1);
	like($errors, qr/ERROR:  42501: /, "$name may not set the tenant");
	for my $table ('public.atlas_rejections', 'atlas_api_private.rejections')
	{
		($output, $errors) = api_session($node, 'atlas',
			"INSERT INTO $table (tenant_id, request_id, role, status, code, message)
			 VALUES ('t1', 'x', 'x', 404, 'PT404', 'x');", %forger, unchecked => 1);
		like($errors, qr/ERROR:  42501: /, "$name may not write to $table");
	}
}
my %app = (login => 'app', role => 'atlas_submitter', unchecked => 1, claims => { sub => 'shop' });
is(scalar(api_rows($node, 'atlas', 'rejections', '', %app)), 0, 'a login role sees no rejections of others by made-up claims');
refused_ok(api_submit($node, 'atlas', $unknown, %app), 404, 'its own refused event is answered');
api_call($node, 'atlas', q{atlas_api_private.note_rejections('[{"status": 404, "code": "PT404", "message": "x"}]')}, %app);
is($node->safe_psql('atlas', 'SELECT json_agg(r) FROM atlas_rejections r'),
	$noted, 'and leaves no rejection, nor does one that it makes up');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events'), $stored, 'and no event is stored');
is(scalar(api_rows($node, 'atlas', 'event_logs', '', login => 'auditor', unchecked => 1, %t1)),
	0, 'a login role that reads sees no events of a tenant by made-up claims');
cmp_ok(scalar(api_rows($node, 'atlas', 'event_logs', '', %t1)), '>', 1, 'there are some');

# ----- A standby -----

$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('flush'));

for my $read (
	[ 'the log' => 'event_logs', %t1 ],
	[ 'the rejections' => 'rejections', %t1 ],
	[ 'the object types' => 'object_types' ],
	[ 'the state of the linking' => 'status', role => 'atlas_admin' ])
{
	my ($what, $view, %request) = @$read;
	my @here = api_rows($standby, 'atlas', $view, '', %request);
	my @there = api_rows($node, 'atlas', $view, '', %request);

	is(scalar(@here), scalar(@there), "$what can be read on a standby");
}
my $timeline = "atlas_api.timeline('CUSTOMER', md5('customer-1')::uuid::text)";
my %get = (role => 'atlas_reader', read_only => 1, %t1);
is_deeply(api_call($standby, 'atlas', $timeline, %get), api_call($node, 'atlas', $timeline, %get), 'so can a timeline');

$answer = api_submit($standby, 'atlas', event_of(), %t1, headers => { 'x-request-id' => 'request-0004' });
refused_ok($answer, 500, 'an event is answered with 500 there');
unlike($answer->{errors}, qr/ERROR/, 'and not with an error');
like(slurp_file($standby->logfile), qr/LOG:  request request-0004 failed: .*read-only/, 'of which the log says why');
refused_ok(api_submit($standby, 'atlas', $unknown, %t1), 404, 'one of an unknown object is answered with 404');

$standby->stop;
$node->stop;
done_testing();
