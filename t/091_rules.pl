# Rules in a server's life: each match is there exactly once, whatever is killed; events from before a
# rule do not count; a rule whose condition hurts is switched off, and everything else goes on.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('rules', settings => "atlas_events.max_attempts = 2\natlas_events.relink_window = 1h");
make_database($node, 'atlas');
my @ids;

# Makes a rule, with these arguments after its name, and waits until it has begun.
sub make_rule
{
	my ($name, $arguments) = @_;

	$node->safe_psql('atlas', "SET client_min_messages = warning; SELECT atlas_create_rule('$name', $arguments)");
	$node->poll_query_until('atlas', "SELECT since IS NOT NULL FROM atlas_rules WHERE rule_name = '$name'")
	  or die "rule $name does not begin";
	return;
}

sub matches
{
	my ($name) = @_;

	return $node->safe_psql('atlas', "SELECT count(*) FROM atlas_rule_matches WHERE rule_name = '$name'");
}

sub pg_array
{
	return '{' . join(',', @_) . '}';
}

sub killed
{
	return scalar(() = log_since($node, 0) =~ /was terminated by signal 9/g);
}

# ----- When a rule begins -----

push @ids, submit_events($node, 'atlas', 1, 100);
linked_ok($node, 'atlas', 'events from before the rules are linked');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '0', 'and done with');

# One that is under way when the rule is made does not know of it.
my $writer = $node->background_psql('atlas');
$writer->query_safe('BEGIN; SELECT atlas_test.submit(101, 110)');
$node->safe_psql('atlas', "SELECT atlas_create_rule('every', 'CUSTOMER')");
push @ids, submit_events($node, 'atlas', 111, 120);
linked_ok($node, 'atlas', 'events that come meanwhile are linked');
is($node->safe_psql('atlas', 'SELECT since FROM atlas_rules'), '', 'the rule waits for a transaction that is under way');
$writer->query_safe('SELECT atlas_test.submit(121, 130)');
$writer->query_safe('COMMIT');
$writer->quit;
wait_until($node, 'atlas', 'SELECT since IS NOT NULL FROM atlas_rules', 'it begins when that has ended');
push @ids, submit_events($node, 'atlas', 131, 140);
linked_ok($node, 'atlas', 'later events are worked on');
is(matches('every'), '10', 'they match, and no earlier ones do');
oracle_ok($node, 'atlas', \@ids);

# ----- Search off: work is done for the rules alone -----

$node->safe_psql('atlas', "ALTER DATABASE atlas SET atlas_events.search = off");
push @ids, submit_events($node, 'atlas', 141, 150);
push @ids, event_ids($node->safe_psql('atlas', "SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Alone')"));
linked_ok($node, 'atlas', 'events are worked on with search off');
is(matches('every'), '21', 'they match');
is($node->safe_psql('atlas', 'SELECT in_effect, documents_waiting FROM atlas_search_status'), 'f|0', 'no document is waiting');
$node->safe_psql('atlas', "ALTER DATABASE atlas RESET atlas_events.search");
$node->safe_psql('atlas', 'SELECT atlas_rebuild_search(NULL)');
wait_until($node, 'atlas', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', 'the documents are made afterwards');
oracle_ok($node, 'atlas', \@ids);

# ----- Killed at any moment -----

make_rule('three', "'CUSTOMER', times => 3, within => '1 day'");
make_rule('accounts', "'ACCOUNT', condition => '\$.payload.n > 0', times => 2, within => '1 hour', role => 'RELATED'");
make_rule('unknown', "'CUSTOMER', 'Checkout Completed', '\$.payload.n > \"x\"'");
for my $round (1 .. long_or(60, 8))
{
	my $first = 1000 + $round * 300;
	push @ids, submit_events($node, 'atlas', $first, $first + 299);
	my $pid = wait_for_linker($node, 'atlas');
	kill 'KILL', $pid;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
}
linked_ok($node, 'atlas', 'everything is linked after the kills');
cmp_ok(killed(), '>', 3, 'linkers were killed');
oracle_ok($node, 'atlas', \@ids, 'each match is there once');
cmp_ok(matches('three'), '>', 100, 'there are matches of several events');
cmp_ok(matches('accounts'), '>', 100, 'and of related objects');
is(matches('unknown'), '0', 'what is unknown is no match');
cmp_ok($node->safe_psql('atlas', "SELECT unknown FROM atlas_rules WHERE rule_name = 'unknown'"), '>=', 300, 'and is counted');
$node->stop('immediate');
$node->start;
push @ids, submit_events($node, 'atlas', 5000, 5099);
linked_ok($node, 'atlas', 'it goes on after a crash of the server');
oracle_ok($node, 'atlas', \@ids, 'no match is lost in a crash');

# ----- Late links -----

my $late = $node->safe_psql('atlas', q{SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Late', payload => '{"n": 1}',
    related_objects => ARRAY[('ACCOUNT', md5('account-late')::uuid, NULL)]::atlas_object[]) FROM generate_series(1, 2)});
push @ids, event_ids($late);
linked_ok($node, 'atlas', 'events whose account is not there are linked');
$node->safe_psql('atlas', q{INSERT INTO accounts VALUES (md5('account-late')::uuid, 'ACC-LATE');
    UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE object_id = md5('account-late')::uuid::text});
wait_until($node, 'atlas', q{SELECT count(*) = 1 FROM atlas_rule_matches WHERE rule_name = 'accounts' AND object_id = md5('account-late')::uuid::text},
	'when it is found, the events count for it');
oracle_ok($node, 'atlas', \@ids);

# ----- A condition that hurts -----

make_rule('slow', q{'CUSTOMER', 'Long', '$.payload.a[*] ? (@ < 0 - $.payload.a[*]) > 5'});
make_rule('beside', q{'CUSTOMER', 'Long', '$.payload.n > 0'});
my $long = $node->safe_psql('atlas', q{SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text, 'Long',
    payload => jsonb_build_object('n', n, 'a', (SELECT jsonb_agg(i) FROM generate_series(1, 5000) i))) FROM generate_series(1, 20) n});
push @ids, event_ids($long);
push @ids, submit_events($node, 'atlas', 5100, 5199);
wait_until($node, 'atlas', "SELECT NOT is_enabled FROM atlas_rules WHERE rule_name = 'slow'", 'a rule whose condition takes too long is switched off');
linked_ok($node, 'atlas', 'linking goes on');
like($node->safe_psql('atlas', "SELECT disabled_reason FROM atlas_rules WHERE rule_name = 'slow'"), qr/^(a|the) condition takes/, 'with the reason');
is(matches('slow'), '0', 'it matches nothing');
is(matches('beside'), '20', 'others go on');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'long' AND problem IS NULL}), '20', 'documents are made');
is(status_of($node, 'atlas', 'rules_switched_off'), '1', 'the status says so');
like(status_of($node, 'atlas', 'advice'), qr/^Rule "slow" was switched off/, 'and what to do');
like(log_since($node, 0), qr/LOG:  rule "slow" was switched off: /, 'so does the log');
oracle_ok($node, 'atlas', \@ids);

# A table that cannot be written to costs the rules only, and the documents nothing.
$node->safe_psql('atlas', q{CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.rule_name = 'beside' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT ON atlas_rule_matches FOR EACH ROW EXECUTE FUNCTION refuse();});
push @ids, event_ids($node->safe_psql('atlas',
	q{SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Long', payload => '{"n": 1}')}));
push @ids, submit_events($node, 'atlas', 5200, 5209);
wait_until($node, 'atlas', q{SELECT count(*) = 21 FROM atlas_event_search WHERE document @@ 'long' AND problem IS NULL}, 'its document is made');
linked_ok($node, 'atlas', 'and the event is given up for rules in the end');
like(log_since($node, 0), qr/LOG:  the rules could not be evaluated for event $ids[-11], attempt 2 of 2: refused/, 'the log says so');
is(matches('beside'), '20', 'it does not match');
cmp_ok(matches('every'), '>', 0, 'others do');
$node->safe_psql('atlas', 'DROP TRIGGER refuse ON atlas_rule_matches; SELECT atlas_drop_rule(r) FROM unnest(ARRAY[\'beside\', \'every\', \'three\']) r');
oracle_ok($node, 'atlas', \@ids);

# ----- A session that evaluates rules, and does not end -----

# It has hits of its own, so that nobody else may write any. That holds up neither links nor documents, nor rules
# that need one event.
make_rule('one', q{'CUSTOMER', 'One'});
my $one = q{SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'One')};
my $session = $node->background_psql('atlas');
$session->query_safe('BEGIN');
push @ids, event_ids($session->query_safe('SELECT atlas_test.submit(5300, 5310)'));
$session->query_safe('SELECT atlas_link_events()');
push @ids, my @meanwhile = submit_events($node, 'atlas', 5311, 5320);
push @ids, event_ids($node->safe_psql('atlas', $one));
wait_until($node, 'atlas', "SELECT count(*) = 0 FROM atlas_event_queue WHERE next_attempt_at IS NULL", 'linking does not wait for it');
wait_until($node, 'atlas', 'SELECT count(*) = 10 FROM atlas_event_search WHERE event_id = ANY ($$' . pg_array(@meanwhile) . '$$)', 'nor do documents');
wait_until($node, 'atlas', q{SELECT count(*) = 1 FROM atlas_rule_matches WHERE rule_name = 'one'}, 'nor do rules that need one event');
is($node->safe_psql('atlas', 'SELECT count(*), count(DISTINCT what) FROM atlas_event_work'), '10|1', 'the other rules wait for it');
$session->query_safe('COMMIT');
linked_ok($node, 'atlas', 'rules are evaluated when it has ended');
oracle_ok($node, 'atlas', \@ids);

# ----- Hits do not outlive their rule -----

for my $end ('ROLLBACK', 'COMMIT')
{
	# What has come since its snapshot was taken goes with the rule as well.
	$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM atlas_rule_hits');
	push @ids, submit_events($node, 'atlas', 5331, 5340);
	linked_ok($node, 'atlas', 'before a rule is dropped, events count for it');
	$session->query_safe(q{SELECT atlas_drop_rule('accounts')});
	push @ids, submit_events($node, 'atlas', 5321, 5330), event_ids($node->safe_psql('atlas', $one));
	wait_until($node, 'atlas', q{SELECT count(*) = 0 FROM atlas_event_work w JOIN atlas_events e USING (event_id) WHERE e.name = 'One'},
		'while a rule is being dropped, other events are worked on');
	is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '10', 'and those that count for it wait');
	$session->query_safe($end);
	linked_ok($node, 'atlas', "after $end they are done");
	oracle_ok($node, 'atlas', \@ids, "nothing is missing after $end, and nothing is left over");
}
$session->quit;

# ----- Partitions that cannot be made -----

make_rule('long ago', q{'CUSTOMER', 'Long ago', times => 2, within => '1 hour'});
$node->safe_psql('atlas', q{UPDATE atlas_rules SET since = '2020-01-01' WHERE rule_name = 'long ago';
    CREATE FUNCTION forbid_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE object_identity ~ 'atlas_rule_') THEN
        RAISE EXCEPTION 'tables are forbidden';
    END IF; END $$;
    CREATE EVENT TRIGGER forbid_tables ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION forbid_tables()});
push @ids, event_ids($node->safe_psql('atlas', q{SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Long ago',
    occurred_at => date_trunc('month', now()) - interval '8 months' + n * interval '1 min') FROM generate_series(1, 2) n}));
wait_until($node, 'atlas', q{SELECT count(*) = 2 FROM atlas_event_work WHERE what = 4 AND attempts = 0 AND last_error = 'tables are forbidden'},
	'events are put off, and not to blame, if the partition of their hits cannot be made');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_event_search WHERE document @@ 'ago'}), '2', 'their documents are made');
$node->safe_psql('atlas', 'DROP EVENT TRIGGER forbid_tables; UPDATE atlas_event_work SET next_attempt_at = now()');
linked_ok($node, 'atlas', 'when it can be, they are done');
is(matches('long ago'), '1', 'and they match');
oracle_ok($node, 'atlas', \@ids);

# ----- A rule that takes the linker down -----

# Matching it kills the linker, and so does trying it on an event by itself.
make_rule('deadly', q{'CUSTOMER', 'Deadly', '$.payload.n > 0'});
make_rule('harmless', q{'CUSTOMER', 'Deadly', '$.payload.n > 0'});
$node->safe_psql('atlas', q{CREATE FUNCTION kill_linker() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF OLD.rule_id = (SELECT rule_id FROM public.atlas_rules WHERE rule_name = 'deadly' AND is_enabled) THEN
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
    END IF;
    RETURN COALESCE(NEW, OLD); END $$;
    CREATE FUNCTION kill_matcher() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.rule_name = 'deadly' THEN
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
    END IF;
    RETURN NEW; END $$;
    CREATE TRIGGER kill_linker BEFORE UPDATE OR DELETE ON atlas_linker_state FOR EACH ROW EXECUTE FUNCTION kill_linker();
    CREATE TRIGGER kill_matcher BEFORE INSERT ON atlas_rule_matches FOR EACH ROW EXECUTE FUNCTION kill_matcher();});
my $kills = killed();
push @ids, event_ids($node->safe_psql('atlas',
	q{BEGIN; SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Deadly', payload => '{"n": 1}'); SELECT atlas_test.submit(5400, 5499); COMMIT}));
wait_until($node, 'atlas', "SELECT NOT is_enabled FROM atlas_rules WHERE rule_name = 'deadly'", 'a rule that takes the linker down is switched off');
linked_ok($node, 'atlas', 'everything else is done');
is($node->safe_psql('atlas', "SELECT disabled_reason FROM atlas_rules WHERE rule_name = 'deadly'"),
	'the linker was killed while it evaluated its condition', 'it says why');
is(matches('deadly') . matches('harmless'), '01', 'the other rule matches, and so the event was not given up');
is($node->safe_psql('atlas', q{SELECT count(*), count(problem) FROM atlas_event_search WHERE document @@ 'deadly'}), '1|0', 'its document is made');

# The first linker suspects nothing, the second notes what it is at, the third works on it alone, and the fourth tries the rule.
cmp_ok(killed() - $kills, '<=', 4, 'the linker is not killed more often than it must be');
oracle_ok($node, 'atlas', \@ids);

is(join("\n", worker_errors($node)), '', 'no worker has logged an error');
$node->stop;
done_testing();
