# A search finds all events that it must find, and no others: those that a slow and plain
# definition of the query language names (t/AtlasSearch.pm), for every form of query, over
# the events of examples/ and thousands of generated ones in many languages.

use strict;
use warnings;
use utf8;

use AtlasSearch;
use AtlasTest;
use Encode qw(decode encode);
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $generated = 10_000;
my $queries = long_or(2_000, 270);
my $seed = $ENV{ATLAS_SEED} // 20260115;
srand $seed;
note "ATLAS_SEED=$seed";

my $node = start_node('recall');
make_database($node, 'atlas', sample => 1);

sub pick { return $_[ rand @_ ] }
sub chance { return rand() < $_[0] }

# ----- Events -----

my @names = (
	'Checkout Completed', 'Checkout failed', 'checkout.failed', 'Order Placed', 'ORDER PLACED', 'Paiement refusé', 'Rückerstattung',
	'Straße geändert', 'STRASSE GEÄNDERT', 'İade edildi', 'Sipariş iptal', 'ılık', '返金されました', '注文が完了しました', '支払い失敗',
	'质检通过', 'การชำระเงินล้มเหลว', '결제 실패', '환불 완료', 'تم استرداد المبلغ', 'فشل الدفع', 'Оплата не прошла', 'Возврат',
	'Error E42 in step 7', 'SLA breached', 'X12Y', 'x12y opened', 'v2.10.3 released', 'ＦＵＬＬ　ｗｉｄｔｈ', 'ﾊﾝｶｸ', 'Hoàn tiền',
	'שולם בכרטיס', 'भुगतान विफल', 'Ολοκλήρωση', 'name', 'type', 'or', 'Refund (partial)', "It's here");
my @words = (
	qw(checkout failed refund order payment card visa paypal express pending agent customer café CAFÉ cafe naïve Zürich zurich
	  Łódź São Paulo München straße STRASSE ﬁnance office résumé İstanbul istanbul ılık the a of and or OR not
	  返金 返金済み 注文 東京都 カード ガード ｶﾞｰﾄﾞ サーバー 质检 退款 已发货 ชำระเงิน ล้มเหลว 결제 환불 كتاب كِتَاب أحمد احمد оплата возврат Ёлка елка
	  X12Y x12 12y A1 a1b2 3D mp3 ２０２６ Ⅷ ½ x² №14 ™ 10€ 5個 第3章 Tシャツ iPhone15 v2 E42 don't rock'n'roll foo_bar semi-final),
	"sof\x{AD}t", "zero\x{200B}width", "e\x{301}cole", "👍", "👩‍💻", "i\x{307}", "ﷺ", "か\x{3099}", "ｱﾊﾟｰﾄ");
my @codes = (sub { 'ORD-' . int rand 300 }, sub { 'ORD/' . int rand 300 }, sub { '#' . int rand 300 }, sub { 'ORD' . int rand 300 },
	sub { sprintf '%s.%s@example.com', pick(qw(priya omar zoë)), pick(qw(whitfield khan ng)) },
	sub { sprintf 'https://shop.example/%s/%d?%s=%s', pick(qw(refund cart a/b)), rand 50, pick(qw(ref q)), pick(qw(mail ad)) },
	sub { sprintf '%08x-%04x', rand 2**32, rand 2**16 }, sub { sprintf '+49 (0) 30 %d-%d', rand 100, rand 100 },
	sub { sprintf '2026-%02d-%02dT%02d:30:00Z', 1 + rand 12, 1 + rand 28, rand 24 }, sub { '1.' . int rand 20 });
my @numbers = qw(0 50 50.0 5e1 5E+1 0.5 -0 -1 -1.0 1e-3 0.001 49.95 4711 1000000 1e6 12345678901234567890.123 1.50 100 1e2 7 2.50);
my @keys = ('amount', 'Amount', 'total', 'currency', 'city', 'sku', 'items', 'order', 'name', 'type', 'orderId', 'order.id', 'Order No', 'größe', '月份', 'id', 'n', '', 'x12', 'details');
my @entities = ('&amp;', '&lt;', '&gt;', '&quot;', '&nbsp;', '&eacute;', '&#233;', '&#xE9;', '&euro;', '&hellip;', '&bogus;', '&', 'R&D');

# A few characters of one script or kind, whatever they are.
my @ranges = (
	[ 0x20, 0x7E ], [ 0xA0, 0x24F ], [ 0x250, 0x36F ], [ 0x370, 0x52F ], [ 0x531, 0x5F4 ], [ 0x600, 0x6FF ], [ 0x900, 0xDFF ],
	[ 0xE00, 0xEFF ], [ 0xF00, 0x109F ], [ 0x10A0, 0x10FF ], [ 0x1100, 0x11FF ], [ 0x1780, 0x17FF ], [ 0x1E00, 0x1FFF ],
	[ 0x2000, 0x218F ], [ 0x2460, 0x24FF ], [ 0x3000, 0x31FF ], [ 0x3200, 0x33FF ], [ 0x4E00, 0x4E20 ], [ 0xA9E0, 0xAA7F ],
	[ 0xAC00, 0xAC40 ], [ 0xF900, 0xF920 ], [ 0xFB00, 0xFB4F ], [ 0xFE00, 0xFE6F ], [ 0xFF00, 0xFFEF ], [ 0x10400, 0x1044F ],
	[ 0x1D400, 0x1D4FF ], [ 0x1F100, 0x1F1FF ], [ 0x1F600, 0x1F640 ], [ 0x20000, 0x20010 ], [ 0xE0100, 0xE0110 ]);

sub exotic
{
	my @range = map { @{ pick(@ranges) } } 1 .. 1 + rand 2;
	my $text = '';
	while (length $text < 1 + rand 5)
	{
		my $pair = 2 * int rand @range / 2;
		my $character = chr($range[$pair] + int rand 1 + $range[ $pair + 1 ] - $range[$pair]);
		$text .= $character if $character =~ /\p{Assigned}/;
	}
	return $text;
}

sub word { return chance(0.2) ? pick(@codes)->() : chance(0.15) ? exotic() : pick(@words) }
sub sentence { return join pick(' ', ' ', ' ', ', ', '-', ' / ', ': ', "\n"), map { word() } 0 .. rand $_[0] }

sub html
{
	my $html = '';
	for (0 .. rand 5)
	{
		my $text = sentence(4);
		$text =~ s/&/&amp;/g;
		$text =~ s/</&lt;/g;
		$html .= pick("<p>$text</p>", "<b>$text</b>", "$text<br/>", qq(<a href="https://hidden.example/x?a=b>c">$text</a>),
			"$text <!-- hidden $text -->", "<I>$text</I>", $text . pick(@entities), "$text " . pick(@entities) . ' ');
	}
	return $html;
}

# A JSON text: numbers are spelled in ways that an encoder would not choose.
my $json = JSON::PP->new->canonical->allow_nonref;

sub payload_value
{
	my ($depth) = @_;

	return '{' . join(', ', map { $json->encode(pick(@keys)) . ': ' . payload_value($depth - 1) } 1 .. rand 4) . '}'
	  if $depth > 0 && chance(0.25);
	return '[' . join(', ', map { payload_value($depth - 1) } 1 .. rand 4) . ']' if $depth > 0 && chance(0.15);
	return pick(@numbers) if chance(0.4);
	return pick('true', 'false', 'null') if chance(0.15);
	return $json->encode(pick(@numbers, ' 50 ', '007', '+1', 'true', 'NULL', '')) if chance(0.1);
	return $json->encode(sentence(3));
}

my @types = (
	[ CUSTOMER => q{"objectId": "c19a7d78-37a1-4ee4-9e68-aae0d4c93f7e"} ], [ CUSTOMER => q{"externalId": "195959"} ],
	[ ACCOUNT => q{"externalId": "ACC-000001"} ], [ TICKET => q{"objectId": "42"} ], [ AGENT => q{"objectId": "3"} ]);

sub event
{
	my ($type, $object) = @{ pick(@types) };
	my $event = sprintf q({"objectType": "%s", %s, "name": %s, "occurredAt": "2026-%02d-%02dT%02d:00:00Z"), $type, $object,
	  $json->encode(pick(@names)), 6 + rand 5, 1 + rand 28, rand 24;

	$event .= ', "description": ' . $json->encode(chance(0.5) ? html() : sentence(8)) if chance(0.7);
	$event .= ', "payload": {' . join(', ', map { $json->encode(pick(@keys)) . ': ' . payload_value(3) } 0 .. rand 6) . '}' if chance(0.8);
	return $event . '}';
}

# Those of examples/ first, then the generated ones, 500 a call.
my @events = map { decode('UTF-8', $_) } split /\n/, slurp_file(atlas_root() . '/examples/events.ndjson');
push @events, map { event() } 1 .. $generated;
my $submit = '';
for (my $first = 0; $first < @events; $first += 500)
{
	my $last = $first + 499 < $#events ? $first + 499 : $#events;
	my $batch = join ",\n", @events[ $first .. $last ];
	$submit .= <<"END";
SELECT r->>'status' FROM json_array_elements(submit_events(\$json\$[$batch]\$json\$::json)->'results') AS r WHERE r->>'eventId' IS NULL;
END
}
# Some of examples/ are of objects that are not there.
my @refused = split /\n/, $node->safe_psql('atlas', encode('UTF-8', $submit));
is(scalar(grep { $_ != 404 } @refused), 0, 'each event of an object is stored');

poll_value($node, 'atlas', q{SELECT 'done' WHERE NOT EXISTS (SELECT FROM atlas_event_queue) AND NOT EXISTS (SELECT FROM atlas_event_work)});

# ----- What is found of them -----

my @log = map { read_event($json->decode(decode('UTF-8', $_))) } split /\n/, $node->safe_psql('atlas', <<'END');
SELECT json_build_object('event_id', event_id, 'occurred_at', extract(epoch FROM occurred_at), 'object_type', object_type,
                         'object_id', object_id, 'name', name, 'description', description, 'payload', payload::text)
  FROM atlas_events ORDER BY event_id DESC;
END
is(scalar @log, @events - @refused, 'all events are there');
is( $node->safe_psql('atlas', 'SELECT count(*), count(problem) FROM atlas_event_search'),
	scalar(@log) . '|0',
	'and all their documents');

# The events on the timeline of an object, with related ones.
my %timeline_of;
for my $line (split /\n/, $node->safe_psql('atlas', 'SELECT object_type, object_id, event_id FROM atlas_events UNION SELECT object_type, object_id, event_id FROM atlas_event_links'))
{
	my ($type, $object, $id) = split /\|/, $line;
	$timeline_of{"$type $object"}{$id} = 1;
}

# ----- Queries -----

# Some text of an event that is there, and a piece of it.
sub text_of
{
	my $event = pick(@log);
	my @texts = grep { defined && length } $event->{name}, $event->{description}, map { pick(@words) } 1;
	my ($text) = ($event->{payload} // '') =~ /"((?:[^"\\])*)"[,}\]]/ if chance(0.4);

	return $text // pick(@texts);
}

sub piece_of_text
{
	my @parts = grep { length } split /[\s"]+/, text_of();
	my $first = rand @parts;
	my $last = $first + rand 3;

	return join ' ', @parts[ $first .. ($last < $#parts ? $last : $#parts) ];
}

# A scalar of a payload, with its key or path.
sub field_of
{
	my $event;
	for (1 .. 100)
	{
		$event = pick(@log);
		last if %{ $event->{values} };
	}
	my $key = pick(sort keys %{ $event->{values} });
	my $value = pick(sort keys %{ $event->{values}{$key} });

	$value =~ s/^(-?\d+)e(-?\d+)$/respelled($1, $2)/e;
	return ($key, $value);
}

# A number in another way of writing it.
sub respelled
{
	my ($digits, $scale) = @_;

	return "${digits}e$scale" if chance(0.3) || $scale > 20 || $scale < -20;
	return $digits . '0' x $scale . pick('', '.0', '.00') if $scale >= 0;
	my ($sign, $plain) = $digits =~ /^(-?)(.*)/;
	$plain = '0' x (1 - $scale - length $plain) . $plain if length $plain <= -$scale;
	return $sign . substr($plain, 0, $scale) . '.' . substr($plain, $scale) . pick('', '0');
}

sub quoted { my ($text) = @_; $text =~ s/"/""/g; return qq("$text") }

sub field_term
{
	my ($key, $value) = field_of();

	$key = uc $key if chance(0.2);
	$key = "payload.$key" if chance(0.2);
	$key = $key =~ /^[A-Za-z_\x{80}-\x{10FFFF}][^\s":()]*$/ ? $key : $key =~ /["]/ || $key eq '' ? 'n' : qq("$key");
	return "$key:" . ($value =~ /^[^\s":\/()][^\s"()]*$/ && chance(0.7) ? $value : quoted($value));
}

sub word_of { return pick(grep { length } split(/[\s"]+/, text_of()), pick(@words)) }

my @forms = (
	[ 'a word', \&word_of ],
	[ 'a generated word', \&word ],
	[ 'odd characters', \&exotic ],
	[ 'two words', sub { word_of() . ' ' . word_of() } ],
	[ 'words of one event', \&piece_of_text ],
	[ 'a phrase', sub { '"' . piece_of_text() . '"' } ],
	[ 'a phrase backwards', sub { '"' . join(' ', reverse split / /, piece_of_text()) . '"' } ],
	[ 'a part of a word', sub { my $word = word_of(); substr $word, rand(length $word), 1 + rand 4 } ],
	[ 'a prefix', sub { my $word = word_of(); substr($word, 0, 1 + rand length $word) . '*' } ],
	[ 'a phrase with a prefix', sub { my $piece = piece_of_text(); '"' . substr($piece, 0, 1 + rand length $piece) . '*"' } ],
	[ 'a word and not another', sub { word_of() . ' -' . word_of() } ],
	[ 'not a word', sub { '-' . word_of() } ],
	[ 'not a phrase', sub { word_of() . ' -"' . piece_of_text() . '"' } ],
	[ 'OR', sub { word_of() . ' OR ' . word_of() . (chance(0.5) ? ' OR ' . word_of() : '') } ],
	[ 'OR among others', sub { word_of() . ' ' . word_of() . ' OR ' . field_term() . ' ' . (chance(0.5) ? '-' . word_of() : '') } ],
	[ 'field:value', \&field_term ],
	[ 'two of them', sub { field_term() . ' ' . field_term() } ],
	[ 'not a value', sub { '-' . field_term() } ],
	[ 'a value of another field', sub { (split /:/, field_term(), 2)[0] . ':' . quoted((field_of())[1]) } ],
	[ 'name:', sub { 'name:' . quoted(chance(0.5) ? lc pick(@names) : pick(@log)->{name}) } ],
	[ 'type:', sub { pick('type:', 'TYPE:') . pick(qw(customer CUSTOMER Agent user ticket CONVERSATION account nothing)) . ' ' . word_of() } ],
	[ 'case', sub { uc word_of() } ],
	[ 'nonsense', sub { join '', map { pick(@words, qw(" - : * OR ( ) -- :: // a: "" -" *" '), ' ', ' OR ', ' -', "\x{201C}", "\x{201D}", "\x{3000}") } 0 .. rand 8 } ],
);

# Each query comes with arguments, of which most have none.
sub arguments
{
	return {} if chance(0.6);
	my $event = pick(@log);
	return { object_type => pick('CUSTOMER', 'ACCOUNT', 'USER') } if chance(0.3);
	return { name => chance(0.5) ? lc $event->{name} : $event->{name} } if chance(0.3);
	return { object_type => $event->{object_type}, object_id => $event->{object_id} } if chance(0.4);
	return { since => int $event->{occurred_at}, until => int($event->{occurred_at}) + 86400 * int(1 + rand 60) };
}

sub is_wanted
{
	my ($event, $query, $arguments) = @_;

	return 0 if defined $arguments->{since} && ($event->{occurred_at} < $arguments->{since} || $event->{occurred_at} >= $arguments->{until});
	return 0 if defined $arguments->{name} && AtlasSearch::fold_value($arguments->{name}) ne $event->{folded_name};
	if (defined $arguments->{object_id}) { return 0 if !$timeline_of{"$arguments->{object_type} $arguments->{object_id}"}{ $event->{event_id} } }
	elsif (defined $arguments->{object_type}) { return 0 if $event->{object_type} ne $arguments->{object_type} }
	return event_matches($event, $query);
}

# All pages of a search, one after the other, of so many events and on such a budget.
$node->safe_psql('atlas', <<'END');
CREATE FUNCTION atlas_test.search_all(query text, arguments jsonb, page int, budget int) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[] := '{}';
    before uuid;
    r record;
    found int;
    until_id uuid;
BEGIN
    LOOP
        found := 0;
        until_id := NULL;
        FOR r IN SELECT s.event_id, s.searched_until
                   FROM atlas_search_events(query, object_type => arguments->>'object_type', object_id => arguments->>'object_id',
                            name => arguments->>'name', since => to_timestamp((arguments->>'since')::float8),
                            until => to_timestamp((arguments->>'until')::float8),
                            before_event => before, max_events => page, max_work => budget) AS s LOOP
            IF r.event_id IS NULL THEN
                until_id := r.searched_until;
            ELSE
                found := found + 1;
                ids := ids || r.event_id;
                before := r.event_id;
            END IF;
        END LOOP;
        before := coalesce(until_id, before);
        EXIT WHEN until_id IS NULL AND found < page;
    END LOOP;
    RETURN ids;
END $$;
END

my @asked;
for my $n (1 .. $queries)
{
	my ($form, $make) = @{ $forms[ $n % @forms ] };
	my $query = $make->();
	push @asked, { form => $form, query => $query, arguments => arguments(), page => pick(1000, 1000, 1000, 50, 7), budget => pick(undef, undef, undef, 500, 3000) };
}
# Few events a page where there are many would take long.
$_->{page} = 1000 for grep { $_->{page} < 50 && $_->{query} =~ /^-/ } @asked;

my $ask = join "\n", map { $json->encode($_) } @asked;
my @answers = split /\n/, $node->safe_psql('atlas', encode('UTF-8', <<"END"));
SELECT coalesce(array_to_string(atlas_test.search_all(q->>'query', q->'arguments', (q->>'page')::int, (q->>'budget')::int), ' '), '') || ' .'
  FROM regexp_split_to_table(\$queries\$$ask\$queries\$, '\\n') WITH ORDINALITY AS l (line, n), LATERAL (SELECT line::jsonb AS q) AS j
 ORDER BY n;
END
is(scalar @answers, scalar @asked, 'each query is answered');

# ----- The comparison -----

my (%differences, %compared, $nfound);
for my $n (0 .. $#asked)
{
	my ($form, $text, $arguments) = @{ $asked[$n] }{qw(form query arguments)};
	my $query = read_query($text);
	my @found = grep { $_ ne '.' } split / /, $answers[$n];
	my @wanted = grep { is_wanted($_, $query, $arguments) } @log;

	$compared{$form}++;
	$nfound += @wanted;
	next if "@found" eq join ' ', map { $_->{event_id} } @wanted;
	my %found = map { $_ => 1 } @found;
	my %is_wanted = map { $_->{event_id} => 1 } @wanted;
	my @missing = grep { !$found{ $_->{event_id} } } @wanted;
	my @excess = grep { $found{ $_->{event_id} } && !$is_wanted{ $_->{event_id} } } @log;
	push @{ $differences{$form} }, join "\n", "query $text, " . $json->encode($asked[$n]),
	  @missing + @excess == 0 ? 'the order or a repetition: ' . @found : (),
	  map { my ($what, @of) = @$_; @of ? @of . " $what, such as\n  " . join "\n  ", map { $json->encode($_) } { map { $_ => $of[0]{$_} } qw(event_id name description payload object_type) } : () }
	  [ 'missing', @missing ], [ 'too many', @excess ];
}
note "$nfound events found in all";
for my $form (map { $_->[0] } @forms)
{
	my $found = $differences{$form} // [];
	is(scalar @$found, 0, "$form: no difference in $compared{$form} queries")
	  or diag encode 'UTF-8', join "\n", @$found[ 0 .. ($#$found < 4 ? $#$found : 4) ];
}

oracle_ok($node, 'atlas', [ map { $_->{event_id} } @log ]);
$node->stop;
done_testing();
