
=pod

=head1 NAME

AtlasSearch - which events a search must find

=head1 DESCRIPTION

A slow and plain definition of the query language of atlas_search_events() and of
what is found of an event, written after the documentation and independently of
the C code, for a test that compares the two. There is no index and no lexeme in
it: the text of an event is a list of tokens, and a term of a query is looked for
in it from the first to the last.

A token is a run of letters, a run of digits, or one character of a script
without blanks between words. It knows its run, which are the tokens that touch.

=cut

package AtlasSearch;

use strict;
use warnings;
use utf8;
use feature 'fc';

use Exporter 'import';
use JSON::PP;
use Unicode::Normalize qw(NFC NFKD getCombinClass);

our @EXPORT = qw(read_event read_query event_matches);

# ----- Characters -----

# Of scripts that have no blanks between words.
my $blankless =
  qr/(?=[\p{L}\p{M}\p{Nl}])[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Bopo}\p{scx=Thai}\p{scx=Laoo}\p{scx=Tibt}\p{scx=Mymr}\p{scx=Khmr}]/;
my $letter = qr/(?!$blankless)[\p{L}\p{M}]/;
my $digit = qr/(?!$blankless)\p{N}/;

# Marks that say how a letter is pronounced or spelled out, and are no letters.
sub is_left_out
{
	my ($mark) = @_;
	my $class = getCombinClass(ord $mark);

	return 0 if $mark =~ /[\x{3099}\x{309A}]/;
	return 1 if $mark =~ /\p{Me}/;
	return $class != 0 && $class != 9 && ($class < 84 || $class > 132);
}

# Without case, marks and width.
sub fold
{
	my ($text) = @_;

	$text = NFKD(fc(NFKD($text)));
	$text =~ s/\p{Default_Ignorable_Code_Point}//g;
	$text =~ s/(\p{M})/is_left_out($1) ? '' : $1/ge;
	return NFC($text);
}

# Whole values: a run of blanks is one.
sub fold_value
{
	my $text = fold(@_);

	$text =~ s/[\p{Z}\p{Cc}]+/ /g;
	$text =~ s/^ | $//g;
	return $text;
}

# ----- Tokens -----

my %tokens_of;

# The tokens of a text, one after the other.
sub tokens
{
	my ($text) = @_;
	my @tokens;

	return $tokens_of{$text} if $tokens_of{$text};
	my $folded = fold($text);
	for my $run ($folded =~ /(?:$letter|$digit)+|(?:$blankless)+/g)
	{
		my $is_character = $run =~ /^$blankless/ ? 1 : 0;
		my @parts = $is_character ? split //, $run : $run =~ /(?:$letter)+|(?:$digit)+/g;
		for my $part (0 .. $#parts)
		{
			push @tokens,
			  { text => $parts[$part], run => $run, is_character => $is_character, touches_last => $part > 0 ? 1 : 0 };
		}
	}
	return $tokens_of{$text} = \@tokens;
}

# ----- Events -----

my %entities = (
	amp => '&', lt => '<', gt => '>', quot => '"', apos => "'", nbsp => ' ', thinsp => ' ', eacute => 'é', uuml => 'ü',
	ouml => 'ö', auml => 'ä', szlig => 'ß', euro => '€', pound => '£', copy => '©', hellip => '…', mdash => '—', ndash => '–',
	rarr => '→', times => '×', trade => '™', reg => '®', laquo => '«', raquo => '»', bull => '•', deg => '°', ntilde => 'ñ');

# The text of HTML as it is in the events of the tests.
sub html_text
{
	my ($html) = @_;

	$html =~ s/<!--.*?-->/ /gs;
	$html =~ s{<(script|style)\b[^>]*>.*?</\1[^>]*>}{ }gis;
	$html =~ s{<[A-Za-z/!?](?:"[^"]*"|'[^']*'|[^>"'])*>}{ }g;
	$html =~ s/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/defined $1 ? chr hex $1 : defined $2 ? chr $2 : $entities{$3} \/\/ "&$3;"/gei;
	return $html;
}

my $number_mark = "\x{F8FF}";

# A JSON text with its numbers as they are spelled.
sub read_json
{
	my ($json) = @_;

	$json =~ s/("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)/defined $1 ? $1 : "\"$number_mark$2\""/ge;
	return JSON::PP->new->decode($json);
}

# Numbers that are equal become the same text, in whichever way they are spelled. They are
# written as in JSON.
sub plain_value
{
	my $value = fold_value(@_);

	my ($sign, $whole, $part, $exponent) = $value =~ /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:e([+-]?[0-9]+))?$/
	  or return $value;
	my $digits = $whole . ($part // '');
	my $scale = ($exponent // 0) - length($part // '');
	$digits =~ s/^0+//;
	$scale += length $1 if $digits =~ s/(0+)$//;
	return $digits eq '' ? '0' : "$sign${digits}e$scale";
}

# The words of a number are those of its digits as they are printed, but for more than
# twenty zeros around them.
sub number_text
{
	my ($printed) = @_;
	my ($digits, $zeros) = plain_value($printed) =~ /^-?([0-9]+)e(-?[0-9]+)$/;

	return $printed if !defined $zeros || ($zeros <= 20 && -$zeros - length $digits <= 20);
	return "${digits}e$zeros";
}

# All scalars of a payload, with the keys that lead to them.
sub scalars
{
	my ($value, @keys) = @_;

	return map { scalars($value->{$_}, @keys, $_) } sort keys %$value if ref $value eq 'HASH';
	return map { scalars($_, @keys) } @$value if ref $value eq 'ARRAY';
	return [ \@keys, 'null', 0 ] if !defined $value;
	return [ \@keys, $value ? 'true' : 'false', 1 ] if JSON::PP::is_bool($value);
	$value = number_text($1) if $value =~ /^$number_mark(.*)/;
	return [ \@keys, $value, 1 ];
}

# read_event({name, description, payload as JSON text, object_type, ...})
# Adds what is found of it: texts are lists of tokens, values are of fields.
sub read_event
{
	my ($event) = @_;
	my @texts = ($event->{name});
	my %values;

	push @texts, html_text($event->{description}) if defined $event->{description};
	for my $scalar (defined $event->{payload} ? scalars(read_json($event->{payload})) : ())
	{
		my ($keys, $value, $has_words) = @$scalar;
		push @texts, $value if $has_words;
		next if !@$keys;
		$values{ fold_value($_) }{ plain_value($value) } = 1 for $keys->[-1], join('.', @$keys);
	}
	$event->{texts} = [ map { tokens($_) } @texts ];
	$event->{values} = \%values;
	for my $tokens (@{ $event->{texts} })
	{
		$event->{words}{ $_->{text} } = 1 for @$tokens;
		$event->{words}{ $_->{run} } = 1 for grep { !$_->{is_character} } @$tokens;
	}
	$event->{folded_name} = fold_value($event->{name});
	return $event;
}

# ----- Queries -----

my $blank = qr/[ \t-\r()\x{A0}\x{3000}]/;
my $curly = qr/[\x{201C}\x{201D}\x{201E}]/;
my $quoted = qr/"([^"]*)(?:"|\z)|$curly([^\x{201C}\x{201D}\x{201E}]*)(?:$curly|\z)/;
my $quoted_value = qr/"((?:[^"]|"")*)(?:"|\z)|$curly([^\x{201C}\x{201D}\x{201E}]*)(?:$curly|\z)/;
my $bare = qr/(?:(?!$blank|$curly)[^"])+/;
my $key = qr/(?:(?!$blank|$curly)[A-Za-z_\x{80}-\x{10FFFF}])(?:(?!$blank|$curly)[^":])*/;

# A query: a list of lists of terms. One term of each list must be there.
sub read_query
{
	my ($text) = @_;
	my (@all, $or);

	pos($text) = 0;
	for (;;)
	{
		$text =~ /\G$blank+/gc;
		last if pos($text) == length $text;
		my $is_negated = $text =~ /\G-(?!$blank|-|\z)/gc ? 1 : 0;
		my $term = read_term(\$text);
		if ($term->{is_or} && !$is_negated && @all && !$or)
		{
			$or = $term;
			next;
		}
		next if $term->{kind} eq 'words' && !@{ $term->{tokens} };
		$term->{is_negated} = $is_negated;
		if ($or) { push @{ $all[-1] }, $term }
		else     { push @all, [$term] }
		undef $or;
	}
	# OR at the end is a word.
	push @all, [ words('OR') ] if $or;
	return \@all;
}

sub read_term
{
	my ($text) = @_;

	if ($$text =~ /\G"([^"]+)":(?=\S)/gc || $$text =~ /\G$curly([^\x{201C}\x{201D}\x{201E}]+)$curly:(?=\S)/gc)
	{
		my ($name, $after) = ($1, pos $$text);
		my $value = read_value($text);
		return field($name, $value) if defined $value;
		pos($$text) = $after - 1;
		return words($name, is_quoted => 1);
	}
	return words($1 // $2, is_quoted => 1) if $$text =~ /\G$quoted/gc;
	my $start = pos $$text;
	if ($$text =~ /\G($key):/gc)
	{
		my $name = $1;
		my $value = read_value($text);
		return field($name, $value) if defined $value;
		pos($$text) = $start;
	}
	$$text =~ /\G($bare)/gc or die "cannot read the query $$text at $start";
	return { %{ words($1) }, is_or => $1 eq 'OR' };
}

# The value behind a colon; undef if there is none.
sub read_value
{
	my ($text) = @_;

	return $1 if $$text =~ /\G(?!:|\/\/)($bare)/gc;
	return undef if $$text !~ /\G$quoted_value/gc;
	my $value = $1 // $2;
	$value =~ s/""/"/g;
	return $value;
}

sub field
{
	my ($name, $value) = @_;

	return { kind => 'name', value => fold_value($value) } if lc $name eq 'name';
	return { kind => 'type', value => $value } if lc $name eq 'type';
	$name =~ s/^payload\.(?=.)//i;
	return { kind => 'field', key => fold_value($name), value => plain_value($value) };
}

sub words
{
	my ($text, %options) = @_;

	$text =~ s/ +$// if $options{is_quoted};
	my $is_prefix = $text =~ s/\*+$//;
	my $tokens = tokens($text);
	# The star must touch a word.
	$is_prefix = 0 if $text !~ /[\p{L}\p{M}\p{N}]\p{Default_Ignorable_Code_Point}*$/;
	return { kind => 'words', tokens => $tokens, is_prefix => $is_prefix, is_negated => 0 };
}

# ----- Matching -----

my %aliases = (AGENT => 'USER', TICKET => 'CONVERSATION', 'USER_(AGENT)' => 'USER');

sub event_matches
{
	my ($event, $query) = @_;

	for my $either (@$query)
	{
		return 0 if !grep { term_matches($event, $_) != $_->{is_negated} } @$either;
	}
	return 1;
}

sub term_matches
{
	my ($event, $term) = @_;

	return $event->{folded_name} eq $term->{value} ? 1 : 0 if $term->{kind} eq 'name';
	return $event->{values}{ $term->{key} }{ $term->{value} } // 0 if $term->{kind} eq 'field';
	if ($term->{kind} eq 'type')
	{
		my $type = uc $term->{value};
		$type =~ s/[ -]/_/g;
		return $event->{object_type} eq ($aliases{$type} // $type) ? 1 : 0;
	}
	return words_match($event, $term->{tokens}, $term->{is_prefix});
}

# Are the tokens one after the other in one of the texts?
sub words_match
{
	my ($event, $wanted, $is_prefix) = @_;
	my $words = $event->{words};
	my $run = $wanted->[0]{run};

	# Letters and digits that touch, alone, are one word.
	if (@$wanted > 1 && !$wanted->[0]{is_character} && !grep { !$wanted->[$_]{touches_last} } 1 .. $#$wanted)
	{
		return $words->{$run} // 0 if !$is_prefix;
		return (grep { index($_, $run) == 0 } keys %$words) ? 1 : 0;
	}
	# So is one alone. Others must be there at all.
	return $words->{ $wanted->[0]{text} } // 0 if @$wanted == 1 && !$is_prefix;
	return 0 if grep { !$words->{ $wanted->[$_]{text} } } 0 .. $#$wanted - 1;

	for my $tokens (@{ $event->{texts} })
	{
		for my $place (0 .. @$tokens - @$wanted)
		{
			return 1 if stands_at($tokens, $place, $wanted, $is_prefix);
		}
	}
	return 0;
}

# Do the tokens stand at this place? A star is for the last one.
sub stands_at
{
	my ($tokens, $place, $wanted, $is_prefix) = @_;

	for my $i (0 .. $#$wanted)
	{
		my ($token, $want) = ($tokens->[ $place + $i ], $wanted->[$i]);

		return 0 if $want->{is_character} && $want->{touches_last} && !$token->{touches_last};
		next if $token->{text} eq $want->{text};
		return 0 if !$is_prefix || $i < $#$wanted || $want->{is_character};
		return 0 if index($token->{text}, $want->{text}) != 0;
	}
	return 1;
}

1;
