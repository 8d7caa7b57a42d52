# Documents in databases of other encodings: events are found by what they have, and what
# cannot be converted takes nothing else with it.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('documents', settings => 'atlas_events.linking = off');

# The document of an event whose name and value are these bytes of the encoding, in UTF-8.
sub document_of
{
	my ($encoding, $bytes) = @_;
	my $database = lc $encoding;
	my $hex = unpack('H*', $bytes);

	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, <<'END');
SET client_min_messages = warning;
CREATE TABLE tickets (id bigint PRIMARY KEY);
INSERT INTO tickets VALUES (1);
CREATE EXTENSION atlas_events;
SELECT atlas_discover_object_types();
END
	return $node->safe_psql($database, <<"END");
SET client_encoding = @{[$encoding eq 'SQL_ASCII' ? 'SQL_ASCII' : 'UTF8']};
SET client_min_messages = warning;
SELECT submit_event('TICKET', '1', t, '&eacute; <b>' || t, payload => jsonb_build_object('k', t, t, 'v'))
  FROM convert_from('\\x$hex', getdatabaseencoding()) t \\gset
SELECT atlas_link_events() \\gset
SELECT translate(document::text, E'\\t', '|') FROM atlas_event_search WHERE problem IS NULL;
END
}

# Folding makes of the micro sign a Greek letter, which LATIN1 lacks.
is(document_of('LATIN1', "CAF\xc9 \xb5m x\xb2 \xdf"),
	q{'!' '#CONVERSATION' '2':4A,20B,35C '=cafe ?m x2 ss|v' '=k|cafe ?m x2 ss' '@cafe ?m x2 ss' 'cafe':1A,17B,32C 'e':16B 'm':2A,18B,33C 'ss':5A,21B,36C 'v':47C 'x':3A,19B,34C 'x2':3A,19B,34C},
	'LATIN1: a character that it lacks, and that folding makes of another one, is left out of the word');
is(document_of('KOI8R', "\xf0\xd2\xc9\xd7\xc5\xd412 \xb3"),
	q{'!' '#CONVERSATION' '12':2A,16B,29C '=k|привет12 е' '=привет12 е|v' '@привет12 е' 'eacute':14B 'v':41C 'е':3A,17B,30C 'привет':1A,15B,28C 'привет12':1A,15B,28C},
	'KOI8R: Cyrillic is folded, and an entity that it lacks stays as it is written');
is(document_of('EUC_JP', "\xca\xd6\xb6\xe2 \x8e\xb6\x8e\xde \xa3\xc1\xa3\xb1"),
	q{'!' '#CONVERSATION' '1':5A,21B,36C '=k|返金 ガ a1' '=返金 ガ a1|v' '@返金 ガ a1' 'a':4A,20B,35C 'a1':4A,20B,35C 'e':16B 'v':47C 'ガ':3A,19B,34C '金':2A,18B,33C '返金':1A,17B,32C},
	'EUC_JP: pairs of characters, and narrow and wide ones as the plain ones');
is(document_of('EUC_JIS_2004', "\xb6\xe2\xa4\xf7\xa4\xad"),
	q{'!' '#CONVERSATION' '=k|金かき' '=金かき|v' '@金かき' 'e':14B 'v':41C 'かき':2A,16B,29C 'き':3A,17B,30C '金か':1A,15B,28C},
	'EUC_JIS_2004: a character that is two in UTF-8');
is(document_of('WIN1251', "\xcf\x98\xcf x"),
	q{'!' '#CONVERSATION' '=k|п п x' '=п п x|v' '@п п x' 'eacute':14B 'v':41C 'x':3A,17B,30C 'п':1A,2A,15B,16B,28C,29C},
	'WIN1251: a character that UTF-8 lacks is a blank');
is(document_of('SQL_ASCII', "caf\xe9 caf\xc3\xa9 x\xff12"),
	q{'!' '#CONVERSATION' '12':4A,19B,33C '=caf cafe x 12|v' '=k|caf cafe x 12' '@caf cafe x 12' 'caf':1A,16B,30C 'cafe':2A,17B,31C 'e':15B 'v':44C 'x':3A,18B,32C},
	'SQL_ASCII: a byte that is no UTF-8 is a blank');

# Nobody knows the encoding there, but most likely it is that of Unicode, and clients that read
# the documents in binary form expect it.
$node->safe_psql('sql_ascii', 'ALTER DATABASE sql_ascii SET atlas_events.search_text_limit = 200');
is($node->safe_psql('sql_ascii', <<'END'), '1-1-35', 'SQL_ASCII: no character is cut in two');
SET client_min_messages = warning;
SELECT count(submit_event('TICKET', '1', repeat('é', n), repeat('é', 500), payload => jsonb_build_object(repeat('é', 11), repeat('é', 99))))
  FROM generate_series(33, 66) n \gset
SELECT atlas_link_events() \gset
SELECT concat_ws('-', count(DISTINCT length(convert_from(textsend(lexeme), 'UTF8')) > 0), min(octet_length(lexeme)), count(DISTINCT event_id))
  FROM atlas_event_search, unnest(document) WHERE problem IS NULL
END

$node->stop;
done_testing();
