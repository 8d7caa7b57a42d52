# script/server --stop ends what was started from the same checkout, or what is
# named, and leaves the servers of others alone.

use strict;
use warnings;

use AtlasTest;
use Cwd qw(abs_path);
use File::Path qw(remove_tree);
use File::Temp qw(tempdir);
use PostgreSQL::Test::Utils;
use Test::More;

my $root = abs_path(atlas_root());
my @servers;

# The folder of a server that was started from a checkout; no process belongs to it.
sub make_server
{
	my ($checkout) = @_;
	my $server = tempdir('/tmp/atlas_events.XXXXXX');

	append_to_file("$server/detached", "$checkout\n");
	push @servers, $server;
	return $server;
}

sub there
{
	return join ' ', map { -d $_ ? 'there' : 'gone' } @_;
}

sub stop_fails_ok
{
	my ($arguments, $error, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return command_fails_like([ "$root/script/server", '--stop', @$arguments ], $error, $name);
}

my $foreign = make_server('/another/checkout');
stop_fails_ok([], qr/no server was started with --detach from here/, 'the server of another checkout is not its own');
my $own = make_server($root);
command_ok([ "$root/script/server", '--stop' ], 'its own is stopped');
is(there($foreign, $own), 'there gone', 'and no other');

my @both = (make_server($root), make_server($root));
stop_fails_ok([], qr/which one\? .*\Q$both[0]\E/, 'of two it asks which one');
is(there($foreign, @both), 'there there there', 'and stops none');
command_ok([ "$root/script/server", '--stop', $both[1] ], 'it can be named');
is(there($foreign, @both), 'there there gone', 'then that one is stopped');
command_ok([ "$root/script/server", '--stop', "$foreign/" ], 'one of another checkout too');
is(there($foreign, @both), 'gone there gone', 'then that one is stopped');

my $other = tempdir('/tmp/atlas_events.XXXXXX');
push @servers, $other;
stop_fails_ok([$other], qr/no server was started with --detach in/, 'what was not started with --detach is no server');
stop_fails_ok(["$both[0]/../" . substr($other, 5)], qr/no server was started/, 'nor is what only looks like one');
is(there($other, $both[0]), 'there there', 'they are left alone');

remove_tree(@servers);
done_testing();
