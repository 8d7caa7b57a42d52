=pod

=head1 NAME

AtlasClock - a clock that a test can set, for the servers that it starts

=head1 DESCRIPTION

See clock.c, which reads the file that is written here. Timeouts go by another clock.

=cut

package AtlasClock;

use strict;
use warnings;

use AtlasTest;
use Exporter 'import';
use File::Spec;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(with_clock set_clock stop_clock);

my $folder = File::Spec->rel2abs(PostgreSQL::Test::Utils::tempdir());
my $clock = "$folder/clock";
system_or_bail('cc', '-O2', '-shared', '-fPIC', '-o', "$folder/clock.so", atlas_root() . '/t/clock.c');
set_clock(0);

# with_clock(SUB): runs it; servers that it starts go by this clock.
sub with_clock
{
	my ($start) = @_;
	local $ENV{LD_PRELOAD} = "$folder/clock.so";
	local $ENV{ATLAS_CLOCK} = $clock;

	return $start->();
}

# set_clock(DAYS): so many days fast.
sub set_clock
{
	my ($days) = @_;

	write_clock($days * 86_400_000_000, 0);
	return;
}

# stop_clock(TIME): it stands still at this time, in seconds.
sub stop_clock
{
	my ($seconds) = @_;

	write_clock(0, $seconds * 1_000_000);
	return;
}

sub write_clock
{
	my @settings = @_;

	open my $file, '+>>', $clock or die "could not open $clock: $!";
	close $file;
	open $file, '+<', $clock or die "could not open $clock: $!";
	syswrite $file, pack 'q2', @settings;
	close $file;
	return;
}

1;
