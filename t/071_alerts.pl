# The query in docs/operations.md that watches a database: its thresholds.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file(atlas_root() . '/docs/operations.md');
my ($query) = $page =~ /^## Watch\n.*?^```sql\n(.*?);\n```/ms;
my ($preloaded, $plain) = (
	start_node('alerts', settings => 'atlas_events.linking = off'),
	start_node('plain', preload => 0));

# Without what the status view advises, which depends on whether a linker was here already.
sub alerts
{
	my ($node) = @_;

	return join "\n", grep { !/^warning\|(?:atlas_events\.linking is off|Events)\b/ }
	  split /\n/, $node->safe_psql('atlas', $query);
}

# As if the event had been submitted that long ago.
sub received
{
	my ($ago) = @_;

	$preloaded->safe_psql('atlas', "UPDATE atlas_events SET received_at = clock_timestamp() - interval '$ago'");
	return;
}

make_database($_, 'atlas') foreach $preloaded, $plain;
ok($query, 'the page has the query');
is(alerts($preloaded), '', 'when all is well it has no row');

submit_events($preloaded, 'atlas', 1, 1);
is(alerts($preloaded), '', 'an event that waits for a moment is no alert');
received('1 min 50 s');
is(alerts($preloaded), '', 'nor is one that has waited for less than two minutes');
received('2 min 1 s');
like(alerts($preloaded), qr/\Awarning\|events have been waiting for 00:02:0[^\n]*\z/, 'after two minutes it is a warning');
received('14 min 50 s');
like(alerts($preloaded), qr/\Awarning\|events have been waiting/, 'which it is for a quarter of an hour');
received('15 min 1 s');
like(alerts($preloaded), qr/\Acritical\|events have been waiting/, 'and then it is critical');

$preloaded->safe_psql('atlas', "UPDATE atlas_event_queue SET next_attempt_at = 'infinity'");
is(alerts($preloaded), 'warning|1 events have failed', 'an event that has failed is a warning, and does not count as waiting');

$preloaded->safe_psql('atlas', <<'END');
TRUNCATE atlas_event_queue;
INSERT INTO atlas_event_queue (event_id, submitted_xid)
SELECT lpad(to_hex(n), 32, '0')::uuid, pg_current_xact_id() FROM generate_series(1, 99999) AS n;
END
unlike(alerts($preloaded), qr/pending/, '99,999 pending events are no alert');
$preloaded->safe_psql('atlas',
	"INSERT INTO atlas_event_queue (event_id, submitted_xid) VALUES (lpad(to_hex(100000), 32, '0')::uuid, pg_current_xact_id())");
like(alerts($preloaded), qr/^warning\|100000 events are pending$/m, '100,000 are a warning');

like(alerts($plain), qr/\Acritical\|events are not linked in the background\nwarning\|Add atlas_events to/,
	'without preloading it is critical, and the advice says what to do');

done_testing();
