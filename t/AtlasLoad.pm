=pod

=head1 NAME

AtlasLoad - clients that submit events, whatever happens to the server

=head1 DESCRIPTION

Each client is a process of its own. It submits events with idempotency keys,
one at a time or in small batches, and when that fails, for whatever reason, it
tries again with the same keys until the events are acknowledged; so it ends
with nothing in doubt. It connects anew when its connection is lost. Now and
then it submits once more what was acknowledged, and must get the same answer.

    my $load = load_start($node, 'atlas', clients => 3);
    load_wait($load, 100);
    my $result = load_stop($load);

=cut

package AtlasLoad;

use strict;
use warnings;

use DBI;
use Exporter 'import';
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(load_start load_wait load_acknowledged load_stop load_ids_since load_is_whole);

my $range = 10_000_000;    # numbers of events, for each client its own
my $pause = 10_000;        # microseconds between two submissions, at most

# ----- A client -----

my $stopping;

sub connect_again
{
	my ($client) = @_;

	$client->{session} = undef;
	return $client->{session} = DBI->connect($client->{source}, '', '',
		{ RaiseError => 0, PrintError => 0, PrintWarn => 0, AutoCommit => 1 });
}

# Submits once; returns the ids, or nothing after an error, which is noted.
sub try_to_submit
{
	my ($client, $first, $last) = @_;
	my $session = $client->{session};
	my $one = 'SELECT submit_event(atlas_test.make_events($1, $2, $3)->0)->>\'eventId\'';
	my $many = 'SELECT atlas_test.submit($1, $2, $3)';
	my $ids;

	$session = connect_again($client) if !defined $session || !$session->ping;
	$ids = $session->selectcol_arrayref($first == $last ? $one : $many,
		{ pg_server_prepare => 0 }, $first, $last, 'load-')
	  if defined $session;
	return @$ids if defined $ids && !$session->err && @$ids == $last - $first + 1;

	my $state = defined $session ? $session->state || 'none' : 'unconnected';
	my $message = ($session // 'DBI')->errstr // '';

	# DBD::Pg may give this any state.
	$state = '08000' if $message =~ /server closed the connection/;
	print { $client->{file} } "error $state ", $message =~ s/\s+/ /gr, "\n";
	return;
}

# Until the events are acknowledged.
sub submit
{
	my ($client, $first, $last) = @_;
	my ($begun, @ids);

	for (;;)
	{
		$begun = time();
		@ids = try_to_submit($client, $first, $last);
		last if @ids;
		$client->{retries}++;
		usleep(rand 20_000);
	}
	return ($begun, @ids);
}

sub run_client
{
	my ($client) = @_;
	my $n = $client->{from} + $client->{number} * $range;

	until ($stopping)
	{
		my $last = rand() < 0.8 ? $n : $n + int rand 10;
		my ($begun, @ids) = submit($client, $n, $last);
		print { $client->{file} } map { "acknowledged $_ $begun\n" } @ids;
		if (rand() < 0.1 && !$client->{forgets})
		{
			my (undef, @again) = submit($client, $n, $last);
			print { $client->{file} } "different @ids @again\n" if "@ids" ne "@again";
		}
		$n = $last + 1;
		usleep(rand $pause);
	}
	print { $client->{file} } "end $client->{retries}\n";
	return;
}

# ----- What a test does with them -----

# load_start(NODE, DATABASE, clients => 3, from => N, forgets => 1)
# from: where the numbers of events begin, behind those of a load before.
# forgets: the server may forget acknowledged events, as with DROP EXTENSION.
sub load_start
{
	my ($node, $database, %options) = @_;
	my $load = { files => [], pids => [], node => $node, database => $database };

	for my $number (0 .. ($options{clients} // 3) - 1)
	{
		my $path = $node->basedir . "/load_${database}_$number";
		open my $file, '>', $path or die "$path: $!";
		$file->autoflush(1);
		my $seed = int rand 1_000_000;
		my $pid = fork() // die "fork: $!";
		if ($pid == 0)
		{
			local $SIG{TERM} = sub { $stopping = 1 };
			srand $seed;
			my $source = 'dbi:Pg:' . join ';', 'application_name=atlas_load',
			  map { s/'//gr } split ' ', $node->connstr($database);
			my $done = eval {
				run_client(
					{
						number => $number,
						from => 1 + ($options{from} // 0),
						file => $file,
						source => $source,
						retries => 0,
						forgets => $options{forgets}
					});
				1;
			};
			print $file "died $@\n" unless $done;
			POSIX::_exit($done ? 0 : 1);
		}
		push @{ $load->{files} }, $path;
		push @{ $load->{pids} }, $pid;
	}
	return $load;
}

sub lines_of
{
	my ($load) = @_;

	return map { split /\n/, slurp_file($_) } @{ $load->{files} };
}

# How many events were acknowledged so far.
sub load_acknowledged
{
	my ($load) = @_;

	return scalar grep { /^acknowledged / } lines_of($load);
}

# Waits until so many more events were acknowledged.
sub load_wait
{
	my ($load, $more) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $enough = load_acknowledged($load) + $more;

	while (time() < $deadline)
	{
		return if load_acknowledged($load) >= $enough;
		usleep(5_000);
	}
	die "clients do not get their events acknowledged";
}

# Stops the clients, when what they are at is acknowledged. Returns ids, retries,
# errors (by SQLSTATE) and wrong (what clients complain of).
sub load_stop
{
	my ($load) = @_;
	my $result = { ids => [], retries => 0, errors => {}, wrong => [] };
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;

	kill 'TERM', @{ $load->{pids} };
	for my $pid (@{ $load->{pids} })
	{
		until (waitpid($pid, POSIX::WNOHANG()) != 0)
		{
			die 'a client does not get its last event acknowledged' if time() > $deadline;
			usleep(5_000);
		}
	}
	for my $line (lines_of($load))
	{
		my ($kind, @fields) = split ' ', $line;
		if ($kind eq 'acknowledged') { push @{ $result->{ids} }, $fields[0] }
		elsif ($kind eq 'error') { $result->{errors}{ $fields[0] }++ }
		elsif ($kind eq 'end') { $result->{retries} += $fields[0] }
		elsif ($kind =~ /^(?:different|died)$/) { push @{ $result->{wrong} }, $line }
	}
	note sprintf '%d events acknowledged, %d retries, errors: %s',
	  scalar @{ $result->{ids} }, $result->{retries},
	  join ', ', map { "$result->{errors}{$_} x $_" } sort keys %{ $result->{errors} };
	return $result;
}

# The events whose submission began after this time.
sub load_ids_since
{
	my ($load, $time) = @_;
	my @lines = map { [ split ' ' ] } grep { /^acknowledged / } lines_of($load);

	return map { $_->[1] } grep { $_->[2] > $time } @lines;
}

# Each key is exactly one event, the acknowledged one; no client complains.
sub load_is_whole
{
	my ($load, $result, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stored = $load->{node}->safe_psql($load->{database},
		q{SELECT count(*), count(DISTINCT idempotency_key) FROM atlas_events
		    JOIN atlas_event_keys USING (event_id) WHERE idempotency_key LIKE 'load-%'});
	my $acknowledged = @{ $result->{ids} };

	is_deeply($result->{wrong}, [], 'a retry gets the same event');
	return is($stored, "$acknowledged|$acknowledged", $name);
}

1;
