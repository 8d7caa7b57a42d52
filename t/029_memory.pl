# A backend that submits for days, and a linker that links for days, need no
# more memory in the end than at first.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $events = long_or(1_000_000, 6_000);
my $parts = 4;
my $allowed = 1024;    # kB more in the last part than in the second
my $node = start_node(
	'memory', settings => <<'END');
atlas_events.idle_timeout = 1h
atlas_events.batch_size = 200
synchronous_commit = off
max_locks_per_transaction = 256
END
make_database($node, 'atlas');
$node->safe_psql('atlas', <<'END');
CREATE TABLE orders (id bigint PRIMARY KEY);

-- What a call gives, an error or not.
CREATE FUNCTION atlas_test.try(sql text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE sql;
EXCEPTION WHEN OTHERS THEN
    NULL;
END $$;
END

# The anonymous memory of a process, in kB: its own, not the server's buffers.
sub memory_of
{
	my ($pid) = @_;
	my ($size) = slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m;

	return $size;
}

# Runs a statement again and again in one session, which must not grow.
sub flat_ok
{
	my ($name, $times, $sql, %options) = @_;
	my $session = $node->background_psql($options{database} // 'atlas');
	$session->query_safe($options{before}, verbose => 0) if defined $options{before};
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my @sizes;

	for (1 .. $parts)
	{
		$session->query_safe("DO \$do\$ BEGIN FOR i IN 1 .. $times LOOP PERFORM count(*) FROM ($sql) AS q; COMMIT; END LOOP; END \$do\$", verbose => 0);
		push @sizes, memory_of($pid);
	}
	note "$name, $parts times $times: kB @sizes";
	cmp_ok($sizes[-1] - $sizes[1], '<', $options{allowed} // $allowed,
		"$name needs no more memory in the end");
	$session->quit;
	return;
}

# ----- Submitting -----

my $each = $events / $parts;
my $object = q{object_type => 'CUSTOMER', object_id => NULL, external_id => '190001', name => 'Long', payload => '{"n": 1}'};
my $related = q{related_objects => ARRAY[('TICKET', '1', NULL), ('ACCOUNT', NULL, 'ACC-000001')]::atlas_object[]};

flat_ok('a backend that submits by named arguments', $each, "SELECT submit_event($object, $related)");
flat_ok('one that submits JSON', $each / 4,
	q{SELECT submit_event('{"objectType": "ACCOUNT", "externalId": "ACC-000001", "name": "Json",
		"payload": {"list": [1, 2, {"a": null}]}, "icon": "\u2705", "relatedObjects": [{"objectType": "TICKET", "objectId": "2"}]}')});
flat_ok('one that submits the same key again', $each / 4,
	"SELECT submit_event($object, idempotency_key => 'again')");
flat_ok('one that submits many at a time', $each / 200,
	"SELECT submit_events(atlas_test.make_events(1, 200)::text)", allowed => long_or(1, 4) * $allowed);
flat_ok('one that submits in vain', $each / 4,
	q{SELECT atlas_test.try(s) FROM (VALUES
		('SELECT submit_event(''{"objectType": "CUSTOMER", "externalId": "0", "name": "x"}'')'),
		('SELECT submit_event(''{"objectType": "CUSTOMER", "icon": "ab", "name": ""}'')'),
		('SELECT submit_event(''{"objectType": }'')'),
		('SELECT submit_event(''{"objectType": "CUSTOMER", "externalId": "190001", "name": "x", "payload": {"a": "\u0000"}}'')'),
		('SELECT submit_events(''[{"objectType": "CUSTOMER"}, 1, {"a": }]'')')) AS v (s)});
flat_ok('one that reads timelines', $each / 20,
	q{SELECT atlas_timeline('CUSTOMER', md5('customer-7')::uuid::text)});

# ----- Everything that is kept is made anew again and again -----

flat_ok('a backend that registers and unregisters', $each / 20,
	q{SELECT atlas_register_object_type('ORDER', 'orders', aliases => '{PURCHASE}'),
		atlas_test.try('SELECT submit_event(''ORDER'', ''1'', ''x'')'), atlas_unregister_object_type('ORDER')});
flat_ok('one whose tables are altered all the time', $each / 20,
	q{SELECT atlas_test.try('ALTER TABLE customers ALTER id SET STATISTICS ' || n % 100),
		submit_event('CUSTOMER', md5('customer-7')::uuid::text, 'x') FROM generate_series(1, 2) AS n});
# PostgreSQL keeps something of every type and function that was dropped, some
# 10 kB of this extension.
my $rounds = long_or(100, 5);
make_database($node, 'anew');
flat_ok(
	'one that makes the extension anew', $rounds,
	q{SELECT atlas_test.anew()},
	database => 'anew',
	allowed => $allowed + 2 * $rounds * 20,
	before => <<'END');
CREATE FUNCTION atlas_test.anew() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DROP EXTENSION IF EXISTS atlas_events CASCADE;
    CREATE EXTENSION atlas_events;
    PERFORM atlas_discover_object_types();
    PERFORM submit_events(atlas_test.make_events(1, 10)::text);
    PERFORM atlas_link_events();
END $$;
SET client_min_messages = error;
END

# ----- Linking -----

linked_ok($node, 'atlas', 'what was submitted is linked');
my $pid = wait_for_linker($node, 'atlas');
my @sizes;
for (1 .. $parts)
{
	for (my $first = 1; $first <= $each; $first += 10_000)
	{
		my $last = $first + 9999 > $each ? $each : $first + 9999;

		submit_events($node, 'atlas', $first, $last);
		$node->poll_query_until('atlas', 'SELECT NOT EXISTS (SELECT FROM atlas_event_queue)') or die;
	}
	push @sizes, memory_of($pid);
}
note "the linker: kB @sizes";
is(wait_for_linker($node, 'atlas'), $pid, 'it is the same linker all the time');
cmp_ok($sizes[-1] - $sizes[1], '<', $allowed, 'a linker needs no more memory in the end');
# A linker waits for a second at most until a transaction has made the extension anew.
is_deeply([ grep { !/canceling statement due to lock timeout/ } worker_errors($node) ],
	[], 'no worker logs any other error');
oracle_ok($node, 'atlas', []);
$node->stop;
done_testing();
