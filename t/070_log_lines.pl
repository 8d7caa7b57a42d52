# docs/operations.md lists every line that the extension writes to the server log.

use strict;
use warnings;

use File::Basename qw(dirname);
use Test::More;

my $root = dirname(__FILE__) . '/..';

sub content
{
	my ($name) = @_;

	open my $file, '<', $name or die "$name: $!";
	local $/;
	return <$file>;
}

# A format as the page shows it: "event ... of ..." for "event %s of %d".
sub shown
{
	my ($format) = @_;

	$format =~ s/"\s*"//g;
	$format =~ s/\\"/"/g;
	$format =~ s/%(?:s|d|u)/\xe2\x80\xa6/g;
	$format =~ s/%/\xe2\x80\xa6/g;
	return $format;
}

my %written;
foreach my $name (glob("$root/*.c $root/src/*/*.c"))
{
	my $source = content($name);

	while ($source =~ /\bereport\((?:LOG|WARNING|NOTICE|INFO),.*?errmsg\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)/gs)
	{
		$written{ shown($1) } = $name;
	}
	# What housekeeping finds is logged as it is, unless it leads to a line of the log itself.
	while ($name =~ m{/housekeeping\.c$} && $source =~ /\bproblem =\s*psprintf\(((?:"(?:[^"\\]|\\.)*"\s*)+)/gs)
	{
		$written{ shown($1) } = $name unless $1 =~ /see the server log/;
	}
	is(() = $source =~ /\bereport\((?!\s*ERROR\b|\))/g, () = $source =~ /\bereport\((?:LOG|WARNING|NOTICE|INFO),/g,
		"the levels of $name are known") if $source =~ /\bereport\((?!\s*ERROR\b|\))/;
	unlike($source, qr/\belog\((?!ERROR\b)/, "no elog() but errors in $name");
}
foreach my $name (glob("$root/src/api/*.sql $root/*.sql"))
{
	my $source = content($name);

	$written{ shown(qq("$1")) } = $name while $source =~ /\bRAISE (?:LOG|WARNING|NOTICE|INFO) '([^']*)'/g;
}
my %lines;
foreach my $line (keys %written)
{
	my $text = $line =~ s/^\s*"|"\s*$//gr;

	# What housekeeping found is logged as it is.
	$lines{$text} = $written{$line} unless $text eq "\xe2\x80\xa6";
}

my ($section) = content("$root/docs/operations.md") =~ /^## Log lines\n(.*)/ms;
my %listed = map { $_ => 1 } $section =~ /^\| (?:LOG |NOTICE |WARNING )?`([^`]*)` \|/mg;

cmp_ok(scalar keys %lines, '>', 12, 'lines were found in the sources');
ok($listed{$_}, "listed: $_, of $lines{$_}") foreach sort keys %lines;
ok($lines{$_}, "still written: $_") foreach sort keys %listed;

done_testing();
