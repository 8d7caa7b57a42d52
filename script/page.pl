#!/usr/bin/perl
#
# script/page.pl CHECKOUT PAGE - runs the sql and sh blocks of one page of the
# documentation, in order. script/test-docs calls it, with a server that runs.
#
# A block that is directly followed by a text block must print what that says.
# In it, "..." written as one character stands for anything; ids of events,
# times, pids, ports, tokens and months of partitions need not be equal; the
# width of columns and the number of rows below a table do not count. An id of an
# event that is printed in one place and used in a later one must be the same in
# both: the later block is run with the id that was really printed.
#
# sql blocks share one session of psql, on the database PGURI. An error must be
# shown by the text block. sh blocks run with bash -eu in a copy of the
# sources, and leave variables, functions and the current folder to the next.
# After each block the runner waits until what was submitted is linked, and found by
# searches, and until a rebuild of search has ended.
#
# A comment directly before a block says that it is run otherwise:
#
# <!-- test: as root, in a copy of this machine -->
#     with an overlay over the root folder, a network and a systemd of its own,
#     which are the same for all such blocks of a page, and are gone after it:
#     script/copy-of-machine
# <!-- test: as root, in a copy of this machine, with its network -->
#     likewise, with the network of this machine
# <!-- test: on the sample tables alone -->
#     anywhere in a page: its database has no extension yet, and no API
#
# Blocks of other languages are not run. No block can be left out.

use strict;
use warnings;
use utf8;
use open qw(:std :encoding(UTF-8));

use Encode qw(decode);
use File::Temp qw(tempdir);
use IO::Select;
use IPC::Open3;
use POSIX qw(setsid :sys_wait_h);
use Time::HiRes qw(sleep time);

my $BLOCK_SECONDS = 900;
my $LINK_SECONDS = 60;
my %NOT_RUN = map { $_ => 1 } qw(text ini nginx json c js);
my $IN_COPY = 'as root, in a copy of this machine';
my $ON_TABLES = 'on the sample tables alone';

my ($checkout, $page) = @ARGV;
my $work = tempdir('/tmp/atlas_page.XXXXXX', CLEANUP => 1);
my $marker = "end-of-block-$$";
my %actual_id;    # by the id that the page shows
my ($psql, %copy);

# ----- The page -----

sub read_file
{
	my ($name) = @_;
	open my $file, '<', $name or die "$name: $!\n";
	local $/;
	return <$file> // '';
}

sub write_file
{
	my ($name, $content) = @_;
	open my $file, '>', $name or die "$name: $!\n";
	print $file $content;
	close $file;
	return;
}

# The blocks of the page: language, line, content, mark, and what is expected.
sub blocks
{
	my (@blocks, $open, $mark, $directly);
	my $n = 0;

	foreach my $line (split /\n/, read_file("$checkout/$page"))
	{
		$n++;
		if ($open)
		{
			if ($line =~ /^\s*```\s*$/)
			{
				undef $open;
				next;
			}
			$line =~ s/^ {0,$open->{indent}}//;
			$open->{content} .= "$line\n";
		}
		elsif ($line =~ /^( *)```(\w*)\s*$/)
		{
			$open = { line => $n, language => $2, mark => $mark, content => '', indent => length $1 };
			if ($2 eq 'text' && $directly && !defined $mark)
			{
				$blocks[-1]{expected} = $open;
				$directly = 0;
			}
			else
			{
				push @blocks, $open;
				$directly = $2 eq 'sql' || $2 eq 'sh';
			}
			undef $mark;
		}
		elsif ($line =~ /^\s*<!-- test: (.*?) -->\s*$/)
		{
			$mark = $1 unless $1 eq $ON_TABLES;
		}
		elsif ($line =~ /\S/)
		{
			die "$page:$n: the comment stands before no block\n" if defined $mark;
			$directly = 0;
		}
	}
	die "$page:$open->{line}: the block has no end\n" if $open;
	return @blocks;
}

# ----- Comparing -----

my $hex = '[0-9a-f]';
my $uuid = "$hex\{8}-$hex\{4}-$hex\{4}-$hex\{4}-$hex\{12}";
my $event_id = "$hex\{8}-$hex\{4}-7$hex\{3}-[89ab]$hex\{3}-$hex\{12}";
my $zone = '(?: ?(?:Z|UTC|[+-]\d\d(?::?\d\d)?))?';
my $time = '\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?' . $zone . ')?';

# What need not be equal: how it looks in the page, and what is as good.
my @VARIABLE = (
	[ "$hex\{8}(?:-$hex\{4})*-?…(?:-?$hex\{4,12})*" => $uuid ],
	[ $time => $time ],
	[ '\d\d:\d\d:\d\d(?:\.\d+)?' => '-?\d\d:\d\d:\d\d(?:\.\d+)?' ],
	[ '\d+(?:\.\d+)? ms' => '\d+(?:\.\d+)? ms' ],
	[ 'worker_pid \|(?: \d+)?' => 'worker_pid \|(?: \d+)?' ],
	[ 'worker_state \| (?:asleep|idle)' => 'worker_state \| (?:asleep|starting|linking|idle)' ],
	[ '(?<=\[)\d+(?=\])' => '\d+' ],
	[ '(?i:\bpid )\d+' => '(?i:\bpid )\d+' ],
	[ '127\.0\.0\.1:\d+' => '127\.0\.0\.1:\d+' ],
	[ 'eyJ[\w-]+\.[\w-]+\.[\w-]+' => 'eyJ[\w-]+\.[\w-]+\.[\w-]+' ],
	[ '/tmp/atlas_events\.\w+' => '/tmp/atlas_events\.\w+' ],
	[ '_20\d\d_\d\d\b' => '_20\d\d_\d\d' ],
	[ "\\b$hex\{32}\\b" => "\\b$hex\{32}\\b" ],
	[ '…' => '.*?' ]);

# Without what only serves the looks: widths of columns, blanks at the ends of lines.
sub plain
{
	my ($text) = @_;
	$text =~ s/\r//g;
	$text =~ s/^\(\d+ rows?\)\n//mg;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/-{2,}/-/g;
	$text =~ s/─{2,}/─/g;
	$text =~ s/^ | $//mg;
	$text =~ s/\n{2,}/\n/g;
	$text =~ s/^\n+|\n+$//g;
	return $text;
}

# A pattern for what the page shows, and the ids in the order of its groups.
sub pattern_of
{
	my ($expected) = @_;
	my $tokens = join '|', map { "($_->[0])" } @VARIABLE;
	my ($pattern, @ids, %group) = ('');

	while ($expected =~ /\G(?:($event_id)|$tokens|(.))/gs)
	{
		if (defined $1)
		{
			if ($actual_id{$1}) { $pattern .= $actual_id{$1} }
			elsif ($group{$1}) { $pattern .= "\\g{$group{$1}}" }
			else
			{
				push @ids, $1;
				$group{$1} = @ids;
				$pattern .= "($event_id)";
			}
			next;
		}
		my ($which) = grep { defined $-[ $_ + 2 ] } 0 .. $#VARIABLE;
		$pattern .= defined $which ? $VARIABLE[$which][1] : quotemeta $+;
	}
	return ($pattern, @ids);
}

sub matches
{
	my ($expected, $actual) = @_;
	my ($pattern, @ids) = pattern_of(plain($expected));
	my @found = plain($actual) =~ /\A$pattern\z/s or return 0;

	@actual_id{@ids} = @found if @ids;
	return 1;
}

sub errors_in
{
	my ($text) = @_;
	my @errors = $text =~ /^(?:psql: error|invalid command|(?:\S+: )*(?:ERROR|FATAL|PANIC)):/mg;
	return scalar @errors;
}

# Blocks that use an id that another one has printed get the one of this run.
sub with_actual_ids
{
	my ($content) = @_;
	$content =~ s/($event_id)/$actual_id{$1} \/\/ $1/ge;
	return $content;
}

# ----- sql -----

sub psql_command
{
	my ($uri) = @_;
	return ("$ENV{BINDIR}/psql", '-X', '-q', '-P', 'pager=off', '-d', $uri);
}

sub connect_psql
{
	my ($uri) = @_;
	my $pid = open3(my $in, my $out, undef, psql_command($uri));
	binmode $in, ':encoding(UTF-8)';
	binmode $out, ':raw';
	$in->autoflush(1);
	return { pid => $pid, in => $in, out => $out, uri => $uri };
}

sub disconnect_psql
{
	return unless $psql;
	close $psql->{in};
	close $psql->{out};
	waitpid $psql->{pid}, 0;
	undef $psql;
	return;
}

# Where the page's own examples have started a server, it is that one.
sub uri
{
	return -e "$work/uri" ? read_file("$work/uri") : $ENV{PGURI};
}

sub run_sql
{
	my ($content) = @_;
	my $output = '';
	my $deadline = time + $BLOCK_SECONDS;
	my ($last) = $content =~ /([^\n]*\S)\s*\z/;

	return (0, "the last statement of the block does not end\n") unless $last =~ /;\s*(?:--.*)?$|\\/;
	disconnect_psql() if $psql && $psql->{uri} ne uri();
	$psql //= connect_psql(uri());
	local $SIG{PIPE} = 'IGNORE';
	print { $psql->{in} } "$content\n\\echo $marker\n";
	my $ready = IO::Select->new($psql->{out});
	until ($output =~ s/^$marker\n\z//m)
	{
		my $more = '';
		unless ($ready->can_read($deadline - time) && sysread $psql->{out}, $more, 65536)
		{
			kill 'KILL', $psql->{pid};
			disconnect_psql();
			return (0, decode('UTF-8', $output) . "psql has ended, or did not answer in time\n");
		}
		$output .= $more;
	}
	return (1, decode('UTF-8', $output));
}

# ----- sh -----

# What the shells of a page begin with. Without sudo, root runs the command itself.
sub prepare_shells
{
	my $keep = join ' ', map { defined $ENV{$_} ? "export $_='$ENV{$_}';" : '' }
	  qw(http_proxy https_proxy no_proxy POSTGREST);
	my $names = join ' ', grep { ($ENV{$_} // '') ne '' }
	  qw(PG_CONFIG PGHOST PGPORT PGUSER PGDATABASE PGURI),
	  qw(BASE_URL POSTGREST_URL TOKEN JWT_SECRET SERVER);
	my $exports = join '', map { "export $_='$ENV{$_}'\n" } split / /, $names;

	mkdir "$work/$_" foreach 'bin', 'home';
	chmod 0755, $work, "$work/bin", "$work/home";
	write_file("$work/home/.curlrc", "silent\n");
	if (!grep { -x "$_/sudo" } qw(/usr/bin /usr/local/bin /bin))
	{
		write_file("$work/bin/sudo", <<'END');
#!/bin/sh
user=root
if [ "$1" = -u ]; then user=$2; shift 2; fi
exec runuser -u "$user" -- "$@"
END
		chmod 0755, "$work/bin/sudo";
	}
	my $homes = "CURL_HOME='$work/home' HOME='$work/home'";
	my $common = "export LANG=C.UTF-8 $homes; $keep\ncd '$checkout'\n";
	my $path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
	write_file("$work/state", "$common${exports}export PATH='$work/bin:$ENV{BINDIR}:$path'\n");
	write_file("$work/state-of-copy",
		"${common}export HOME=/root DEBIAN_FRONTEND=noninteractive PATH='$work/bin:$path'\n");
	return;
}

# Runs a command with its output in a file, because what it leaves running may
# keep a pipe open.
sub run_command
{
	my (@command) = @_;
	my $deadline = time + $BLOCK_SECONDS;
	my $pid = fork // die "fork: $!\n";

	if ($pid == 0)
	{
		setsid();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$work/output";
		open STDERR, '>&', \*STDOUT;
		exec 'env', '-i', @command or POSIX::_exit(127);
	}
	while (waitpid($pid, WNOHANG) == 0)
	{
		if (time > $deadline)
		{
			kill 'KILL', -$pid;
			waitpid $pid, 0;
			return (0, read_file("$work/output") . "not finished in $BLOCK_SECONDS s\n");
		}
		sleep 0.01;
	}
	return ($? == 0, read_file("$work/output") . ($? == 0 ? '' : 'exit status ' . ($? >> 8) . "\n"));
}

sub run_sh
{
	my ($content, $mark) = @_;
	my $state = defined $mark ? "$work/state-of-copy" : "$work/state";

	# Of the copy, the database of the page's sql blocks is not to be taken.
	my $uri = defined $mark ? '' : "printf %s \"\$PGURI\" >'$work/uri'";
	write_file("$work/block", <<"END");
. '$state'
set -aeu
$content
{ export -p; declare -f; printf 'cd %q\\n' "\$PWD"; } >'$state.next'
mv '$state.next' '$state'
$uri
END
	return run_command('/bin/bash', "$work/block") unless defined $mark;
	return run_command(in_copy($mark), '/bin/bash', "$work/block");
}

# ----- A copy of this machine -----

sub as_root
{
	return $> == 0 ? @_ : ('/usr/bin/sudo', @_);
}

# The folders of the page are not copied, so that both sides see them.
sub make_copy
{
	mkdir "$work/copy";
	my $pid = open3(my $in, my $out, undef,
		as_root("$checkout/script/copy-of-machine", "$work/copy", $work, $ENV{SERVER}));
	my $line = <$out> // '';
	die "the copy of this machine was not made: $line" . join('', <$out>)
	  unless $line =~ /^ready (\d+)$/;
	%copy = (pid => $pid, child => $1);
	return;
}

sub in_copy
{
	my ($mark) = @_;
	make_copy() unless %copy;
	return as_root('nsenter', '--target', $copy{child}, '--mount', '--pid', '--ipc',
		($mark eq $IN_COPY ? '--net' : ()), '--root', '--wd');
}

sub end_copy
{
	return unless %copy;
	system(as_root('kill', '-KILL', $copy{child}));
	waitpid $copy{pid}, 0;
	return;
}

# ----- The page's examples -----

# What has to be linked at once, by any linker, is linked, rules have begun, and have acted.
sub wait_until_linked
{
	my $deadline = time + $LINK_SECONDS;
	my $query = <<'END';
SELECT format('SELECT (EXISTS (SELECT FROM %1$I.atlas_event_queue
                     WHERE coalesce(next_attempt_at, now()) <= now()) OR
            EXISTS (SELECT FROM %1$I.atlas_event_work WHERE coalesce(next_attempt_at, now()) <= now()) OR
            EXISTS (SELECT FROM %1$I.atlas_rules WHERE is_enabled AND since IS NULL) OR
            (SELECT actions_due > 0 FROM %1$I.atlas_events_status) OR
            EXISTS (SELECT FROM %1$I.atlas_search_rebuild WHERE finished_at IS NULL))
    AND (SELECT worker_state <> ''off'' FROM %1$I.atlas_events_status)', n.nspname)
  FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
 WHERE e.extname = 'atlas_events'
\gexec
END
	while (1)
	{
		write_file("$work/query", $query);
		my @command = (psql_command(uri()), '-A', '-t', '-f', "$work/query");
		open my $pipe, '-|', "@command 2>/dev/null" or die "psql: $!\n";
		my $answer = join '', <$pipe>;
		close $pipe;
		return 1 unless $answer =~ /^t$/m;
		return 0 if time > $deadline;
		sleep 0.02;
	}
}

sub indented
{
	my ($text) = @_;
	$text =~ s/^/    /mg;
	$text .= "\n" unless $text =~ /\n\z/;
	return $text;
}

sub run_block
{
	my ($block) = @_;
	my $content = with_actual_ids($block->{content});
	my $mark = $block->{mark};
	my ($ok, $output);

	my $is_sql = $block->{language} eq 'sql';
	die "$page:$block->{line}: unknown: $mark\n"
	  if defined $mark && ($is_sql || $mark !~ /^\Q$IN_COPY\E(, with its network)?$/);
	($ok, $output) = $is_sql ? run_sql($content) : run_sh($content, $mark);
	my $linked = wait_until_linked();
	my $expected = $block->{expected} && $block->{expected}{content};
	my $name = "$page:$block->{line}, $block->{language}";
	my $why;
	if (!$ok) { $why = 'the block fails' }
	elsif ($is_sql && errors_in($output) != errors_in($expected // ''))
	{
		$why = 'there is an error that the page does not show, or the other way round';
	}
	elsif (defined $expected && !matches($expected, $output)) { $why = 'the output differs' }
	elsif (!$linked) { $why = "not linked after $LINK_SECONDS s" }
	return print "ok: $name\n" unless defined $why;
	print "FAILED: $name: $why\n";
	print "  expected (line $block->{expected}{line}):\n", indented($expected) if defined $expected;
	print "  actual:\n", indented($output);
	return;
}

# The servers that examples have started with script/server, and have not stopped.
sub stop_servers
{
	my $state = read_file("$work/state");
	my ($server) = $state =~ m{^declare -x SERVER="(/tmp/atlas_events\.\w+)"$}m or return;
	return if $server eq $ENV{SERVER} || !-e "$server/detached";
	system("$checkout/script/server", '--stop', $server);
	return;
}

$| = 1;
$SIG{$_} = sub { exit 1 } foreach qw(INT TERM HUP);
END
{
	my $status = $?;
	disconnect_psql();
	end_copy();
	stop_servers() if -e "$work/state";
	$? = $status;
}

prepare_shells();
foreach my $block (blocks())
{
	if ($block->{language} eq 'sql' || $block->{language} eq 'sh') { run_block($block) }
	elsif (!$NOT_RUN{ $block->{language} })
	{
		print "FAILED: $page:$block->{line}: a block is sql or sh, which are run, or one of: ",
		  join(', ', sort keys %NOT_RUN), "\n";
	}
}
