# Whatever a DBA publishes, and however, goes on working: every table, partitions
# included, has a replica identity. A subscriber gets all that happens.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = start_node('publisher',
	streaming => 'logical',
	settings => "log_checkpoints = off\natlas_events.max_attempts = 1");
my $subscriber = start_node('subscriber', streaming => 'logical', preload => 0);

my @stored = qw(atlas_events atlas_event_links atlas_event_queue atlas_event_unresolved
  atlas_event_keys atlas_object_types atlas_event_search);
my @tables = (@stored, qw(atlas_rejections atlas_linker_state atlas_event_work atlas_search_gaps atlas_search_rebuild
  atlas_rules atlas_rule_hits atlas_rule_matches));

# A trigger that refuses the links of an event.
my $refuse = <<'END';
CREATE FUNCTION atlas_test.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM public.atlas_events WHERE event_id = NEW.event_id AND payload->>'n' = '107') THEN
        RAISE 'refused';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON atlas_event_links FOR EACH ROW EXECUTE FUNCTION atlas_test.refuse();
END

# All that happens to the tables: by submitters, linkers and DBAs.
sub main_flow_ok
{
	my ($database, $how) = @_;
	my $offset = log_size($publisher);
	my (@ids, @again);

	# Submitted once more under the same keys.
	@ids = submit_events($publisher, $database, 1, 100, keys => 'key');
	linked_ok($publisher, $database, "$how: a linker links");
	@again = submit_events($publisher, $database, 1, 100, keys => 'key');
	is_deeply(\@again, \@ids, "$how: a retry finds the events");

	# A reference that is resolved late, and one that is not.
	$publisher->safe_psql($database, <<'END');
INSERT INTO conversations VALUES (1000005);
UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE object_id IN ('1000005', '1000010');
SELECT atlas_link_events();
END
	is( $publisher->safe_psql($database,
			"SELECT string_agg(object_id || ' ' || attempts, ',') FROM atlas_event_unresolved
			  WHERE object_id IN ('1000005', '1000010')"),
		'1000010 2',
		"$how: what was not found is looked up again");

	# An event that fails, and is tried again.
	$publisher->safe_psql($database, $refuse);
	push @ids, submit_events($publisher, $database, 101, 110);
	wait_until($publisher, $database, 'SELECT failed = 1 AND queue_depth = 0 FROM atlas_events_status',
		"$how: an event fails alone");
	$publisher->safe_psql($database, 'DROP TRIGGER refuse ON atlas_event_links; SELECT atlas_retry_failed()');
	linked_ok($publisher, $database, "$how: it is linked when it is retried");
	oracle_ok($publisher, $database, \@ids, "$how: the oracle finds nothing wrong");

	# The registry, and what a DBA deletes.
	$publisher->safe_psql($database, <<'END');
SELECT atlas_register_object_type('ORDER', 'conversations', aliases => '{purchase}');
SELECT atlas_register_object_type('ORDER', 'conversations', aliases => '{sale}');
SELECT atlas_register_object_type('BUG', 'conversations');
SELECT atlas_unregister_object_type('BUG');
UPDATE atlas_events SET payload = '{"redacted": true}' WHERE payload->>'n' = '13';
DELETE FROM atlas_event_links WHERE event_id IN (SELECT event_id FROM atlas_events WHERE payload->>'n' = '14');
DELETE FROM atlas_event_search WHERE event_id IN (SELECT event_id FROM atlas_events WHERE payload->>'n' = '14');
DELETE FROM atlas_events WHERE payload->>'n' = '14';
DELETE FROM atlas_event_keys WHERE idempotency_key = 'key14';
DELETE FROM atlas_event_unresolved WHERE object_id = '1000010';
END
	is_deeply([ grep { !/refused/ } worker_errors($publisher, $offset) ], [], "$how: no worker logs an error");
	return;
}

# ----- Every form of a publication -----

my %forms = (
	all_tables => 'FOR ALL TABLES',
	all_by_root => 'FOR ALL TABLES WITH (publish_via_partition_root = true)',
	in_schema => 'FOR TABLES IN SCHEMA public',
	in_schema_by_root => 'FOR TABLES IN SCHEMA public WITH (publish_via_partition_root = true)',
	single => 'FOR TABLE ' . join(', ', @tables),
	single_by_root => 'FOR TABLE ' . join(', ', @tables) . ' WITH (publish_via_partition_root = true)',
);

foreach my $form (sort keys %forms)
{
	make_database($publisher, $form);
	$publisher->safe_psql($form, "CREATE PUBLICATION everything $forms{$form}");
	main_flow_ok($form, $form);
	$publisher->safe_psql($form,
		'TRUNCATE ' . join(', ', @tables) . '; SELECT atlas_discover_object_types()');
	my @ids = submit_events($publisher, $form, 1, 10);
	linked_ok($publisher, $form, "$form: all goes on after TRUNCATE");
	oracle_ok($publisher, $form, \@ids);
}

# ----- The tables of both extensions -----

make_database($publisher, 'api');
submit_events($publisher, 'api', 1, 10);
linked_ok($publisher, 'api', 'there are partitions of both kinds');
$publisher->safe_psql('api', 'CREATE EXTENSION atlas_events_api');
is( $publisher->safe_psql('api', <<'END'),
SELECT string_agg(c.oid::regclass::text, ', ')
  FROM pg_class c
 WHERE relkind IN ('r', 'p') AND relpersistence = 'p'
   AND (c.oid IN (SELECT objid FROM pg_depend d JOIN pg_extension x ON x.oid = refobjid
                   WHERE d.classid = 'pg_class'::regclass AND deptype = 'e' AND extname ~ '^atlas_events')
        OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass, 'atlas_event_search'::regclass)))
   AND NOT (relreplident = 'f' OR
            EXISTS (SELECT FROM pg_index i WHERE indrelid = c.oid
                       AND CASE relreplident WHEN 'd' THEN indisprimary WHEN 'i' THEN indisreplident END))
END
	'',
	'every table and partition of both extensions has a replica identity');

# ----- A subscriber to everything -----

# The rows of a table of which the subscriber must have the same.
sub rows_of
{
	my ($node, $database, $table) = @_;
	my $rows = "(SELECT t::text FROM $table t ORDER BY 1)";

	$rows = "(SELECT concat_ws(' ', object_type, relation::text, id_column, aliases) FROM $table ORDER BY 1)"
	  if $table eq 'atlas_object_types';
	return $node->safe_psql($database, "SELECT * FROM $rows AS r");
}

# As changes of the tables, or of each partition.
foreach my $database ('to_root', 'to_partitions')
{
	my $schema = $publisher->basedir . "/$database.sql";
	my $by_root = $database eq 'to_root' ? 'true' : 'false';
	my $source = $publisher->connstr($database) =~ s/'/''/gr;

	make_database($publisher, $database);
	submit_events($publisher, $database, 9_001, 9_010);
	# Of each new partition the subscriber would have to have one as well.
	wait_until($publisher, $database,
		"SELECT count(*) = 9 FROM pg_inherits WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass, 'atlas_event_search'::regclass)",
		"$database: the partitions of the coming months are there");
	$publisher->safe_psql($database,
		"CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = $by_root)");
	$publisher->command_ok([ 'pg_dump', '--schema-only', '--no-publications', '-d', $database, '-f', $schema ],
		"$database: pg_dump --schema-only");
	$subscriber->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
	$subscriber->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-f', $schema ],
		"$database: the same tables on the subscriber");
	$subscriber->safe_psql($database,
		"CREATE SUBSCRIPTION $database CONNECTION '$source' PUBLICATION everything");
	$subscriber->wait_for_subscription_sync($publisher, $database, $database);
	main_flow_ok($database, $database);

	# The linker commits asynchronously: its last links may not have been written yet.
	$publisher->wait_for_catchup($database, 'replay', $publisher->lsn('insert'));
	foreach my $table (@stored, 'customers', 'conversations')
	{
		is( rows_of($subscriber, $database, $table),
			rows_of($publisher, $database, $table),
			"$database: the subscriber has the same $table");
	}

	$publisher->safe_psql($database, 'TRUNCATE ' . join(', ', @tables));
	$publisher->wait_for_catchup($database, 'replay', $publisher->lsn('insert'));
	is( $subscriber->safe_psql($database,
			'SELECT ' . join(' + ', map { "(SELECT count(*) FROM $_)" } @stored)),
		0, "$database: the subscriber is emptied as well");
	$subscriber->safe_psql($database, "DROP SUBSCRIPTION $database");
}

# ----- A linker that is killed, and the next one, which notes its batches -----

make_gate($publisher, 'all_tables');
my @ids = submit_gated($publisher, 'all_tables', 201, 300, 50);
my $pid = wait_at_gate($publisher, 'all_tables');
my $offset = log_size($publisher);
kill 'KILL', $pid or die "no process $pid";
$publisher->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
$publisher->poll_query_until('all_tables', 'SELECT true') or die 'the server does not come back';
wait_at_gate($publisher, 'all_tables');
is($publisher->safe_psql('all_tables', 'SELECT cardinality(batch) FROM atlas_linker_state'),
	100, 'the linker after one that was killed notes its batch');
open_gate($publisher, 'all_tables');
linked_ok($publisher, 'all_tables', 'and goes on, while that is published');

$_->stop foreach $subscriber, $publisher;
done_testing();
