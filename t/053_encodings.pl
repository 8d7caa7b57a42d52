# Databases of other encodings: what an encoding cannot represent, and bytes that are
# no text, refuse the event that has them and no other.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('encodings', settings => 'atlas_events.linking = off');

sub make_encoded
{
	my ($encoding) = @_;
	my $database = lc $encoding;

	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, <<'END');
SET client_min_messages = warning;
CREATE TABLE tickets (id bigint PRIMARY KEY);
INSERT INTO tickets VALUES (1);
CREATE EXTENSION atlas_events_api CASCADE;
SELECT atlas_discover_object_types();
-- A text of these bytes of the server's encoding, whatever they are, as input from a client of that encoding is.
CREATE FUNCTION raw(bytes bytea) RETURNS text LANGUAGE sql AS $$
    SELECT convert_from(bytes, getdatabaseencoding())
$$;
END
	return $database;
}

# The results of a batch: index, status and details of each.
sub results_of
{
	my ($database, $events) = @_;

	return $node->safe_psql($database, <<"END");
SELECT r->>'index', r->>'status', coalesce(r->>'details', '')
  FROM json_array_elements(submit_events($events) -> 'results') r
END
}

# An event in SQL: text with \\x escapes, as bytes.
sub event_in_sql
{
	my ($name, $rest) = @_;

	return qq({"objectType":"TICKET","objectId":1,"name":"$name"$rest});
}

sub bytes_in_sql
{
	my ($text) = @_;
	return q{raw('\x} . unpack('H*', $text) . q{')};
}

# ----- SQL_ASCII: text is bytes -----

my $ascii = make_encoded('SQL_ASCII');
my $good = event_in_sql("\xc3\xa9", q{,"payload":{"a":"é"}});
utf8::encode($good) if utf8::is_utf8($good);
my @bad = (
	event_in_sql("\xe9", ''), event_in_sql('x', qq(,"payload":{"a":"\xe9"})),
	event_in_sql('x', qq(,"relatedObjects":[{"objectId":"\xff"}])), event_in_sql('x', qq(,"icon":"\xf0\x9f\x93")));

is(results_of($ascii, bytes_in_sql('[' . join(",\n", $good, @bad, $good) . ']')), <<'END' =~ s/\n\z//r, 'SQL_ASCII: a bad byte refuses the item that has it');
0|200|
1|400|line 2, column 44: unable to decode byte 0xe9
2|400|/payload: line 3, column 63: has bytes that are no UTF-8
3|400|line 4, column 78: unable to decode byte 0xff
4|400|line 5, column 55: unable to decode byte 0xf0
5|200|
END
for my $event (@bad)
{
	my ($code, undef, $error) = $node->psql($ascii, '\set VERBOSITY verbose' . "\nSELECT submit_event(" . bytes_in_sql($event) . ')');
	like($error, qr/ERROR:  PT400: Invalid Event/, 'SQL_ASCII: it refuses a single event with PT400');
}
is($node->safe_psql($ascii, 'SELECT count(*), count(DISTINCT payload) FROM atlas_events'), '2|1', 'SQL_ASCII: the good ones are stored');

# Without JSON a text may be any bytes; an icon is one of the characters of UTF-8.
ok($node->safe_psql($ascii, q{SELECT submit_event('TICKET', '1', raw('\xe9'))}), 'SQL_ASCII: a name in another encoding is accepted');
like(($node->psql($ascii, q{SELECT submit_event('TICKET', '1', 'x', icon => raw('\xe9'))}))[2],
	qr/Invalid Event.*\/icon/s, 'SQL_ASCII: an icon in another encoding is refused');
is(results_of($ascii, bytes_in_sql("\xef\xbb\xbf[$good]")), '0|200|', 'SQL_ASCII: a byte order mark is skipped');
is($node->safe_psql($ascii, "SELECT (submit_events(" . bytes_in_sql("[{\"\xc3\xa9\":1}]") . ") -> 'results' -> 0 -> 'errors' -> 0)::jsonb ->> 'field' = '/' || raw('\\xc3a9')"),
	't', 'SQL_ASCII: what is said of an item can be read as jsonb');

# ----- LATIN1: what it does not have -----

my $latin1 = make_encoded('LATIN1');
my $events = join(",\n",
	event_in_sql("\xe9", qq(,"payload":{"a":"\xe9"},"icon":"\xe9")),
	event_in_sql('\u00e9', ''),
	event_in_sql('\u20ac', ''),
	event_in_sql('x', q(,"payload":{"a":"\u20ac"})),
	event_in_sql('x', q(,"relatedObjects":[{"objectType":"USER","objectId":"\u20ac"},{"\u20ac":1},{"objectType":"USER","objectId":"7"}])),
	event_in_sql('x', q(,"\u20ac":1)),
	event_in_sql("\xe9\xe9", ' x'));
my $results = results_of($latin1, bytes_in_sql("[$events]"));
like($results, qr/^0\|200\|\n1\|200\|\n2\|400\|\/name: has a character that the encoding of the database does not have\n3\|400\|\/payload: line 4, column 57: .*\n4\|200\|\n5\|400\|\/\?: is not a field of the Events API\n6\|400\|line 7, column 49: '}' expected\z/,
	'LATIN1: a character that it does not have refuses the item that has it') or diag($results);
is($node->safe_psql($latin1, q{SELECT string_agg(r->>'reason', '|') FROM atlas_events, jsonb_array_elements(related_objects) r}),
	'objectId has a character that the encoding of the database does not have|? is not a field of the Events API',
	'LATIN1: it is noted with a related object');
is($node->safe_psql($latin1, q{SELECT count(*) FROM atlas_events WHERE name = raw('\xe9')}),
	'2', 'LATIN1: the same character is the same, written as an escape or not');

# ----- WIN1251: a text may have what UTF-8 does not have -----

my $win1251 = make_encoded('WIN1251');
$results = results_of($win1251, bytes_in_sql('[' . join(",\n", event_in_sql("\xcf", ''), event_in_sql("\x98", ''), event_in_sql("\xcf\xcf", ' x')) . ']'));
is($results, <<"END" =~ s/\n\z//r, 'WIN1251: a character that UTF-8 does not have refuses the item that has it');
0|200|
1|400|line 2, column 0: has a character that UTF-8 does not have
2|400|line 3, column 49: '}' expected
END

# ----- A byte order mark -----

make_database($node, 'utf8');
$node->safe_psql('utf8', "SET client_min_messages = warning; CREATE EXTENSION atlas_events_api");
my $event = q({"objectType":"TICKET","objectId":1,"name":"BOM"});
for my $database ('utf8', $ascii, $latin1)
{
	# As a body of any bytes; a text of LATIN1 has none.
	is($node->safe_psql($database, "SELECT value FROM atlas_api_private.text_of('\\xefbbbf'::bytea || '$event')"),
		$event, "$database: it is skipped in bytes");
}
is($node->safe_psql('utf8', "SELECT (submit_event(chr(65279) || '$event') ->> 'message')"), 'Event Linked', 'UTF8: it is skipped in text');
is($node->safe_psql('utf8', <<"END"), '{"name": 1}', 'UTF8: a refused item of a batch with one is noted as it was sent');
SELECT r.refused -> 0 ->> 'request'
  FROM (SELECT chr(65279) || '[{"name": 1}]' AS batch) b,
       atlas_api_private.refused_items(submit_events(batch) -> 'results', substr(batch, 2)::json) r
END

$node->stop;
done_testing();
