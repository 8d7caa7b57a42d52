=pod

=head1 NAME

AtlasApiTest - what the TAP tests of atlas_events_api have in common

=head1 DESCRIPTION

Calls the API as PostgREST does: in a session of atlas_authenticator and in one
transaction that takes on the role of the token, has its claims, the headers and
the settings of PostgREST in place, runs check_request(), and then the call. The
answer's status and headers are what the call has left in response.status and
response.headers.

=cut

package AtlasApiTest;

use strict;
use warnings;

use AtlasTest;
use Exporter 'import';
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  make_api quoted event_of api_session api_call api_submit api_rows api_page
  refused_ok fails_ok
);

# Strings are UTF-8 on both sides, as they come from psql and go to it.
my $json = JSON::PP->new->canonical->allow_nonref;

# make_api(NODE, DATABASE, schema => NAME OF ITS OWN FOR atlas_events)
# The API and its roles in a database of make_database(extension => 0).
sub make_api
{
	my ($node, $database, %options) = @_;
	my $core = $options{schema} // 'public';

	$node->safe_psql($database, "CREATE SCHEMA $core; CREATE EXTENSION atlas_events SCHEMA $core")
	  if $core ne 'public';
	$node->safe_psql($database, <<"END");
SET client_min_messages = warning;
CREATE EXTENSION atlas_events_api CASCADE;
SELECT $core.atlas_discover_object_types();
SELECT atlas_api_private.create_roles();
END
	return;
}

# A text as SQL has it.
sub quoted
{
	my ($text) = @_;

	return "'" . $text =~ s/'/''/gr . "'";
}

# event_of(FIELD => VALUE...): an event that is accepted, as JSON.
sub event_of
{
	my (%fields) = @_;

	return $json->encode(
		{ objectType => 'CUSTOMER', externalId => '190001', name => 'Cart Viewed', %fields });
}

# ----- Sessions of PostgREST -----

# How PostgREST begins: claims, headers and settings of the request in place.
sub settings_of
{
	my (%request) = @_;
	my $role = $request{role} // 'atlas_admin';
	my %claims = (role => $role, aud => 'atlas_events', %{ $request{claims} // {} });
	my %settings = (audience => 'atlas_events', %{ $request{settings} // {} });
	my %local = (
		'search_path' => '"atlas_api", "pg_catalog"',
		'role' => $role,
		'request.path' => $request{path},
		'request.headers' => $json->encode($request{headers} // {}),
		'request.jwt.claims' => $request{no_claims} ? '' : $json->encode(\%claims),
		map { ("app.settings.$_" => $settings{$_}) } keys %settings);

	return join ', ', map { "set_config('$_', " . quoted($local{$_}) . ', true)' }
	  grep { defined $local{$_} } sort keys %local;
}

# api_session(NODE, DATABASE, SQL, role =>, claims =>, headers =>, settings =>)
# Runs SQL as PostgREST would. The claims, headers and settings come on top of
# what makes a good request. no_claims => 1 is a request without any;
# path => TEXT is that of PostgREST; read_only => 1 is a GET; login => ROLE is somebody who is not PostgREST, and
# unchecked => 1 leaves out check_request(), as he would; after => SQL runs
# after the transaction. Returns output and errors.
sub api_session
{
	my ($node, $database, $sql, %request) = @_;
	my $begin = $request{read_only} ? 'BEGIN READ ONLY' : 'BEGIN';
	my $check = $request{unchecked} ? '' : 'SELECT atlas_api_private.check_request() \g /dev/null';
	my $after = $request{after} // '';
	my ($code, $stdout, $stderr) = $node->psql(
		$database, <<"END",
\\set VERBOSITY verbose
$begin;
SELECT ${\ settings_of(%request) } \\g /dev/null
$check
$sql
COMMIT;
$after
END
		extra_params => [ '-U', $request{login} // 'atlas_authenticator' ],
		on_error_stop => !$request{after});

	return ($stdout, $stderr);
}

# api_call(NODE, DATABASE, EXPRESSION, REQUEST): the answer to a request, with
# status, headers and body; or error, the SQLSTATE, and errors, all of it.
sub api_call
{
	my ($node, $database, $expression, %request) = @_;
	my ($stdout, $stderr) = api_session($node, $database, <<"END", %request);
SELECT coalesce(($expression)::text, 'null') AS body \\gset
SELECT json_build_object(
    'status', coalesce(nullif(current_setting('response.status', true), ''), '200')::int,
    'headers', coalesce(nullif(current_setting('response.headers', true), ''), '[]')::json,
    'body', :'body'::json)::text;
END

	return { error => $1, errors => $stderr } if $stderr =~ /ERROR:  (\w{5}): /;
	die "no answer to $expression: $stderr" if $stdout eq '';
	my $answer = $json->decode($stdout);
	$answer->{headers} = { map { %$_ } @{ $answer->{headers} } };
	return { %$answer, errors => $stderr };
}

# api_submit(NODE, DATABASE, EVENT AS JSON, REQUEST): POST of an event.
sub api_submit
{
	my ($node, $database, $event, %request) = @_;

	return api_call($node, $database, 'atlas_api.submit_event(' . quoted($event) . '::text)',
		role => 'atlas_submitter', path => '/rpc/submit_event', %request);
}

# api_page(VIEW, CONDITIONS, ORDER, LIMIT): a query as PostgREST makes it.
sub api_page
{
	my ($view, $rest) = @_;

	return qq{WITH pgrst_source AS ( SELECT "atlas_api"."$view".* FROM "atlas_api"."$view" $rest )
		SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total,
		       coalesce(json_agg(_postgrest_t), '[]') AS body
		  FROM ( SELECT * FROM pgrst_source ) _postgrest_t};
}

# api_rows(NODE, DATABASE, VIEW, CONDITIONS, REQUEST): GET of a view; its rows.
sub api_rows
{
	my ($node, $database, $view, $rest, %request) = @_;
	my $page = api_page($view, $rest);
	my $answer = api_call($node, $database, "SELECT body FROM ($page) AS page",
		role => 'atlas_reader', read_only => 1, %request);

	die "$view cannot be read: $answer->{errors}" if defined $answer->{error};
	return @{ $answer->{body} };
}

# ----- Checks -----

# The answer is an error with a status, in the form of the API.
sub refused_ok
{
	my ($answer, $status, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $code = $answer->{error} // "$answer->{status} " . ($answer->{body}{code} // '');

	return is($code, "$status PT$status", $name);
}

# A statement of a superuser fails with an SQLSTATE.
sub fails_ok
{
	my ($node, $database, $statement, $state, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($code, $stdout, $stderr) =
	  $node->psql($database, "\\set VERBOSITY verbose\n$statement");

	return like($stderr, qr/ERROR:  $state: /, $name);
}

1;
