# The memory that a request takes is a small multiple of its size, whatever is wrong
# with it, and it is refused item by item.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('requests', settings => "atlas_events.linking = off\nshared_buffers = 16MB\n");
make_database($node, 'atlas');

my $object = '"objectType":"TICKET","objectId":1,"name":"x"';

sub array_of
{
	my ($times, $item) = @_;

	return '[' . join(',', ($item) x $times) . ']';
}

# The most memory that a session has had, in kB.
sub peak_of
{
	my ($pid) = @_;
	my ($size) = slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m;

	return $size;
}

# Submits a batch in a session of its own: how many are accepted, and that memory
# grows by no more than that many times its size, and 2 kB for each item. Besides that
# the buffers and the library count.
sub memory_ok
{
	my ($name, $body, $accepted, %options) = @_;
	my $file = $node->data_dir . '/request.json';
	my $session = $node->background_psql('atlas');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $allowed = ($options{times} * length($body) + 2048 * $options{items}) / 1024 + 40 * 1024;

	append_to_file($file, $body);
	$session->query_safe("SELECT submit_events('[]')");
	my $before = peak_of($pid);
	is($session->query_safe("SELECT submit_events(pg_read_file('request.json')) ->> 'accepted'"),
		$accepted, "$name: $accepted are accepted");
	my $grown = peak_of($pid) - $before;
	note sprintf('%s: %d kB of request, %d kB of memory', $name, length($body) / 1024, $grown);
	cmp_ok($grown, '<', $allowed, "$name: it takes little memory");
	$session->quit;
	unlink($file);
	return;
}

my $unknown = '{' . join(',', map { qq("f$_":1) } 1 .. 95) . '}';
memory_ok('95 unknown fields each', array_of(9900, $unknown), 0, times => 5, items => 9900);
memory_ok('100 related objects each that are none', array_of(5000, qq({$object,"relatedObjects":) . array_of(100, '1') . '}'), 0, times => 20, items => 5000);
memory_ok('100 empty related objects each', array_of(2000, qq({$object,"relatedObjects":) . array_of(100, '{}') . '}'), 2000, times => 50, items => 2000);
memory_ok('malformed items', array_of(9900, '{"name" "' . ('x' x 500) . '"}'), 0, times => 5, items => 9900);
memory_ok('payloads of malformed tokens', array_of(100, qq({$object,"payload":{"a":) . ('x' x 100_000) . '}}'), 0, times => 5, items => 100);
memory_ok('numbers that grow', array_of(300, qq({$object,"payload":{"a":) . array_of(2000, '1e131071') . '}}'), 0, times => 5, items => 300);
memory_ok('numbers that grow behind the point', array_of(300, qq({$object,"payload":{"a":) . array_of(2000, '1e-16383') . '}}'), 0, times => 5, items => 300);
memory_ok('numbers that jsonb does not hold', array_of(300, qq({$object,"payload":{"a":) . array_of(2000, '1e-131071') . '}}'), 0, times => 5, items => 300);
memory_ok('deep nesting', array_of(100, qq({$object,"payload":{"a":) . ('[' x 40_000) . (']' x 40_000) . '}}'), 0, times => 5, items => 100);

# ----- What is accepted can be dumped -----

$node->safe_psql('atlas', 'TRUNCATE atlas_events, atlas_event_queue, atlas_event_work, atlas_event_search');
$node->safe_psql('atlas', <<"END");
SELECT submit_event('{$object,"payload":{"a":1e131071}}'),
       submit_event('{$object,"payload":{"a":[' || repeat('1e-16383,', 14) || '1]}}'),
       submit_event('{$object,"payload":{"a":' || repeat('[', 3000) || repeat(']', 3000) || '}}'),
       submit_event('TICKET', '1', 'x', payload => '{"a":-1e131071}'),
       submit_event('{$object,"relatedObjects":[{},{"objectId":1e131071},{"objectType":"' || repeat('x', 1000) || '"}]}'),
       count(submit_event(('{$object,"payload":{"a":' || repeat('1', n) || 'e' || 131072 - n || '}}')::jsonb)) FROM generate_series(1, 3) n;
SELECT submit_events(('[' || repeat('{$object,"payload":{"a":1e131071}},', 20) || '{"name":1}]')::jsonb);
END
my $content = 'SELECT count(*), sum(octet_length(payload::text)), md5(string_agg(payload::text, chr(10) ORDER BY event_id)) FROM atlas_events';
my $stored = $node->safe_psql('atlas', $content);
like($stored, qr/^\d+\|\d{7}\|/, 'large numbers are stored');
my $dump = $node->basedir . '/atlas.dump';
$node->command_ok([ 'pg_dump', '--format=custom', "--file=$dump", 'atlas' ], 'pg_dump passes');
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--dbname=copy', $dump ], 'and so does pg_restore');
is($node->safe_psql('copy', $content), $stored, 'the copy has the same');

$node->stop;
done_testing();
