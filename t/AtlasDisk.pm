=pod

=head1 NAME

AtlasDisk - a disk that is small, and can be filled

=head1 DESCRIPTION

C<use AtlasDisk> goes before everything else in a test: it runs the test once
more in a mount namespace of its own, where anybody may mount a tmpfs. Where
that is not allowed, as in some containers, the disk is the folder that
ATLAS_SMALL_DISK names, or else /dev/shm; each must be a small tmpfs.

=cut

package AtlasDisk;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use File::Temp;

our @EXPORT = qw(disk_folder fill_disk empty_disk);

my $megabytes = 64;
my $disk;

BEGIN
{
	my @namespace = ('unshare', '--user', '--map-current-user', '--keep-caps', '--mount');

	if (!$ENV{ATLAS_SMALL_DISK} && !$ENV{ATLAS_IN_NAMESPACE}
		&& system("@namespace true 2>/dev/null") == 0)
	{
		$ENV{ATLAS_IN_NAMESPACE} = 1;
		exec @namespace, $^X, (map { "-I$_" } grep { !ref } @INC), $0
		  or die "could not run $namespace[0]: $!";
	}
}

# Filling any other file system would do harm.
sub assert_small
{
	my ($folder) = @_;
	my ($type, $size) = split ' ', qx(df --output=fstype,size --block-size=1M '$folder' | tail -n 1);

	die "This test needs a small disk that it can fill, and no mount namespace is to be had.\n"
	  . "Set ATLAS_SMALL_DISK to the folder of a tmpfs of $megabytes MB that it may write to.\n"
	  if $type ne 'tmpfs' || $size > 4 * $megabytes;
	return;
}

sub find_disk
{
	my $folder = $ENV{ATLAS_SMALL_DISK} || '/dev/shm';

	if ($ENV{ATLAS_IN_NAMESPACE})
	{
		$folder = File::Temp::tempdir('/tmp/atlas_disk.XXXXXX', CLEANUP => 1);
		system('mount', '-t', 'tmpfs', '-o', "size=${megabytes}m", 'tmpfs', $folder) == 0
		  or die "could not mount a tmpfs\n";
	}
	assert_small($folder);
	return File::Temp::tempdir("$folder/atlas.XXXXXX");
}

# A folder on the disk, which is found when it is first asked for.
sub disk_folder
{
	my ($name) = @_;

	$disk //= find_disk();
	mkdir "$disk/$name" or die "could not make $disk/$name: $!";
	chmod 0700, "$disk/$name" or die $!;
	return "$disk/$name";
}

# Writes until there is no space left.
sub fill_disk
{
	my $block = "\0" x 4096;

	open my $file, '>>', "$disk/filler" or die "could not open $disk/filler: $!";
	1 while defined syswrite $file, $block;
	$!{ENOSPC} or die "could not fill $disk: $!";
	close $file;
	return;
}

sub empty_disk
{
	unlink "$disk/filler" or die "could not remove $disk/filler: $!";
	return;
}

# The servers have been stopped by then, unless the test has died.
END
{
	local $?;
	system('rm', '-rf', $disk) if defined $disk;
	system('umount', '--lazy', dirname($disk)) if defined $disk && $ENV{ATLAS_IN_NAMESPACE};
}

1;
