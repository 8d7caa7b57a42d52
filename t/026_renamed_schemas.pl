# The owner of a schema renames it again and again, with a view of his own under
# the name of a registered table in it that is not his: whatever submitters and
# the linker read, the functions of that view do not run as anybody else.

use strict;
use warnings;

use AtlasTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('renamed');

make_database($node, 'atlas');
$node->safe_psql('atlas', <<'END');
CREATE ROLE mallory LOGIN;
CREATE ROLE shop LOGIN;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO shop;
GRANT CREATE ON DATABASE atlas TO mallory;
CREATE SCHEMA harbour AUTHORIZATION mallory;
CREATE TABLE harbour.ships (id int PRIMARY KEY);
INSERT INTO harbour.ships SELECT generate_series(1, 10);
GRANT SELECT ON harbour.ships TO mallory;
CREATE SEQUENCE renamed;
GRANT ALL ON renamed TO mallory;
SELECT atlas_register_object_type('SHIP', 'harbour.ships');
CREATE SCHEMA trap AUTHORIZATION mallory;
SET ROLE mallory;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE SEQUENCE trap.sprung;
GRANT ALL ON trap.sprung TO PUBLIC;
-- The sequence counts also when the submission fails.
CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'mallory' THEN
        PERFORM nextval('trap.sprung');
    END IF;
    RETURN true;
END $$;
END

my $rename = $node->basedir . '/rename.sql';
append_to_file($rename, <<'END');
BEGIN;
ALTER SCHEMA harbour RENAME TO bay;
CREATE SCHEMA harbour;
CREATE VIEW harbour.ships AS SELECT id FROM bay.ships WHERE trap.spring();
COMMIT;
BEGIN;
DROP SCHEMA harbour CASCADE;
ALTER SCHEMA bay RENAME TO harbour;
COMMIT;
SELECT nextval('renamed');
END

# What it says goes into files: a pipe would have to be read all the time.
my ($output, $errors) = map { $node->basedir . "/rename.$_" } qw(out err);
my $renaming = IPC::Run::start(
	[ 'pgbench', '-n', '-U', 'mallory', '-f', $rename, '-t', 1_000_000, $node->connstr('atlas') ],
	'>', $output, '2>', $errors);
my $customer = $node->safe_psql('atlas', 'SELECT id FROM customers LIMIT 1');
my $script = join "\n", map {
	"SELECT submit_event('SHIP', '" . (1 + $_ % 10) . "', 'x');" .
	  "SELECT submit_event('CUSTOMER', '$customer', 'x', related_objects => ARRAY[('SHIP', '1', NULL)]::atlas_object[]);"
} 1 .. 250;
my (@acknowledged, %refused);
my $rounds = long_or(100, 10);
my $renames = 0;
my $deadline = time + $rounds * $PostgreSQL::Test::Utils::timeout_default / 10;

# Until there was enough of either.
while (@acknowledged < 50 * $rounds || $renames < 10 * $rounds)
{
	my ($stdout, $stderr) = ('', '');

	$node->psql('atlas', "\\set VERBOSITY sqlstate\n$script",
		stdout => \$stdout, stderr => \$stderr, on_error_stop => 0, extra_params => [ '-U', 'shop' ]);
	push @acknowledged, event_ids($stdout);
	$refused{$1}++ while $stderr =~ /ERROR:  (\w+)/g;
	$renames = $node->safe_psql('atlas', 'SELECT last_value FROM renamed');
	die 'there were not enough renames or events: ' . slurp_file($errors) if time > $deadline;
}
$renaming->signal('TERM');
$renaming->finish;
note "$_: $refused{$_} times" foreach sort keys %refused;
note scalar(@acknowledged), " events while the schema was renamed $renames times";
is($node->safe_psql('atlas', 'SELECT is_called FROM trap.sprung'),
	'f', 'no function of the view ran as the submitter, the linker, or the owner of the table');
is(join(' ', grep { !/^(?:40001|40P01|42P01|3F000)$/ } keys %refused),
	'', 'a submission was refused at most because the table is just being renamed');

linked_ok($node, 'atlas', 'all events are linked');
$node->safe_psql('atlas', 'UPDATE atlas_event_unresolved SET next_attempt_at = now(); SELECT atlas_link_events(10000)');
oracle_ok($node, 'atlas', \@acknowledged);
$node->stop;
done_testing();
