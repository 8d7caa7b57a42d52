# Whatever keeps the linker from making the partitions of the coming months is logged
# and shown in the advice. Events of the months that are there are submitted and linked.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('house');
my $problem = 'The partitions of the coming months cannot be made, see the server log: ';
my $partitions = "FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass)";
my %submitted;

sub submit
{
	my ($database, $n) = @_;

	push @{ $submitted{$database} }, submit_events($node, $database, 10 * $n, 10 * $n + 9);
	return;
}

# A database with the partitions of this month and of the coming ones, and then without those.
sub make_months
{
	my ($database) = @_;

	submit($database, 1);
	linked_ok($node, $database, "$database: a linker links");
	wait_until($node, $database, "SELECT count(*) = 6 $partitions", "$database: the coming months are there");
	return;
}

sub drop_coming_months
{
	my ($database) = @_;

	$node->safe_psql($database, <<'END');
DO $$
DECLARE
    partition regclass;
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits
                      WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass)
                        AND inhrelid::regclass::text !~ to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') LOOP
        EXECUTE format('DROP TABLE %s', partition);
    END LOOP;
END $$;
END
	return;
}

# The advice names the cause, and everything else goes on.
sub goes_on_ok
{
	my ($database, $cause, $n) = @_;

	wait_until($node, $database, "SELECT coalesce(advice, '') = '$problem$cause' FROM atlas_events_status",
		"$database: the advice says what is wrong: $cause");
	is($node->safe_psql($database, "SELECT count(*) $partitions"), 2, "$database: the coming months are not there");
	submit($database, $n);
	linked_ok($node, $database, "$database: events of this month are submitted and linked");
	is(status_of($node, $database, 'last_error'), '', "$database: linking has met no error");
	return;
}

sub recovers_ok
{
	my ($database) = @_;

	wait_until($node, $database, 'SELECT advice IS NULL FROM atlas_events_status',
		"$database: the advice is gone when the cause is");
	is($node->safe_psql($database, "SELECT count(*) $partitions"), 6, "$database: the coming months are there");
	oracle_ok($node, $database, $submitted{$database});
	return;
}

# ----- An event trigger that forbids DDL, or waits for a lock -----

make_database($node, 'ddl');
make_months('ddl');
my $offset = log_size($node);
$node->safe_psql('ddl', <<'END');
CREATE SEQUENCE atlas_test.tries;
CREATE FUNCTION atlas_test.forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.nextval('atlas_test.tries');
    RAISE 'no DDL today';
END $$;
CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION atlas_test.forbid();
END
drop_coming_months('ddl');
goes_on_ok('ddl', 'no DDL today', 2);
wait_until($node, 'ddl', 'SELECT last_value >= 8 FROM atlas_test.tries', 'it is tried again and again, by new linkers too');
is(scalar(() = slurp_file($node->logfile, $offset) =~ /partitions of the coming months could not be made: no DDL today/g),
	1, 'and logged once');
like(slurp_file($node->logfile, $offset), qr/making partition "atlas_events_\d{4}_\d{2}"/, 'with the partition');

# Another cause is logged as well.
$node->safe_psql('ddl', <<'END');
CREATE OR REPLACE FUNCTION atlas_test.forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_advisory_xact_lock(4711);
END $$;
END
my $holder = $node->background_psql('ddl');
$holder->query_safe('SELECT pg_advisory_lock(4711)');
goes_on_ok('ddl', 'canceling statement due to lock timeout', 3);
ok($node->wait_for_log(qr/could not be made: canceling statement due to lock timeout/, $offset),
	'another cause is logged');
$holder->quit;
recovers_ok('ddl');

# A month that has events and no links yet: its events wait, and no attempt is counted.
$node->safe_psql('ddl', <<'END');
CREATE OR REPLACE FUNCTION atlas_test.forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'no DDL today';
END $$;
ALTER EVENT TRIGGER forbid DISABLE;
SELECT submit_event('CONVERSATION', '7', 'no link yet', occurred_at => now() - interval '3 months');
ALTER EVENT TRIGGER forbid ENABLE;
END
push @{ $submitted{ddl} }, event_ids($node->safe_psql('ddl', <<'END'));
SELECT event_id FROM atlas_events WHERE name = 'no link yet';
SELECT submit_event('CONVERSATION', '7', 'to be linked', occurred_at => now() - interval '3 months',
                    related_objects => ARRAY[('ACCOUNT', md5('account-3')::uuid::text, NULL)]::atlas_object[]);
END
submit('ddl', 4);
wait_until($node, 'ddl', "SELECT count(*) = 1 FROM atlas_event_queue
	WHERE attempts = 0 AND last_error = 'no DDL today' AND next_attempt_at > now()",
	'an event whose links have no partition is put off alone, and blamed for nothing');
wait_until($node, 'ddl', "SELECT count(*) = 1 FROM atlas_event_work
	WHERE attempts = 0 AND last_error = 'no DDL today' AND next_attempt_at > now()",
	'so is one whose document has none');
is( $node->psql('ddl', "SELECT submit_event('CONVERSATION', '7', 'x', occurred_at => now() - interval '4 months')"),
	3, 'an event of a month that is not there is refused');
$node->safe_psql('ddl', "DROP EVENT TRIGGER forbid; UPDATE atlas_event_queue SET next_attempt_at = NULL; UPDATE atlas_event_work SET next_attempt_at = NULL");
linked_ok($node, 'ddl', 'it is linked when that is allowed');
oracle_ok($node, 'ddl', $submitted{ddl});

# ----- An owner without rights -----

make_database($node, 'owned', extension => 0);
$node->safe_psql('owned', <<'END');
CREATE ROLE atlas_owner SUPERUSER;
CREATE ROLE atlas_heir;
CREATE SCHEMA atlas AUTHORIZATION atlas_owner;
SET ROLE atlas_owner;
CREATE EXTENSION atlas_events SCHEMA atlas;
RESET ROLE;
ALTER DATABASE owned SET search_path = atlas, public;
SET search_path = atlas, public;
SELECT atlas_discover_object_types();
ALTER ROLE atlas_owner NOSUPERUSER;
END
make_months('owned');
$node->safe_psql('owned', 'ALTER SCHEMA atlas OWNER TO postgres; GRANT USAGE ON SCHEMA atlas TO atlas_owner, atlas_heir');
drop_coming_months('owned');
goes_on_ok('owned', 'permission denied for schema atlas', 2);
$node->safe_psql('owned', 'REASSIGN OWNED BY atlas_owner TO atlas_heir');
goes_on_ok('owned', 'permission denied for schema atlas', 3);
is($node->safe_psql('owned', 'SELECT DISTINCT relowner::regrole FROM pg_class WHERE relname ~ $$^atlas_event_(queue|links)$$'),
	'atlas_heir', 'everything has another owner');
$node->safe_psql('owned', 'GRANT CREATE ON SCHEMA atlas TO atlas_heir');
recovers_ok('owned');

# ----- A partition that belongs to somebody else, as after a restore -----

my $month = $node->safe_psql('ddl', "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'atlas_event_links'::regclass");
$offset = log_size($node);
$node->safe_psql('ddl', "ALTER TABLE $month OWNER TO atlas_heir");
wait_until($node, 'ddl', "SELECT advice ~ '^Partition public.$month belongs to role atlas_heir' FROM atlas_events_status",
	'the advice says that a partition has another owner');
ok($node->wait_for_log(qr/Partition public.$month belongs to role atlas_heir/, $offset), 'and so does the log');
$node->safe_psql('ddl', 'ALTER ROLE atlas_heir SUPERUSER');
wait_until($node, 'ddl', 'SELECT advice IS NULL FROM atlas_events_status', 'a superuser may have it');

is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
