# Whatever is killed, and whenever: an event that was acknowledged is there
# once, and it is linked.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('crash');
make_database($node, 'atlas');
make_gate($node, 'atlas');
my @ids;

sub depth
{
	return $node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_queue');
}

# ----- The server stops in the middle of linking -----

push @ids, submit_gated($node, 'atlas', 1, 20_000, 10_500);
wait_at_gate($node, 'atlas');
$node->stop('immediate');
$node->start;
cmp_ok(depth(), '>=', 10_000, 'the server was stopped in the middle of a batch');
open_gate($node, 'atlas');
linked_ok($node, 'atlas', 'after crash recovery the linker goes on by itself');
oracle_ok($node, 'atlas', \@ids, 'nothing is lost or doubled by an immediate stop');

# ----- The linker is killed -----

sub kill_process
{
	my ($pid) = @_;
	my $offset = log_size($node);

	kill 'KILL', $pid;
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	$node->poll_query_until('atlas', 'SELECT true') or die 'the server does not come back';
	return;
}

# Again and again at the same event: while the linker suspects nothing, while
# it takes note of its batches, and twice while it links one event at a time.
for my $gate (1, 1500)
{
	my $first = @ids + 1;
	my $offset = log_size($node);
	push @ids, submit_gated($node, 'atlas', $first, $first + 1999, $gate);
	kill_process(wait_at_gate($node, 'atlas')) foreach 1 .. 4;
	wait_at_gate($node, 'atlas');
	like(
		log_since($node, $offset),
		qr/linker before this one was killed; [1-9]\d* events are linked one by one/,
		"a linker that finds others were killed goes one by one, at event $gate");
	open_gate($node, 'atlas');
	linked_ok($node, 'atlas', 'what was left is linked');
}

# At any moment.
for my $round (1 .. 3)
{
	my $first = @ids + 1;
	push @ids, submit_events($node, 'atlas', $first, $first + 1999);
	kill_process(wait_for_linker($node, 'atlas'));
	linked_ok($node, 'atlas', "a linker that was killed is replaced, round $round");
}
is(status_of($node, 'atlas', 'failed'), '0', 'no event is blamed for it');
oracle_ok($node, 'atlas', \@ids, 'nothing is lost or doubled by killing linkers');

# ----- A submitting backend is killed around commit -----

sub keyed_event
{
	my ($key) = @_;

	return "SELECT submit_event('{\"objectType\": \"CUSTOMER\", \"externalId\": \"190001\",
		\"name\": \"Refund Requested\", \"idempotencyKey\": \"$key\",
		\"relatedObjects\": [{\"objectType\": \"TICKET\", \"objectId\": \"7\"}]}')->>'eventId'";
}

# before: committing is never begun; after: it is done; the others come as it
# happens. The client has the event id only when it had the time to read it.
for my $moment ('before commit', 'after commit', 'at commit', 'while submitting')
{
	my $key = $moment =~ s/ /-/gr;
	my $session = $node->background_psql('atlas', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	my $acknowledged;

	if ($moment eq 'before commit')
	{
		$session->query('BEGIN');
		$session->query(keyed_event($key));
	}
	elsif ($moment eq 'after commit')
	{
		$acknowledged = $session->query(keyed_event($key));
	}
	else
	{
		$session->query('BEGIN; ' . keyed_event($key)) if $moment eq 'at commit';
		$session->{stdin} .= $moment eq 'at commit' ? "COMMIT;\n" : keyed_event($key) . ";\n";
		$session->{run}->pump_nb;
	}
	kill_process($pid);
	$session->{run}->kill_kill;

	my $id = $node->safe_psql('atlas', keyed_event($key));
	push @ids, $id;
	is($id, $acknowledged, "the retry gets the same event, killed $moment")
	  if defined $acknowledged;
	is( $node->safe_psql(
			'atlas',
			"SELECT count(*), min(e.event_id::text) = '$id'
			   FROM atlas_event_keys k JOIN atlas_events e USING (event_id)
			  WHERE idempotency_key = '$key'"),
		'1|t',
		"a retry with the same key makes it one event, killed $moment");
}
is( $node->safe_psql(
		'atlas', "SELECT count(*) FROM atlas_events WHERE name = 'Refund Requested'"),
	'4',
	'there is one event for each key');

linked_ok($node, 'atlas', 'they are linked');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
