# Events with as many related objects as can be allowed: whoever links them ends
# at the next row when he is told to, and the time that they take grows with
# their number and not with its square.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('interrupts', settings => <<'END');
atlas_events.linking = off
atlas_events.max_related_objects = 10000
atlas_events.max_event_size = 10MB
END
make_database($node, 'atlas');

# 200 events with 10,000 objects each, which are all there.
$node->safe_psql('atlas', <<'END');
CREATE TABLE bugs (id int PRIMARY KEY);
INSERT INTO bugs SELECT generate_series(1, 10000);
ANALYZE bugs;
SELECT atlas_register_object_type('BUG', 'bugs');
SELECT submit_event(object_type => 'CUSTOMER', object_id => NULL, external_id => '190001', name => 'Release',
                    related_objects => ARRAY(SELECT ('BUG', n, NULL)::atlas_object FROM generate_series(1, 10000) n));
INSERT INTO atlas_events (event_id, occurred_at, received_at, object_type, object_id, name, related_objects)
SELECT (left(event_id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, occurred_at, received_at,
       object_type, object_id, name, related_objects
  FROM atlas_events, generate_series(1, 199) n;
INSERT INTO atlas_event_queue (event_id, submitted_xid)
SELECT event_id, pg_current_xact_id() FROM atlas_events WHERE event_id NOT IN (SELECT event_id FROM atlas_event_queue);
END
is(status_of($node, 'atlas', 'queue_depth'), '200', 'events wait');

# psql gives up after a minute.
my ($code, $stdout, $stderr, $timed_out);
$code = $node->psql(
	'atlas', "SET statement_timeout = '1s'; SELECT atlas_link_events()",
	timeout => 60,
	timed_out => \$timed_out,
	stderr => \$stderr);
ok(!$timed_out, 'a session ends at its statement_timeout');
like($stderr, qr/canceling statement due to statement timeout/, 'and says so');
is(status_of($node, 'atlas', 'queue_depth'), '200', 'the events wait as before');

$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = on');
$node->reload;
wait_until($node, 'atlas',
	"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'atlas_events linker' AND query = 'linking' AND state = 'active'",
	'a linker links them');
# pg_ctl waits for a minute.
ok($node->stop('fast', fail_ok => 1), 'the server stops meanwhile');

$node->start;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET atlas_events.linking');
$node->restart;
$node->safe_psql('atlas',
	'DELETE FROM atlas_event_queue WHERE event_id NOT IN (SELECT event_id FROM atlas_event_queue ORDER BY event_id LIMIT 20)');
is($node->safe_psql('atlas', 'SELECT atlas_link_events()'), '20', 'events are linked');
is($node->safe_psql('atlas', 'SELECT count(*), count(DISTINCT object_id) FROM atlas_event_links'),
	'200000|10000', 'to all their objects');
$node->stop;
done_testing();
