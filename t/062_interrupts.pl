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

# Whoever has begun to look the objects up has all the work still before him.
sub wait_for_lookups
{
	return poll_value($node, 'atlas', "SELECT pid FROM pg_locks WHERE relation = 'bugs'::regclass");
}

local $PostgreSQL::Test::Utils::timeout_default = 60;
my $session = $node->background_psql('atlas', on_error_stop => 0);
$session->query_until(qr/^begun/m, "\\echo begun\nSELECT atlas_link_events();\n");
my $pid = wait_for_lookups();
is($node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)"), 't', 'a session is cancelled');
wait_until($node, 'postgres', "SELECT state = 'idle' FROM pg_stat_activity WHERE pid = $pid",
	'it ends within a minute');
$session->query('SELECT 1');
like($session->{stderr}, qr/canceling statement due to user request/, 'and says so');
$session->quit;
is(status_of($node, 'atlas', 'queue_depth'), '200', 'the events wait as before');

$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = on');
$node->reload;
isnt(wait_for_lookups(), $pid, 'a linker links them');
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
