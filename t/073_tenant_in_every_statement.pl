# Every statement of ours names the tenant for every table that it reads, but for a few that
# are for all tenants at once. The server logs the plans of all statements, and each scan of
# a table with a tenant must have it in a condition.

use strict;
use warnings;

use AtlasTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# What is written and looked up by statements here usually needs none.
my $node = start_node(
	'tenants',
	settings => <<'END');
shared_preload_libraries = 'auto_explain, atlas_events'
auto_explain.log_min_duration = 0
auto_explain.log_nested_statements = on
auto_explain.log_verbose = on
auto_explain.log_format = json
atlas_events.direct_access = off
atlas_events.linking = off
atlas_events.max_attempts = 1
END
make_database($node, 'atlas', extension => 0);

# Our own statements qualify our tables, by a schema that no other statement names.
$node->safe_psql('atlas', <<'END');
CREATE SCHEMA ours;
CREATE EXTENSION atlas_events SCHEMA ours;
ALTER DATABASE atlas SET search_path = public, ours;
END
$node->safe_psql('atlas', <<'END');
SELECT atlas_discover_object_types();
CREATE ROLE reader;
GRANT USAGE ON SCHEMA ours TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA ours TO reader;
GRANT EXECUTE ON FUNCTION atlas_timeline, atlas_search_events, atlas_find_objects, atlas_has_event, atlas_count_events TO reader;

-- Linking fails for a customer that has this name for it.
CREATE FUNCTION atlas_test.fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.object_id = md5('customer-13')::uuid::text THEN
        RAISE EXCEPTION 'poison';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON atlas_event_links FOR EACH ROW EXECUTE FUNCTION atlas_test.fail();
END

# ----- Submitting, linking, retrying -----

my @ids;
my $related = q{ARRAY[('ACCOUNT', md5('account-7')::uuid, NULL), ('CUSTOMER', md5('nobody')::uuid, NULL)]::atlas_object[]};
my $json = q{{"objectType": "CUSTOMER", "externalId": "190001", "name": "JSON", "idempotencyKey": "json",
	"relatedObjects": [{"objectType": "TICKET", "objectId": "1"}]}};

# The same once more, for the keys that are known then.
for my $tenant ('acme', 'acme', 'globex')
{
	push @ids, event_ids($node->safe_psql('atlas', <<"END"));
SET atlas_events.tenant = '$tenant';
SELECT submit_event('CUSTOMER', NULL, 'arguments', external_id => '190001', related_objects => $related, idempotency_key => 'arguments');
SELECT submit_event('CUSTOMER', NULL, 'poison', external_id => '190001', idempotency_key => 'poison',
                    related_objects => ARRAY[('CUSTOMER', md5('customer-13')::uuid, NULL)]::atlas_object[]);
SELECT submit_event(('CUSTOMER', NULL, '190002', 'composite', NULL, NULL, NULL, $related, NULL, NULL)::atlas_event);
SELECT submit_event('$json'::text)->>'eventId';
SELECT submit_event('$json'::text, 'json')->>'eventId';
SELECT submit_event('$json'::json)->>'eventId';
SELECT submit_event('$json'::jsonb)->>'eventId';
SELECT unnest(submit_events(ARRAY[('CUSTOMER', NULL, '190003', 'array', NULL, NULL, NULL, NULL, NULL, 'array')::atlas_event]));
SELECT r->>'eventId' FROM json_array_elements(submit_events('[$json]'::text)->'results') AS r;
SELECT r->>'eventId' FROM json_array_elements(submit_events('[$json]'::json)->'results') AS r;
SELECT r->>'eventId' FROM json_array_elements(submit_events('[$json]'::jsonb)->'results') AS r;
END
}

# While the accounts are locked, events are put off. One row of the queue has no event, and
# neither has one of the work table.
my $locker = $node->background_psql('atlas');
$locker->query_safe('BEGIN; LOCK accounts');
$node->safe_psql('atlas', <<'END');
INSERT INTO atlas_event_queue (event_id, submitted_xid) VALUES ('01940000-0000-7000-8000-000000000000', '3');
INSERT INTO atlas_event_work (event_id, submitted_xid, what) VALUES ('01940000-0000-7000-8000-000000000000', '3', 1);
SELECT atlas_link_events();
END
is($node->safe_psql('atlas', q{SELECT count(*) > 2 FROM atlas_event_queue WHERE next_attempt_at < 'infinity'}),
	't', 'some events are put off');
$locker->query_safe('COMMIT');
$locker->quit;
$node->safe_psql('atlas', <<'END');
DELETE FROM atlas_event_queue WHERE event_id = '01940000-0000-7000-8000-000000000000';
DELETE FROM atlas_event_work WHERE event_id = '01940000-0000-7000-8000-000000000000';
UPDATE atlas_event_queue SET next_attempt_at = now() WHERE next_attempt_at < 'infinity';
SELECT atlas_link_events();
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
INSERT INTO customers VALUES (md5('nobody')::uuid, 'nobody');
UPDATE atlas_event_unresolved SET next_attempt_at = now();
SELECT atlas_link_events();
END
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_queue WHERE next_attempt_at = 'infinity'}),
	'2', 'an event of each tenant has failed');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_unresolved'), '0', 'nothing is unresolved');

# ----- Reading -----

# What is marked so is ours as well.
for my $session ('RESET role', 'SET ROLE reader')
{
	$node->safe_psql('atlas', <<"END");
SET atlas_events.tenant = 'acme';
$session;
SELECT count(*) FROM atlas_timeline('CUSTOMER', md5('customer-1')::uuid::text);
SELECT count(*) FROM atlas_timeline('ACCOUNT', md5('account-7')::uuid::text, '$ids[0]', 10);
SELECT count(*) FROM atlas_find_objects('ACCOUNT', since => NULL);
SELECT count(*) FROM atlas_find_objects('ACCOUNT', condition => '\$.name', since => NULL);
SELECT atlas_has_event('ACCOUNT', md5('account-7')::uuid::text, 'none'), atlas_count_events('ACCOUNT', md5('account-7')::uuid::text, condition => '\$.name');
SELECT count(*) FROM atlas_search_events('arguments', max_events => 10);
SELECT count(*) FROM atlas_search_events('arguments', 'ACCOUNT', md5('account-7')::uuid::text);
SELECT /* ours */ * FROM atlas_event_logs ORDER BY event_id DESC LIMIT 10;
SELECT /* ours */ * FROM atlas_event_logs WHERE event_id < '$ids[2]' AND processing_status = 'LINKED' ORDER BY event_id DESC LIMIT 10;
SELECT /* ours */ processing_status, count(*) FROM atlas_event_logs GROUP BY 1;
SELECT /* ours */ * FROM atlas_event_logs WHERE event_id = '$ids[0]';
SELECT /* ours */ * FROM atlas_pending_events ORDER BY event_id DESC LIMIT 10;
SELECT /* ours */ * FROM atlas_pending_events WHERE processing_status = 'PENDING' ORDER BY event_id DESC LIMIT 10;
SELECT /* ours */ * FROM atlas_pending_events WHERE processing_status = 'FAILED' ORDER BY event_id DESC LIMIT 10;
END
}
$node->safe_psql('atlas', 'SELECT * FROM atlas_events_status; SELECT * FROM atlas_search_status');

# ----- By linkers, of which one is killed -----

$node->safe_psql('atlas', 'DROP TRIGGER fail ON atlas_event_links; SELECT atlas_retry_failed()');
make_gate($node, 'atlas');
push @ids, submit_gated($node, 'atlas', 1, 5, 3);
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.linking = on');
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.max_attempts = 5');
$node->reload;
my $linker = wait_at_gate($node, 'atlas');
kill 'KILL', $linker;
isnt(wait_at_gate($node, 'atlas', $linker), $linker, 'another linker comes after one that was killed');
open_gate($node, 'atlas');
linked_ok($node, 'atlas', 'all events are linked');

# A transaction that had not ended when the linker looked at the queue.
my $submitter = $node->background_psql('atlas');
push @ids, event_ids($submitter->query_safe("BEGIN; SELECT atlas_test.submit(6, 6)"));
push @ids, submit_events($node, 'atlas', 7, 7);
linked_ok($node, 'atlas', 'an event that came later is linked');
push @ids, submit_events($node, 'atlas', 8, 8);
linked_ok($node, 'atlas', 'another one is linked');
$submitter->query_safe('COMMIT');
$submitter->quit;
linked_ok($node, 'atlas', 'the event of the long transaction is linked');

# A reference that was looked up when a linker was killed is given up, and looked up once more.
push @ids, event_ids($node->safe_psql('atlas', q{SELECT submit_event('CUSTOMER', NULL, 'late', external_id => '190001',
	related_objects => ARRAY[('ACCOUNT', md5('late')::uuid, NULL)]::atlas_object[])}));
linked_ok($node, 'atlas', 'the event with an unresolved reference is linked');
$node->safe_psql('atlas', <<"END");
INSERT INTO atlas_test.gate VALUES ('$ids[-1]');
INSERT INTO accounts VALUES (md5('late')::uuid, 'late');
UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE event_id = '$ids[-1]';
END
$linker = wait_at_gate($node, 'atlas');
kill 'KILL', $linker;
isnt(wait_at_gate($node, 'atlas', $linker), $linker, 'another linker comes to the reference');
open_gate($node, 'atlas');
wait_until($node, 'atlas', "SELECT NOT EXISTS (SELECT FROM atlas_event_unresolved WHERE event_id = '$ids[-1]')",
	'and links it');

# Documents are made anew.
$node->safe_psql('atlas', 'SELECT atlas_rebuild_search(NULL)');
wait_until($node, 'atlas', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', 'documents are made anew');
linked_ok($node, 'atlas', 'all of them');

# ----- Rules, and what they do -----

$node->safe_psql('atlas', <<'END');
SET client_min_messages = warning;
CREATE FUNCTION act(jsonb) RETURNS void LANGUAGE sql AS '';
CREATE FUNCTION cannot(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'cannot'; END $$;
SET atlas_events.tenant = 'acme';
SELECT atlas_create_rule('acts', 'CUSTOMER', 'ruled', '$.payload.n > 1', action => 'act(jsonb)', cooldown => '1 ms');
SELECT atlas_create_rule('cannot', 'CUSTOMER', 'ruled', action => 'cannot(jsonb)');
SELECT atlas_create_rule('several', 'ACCOUNT', 'ruled', '$.payload.n > 1', times => 2, within => '1 hour', channel => 'atlas_several');
SELECT atlas_create_rule('dropped', 'ACCOUNT', 'ruled', times => 2, within => '1 hour');
SELECT atlas_enable_rule('dropped', false), atlas_enable_rule('dropped', true);
SELECT count(*) FROM atlas_test_rule('CUSTOMER', 'arguments', '$.name', 2, '1 day');
SELECT atlas_resume_actions();
END
wait_until($node, 'atlas', 'SELECT bool_and(since IS NOT NULL) FROM atlas_rules', 'rules begin');
$node->safe_psql('postgres', 'ALTER SYSTEM SET atlas_events.max_attempts = 2');
$node->reload;
push @ids, event_ids($node->safe_psql('atlas', q{SET atlas_events.tenant = 'acme';
	SELECT submit_event('CUSTOMER', NULL, 'ruled', external_id => '190001', payload => p::jsonb,
		related_objects => ARRAY[('ACCOUNT', md5('account-7')::uuid, NULL)]::atlas_object[])
	  FROM unnest(ARRAY['{"n": 2}', '{"n": 3}', '{"n": "unknown"}']) p}));
linked_ok($node, 'atlas', 'events are evaluated');
wait_until($node, 'atlas', 'SELECT bool_and(attempts = 1) FROM atlas_rule_actions', 'rules act');
$node->safe_psql('atlas', 'UPDATE atlas_rule_actions SET next_attempt_at = now()');
wait_until($node, 'atlas', 'SELECT actions_failed = 3 FROM atlas_events_status', 'three actions fail');
$node->safe_psql('atlas', 'ALTER FUNCTION cannot(jsonb) RENAME TO could_not; ALTER FUNCTION act(jsonb) RENAME TO cannot; SELECT atlas_retry_failed()');
wait_until($node, 'atlas', 'SELECT actions_due = 0 AND actions_failed = 0 FROM atlas_events_status', 'until the function is another one');
is( $node->safe_psql('atlas', q{SET atlas_events.tenant = 'acme'; SELECT atlas_drop_rule('dropped');
		SELECT string_agg(rule_name || ' ' || action_status, ', ' ORDER BY rule_name, action_status) FROM atlas_rule_matches WHERE action_status IS NOT NULL}) =~ s/^\s+//r,
	'acts DONE, acts DONE, cannot DONE, cannot DONE, cannot DONE, several DONE', 'all rules have acted');
wait_until($node, 'atlas', 'SELECT NOT EXISTS (SELECT FROM atlas_rule_cooldowns)', 'cooldowns are removed');
oracle_ok($node, 'atlas', \@ids);
$node->stop;

# ----- What all of it has read -----

# The statements that are for all tenants: by what they are known, and why. They read the
# queue, the work table, the unresolved references, rules, actions and cooldowns only, but for the rebuild, which reads the log.
my %for_all_tenants = (
	'the cursor of a linker, which serves all tenants' => qr/\(submitted_xid, event_id\) OPERATOR\(pg_catalog\.>\)/,
	'which transactions the cursor still has to visit' => qr/^SELECT x\b/,
	'what the cursor has left behind' => qr/^SELECT EXISTS \(SELECT FROM ours\.atlas_event_(?:queue|work) q\b/,
	'what is due again in the queue' => qr/^SELECT tenant_id, event_id, ctid\b.*next_attempt_at OPERATOR\(pg_catalog\.<=\)/s,
	'which references are due again' => qr/^SELECT event_id, position, .*next_attempt_at OPERATOR\(pg_catalog\.<=\)/s,
	'which events have references that are due again' => qr/^SELECT tenant_id, event_id\s+FROM \(SELECT/,
	'whether there is anything to do' => qr/^SELECT EXISTS \(SELECT FROM ours\.atlas_event_queue\s+WHERE/,
	'when there will be' => qr/^SELECT LEAST/,
	'the next events whose documents are made anew' => qr/^SELECT e\.tenant_id, e\.event_id\s+FROM ours\.atlas_events e\s+WHERE \(e\.tenant_id/,
	'atlas_retry_failed(), for the cause of a failure is rarely one tenant\'s' => qr/^UPDATE .* SET attempts = 0/s,
	'the status, which counts the events of all tenants' => qr/^SELECT \(SELECT pg_catalog\.count/,
	'whether there are rules' => qr/^SELECT EXISTS \(SELECT FROM ours\.atlas_rules WHERE is_enabled\)/,
	'which rules are to begin' => qr/^SELECT tenant_id, rule_id, enabled_xid, wait_for_xid/,
	'which actions are due again' => qr/^UPDATE ours\.atlas_rule_actions a SET next_attempt_at = NULL/,
	'for which roles actions are due' => qr/^SELECT session_role/,
	'for which rules they are' => qr/^SELECT a\.rule_id, a\.tenant_id/,
	'the claim of actions of a rule, whose number no other tenant has' => qr/^WITH f AS/,
	'cooldowns that have ended' => qr/^DELETE FROM ours\.atlas_rule_cooldowns c/,
	'atlas_retry_failed() for actions' => qr/^WITH a AS \(UPDATE .* attempts = 0/s,
	'atlas_resume_actions(), which is about the whole database' => qr/^UPDATE ours\.atlas_rules SET system_identifier/);

sub nodes
{
	my ($plan) = @_;

	return ($plan, map { nodes($_) } @{ $plan->{Plans} // [] });
}

# The scans of tables with a tenant that have no condition for it.
sub scans_without_tenant
{
	my ($plan) = @_;
	my @found;

	for my $scan (nodes($plan))
	{
		my $table = $scan->{'Relation Name'} // '';
		my $conditions = join ' ', map { $_ // '' } @$scan{ 'Index Cond', 'Recheck Cond', 'Filter' };

		push @found, $table
		  if $scan->{'Node Type'} =~ /Scan/
		  && $table =~ /^atlas_(?:event(?:s|_queue|_links|_unresolved|_keys|_work|_search)|rule(?:s|_hits|_matches|_actions|_cooldowns))(?:_\d|$)/
		  && $conditions !~ /\btenant_id = /;
	}
	return @found;
}

my $log = slurp_file($node->logfile);
my (%checked, %excepted, %statements);

while ($log =~ /duration: [\d.]+ ms  plan:\n(\t\{\n.*?\n\t\})\n/gs)
{
	my $entry = decode_json($1 =~ s/^\t//gmr);
	my $query = $entry->{'Query Text'};

	next if $query !~ m{\bours\.atlas_|/\* ours \*/} || $checked{$query . encode_json($entry->{Plan})}++;
	$statements{$query} = 1 if $query =~ /\bours\.atlas_(?:event|rule)/;
	my ($exception) = grep { $query =~ $for_all_tenants{$_} } keys %for_all_tenants;
	my @scans = scans_without_tenant($entry->{Plan});

	if (defined $exception)
	{
		$excepted{$exception} = 1;
		@scans = grep { !/^atlas_(?:event_(?:queue|work|unresolved)|rules|rule_actions|rule_cooldowns)$/ } @scans;
		@scans = grep { !/^atlas_events_/ } @scans if $exception =~ /made anew/;
	}
	is(join(', ', @scans), '', substr($query =~ s/\s+/ /gr, 0, 200)) or diag(JSON::PP->new->pretty->encode($entry->{Plan}));
}
is_deeply([ sort keys %excepted ], [ sort keys %for_all_tenants ], 'each of the exceptions has been met');

cmp_ok(scalar keys %statements, '>=', 50, 'so have nearly all statements of ours');

done_testing();
