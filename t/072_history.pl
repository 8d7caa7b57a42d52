# Partitions over the years: months when an event is young, years when it is older than
# 13 months when it comes, ending where the months begin. And a history of ten years: it
# makes few partitions, a page locks those that it reads, and 90 sessions can read at once.

use strict;
use warnings;

use AtlasTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The server's clock is what this file says: see clock.c.
my $folder = PostgreSQL::Test::Utils::tempdir();
my $clock = "$folder/clock";
system_or_bail('cc', '-O2', '-shared', '-fPIC', '-o', "$folder/clock.so", atlas_root() . '/t/clock.c');

# Sets the time, as date_part('epoch') says it, from which on the clock stands still.
sub stop_clock
{
	my ($seconds) = @_;

	open my $file, '+>>', $clock or die "could not open $clock: $!";
	close $file;
	open $file, '+<', $clock or die "could not open $clock: $!";
	syswrite $file, pack 'q2', 0, $seconds * 1_000_000;
	close $file;
	return;
}

my $node;
{
	local $ENV{LD_PRELOAD} = "$folder/clock.so";
	local $ENV{ATLAS_CLOCK} = $clock;
	stop_clock(1_794_700_800);    # 2026-11-15
	$node = start_node('history', settings => "max_connections = 100\natlas_events.linking = off");
}

sub at
{
	my ($time) = @_;

	stop_clock($node->safe_psql('postgres', "SELECT date_part('epoch', timestamptz '$time+00')"));
	return;
}

# Submits an event of each time and links it.
sub submit_at
{
	my ($database, @times) = @_;

	$node->safe_psql($database, join ';', map {
		"SELECT submit_event('CONVERSATION', '7', '$_', occurred_at => '$_+00',
			related_objects => ARRAY[('ACCOUNT', md5('account-3')::uuid::text, NULL)]::atlas_object[])"
	} @times);
	$node->safe_psql($database, 'SELECT atlas_link_events()');
	return;
}

# The names of the partitions of the log, in the order of their bounds, without what they have in common.
sub partitions_ok
{
	my ($database, $expected, $name) = @_;

	foreach my $parent ('atlas_events', 'atlas_event_links')
	{
		is($node->safe_psql($database,
				"SELECT string_agg(replace(inhrelid::regclass::text, '${parent}_', ''), ' ' ORDER BY pg_get_expr(relpartbound, oid))
				   FROM pg_inherits JOIN pg_class ON oid = inhrelid WHERE inhparent = '$parent'::regclass"),
			$expected, "$name ($parent)");
	}
	return;
}

# ----- Where the line is -----

make_database($node, 'line');
submit_at('line', '2025-09-30 23:59:59.999999');
partitions_ok('line', '2025_01_to_2025_09', 'a year ends where the months begin');
submit_at('line', '2026-11-14 12:00', '2025-10-01 00:00');
partitions_ok('line', '2025_01_to_2025_09 2025_10 2026_11', 'and the months begin there');
submit_at('line', '2025-11-20', '2025-12-31', '2025-01-01', '2024-12-31 23:59');
partitions_ok('line', '2024 2025_01_to_2025_09 2025_10 2025_11 2025_12 2026_11', 'young months of the same year come later');

# Each month the line moves on. What has become old meanwhile fills the gaps.
make_database($node, 'moving');
at('2026-01-31 23:59:59');
submit_at('moving', '2024-12-01', '2024-11-30');
partitions_ok('moving', '2024_01_to_2024_11 2024_12', 'in January of 2026 the months begin with December of 2024');
at('2026-02-01');
submit_at('moving', '2025-01-01', '2024-06-01', '2023-06-01');
partitions_ok('moving', '2023 2024_01_to_2024_11 2024_12 2025_01', 'a month later with January of 2025');
at('2027-01-15');
submit_at('moving', '2025-06-15', '2025-12-01', '2025-11-30');
partitions_ok('moving', '2023 2024_01_to_2024_11 2024_12 2025_01 2025_02_to_2025_11 2025_12',
	'a year fills the gap between months of the past');
at('2027-06-15');
submit_at('moving', '2026-03-31', '2026-01-01', '2026-07-01');
partitions_ok('moving', '2023 2024_01_to_2024_11 2024_12 2025_01 2025_02_to_2025_11 2025_12 2026_01_to_2026_04 2026_07',
	'and ends with the month before the months');

# ----- Ten years -----

at('2026-11-15');
make_database($node, 'history');
$node->safe_psql('history', <<'END');
SELECT count(submit_events(ARRAY(
           SELECT ('CUSTOMER', md5('customer-' || n)::uuid::text, NULL, 'history', NULL, NULL, NULL,
                   ARRAY[('ACCOUNT', md5('account-' || n)::uuid::text, NULL)]::atlas_object[],
                   now() - make_interval(months => months) - n * interval '1 minute', NULL)::atlas_event
             FROM generate_series(1, 10) n)))
  FROM generate_series(0, 119) months;
SELECT submit_event('CONVERSATION', '7', 'rare', occurred_at => now() - make_interval(months => months),
                    related_objects => ARRAY[('ACCOUNT', md5('account-20')::uuid::text, NULL)]::atlas_object[])
  FROM unnest('{1, 60, 119}'::int[]) months;
SELECT atlas_link_events(10000);
END
is($node->safe_psql('history', <<'END'), "atlas_events|24\natlas_event_links|24", 'ten years make 24 partitions of each table');
SELECT inhparent::regclass, count(*) FROM pg_inherits
 WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass) GROUP BY 1 ORDER BY 1
END

# What a page locks of our tables and their indexes, and how many events it has.
sub locks_of
{
	my ($arguments) = @_;

	return $node->safe_psql('history', <<"END");
BEGIN;
SELECT count(*) FROM atlas_timeline($arguments);
SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
 WHERE pid = pg_backend_pid() AND relname ~ '^atlas_event';
COMMIT;
END
}

# The log, the links, the queue and its key; of each partition of the links one index, and of
# each of the log one, and another one if it has a related event of the page.
is(locks_of(q{'CUSTOMER', md5('customer-1')::uuid::text, max_events => 1}), "1\n8",
	'a page of the newest month locks that month');
is(locks_of(q{'ACCOUNT', md5('account-1')::uuid::text, max_events => 3}), "3\n19", 'one of three months locks three');
is(locks_of(q{'ACCOUNT', md5('account-20')::uuid::text}), '3' . "\n" . (4 + 24 * 4 + 3),
	'one of an object with three events in ten years locks all of them');

# All of them hold what they have locked until the last one has read its page.
my $holder = $node->background_psql('history');
$holder->query_safe('SELECT pg_advisory_lock(4711)');
append_to_file("$folder/reader.sql", <<'END');
BEGIN;
SELECT count(*) FROM atlas_timeline('ACCOUNT', md5('account-20')::uuid::text);
SELECT count(*) FROM atlas_timeline('CUSTOMER', md5('customer-1')::uuid::text);
SELECT pg_advisory_xact_lock_shared(4711);
COMMIT;
END
my ($output, $errors) = ('', '');
my $readers = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 90, '-j', 2, '-t', 1, '-f', "$folder/reader.sql", '-h', $node->host, '-p', $node->port, 'history' ],
	'>', \$output, '2>', \$errors);
ok($node->poll_query_until('history', <<'END'), '90 sessions have read a page of ten years at once');
SELECT count(*) = 90 FROM pg_stat_activity WHERE datname = 'history' AND query ~ 'advisory' AND wait_event_type = 'Lock'
END
$holder->quit;
$readers->finish;
unlike($errors, qr/ERROR/, 'none has met an error');
like($output, qr{actually processed: 90/90}, 'all go on');

$node->stop;
done_testing();
