# A DBA has added whatever there is to the log and the links. Month after month has it
# as well: made ahead by the linker, and taking the events of the month when it comes.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The server's clock is so many days fast: see clock.c.
my $folder = PostgreSQL::Test::Utils::tempdir();
my $clock = "$folder/clock";
system_or_bail('cc', '-O2', '-shared', '-fPIC', '-o', "$folder/clock.so", atlas_root() . '/t/clock.c');

sub set_clock
{
	my ($days) = @_;

	open my $file, '+>>', $clock or die "could not open $clock: $!";
	close $file;
	open $file, '+<', $clock or die "could not open $clock: $!";
	syswrite $file, pack 'q2', $days * 86_400_000_000, 0;
	close $file;
	return;
}

set_clock(0);
my $node;
{
	local $ENV{LD_PRELOAD} = "$folder/clock.so";
	local $ENV{ATLAS_CLOCK} = $clock;
	$node = start_node('parents');
}
make_database($node, 'atlas');
my $submitted = 0;
my @ids;

# What the DBA adds, to both tables, when the first months are there.
sub add
{
	my ($statements) = @_;

	$node->safe_psql('atlas', $statements =~ s/TABLE_NAME/$_/gr) foreach 'atlas_events', 'atlas_event_links';
	return;
}

# Partitions that the linker makes, of so many months by now, and none that lacks anything.
sub months_ok
{
	my ($count, $when) = @_;

	wait_until($node, 'atlas', "SELECT count(*) = 2 * $count FROM pg_inherits
		WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass)", "$when: there are $count months");
	is($node->safe_psql('atlas', <<'END'), '', "$when: each has all that the parent has");
SELECT inhrelid::regclass, checks, generated, indexes, triggers, keys
  FROM pg_inherits,
       LATERAL (SELECT count(*) AS checks FROM pg_constraint WHERE conrelid = inhrelid AND contype = 'c') c,
       LATERAL (SELECT count(*) AS generated FROM pg_attribute WHERE attrelid = inhrelid AND attgenerated = 's') g,
       LATERAL (SELECT count(*) AS indexes FROM pg_index WHERE indrelid = inhrelid) i,
       LATERAL (SELECT count(*) AS triggers FROM pg_trigger WHERE tgrelid = inhrelid AND NOT tgisinternal) t,
       LATERAL (SELECT count(*) AS keys FROM pg_constraint WHERE conrelid = inhrelid AND contype = 'f') f
 WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass)
   AND (checks, generated, indexes, triggers, keys) <> (1, 1, 3, 1, 1)
END
	return;
}

sub submit_ok
{
	my ($when) = @_;

	push @ids, submit_events($node, 'atlas', $submitted + 1, $submitted + 100);
	$submitted += 100;
	linked_ok($node, 'atlas', "$when: events are submitted and linked");
	is( $node->safe_psql('atlas', "SELECT count(*), count(DISTINCT n) FROM atlas_test.notes WHERE n > $submitted - 100"),
		'100|100', "$when: the trigger saw each event");
	is(status_of($node, 'atlas', "coalesce(advice, 'none'), last_error"), 'none|', "$when: there is nothing to complain of");
	return;
}

$node->safe_psql('atlas', <<'END');
CREATE TABLE atlas_test.notes (n int);
CREATE FUNCTION atlas_test.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME ~ '^atlas_events' THEN
        INSERT INTO atlas_test.notes VALUES ((NEW.payload->>'n')::int);
    END IF;
    RETURN NEW;
END $$;
CREATE TABLE atlas_test.tenants (tenant_id text COLLATE "C" PRIMARY KEY);
INSERT INTO atlas_test.tenants VALUES ('');
END
push @ids, submit_events($node, 'atlas', -99, 0);
linked_ok($node, 'atlas', 'events are linked');
add(<<'END');
ALTER TABLE TABLE_NAME ADD CONSTRAINT has_object CHECK (object_id <> '');
ALTER TABLE TABLE_NAME ADD COLUMN label text GENERATED ALWAYS AS (object_type || ' ' || object_id) STORED;
ALTER TABLE TABLE_NAME ALTER COLUMN object_id SET STORAGE MAIN, ALTER COLUMN object_id SET COMPRESSION pglz;
ALTER TABLE TABLE_NAME ADD FOREIGN KEY (tenant_id) REFERENCES atlas_test.tenants;
CREATE INDEX ON TABLE_NAME (label);
CREATE TRIGGER note AFTER INSERT ON TABLE_NAME FOR EACH ROW EXECUTE FUNCTION atlas_test.note();
CREATE STATISTICS atlas_test.TABLE_NAME_stats ON tenant_id, object_type FROM TABLE_NAME;
END
months_ok(3, 'at first');
submit_ok('at first');

# How many days there are to the middle of the month so many months from now.
sub days_to
{
	my ($months) = @_;

	return $node->safe_psql('atlas', "SET TimeZone = 'UTC';
		SELECT (date_trunc('month', now()) + interval '$months months 14 days')::date - now()::date");
}

# The month turns, into one that was made ahead; and once more, into one that was not.
my ($soon, $later) = (days_to(1), days_to(6));
set_clock($soon);
months_ok(4, 'a month later');
submit_ok('a month later');
$node->stop;
set_clock($later);
{
	local $ENV{LD_PRELOAD} = "$folder/clock.so";
	local $ENV{ATLAS_CLOCK} = $clock;
	$node->start;
}
submit_ok('months later, without a linker meanwhile');
is( $node->safe_psql('atlas', 'SELECT count(*) FROM atlas_events WHERE label IS DISTINCT FROM object_type || $$ $$ || object_id'),
	0, 'what is generated is there');
oracle_ok($node, 'atlas', \@ids);

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
