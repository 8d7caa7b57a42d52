# A table of objects may be changed in any way while a linker is in the middle
# of a batch that names its objects: the batch ends as it began, later ones are
# linked, or have the reason, and the references to other tables are linked.

use strict;
use warnings;

use AtlasTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('objects', settings => 'atlas_events.batch_size = 50');
make_database($node, 'atlas');
make_gate($node, 'atlas');
$node->safe_psql('atlas', 'CREATE SCHEMA archive');
my @ids;

# 150 events that name ORDER 1 to 150, or by external id, and an account each.
# The linker stops at the 25th. RETURN 1001 to 1150 are in another table.
sub submit_orders
{
	my ($reference) = @_;
	my @new = event_ids($node->safe_psql('atlas', <<"END"));
BEGIN;
CREATE TEMPORARY TABLE submitted (n int GENERATED ALWAYS AS IDENTITY, event_id uuid);
INSERT INTO submitted (event_id)
SELECT unnest(submit_events(array_agg(('CUSTOMER', NULL, '190001', 'Ordered', NULL, NULL, NULL,
       ARRAY[$reference, ('ACCOUNT', NULL, 'ACC-000001')]::atlas_object[], NULL, NULL)::atlas_event ORDER BY n)))
  FROM generate_series(1, 150) AS n;
INSERT INTO atlas_test.gate SELECT event_id FROM submitted WHERE n = 25;
SELECT event_id FROM submitted ORDER BY n;
COMMIT;
END

	push @ids, @new;
	return @new;
}

# What became of the references of these events, and of how many: to the orders,
# in the batch that was under way and in the later ones, and to the accounts.
sub outcomes
{
	my (@events) = @_;
	my $ids = join ',', map { "'$_'" } @events;

	return split /\n/, $node->safe_psql('atlas', <<"END");
SELECT concat_ws(': ', o->>'outcome', o->>'reason'), count(*)
  FROM unnest(ARRAY[$ids]::uuid[]) WITH ORDINALITY AS e (event_id, n)
  JOIN atlas_event_logs USING (event_id),
       jsonb_array_elements(related_objects) WITH ORDINALITY AS r (o, position)
 WHERE processing_status = 'LINKED'
 GROUP BY position, position = 1 AND n > 50, 1
 ORDER BY position, position = 1 AND n > 50
END
}

sub make_orders
{
	$node->safe_psql('atlas', <<'END');
SET client_min_messages = warning;
DROP TABLE IF EXISTS orders, bought, archive.orders, returns CASCADE;
CREATE TABLE orders (id bigint PRIMARY KEY, shop_no text UNIQUE);
INSERT INTO orders SELECT n, 'S' || n FROM generate_series(1, 150) n;
CREATE TABLE returns (id bigint PRIMARY KEY);
INSERT INTO returns SELECT 1000 + n FROM generate_series(1, 150) n;
SELECT atlas_register_object_type('ORDER', 'orders', external_id_column => 'shop_no');
SELECT atlas_register_object_type('RETURN', 'returns');
END
	return;
}

my $linked = qr/^LINKED\|100$/;
my $by_id = "('ORDER', n::text, NULL)";

for my $change (
	[ 'dropped', $by_id, 'DROP TABLE orders', qr/^ERROR: .*has been dropped\|100$/ ],
	[ 'renamed', $by_id, 'ALTER TABLE orders RENAME TO bought', $linked ],
	[ 'moved to another schema', $by_id, 'ALTER TABLE orders SET SCHEMA archive', $linked ],
	[
		'another one\'s name, which got its own,',
		$by_id,
		'BEGIN; ALTER TABLE orders RENAME TO bought; ALTER TABLE returns RENAME TO orders;
		 ALTER TABLE bought RENAME TO returns; COMMIT',
		$linked
	],
	[
		'given ids of another type', $by_id,
		'ALTER TABLE orders ALTER id TYPE double precision', qr/^ERROR: .*has a type that ids cannot have\|100$/
	],
	[
		'given ids of another type that ids can have', $by_id,
		'ALTER TABLE orders ALTER id TYPE text', $linked
	],
	[
		'deprived of its ids', $by_id,
		'ALTER TABLE orders RENAME id TO no', qr/^ERROR: .*column .* is gone\|100$/
	],
	[
		'deprived of its external ids',
		"('ORDER', NULL, 'S' || n)",
		'ALTER TABLE orders DROP shop_no', qr/^ERROR: .*column .* is gone\|100$/
	],
	[ 'emptied', $by_id, 'TRUNCATE orders', qr/^NOT_FOUND: .*\|100$/ ])
{
	my ($name, $reference, $sql, $later) = @$change;
	my ($stdout, $stderr) = ('', '');

	make_orders();
	my @events = submit_orders($reference);
	wait_at_gate($node, 'atlas');
	my $run = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('atlas'), '-c', $sql ],
		'>', \$stdout, '2>', \$stderr);
	wait_until($node, 'atlas',
		"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass)",
		"a table that is to be $name waits for the batch");
	open_gate($node, 'atlas');
	$run->finish;
	is($stderr, '', "it is $name");
	linked_ok($node, 'atlas', 'all events are linked');

	my ($first, $then, $others) = outcomes(@events);
	is($first, 'LINKED|50', 'the batch that was under way is linked as it was begun');
	like($then, $later, 'the later ones are linked, or say why not');
	is($others, 'LINKED|150', 'the references to other tables are linked');

	# Repaired, and looked up again, all is as if nothing had happened.
	make_orders();
	$node->safe_psql('atlas',
		'UPDATE atlas_event_unresolved SET next_attempt_at = now(); SELECT atlas_link_events()');
	wait_until($node, 'atlas', 'SELECT NOT EXISTS (SELECT FROM atlas_event_unresolved)',
		'when the table is repaired all references are linked');
}

oracle_ok($node, 'atlas', \@ids);
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
