# What an event names may come later than the event, or go.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# With this naptime nothing is found by the launcher's rounds.
my $node = start_node('relink', settings => "atlas_events.naptime = 1h");
make_database($node, 'atlas');
$node->safe_psql('atlas', <<'END');
CREATE TABLE orders (id bigint PRIMARY KEY);
INSERT INTO orders VALUES (1);
SELECT atlas_register_object_type('ORDER', 'orders');
END
my @ids;

# Submits an event that is related to these objects, and waits for it.
sub submit_related
{
	my ($related) = @_;
	my ($id) = event_ids(
		$node->safe_psql('atlas',
			"SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001',
				name => 'Order Placed', related_objects => ARRAY[$related]::atlas_object[])"));

	push @ids, $id;
	linked_ok($node, 'atlas', "an event that names $related is linked");
	return $id;
}

# The outcome and reason of its references, one a line.
sub outcomes
{
	my ($id) = @_;

	return $node->safe_psql('atlas',
		"SELECT concat_ws(': ', o->>'outcome', o->>'reason')
		   FROM atlas_event_logs, jsonb_array_elements(related_objects) WITH ORDINALITY AS r (o, n)
		  WHERE event_id = '$id' ORDER BY n");
}

# ----- An object that comes late -----

my $late = submit_related(
	"('ACCOUNT', NULL, 'ACC-LATE'), ('TICKET', '5001', NULL), ('TICKET', '1', NULL), ('TICKET', '5001', NULL)");
like(outcomes($late), qr/^NOT_FOUND: .+\nNOT_FOUND: .+\nLINKED\nNOT_FOUND: .+$/,
	'what does not exist is not found');
is(status_of($node, 'atlas', 'not_found, failed, advice'), '3|0|', 'that is no failure');

$node->safe_psql('atlas', <<'END');
INSERT INTO accounts VALUES (md5('late')::uuid, 'ACC-LATE');
INSERT INTO conversations VALUES (5001);
END
wait_until($node, 'atlas', "SELECT NOT EXISTS (SELECT FROM atlas_event_unresolved)",
	'when it comes it is linked without a further call');
is(outcomes($late), "LINKED\nLINKED\nLINKED\nLINKED", 'the log says so');
is( $node->safe_psql(
		'atlas',
		"SELECT role, event_id = '$late' FROM atlas_timeline('ACCOUNT', md5('late')::uuid::text)"),
	'RELATED|t',
	'the event is on its timeline');
is( $node->safe_psql(
		'atlas', "SELECT role, event_id = '$late' FROM atlas_timeline('TICKET', '5001')"),
	'RELATED|t',
	'once, though it is named twice');
oracle_ok($node, 'atlas', \@ids, 'late hits are links like all others');

# ----- Only for a while -----

$node->append_conf('postgresql.conf', 'atlas_events.relink_window = 0');
$node->reload;
wait_until($node, 'atlas', "SELECT current_setting('atlas_events.relink_window') = '0'",
	'the window is closed');
my $never = submit_related("('TICKET', '5002', NULL)");
is( $node->safe_psql(
		'atlas', "SELECT next_attempt_at FROM atlas_event_unresolved WHERE event_id = '$never'"),
	'',
	'without a window there is no second look');
$node->append_conf('postgresql.conf', 'atlas_events.relink_window = 1d');
$node->reload;

# ----- A table that goes -----

my $order = submit_related("('ORDER', '1', NULL), ('ORDER', '2', NULL), ('TICKET', '1', NULL)");
like(outcomes($order), qr/^LINKED\nNOT_FOUND: .+\nLINKED$/, 'while the table is there');
$node->safe_psql('atlas', 'DROP TABLE orders');
my $dropped = submit_related("('ORDER', '1', NULL), ('TICKET', '1', NULL)");
like(
	outcomes($dropped),
	qr/^ERROR: .*dropped.*\nLINKED$/,
	'when the table was dropped the reference ends ERROR, and says why; the others are linked');

$node->safe_psql('atlas', 'ALTER TABLE accounts RENAME TO clients');
my $renamed = submit_related("('ACCOUNT', NULL, 'ACC-000007')");
is(outcomes($renamed), 'LINKED', 'a table that was renamed is found');

$node->safe_psql('atlas', 'ALTER TABLE conversations ALTER id TYPE double precision');
my $retyped = submit_related("('TICKET', '1', NULL), ('ACCOUNT', NULL, 'ACC-000007')");
like(outcomes($retyped), qr/^ERROR: .*type.*\nLINKED$/,
	'when the type of the ids was changed the reference ends ERROR, and says why');
$node->safe_psql('atlas', 'ALTER TABLE conversations ALTER id TYPE int');

# ----- A table that comes back -----

$node->safe_psql('atlas', <<'END');
CREATE TABLE purchases (id text PRIMARY KEY);
INSERT INTO purchases VALUES ('1'), ('2');
SELECT atlas_register_object_type('ORDER', 'purchases');
UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL;
SELECT atlas_link_events();
END
is(outcomes($order), "LINKED\nLINKED\nLINKED", 'what was not found is found in the new table');
is(outcomes($dropped), "LINKED\nLINKED", 'so is what could not be looked up');
is(outcomes($retyped), "LINKED\nLINKED", 'and what could not be read');
like(outcomes($never), qr/^NOT_FOUND/, 'what was to be looked up once stays as it is');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
