#!/usr/bin/perl
#
# script/links.pl PAGE... - fails if a link of a page leads to a file, or to a
# heading of a page, that is not there. Links to other sites are not followed.

use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use File::Basename qw(dirname);

# A page without its blocks of code.
sub prose_of
{
	my ($page) = @_;
	open my $file, '<', $page or die "$page: $!\n";
	local $/;
	my $text = <$file>;
	$text =~ s/^ *```.*?^ *```$//gms;
	return $text;
}

# The anchors of its headings, as GitHub makes them.
sub anchors_of
{
	my ($page) = @_;
	my %anchors;
	foreach my $heading (prose_of($page) =~ /^#+ +(.*?) *$/mg)
	{
		my $anchor = lc $heading;
		$anchor =~ s/[^\w\- ]//g;
		$anchor =~ tr/ /-/;
		$anchors{$anchor} = 1;
	}
	return \%anchors;
}

my $broken = 0;
foreach my $page (@ARGV)
{
	my $prose = prose_of($page) =~ s/`[^`]*`//gr;
	foreach my $link ($prose =~ /\]\(([^)\s]+)\)/g)
	{
		next if $link =~ /^\w+:/;
		my ($path, $anchor) = $link =~ /^([^#]*)(?:#(.*))?$/;
		my $target = $path eq '' ? $page : dirname($page) . "/$path";
		next if -e $target && (!defined $anchor || anchors_of($target)->{$anchor});
		print "$page: $link leads nowhere\n";
		$broken++;
	}
}
exit($broken > 0);
