# Actions of rules: what they are given, as whom they run and what they cannot reach; what fails, and says why; what is
# held back; and that neither links nor other actions wait for a slow one.

use strict;
use warnings;

use AtlasActions;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('actions', settings => "atlas_events.max_attempts = 2\natlas_events.action_timeout = 1s");
make_database($node, 'atlas');
make_agent($node, 'atlas');
my @ids;

# Sets server settings, and waits until the launcher has them.
sub reload
{
	my ($settings) = @_;

	$node->append_conf('postgresql.conf', $settings);
	$node->reload;
	return;
}

sub done
{
	my ($what, $name) = @_;

	return $node->safe_psql('atlas', "SELECT $what FROM atlas_test.done d JOIN atlas_rule_matches m USING (match_id) WHERE m.rule_name = '$name'");
}

sub sound_ok
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	oracle_ok($node, 'atlas', \@ids, $name);
	return is($node->safe_psql('atlas', "SELECT * FROM atlas_test.action_violations('work', '{act}')"), '', 'and each action was done once');
}

# ----- A function is called for each match, as the owner of the rule -----

$node->safe_psql('atlas', q{ALTER ROLE agent SET search_path = work; ALTER ROLE agent SET DateStyle = 'German'; ALTER ROLE agent SET statement_timeout = '1ms';
    ALTER ROLE agent SET default_transaction_read_only = on; ALTER ROLE agent SET enable_indexscan = off});
push @ids, submit_named($node, 'atlas', 'Plain', 3);
linked_ok($node, 'atlas', 'events from before the rule are linked');
make_rule($node, 'atlas', 'Plain', "action => 'work.act(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Plain', 50);
settled_ok($node, 'atlas', 'the actions of matches are done');
is(statuses($node, 'atlas', 'Plain'), 'DONE 50', 'the matches say so');
is(done("count(*), count(DISTINCT d.match_id), string_agg(DISTINCT concat_ws('/', role, session_role, tenant), ' ')", 'Plain'), '50|50|agent/agent/', 'by the owner of the rule');
is(done(q{bool_and(argument->>'rule' = 'Plain' AND argument->'object' = jsonb_build_object('objectType', 'CUSTOMER', 'objectId', m.object_id)
    AND (argument->'event'->>'eventId')::uuid = m.event_id AND argument->'event'->>'name' = 'Plain'
    AND (argument->>'matchedAt')::timestamptz = m.matched_at
    AND (SELECT array_agg(k ORDER BY k COLLATE "C") FROM jsonb_object_keys(argument) k) = '{event,matchId,matchedAt,object,rule}')}, 'Plain'), 't', 'it is given the match');
sound_ok('the oracle finds nothing wrong');

# ----- A channel is told the number of the match, and nothing else -----

my $listener = $node->background_psql('atlas');
$listener->query_safe('LISTEN atlas_told');
make_rule($node, 'atlas', 'Told', "channel => 'atlas_told'");
push @ids, submit_named($node, 'atlas', 'Told', 2);
settled_ok($node, 'atlas', 'notifications are sent');
my $match_ids = $node->safe_psql('atlas', "SELECT string_agg(match_id::text, ' ' ORDER BY match_id) FROM atlas_rule_matches WHERE rule_name = 'Told'");
is(join(' ', sort { $a <=> $b } $listener->query_safe('SELECT 1') =~ /"atlas_told" with payload "(.*?)"/g), $match_ids, 'with the numbers of the matches');
$listener->quit;
is(statuses($node, 'atlas', 'Told'), 'DONE 2', 'the matches say so');

# ----- What fails -----

make_rule($node, 'atlas', 'Fails', "action => 'work.fail(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Fails', 2);
hurry_until($node, 'atlas', q{EXISTS (SELECT FROM atlas_rule_matches WHERE action_status = 'FAILED')}, 'an action that fails is given up');
settled_ok($node, 'atlas', 'and so is the other one');
is(last_error($node, 'atlas', 'Fails'), '2|t|no luck', 'after max_attempts, with its message');
is(statuses($node, 'atlas', 'Fails'), 'FAILED 2', 'the matches say so');
is(done('count(*)', 'Fails'), '0', 'what it has done is undone');
is(status_of($node, 'atlas', 'actions_failed'), '2', 'the status says so');
like(status_of($node, 'atlas', 'advice'), qr/^Actions of rules have failed/, 'and what to do');
is(scalar(() = log_since($node, 0) =~ /LOG:  the action for match \d+ of a rule has failed 2 times: no luck/g), 2, 'so does the log');
sound_ok('the oracle finds nothing wrong');
$node->safe_psql('atlas', 'SET ROLE agent; CREATE OR REPLACE FUNCTION work.fail(jsonb) RETURNS void LANGUAGE sql AS $$ SELECT work.act($1) $$');
is($node->safe_psql('atlas', "SELECT atlas_retry_failed('$ids[-1]')"), '1', 'those for one event can be tried again');
settled_ok($node, 'atlas', 'at once');
is($node->safe_psql('atlas', 'SELECT atlas_retry_failed()'), '1', 'and all');
settled_ok($node, 'atlas', 'as well');
is(statuses($node, 'atlas', 'Fails') . done('count(*)', 'Fails'), 'DONE 22', 'then they are done');

# ----- What takes too long -----

$node->safe_psql('atlas', q{SET ROLE agent;
    CREATE FUNCTION work.sleep(jsonb) RETURNS void LANGUAGE sql AS $$ SELECT pg_sleep(60) $$;
    CREATE FUNCTION work.trap(jsonb) RETURNS void LANGUAGE plpgsql AS
        $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$});
make_rule($node, 'atlas', 'Sleeps', "action => 'work.sleep(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Sleeps');
settled_ok($node, 'atlas', 'an action that takes too long is given up');
is(last_error($node, 'atlas', 'Sleeps'), '2|t|it took longer than 1000 ms (atlas_events.action_timeout)', 'with the reason');
make_rule($node, 'atlas', 'Traps', "action => 'work.trap(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Traps');
settled_ok($node, 'atlas', 'one that does not heed its timeout is ended with its process, and given up');
is(last_error($node, 'atlas', 'Traps'), '2|t|the action worker ended while the action was under way', 'with the reason');
is(statuses($node, 'atlas', 'Traps'), 'FAILED 1', 'the match says so');
like(log_since($node, 0), qr/LOG:  1 atlas_events action workers are terminated, because an action did not end/, 'the log tells of it');
push @ids, submit_named($node, 'atlas', 'Plain', 5);
settled_ok($node, 'atlas', 'others go on');
is(statuses($node, 'atlas', 'Plain'), 'DONE 55', 'as ever');
sound_ok('the oracle finds nothing wrong');

# ----- A function that is not what it was -----

# Each is changed while the rule is there; an event is submitted afterwards.
my @changes = (
	[ 'Dropped', 'DROP FUNCTION work.dropped', qr/^function work\.dropped\(jsonb\) does not exist$/ ],
	[ 'Owned', 'ALTER FUNCTION work.owned OWNER TO other', qr/^function work\.owned\(jsonb\) must belong to the owner of the rule, or to a superuser$/ ],
	[ 'Replaced', 'DROP FUNCTION work.replaced; SET ROLE other; CREATE FUNCTION work.replaced(jsonb) RETURNS void LANGUAGE sql AS $$ SELECT work.act($1) $$; GRANT EXECUTE ON FUNCTION work.replaced TO agent',
		qr/must belong to the owner of the rule/ ],
	[ 'Retyped', 'DROP FUNCTION work.retyped; CREATE FUNCTION work.retyped(jsonb) RETURNS SETOF int LANGUAGE sql AS $$ SELECT 1 $$; ALTER FUNCTION work.retyped OWNER TO agent',
		qr/must be a function that takes \(jsonb\)/ ],
	[ 'Revoked', 'ALTER FUNCTION work.revoked OWNER TO postgres; REVOKE EXECUTE ON FUNCTION work.revoked FROM PUBLIC, agent', qr/may not be executed by the owner of the rule/ ],
	[ 'Renamed', 'ALTER FUNCTION work.renamed RENAME TO renamed_away', qr/^function work\.renamed\(jsonb\) does not exist$/ ]);
$node->safe_psql('atlas', 'CREATE ROLE other LOGIN; GRANT ALL ON SCHEMA work TO other');
for my $change (@changes)
{
	my ($name, $statements, $reason) = @$change;
	my $function = lc $name;

	$node->safe_psql('atlas', "SET ROLE agent; CREATE FUNCTION work.$function(jsonb) RETURNS void LANGUAGE sql AS \$\$ SELECT work.act(\$1) \$\$");
	make_rule($node, 'atlas', $name, "action => 'work.$function(jsonb)'");
	$node->safe_psql('atlas', $statements);
	push @ids, submit_named($node, 'atlas', $name);
}
settled_ok($node, 'atlas', 'functions that were changed are not called');
for my $change (@changes)
{
	my ($name, $statements, $reason) = @$change;
	my ($attempts, $is_failed, $error) = split /\|/, last_error($node, 'atlas', $name);

	like($error, $reason, "$name: the reason is told");
	is(statuses($node, 'atlas', $name) . done('count(*)', $name), 'FAILED 10', "$name: it has failed");
}
sound_ok('the oracle finds nothing wrong');

# ----- Cooldown -----

make_rule($node, 'atlas', 'Cools', "action => 'work.act(jsonb)', cooldown => '1 hour'");
push @ids, submit_named($node, 'atlas', 'Cools', 3);
push @ids, submit_named($node, 'atlas', 'Cools', 4);
settled_ok($node, 'atlas', 'actions are done or held back');
is(statuses($node, 'atlas', 'Cools'), 'DONE 4, HELD_BACK 3', 'once for each object, and all match');
$node->safe_psql('atlas', q{UPDATE atlas_rule_cooldowns SET ends_at = now()});
push @ids, submit_named($node, 'atlas', 'Cools', 1);
settled_ok($node, 'atlas', 'when it has ended');
is(statuses($node, 'atlas', 'Cools'), 'DONE 5, HELD_BACK 3', 'they are done again');
wait_until($node, 'atlas', 'SELECT count(*) = 1 FROM atlas_rule_cooldowns', 'cooldowns that have ended are removed');
make_rule($node, 'atlas', 'Cools and fails', "action => 'work.sleep(jsonb)', cooldown => '1 hour'");
push @ids, submit_named($node, 'atlas', 'Cools and fails');
settled_ok($node, 'atlas', 'an action with a cooldown fails');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rule_cooldowns'), '1', 'which begins no cooldown');
sound_ok('the oracle finds nothing wrong');

# ----- Rules that lead to themselves -----

$node->safe_psql('atlas', q{GRANT EXECUTE ON FUNCTION submit_event(text, text, text, text, text, text, jsonb, atlas_object[], timestamptz, text) TO agent; SET ROLE agent;
    CREATE FUNCTION work.again(jsonb) RETURNS void LANGUAGE sql AS
        $$ SELECT work.act($1), public.submit_event('CUSTOMER', $1#>>'{object,objectId}', $1->>'rule', payload => '{"again": true}',
               related_objects => CASE WHEN $1->>'rule' = 'Round' THEN ARRAY[('ACCOUNT', md5('account-1')::uuid, NULL)]::public.atlas_object[] END) $$});
for my $name ('Circle', 'Round')
{
	make_rule($node, 'atlas', $name, "action => 'work.again(jsonb)'");
	push @ids, submit_named($node, 'atlas', $name);
	settled_ok($node, 'atlas', 'a rule that leads to itself comes to an end');
	is(statuses($node, 'atlas', $name) . ' of ' . $node->safe_psql('atlas', "SELECT count(*) FROM atlas_events WHERE name = '$name'"), 'DONE 6 of 7', 'after six rounds');
}
$node->safe_psql('atlas', q{SELECT atlas_drop_rule('Circle'), atlas_drop_rule('Round')});
# What is left for the end of the transaction belongs to the action as well.
$node->safe_psql('atlas', q{SET ROLE agent; CREATE TABLE work.later (argument jsonb);
    CREATE FUNCTION work.later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.argument ? 'then' THEN PERFORM work.again(NEW.argument);
        ELSE SET CONSTRAINTS ALL DEFERRED; INSERT INTO work.later VALUES (NEW.argument || '{"then": 1}'); END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER later AFTER INSERT ON work.later DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION work.later();
    CREATE FUNCTION work.at_end(jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO work.later VALUES ($1) $$});
make_rule($node, 'atlas', 'At the end', "action => 'work.at_end(jsonb)'");
push @ids, submit_named($node, 'atlas', 'At the end');
settled_ok($node, 'atlas', 'so does one that does it at the end of its transaction');
is(statuses($node, 'atlas', 'At the end'), 'DONE 6', 'after six rounds');
$node->safe_psql('atlas', q{SELECT atlas_drop_rule('At the end')});

reload("atlas_events.rule_match_limit = 20");
make_rule($node, 'atlas', 'Often', "action => 'work.act(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Often', 20);
settled_ok($node, 'atlas', 'as many matches as are allowed');
is(statuses($node, 'atlas', 'Often'), 'DONE 20', 'are acted on');
push @ids, submit_named($node, 'atlas', 'Often', 5);
wait_until($node, 'atlas', q{SELECT NOT is_enabled FROM atlas_rules WHERE rule_name = 'Often'}, 'a rule that matches too often is switched off');
settled_ok($node, 'atlas', 'what is left of it');
like(statuses($node, 'atlas', 'Often'), qr/^CANCELLED [1-5], DONE 2\d$/, 'is cancelled');
like($node->safe_psql('atlas', q{SELECT disabled_reason FROM atlas_rules WHERE rule_name = 'Often'}), qr/^it matched more than 20 times within a minute/, 'it says why');
reload("atlas_events.rule_match_limit = 0");
sound_ok('the oracle finds nothing wrong');

# ----- What a function leaves in its session -----

$node->safe_psql('atlas', q{SET ROLE agent; CREATE FUNCTION work.mess(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('search_path') <> 'work' OR current_setting('transaction_read_only')::bool OR current_user <> 'agent'
       OR current_setting('atlas_test.mess', true) <> '' OR current_setting('atlas_events.tenant') <> '' THEN
        RAISE EXCEPTION 'settings are left: % % % %', current_setting('search_path'), current_setting('transaction_read_only'), current_user, current_setting('atlas_test.mess', true);
    END IF;
    IF EXISTS (SELECT FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') THEN RAISE EXCEPTION 'a lock is left'; END IF;
    CREATE TEMPORARY TABLE atlas_rule_actions (LIKE atlas_test.done);
    CREATE TEMPORARY TABLE atlas_rule_matches (LIKE atlas_test.done);
    PERFORM pg_advisory_lock(815);
    EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT pg_sleep(0.001) FROM generate_series(1, 1000000)';
    EXECUTE 'PREPARE plan AS SELECT 1';
    PERFORM work.act($1);
    PERFORM set_config('atlas_test.mess', 'here', false), set_config('search_path', 'pg_temp, atlas_test', false), set_config('statement_timeout', '1', false),
            set_config('default_transaction_read_only', 'on', false), set_config('transaction_read_only', 'on', false), set_config('lock_timeout', '1', false),
            set_config('enable_seqscan', 'off', false), set_config('row_security', 'off', false), set_config('DateStyle', 'SQL', false), set_config('role', 'none', false);
    RESET ALL;
END $$;
CREATE FUNCTION work.listen(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN LISTEN atlas_x; END $$;
CREATE FUNCTION work.commit(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;
CREATE TABLE work.checked (n int PRIMARY KEY, of int REFERENCES work.checked DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION work.orphan(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO work.checked VALUES (1, 2); END $$;
CREATE FUNCTION work.rise(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET SESSION AUTHORIZATION postgres; END $$;
CREATE FUNCTION work.set_role(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET ROLE postgres; END $$;
CREATE FUNCTION work.set_tenant(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('atlas_events.tenant', 'acme', false); END $$;
CREATE FUNCTION work.read_actions(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM public.atlas_rule_actions; END $$;
});
make_rule($node, 'atlas', 'Mess', "action => 'work.mess(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Mess', 5);
settled_ok($node, 'atlas', 'a function can leave its session in a mess');
is(last_error($node, 'atlas', 'Mess') . statuses($node, 'atlas', 'Mess'), 'DONE 5', 'and the next one finds nothing of it');
is($node->safe_psql('atlas', 'SELECT pg_try_advisory_lock(815)'), 't', 'nor does anybody else wait');
my %refused = (
	listen => qr/cannot execute LISTEN within a background process/,
	commit => qr/invalid transaction termination/,
	orphan => qr/violates foreign key constraint/,
	rise => qr/permission denied to set session authorization|permission denied/,
	set_role => qr/permission denied to set role/,
	set_tenant => qr/permission denied to set parameter "atlas_events.tenant"/,
	read_actions => qr/permission denied for table atlas_rule_actions/);
for my $name (sort keys %refused)
{
	make_rule($node, 'atlas', $name, "action => 'work.$name(jsonb)'");
	push @ids, submit_named($node, 'atlas', $name);
}
settled_ok($node, 'atlas', 'functions that do what they may not fail');
like(last_error($node, 'atlas', $_), $refused{$_}, "$_: with the reason") for sort keys %refused;
sound_ok('the oracle finds nothing wrong');

# ----- Tenants -----

# The rule is of one tenant, and its function tries to see what is of another.
$node->safe_psql('atlas', q{SET ROLE agent; CREATE FUNCTION work.look(jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        PERFORM work.act($1); RESET ALL; PERFORM work.act($1 || jsonb_build_object('log', (SELECT string_agg(name, ' ') FROM public.atlas_events)));
        INSERT INTO work.later VALUES ($1); END $$;
    CREATE OR REPLACE FUNCTION work.again(jsonb) RETURNS void LANGUAGE sql AS
        $$ SELECT work.act($1 || jsonb_build_object('log', (SELECT string_agg(name, ' ') FROM public.atlas_events))) $$;
    RESET ROLE; GRANT SELECT ON atlas_events TO agent});
$node->safe_psql('atlas', q{CREATE TABLE of_tenants (id text PRIMARY KEY, tenant text NOT NULL);
        INSERT INTO of_tenants VALUES ('1', 'acme'), ('2', 'bolt'), ('3', '');
        SELECT atlas_register_object_type('COMPANY', 'of_tenants', tenant_column => 'tenant')});
$node->safe_psql('atlas', q{SET atlas_events.tenant = 'acme'; SET ROLE agent; SELECT atlas_create_rule('Looks', 'COMPANY', action => 'work.look(jsonb)')});
wait_until($node, 'atlas', q{SELECT since IS NOT NULL FROM atlas_rules WHERE rule_name = 'Looks'}, 'a rule of a tenant begins');
push @ids, event_ids($node->safe_psql('atlas', q{SET atlas_events.tenant = 'bolt'; SELECT submit_event('COMPANY', '2', 'Of Bolt');
        SET atlas_events.tenant = ''; SELECT submit_event('COMPANY', '3', 'Of nobody');
        SET atlas_events.tenant = 'acme'; SELECT submit_event('COMPANY', '1', 'Of Acme')}));
settled_ok($node, 'atlas', 'its action is done');
is($node->safe_psql('atlas', q{SELECT count(*), count(DISTINCT match_id), string_agg(DISTINCT tenant, ' '), string_agg(DISTINCT argument->>'log', ', '), count(*) FILTER (WHERE argument ? 'log')
        FROM atlas_test.done WHERE argument->>'rule' = 'Looks'}), '3|1|acme|Of Acme|2', 'for its tenant alone, also after RESET ALL, and at the end of its transaction');
$node->safe_psql('atlas', q{SET atlas_events.tenant = 'acme'; SELECT atlas_drop_rule('Looks'); DELETE FROM atlas_test.done WHERE argument->>'rule' = 'Looks'});

# ----- Neither links nor other actions wait for one that is slow -----

reload("atlas_events.action_timeout = 60s");
make_database($node, 'beside');
make_agent($node, 'beside');
make_rule($node, 'beside', 'Beside', "action => 'work.act(jsonb)'");
$node->safe_psql('atlas', q{SET ROLE agent; CREATE TABLE work.gate (shut bool);
    CREATE FUNCTION work.wait(jsonb) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM work.act($1); WHILE EXISTS (SELECT FROM work.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$});
make_rule($node, 'atlas', 'Waits', "action => 'work.wait(jsonb)'");
for my $workers (2, 4)
{
	reload("atlas_events.max_workers = $workers");
	$node->safe_psql('atlas', 'INSERT INTO work.gate VALUES (true)');
	push @ids, submit_named($node, 'atlas', 'Waits', 2);
	action_worker($node, 'atlas', "wait_event = 'PgSleep'");
	my @beside;
	for my $round (1 .. 3)
	{
		push @ids, submit_events($node, 'atlas', 100 * $round, 100 * $round + 20);
		linked_ok($node, 'atlas', "with $workers workers an action does not hold up links");
		push @beside, submit_events($node, 'beside', 100 * $round, 100 * $round + 20);
		push @beside, submit_named($node, 'beside', 'Beside');
		linked_ok($node, 'beside', 'nor those of another database');
	}
	settled_ok($node, 'beside', 'nor its actions') if $workers == 4;
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'atlas_events action worker' AND datname = 'atlas'}), '1', 'it is still under way');
	$node->safe_psql('atlas', 'DELETE FROM work.gate');
	settled_ok($node, 'atlas', 'it is done in the end');
	settled_ok($node, 'beside', 'and so is what has waited');
	oracle_ok($node, 'beside', \@beside);
	sound_ok('the oracle finds nothing wrong');
}
reload("atlas_events.max_workers = 1");
my @beside;
for my $round (1 .. 3)
{
	push @ids, submit_events($node, 'atlas', 1000 * $round, 1000 * $round + 200), submit_named($node, 'atlas', 'Plain', 100), submit_named($node, 'atlas', 'Told', 100);
	push @beside, submit_events($node, 'beside', 1000 * $round, 1000 * $round + 200), submit_named($node, 'beside', 'Beside', 100);
}
settled_ok($node, 'atlas', 'a single worker links and acts');
settled_ok($node, 'beside', 'in both databases');
oracle_ok($node, 'beside', \@beside);
sound_ok('the oracle finds nothing wrong');

is(join("\n", grep { !/terminating background worker "atlas_events action worker" due to administrator command/ } worker_errors($node)), '', 'no worker has logged an error of its own');
$node->stop;
done_testing();
