# Many sessions at once: one key is one event, one event is linked once, and
# nobody ends in a deadlock.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sessions = 20;
my $rivals = 64;    # for one key
my $node = start_node('races', settings => 'max_connections = 90');
make_database($node, 'atlas');
my @ids;

sub event
{
	my ($name, $key) = @_;

	return "{\"objectType\": \"CUSTOMER\", \"externalId\": \"190001\", \"name\": \"$name\",
		\"idempotencyKey\": \"$key\", \"relatedObjects\": [{\"objectType\": \"TICKET\", \"objectId\": \"1\"}]}";
}

sub unique
{
	my %seen = map { $_ => 1 } @_;
	my @values = sort keys %seen;

	return @values;
}

sub no_errors
{
	my ($name, @results) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(join('', map { $_->[1] } @results), '', $name);
}

# ----- The same idempotency key -----

my @results = race(
	$node, 'atlas',
	map {
		"SELECT r->>'eventId', r->>'duplicate' FROM submit_event('@{[ event('Same', 'same') ]}') AS r;"
	} 1 .. $rivals);
no_errors('the same event with the same key is accepted from everybody', @results);
my @receipts = map { split /\n/, $_->[0] } @results;
is(scalar(@receipts), $rivals, 'everybody gets a receipt');
is(scalar(unique(map { (split /\|/)[0] } @receipts)), 1, 'all get the same event');
is(scalar(grep { /\|false$/ } @receipts), 1, 'one of them has stored it');
push @ids, unique(map { (split /\|/)[0] } @receipts);

@results = race(
	$node, 'atlas',
	map { "SELECT submit_event('@{[ event(qq{Name $_}, 'different') ]}')->>'eventId';" } 1 .. $rivals);
my @winners = map { event_ids($_->[0]) } @results;
is(scalar(@winners), 1, 'of different events with the same key one is accepted');
is(scalar(grep { $_->[1] =~ /ERROR:  PT409: Conflict/ } @results),
	$rivals - 1, 'all others are a conflict');
push @ids, @winners;

# ----- Many keys, in opposite order -----

@results = race(
	$node, 'atlas',
	map {
		my $order = $_ % 2 ? '' : 'DESC';
		"SELECT string_agg(r->>'eventId', ' ' ORDER BY n $order)
		   FROM json_array_elements(submit_events((
		        SELECT json_agg(e ORDER BY n $order)
		          FROM json_array_elements(atlas_test.make_events(1, 500, 'key-'))
		               WITH ORDINALITY AS e (e, n)))->'results') WITH ORDINALITY AS r (r, n);"
	} 1 .. $sessions);
no_errors('batches with the same keys in opposite order do not deadlock', @results);
is(scalar(unique(map { $_->[0] } @results)), 1, 'all get the same events');
my @batch = split ' ', $results[0][0];
is(scalar(unique(@batch)), 500, 'one for each key');
push @ids, @batch;

# ----- New months, and years for what is old -----

@results = race(
	$node, 'atlas',
	map {
		my $session = $_;
		my @months = map { 2 + ($_ * 7 + $session * ($session % 2 ? 1 : 5)) % 24 } 0 .. 5;
		'BEGIN;' . join(
			'',
			map {
				"SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001',
					name => 'Long Ago', occurred_at => now() - interval '$_ months',
					related_objects => ARRAY[('TICKET', '$session', NULL)]::atlas_object[]);"
			} @months) . 'COMMIT;'
	} 1 .. $sessions);
no_errors('sessions that make new partitions in any order do not deadlock', @results);
push @ids, map { event_ids($_->[0]) } @results;
is( $node->safe_psql(
		'atlas',
		"SELECT count(*) = count(DISTINCT pg_get_expr(relpartbound, oid)) AND count(*) >= 14
		   FROM pg_class WHERE relispartition AND relkind = 'r' AND relname LIKE 'atlas_events_%'"),
	't',
	'each partition was made once');
is( $node->safe_psql('atlas', 'SELECT count(*) FROM (SELECT FROM atlas_events GROUP BY tableoid HAVING count(DISTINCT date_trunc($$month$$, occurred_at)) > 1) AS p') > 0,
	1, 'old months share one');
linked_ok($node, 'atlas', 'all of it is linked');
oracle_ok($node, 'atlas', \@ids);

# ----- Linking by several at once -----

$node->append_conf('postgresql.conf', 'atlas_events.linking = off');
$node->reload;
wait_until($node, 'atlas', "SELECT worker_state = 'off' FROM atlas_events_status",
	'the linker has left');
push @ids, submit_events($node, 'atlas', 1001, 21_000);
my $before = status_of($node, 'atlas', 'linked');
$node->append_conf('postgresql.conf', 'atlas_events.linking = on');
$node->reload;
wait_for_linker($node, 'atlas');
@results = race($node, 'atlas', map { 'SELECT atlas_link_events(100000);' } 1 .. 2);
no_errors('sessions can link beside a linker', @results);
linked_ok($node, 'atlas', 'together they link all');
my $by_hand = 0;
$by_hand += $_->[0] foreach @results;
is(status_of($node, 'atlas', 'linked') - $before + $by_hand, 20_000, 'each event is linked by one of them');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
unlike(log_since($node, 0), qr/deadlock/, 'no deadlock is in the log');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
