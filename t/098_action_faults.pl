# Actions of rules when things break: processes killed at every step, crashes, copies of the database, owners that
# vanish, databases that are dropped, notifications that nobody takes. Each action is there until it is done or given up.

use strict;
use warnings;

use AtlasActions;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node("faults", settings => "atlas_events.max_attempts = 2\natlas_events.action_timeout = 60s");
my $dir = PostgreSQL::Test::Utils::tempdir();
make_database($node, 'atlas');
make_agent($node, 'atlas');
my @ids;

sub sound_ok
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	oracle_ok($node, $database, $database eq 'atlas' ? \@ids : [], $name);
	return is($node->safe_psql($database, "SELECT * FROM atlas_test.action_violations('work', '{act,wait}')"), '', 'and each action was done once');
}

# ----- Killed at every step -----

# Whoever comes to a step of which there is a file takes the file away, and is killed.
$node->safe_psql('atlas', <<"END");
CREATE FUNCTION atlas_test.step(name text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN
    IF current_setting('application_name') = 'atlas_events action worker' THEN
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', format('cat > /dev/null; if rm $dir/%s; then kill -9 %s; fi 2> /dev/null', name, pg_backend_pid()));
    END IF;
END \$\$;
CREATE FUNCTION atlas_test.step() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN
    IF TG_TABLE_NAME <> 'atlas_rule_actions' THEN PERFORM atlas_test.step(CASE TG_WHEN WHEN 'AFTER' THEN 'commit' ELSE 'note' END);
    ELSIF TG_OP = 'DELETE' THEN PERFORM atlas_test.step('take');
    ELSE PERFORM atlas_test.step(CASE WHEN NEW.attempts > OLD.attempts THEN 'claim' WHEN NEW.next_attempt_at IS NULL THEN 'put_back' ELSE 'fail' END);
    END IF;
    RETURN COALESCE(NEW, OLD);
END \$\$;
CREATE TRIGGER step BEFORE UPDATE OR DELETE ON atlas_rule_actions FOR EACH ROW EXECUTE FUNCTION atlas_test.step();
CREATE TRIGGER step BEFORE UPDATE ON atlas_rule_matches FOR EACH ROW EXECUTE FUNCTION atlas_test.step();
CREATE CONSTRAINT TRIGGER step_at_end AFTER UPDATE ON atlas_rule_matches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION atlas_test.step();
END
$node->safe_psql('atlas', <<'END');
SET ROLE agent;
CREATE FUNCTION work.step(jsonb) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM work.act($1), atlas_test.step('function'); IF $1->>'rule' = 'Failing' THEN RAISE EXCEPTION 'no luck'; END IF; END $$;
END
make_rule($node, 'atlas', 'Stepping', "action => 'work.step(jsonb)'");
make_rule($node, 'atlas', 'Failing', "action => 'work.step(jsonb)'");
make_rule($node, 'atlas', 'Telling', "channel => 'atlas_told'", 'postgres');
for my $step ('claim', 'take', 'function', 'note', 'commit', 'fail')
{
	my $kills = killed($node);

	append_to_file("$dir/$step", '');
	push @ids, submit_named($node, 'atlas', $step eq 'fail' ? 'Failing' : 'Stepping', 3);
	hurry_until($node, 'atlas', "NOT (pg_stat_file('$dir/$step', true)).size IS NOT NULL", "$step: the step is reached");
	settled_ok($node, 'atlas', "$step: the actions are settled after it was killed");
	is(killed($node) - $kills, 1, "$step: it was killed once");
}
is(statuses($node, 'atlas', 'Stepping'), 'DONE 15', 'all are done');
is(statuses($node, 'atlas', 'Failing'), 'FAILED 3', 'or given up');
for my $step ('claim', 'take', 'note', 'commit')
{
	append_to_file("$dir/$step", '');
	push @ids, submit_named($node, 'atlas', 'Telling', 3);
	hurry_until($node, 'atlas', "NOT (pg_stat_file('$dir/$step', true)).size IS NOT NULL", "$step: a notification comes to the step");
	settled_ok($node, 'atlas', "$step: and is sent after it was killed");
}
is(statuses($node, 'atlas', 'Telling'), 'DONE 12', 'all are sent');
$node->safe_psql('atlas', 'DROP FUNCTION atlas_test.step() CASCADE');
is($node->safe_psql('atlas', "SELECT * FROM atlas_test.action_violations('work', '{act,step}')"), '', 'each is done once');
sound_ok('atlas', 'the oracle finds nothing wrong');

# ----- A function that takes the server down -----

$node->safe_psql('atlas', <<"END");
CREATE FUNCTION atlas_test.kill(jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN
    INSERT INTO atlas_test.done (match_id, argument) VALUES ((\$1->>'matchId')::bigint, \$1);
    IF \$1#>>'{object,objectId}' = md5('customer-3')::uuid::text THEN
        EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'kill -9 ' || pg_backend_pid());
    END IF;
END \$\$;
END
make_rule($node, 'atlas', 'Deadly', "action => 'atlas_test.kill(jsonb)'", 'postgres');
my $kills = killed($node);
push @ids, submit_named($node, 'atlas', 'Deadly', 10);
settled_ok($node, 'atlas', 'an action that takes the server down comes to an end');
is(killed($node) - $kills, 2, 'after max_attempts');
is(statuses($node, 'atlas', 'Deadly'), 'DONE 9, FAILED 1', 'it has failed, and no other one with it');
is(last_error($node, 'atlas', 'Deadly'), '2|t|the action worker ended while the action was under way', 'it says why');
sound_ok('atlas', 'the oracle finds nothing wrong');

# ----- Killed at any moment, and a crash -----

make_rule($node, 'atlas', 'Busy', "action => 'work.act(jsonb)'");
$node->safe_psql('atlas', 'ALTER SYSTEM SET atlas_events.max_attempts = 100; SELECT pg_reload_conf()');
for my $round (1 .. long_or(40, 5))
{
	push @ids, submit_named($node, 'atlas', 'Busy', 300);
	kill_action_worker($node, action_worker($node, 'atlas'));
}
push @ids, submit_named($node, 'atlas', 'Busy', 300);
action_worker($node, 'atlas');
$node->stop('immediate');
$node->start;
settled_ok($node, 'atlas', 'everything is done after kills and a crash');
is(statuses($node, 'atlas', 'Busy'), 'DONE ' . 300 * (long_or(40, 5) + 1), 'nothing is lost');
sound_ok('atlas', 'the oracle finds nothing wrong');

# ----- A stop of the server while an action is under way -----

$node->safe_psql('atlas', <<'END');
SET ROLE agent;
CREATE TABLE work.gate (shut bool);
INSERT INTO work.gate VALUES (true);
CREATE FUNCTION work.wait(jsonb) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM work.act($1); WHILE EXISTS (SELECT FROM work.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
END
make_rule($node, 'atlas', 'Waiting', "action => 'work.wait(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Waiting');
action_worker($node, 'atlas', "wait_event = 'PgSleep'");
ok($node->stop('fast', fail_ok => 1), 'the server stops while an action is under way');
$node->start;
$node->safe_psql('atlas', 'DELETE FROM work.gate');
settled_ok($node, 'atlas', 'which is done afterwards');
is(statuses($node, 'atlas', 'Waiting'), 'DONE 1', 'once');
$node->safe_psql('atlas', 'ALTER SYSTEM RESET atlas_events.max_attempts; SELECT pg_reload_conf()');
sound_ok('atlas', 'the oracle finds nothing wrong');

# ----- Owners that vanish -----

my @owners = (
	[ 'renamed', 'ALTER ROLE renamed RENAME TO renamed_away', 'does not exist', 'ALTER ROLE renamed_away RENAME TO renamed' ],
	[ 'mute', 'ALTER ROLE mute NOLOGIN', $node->pg_version >= 17 ? undef : 'may not log in', 'ALTER ROLE mute LOGIN' ],
	[ 'locked_out', 'REVOKE CONNECT ON DATABASE atlas FROM locked_out', 'may not connect to this database', 'GRANT CONNECT ON DATABASE atlas TO locked_out' ],
	[ 'gone', 'DROP OWNED BY gone; DROP ROLE gone', 'does not exist', undef ]);
$node->safe_psql('atlas', 'REVOKE CONNECT ON DATABASE atlas FROM PUBLIC; GRANT CONNECT ON DATABASE atlas TO agent;
    CREATE FUNCTION atlas_test.act(jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ SELECT work.act($1) $$');
for my $owner (@owners)
{
	my ($role, $change, $reason, $repair) = @$owner;

	$node->safe_psql('atlas', "CREATE ROLE $role LOGIN; GRANT CONNECT ON DATABASE atlas TO $role; GRANT USAGE ON SCHEMA atlas_test TO $role;
        GRANT EXECUTE ON FUNCTION atlas_create_rule TO $role");
	make_rule($node, 'atlas', "Of $role", "action => 'atlas_test.act(jsonb)'", $role);
	push @ids, submit_named($node, 'atlas', "Of $role");
	settled_ok($node, 'atlas', "$role: the action is done while the owner is there");
	$node->safe_psql('atlas', $change);
	push @ids, submit_named($node, 'atlas', "Of $role", 2);
	settled_ok($node, 'atlas', "$role: afterwards actions come to an end");
	next unless defined $reason;
	is(statuses($node, 'atlas', "Of $role"), 'DONE 1, FAILED 2', "$role: they have failed");
	like(last_error($node, 'atlas', "Of $role"), qr/^\d\|t\|role "$role" $reason$/, "$role: with the reason");
	like(status_of($node, 'atlas', 'advice'), qr/^Actions of rules have failed: see last_error/, "$role: the advice says so");
	next unless defined $repair;
	$node->safe_psql('atlas', "$repair; SELECT atlas_retry_failed(event_id) FROM atlas_rule_matches WHERE rule_name = 'Of $role' AND action_status = 'FAILED'");
	settled_ok($node, 'atlas', "$role: they are tried again when the owner is back");
	is(statuses($node, 'atlas', "Of $role"), 'DONE 3', "$role: and are done");
}
sound_ok('atlas', 'the oracle finds nothing wrong');

# ----- Notifications that cannot be sent -----

# The queue of notifications takes gigabytes to fill before version 17. What it does then is to refuse the commit.
$node->safe_psql('atlas', <<'END');
CREATE FUNCTION atlas_test.refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF NEW.action_status = 'DONE' THEN RAISE EXCEPTION 'too many notifications in the NOTIFY queue'; END IF; RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON atlas_rule_matches DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.rule_name = 'Telling') EXECUTE FUNCTION atlas_test.refuse();
END
my $listener = $node->background_psql('atlas');
$listener->query_safe('LISTEN atlas_told');
push @ids, submit_named($node, 'atlas', 'Telling', 2);
hurry_until($node, 'atlas', "(SELECT count(*) = 2 AND min(attempts) > 3 FROM atlas_rule_actions WHERE session_role = '' AND last_error LIKE 'too many notifications%')",
	'notifications that cannot be sent are tried for longer than max_attempts');
is(statuses($node, 'atlas', 'Telling'), 'DONE 12, PENDING 2', 'and stay pending');
push @ids, submit_named($node, 'atlas', 'Busy', 3), submit_events($node, 'atlas', 1, 20);
linked_ok($node, 'atlas', 'linking goes on');
hurry_until($node, 'atlas', "(SELECT count(*) = 3 FROM atlas_test.done WHERE (argument#>>'{event,eventId}')::uuid IN ('" . join("', '", @ids[ -23 .. -21 ]) . "'))", 'and so do actions');
$node->safe_psql('atlas', 'DROP FUNCTION atlas_test.refuse() CASCADE');
settled_ok($node, 'atlas', 'they are sent when there is room');
is(scalar(() = $listener->query_safe('SELECT 1') =~ /"atlas_told" with payload "\d+"/g), 2, 'once each');
$listener->quit;
sound_ok('atlas', 'the oracle finds nothing wrong');

# ----- Copies of the database do not act -----

make_rule($node, 'atlas', 'Unlucky', "action => 'work.fail(jsonb)'");
push @ids, submit_named($node, 'atlas', 'Unlucky');
wait_until($node, 'atlas', q{SELECT last_error = 'no luck' FROM atlas_rule_actions JOIN atlas_rule_matches USING (match_id) WHERE rule_name = 'Unlucky'}, 'an action waits for its second attempt');
done_ok($node, 'postgres', 'CREATE DATABASE clone TEMPLATE atlas', 'the database is copied');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", $node->connstr('atlas') ], 'it is dumped');
settled_ok($node, 'atlas', 'the action is tried again in the database itself');
$node->safe_psql('postgres', 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), "$dir/dump" ], 'and restored');
for my $copy ('clone', 'restored')
{
	$node->safe_psql($copy, q{SET ROLE agent; CREATE OR REPLACE FUNCTION work.fail(jsonb) RETURNS void LANGUAGE sql AS $$ SELECT work.act($1) $$;});
	my $done = $node->safe_psql($copy, 'SELECT count(*) FROM atlas_test.done');
	submit_named($node, $copy, 'Busy', 3);
	linked_ok($node, $copy, "$copy: events are linked, and match");
	hurry_until($node, $copy, q{(SELECT count(*) = 4 AND bool_and(next_attempt_at IS NULL) FROM atlas_rule_actions WHERE next_attempt_at IS DISTINCT FROM 'infinity')}, "$copy: actions are due");
	like(status_of($node, $copy, 'advice'), qr/^Rules do not act in this database, because it was restored or copied/, "$copy: it says that they are not done");
	make_rule($node, $copy, 'Fresh', "action => 'work.act(jsonb)'");
	submit_named($node, $copy, 'Fresh');
	wait_until($node, $copy, q{SELECT action_status = 'DONE' FROM atlas_rule_matches WHERE rule_name = 'Fresh'}, "$copy: a rule that was made there acts");
	is($node->safe_psql($copy, 'SELECT count(*) FROM atlas_test.done'), $done + 1, "$copy: but no other one");
	sound_ok($copy, "$copy: the oracle finds nothing wrong");
	$node->safe_psql($copy, 'SELECT atlas_resume_actions()');
	settled_ok($node, $copy, "$copy: what has waited is done when it is to act");
	is(statuses($node, $copy, 'Unlucky'), 'DONE 1', "$copy: also what was to be tried again");
	sound_ok($copy, "$copy: the oracle finds nothing wrong then");
}

# ----- Databases that are renamed and dropped while actions are under way -----

$node->safe_psql('clone', 'INSERT INTO work.gate VALUES (true)');
submit_named($node, 'clone', 'Waiting');
action_worker($node, 'clone', "wait_event = 'PgSleep'");
done_ok($node, 'postgres', 'ALTER DATABASE clone RENAME TO renamed', 'a database is renamed while an action is under way');
$node->safe_psql('renamed', 'DELETE FROM work.gate');
settled_ok($node, 'renamed', 'which is done afterwards');
is(statuses($node, 'renamed', 'Waiting'), 'DONE 2', 'once');

# More roles have something to do than there are places for their sessions.
make_database($node, 'crowd');
make_agent($node, 'crowd');
$node->safe_psql('crowd', <<'END');
CREATE TABLE work.gate (shut bool);
CREATE FUNCTION work.wait(jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN PERFORM work.act($1); WHILE EXISTS (SELECT FROM work.gate) LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
GRANT USAGE ON SCHEMA work TO PUBLIC;
SET client_min_messages = warning;
DO $$ BEGIN FOR i IN 1 .. 66 LOOP
    EXECUTE format('CREATE ROLE crowd_%1$s LOGIN; GRANT EXECUTE ON FUNCTION atlas_create_rule TO crowd_%1$s; SET LOCAL ROLE crowd_%1$s', i);
    PERFORM atlas_create_rule('Crowd ' || i, 'CUSTOMER', 'Crowd', action => 'work.wait(jsonb)');
    RESET ROLE;
END LOOP; END $$;
END
wait_until($node, 'crowd', "SELECT bool_and(since IS NOT NULL) FROM atlas_rules", 'many roles have rules');
submit_named($node, 'crowd', 'Crowd');
settled_ok($node, 'crowd', 'all of them act');
is($node->safe_psql('crowd', "SELECT string_agg(DISTINCT action_status, ' ') || count(*) FROM atlas_rule_matches"), 'DONE66', 'each once');
$node->safe_psql('crowd', 'INSERT INTO work.gate VALUES (true)');
submit_named($node, 'crowd', 'Crowd');
action_worker($node, 'crowd', "wait_event = 'PgSleep'");
done_ok($node, 'postgres', 'DROP DATABASE crowd', 'a database is dropped while actions are under way');
push @ids, submit_named($node, 'atlas', 'Busy', 3);
settled_ok($node, 'atlas', 'others act afterwards');

# ----- The extension is dropped -----

$node->safe_psql('postgres', 'ALTER SYSTEM SET log_min_messages = debug1; SELECT pg_reload_conf()');
$node->safe_psql('renamed', 'INSERT INTO work.gate VALUES (true)');
submit_named($node, 'renamed', 'Waiting');
action_worker($node, 'renamed', "wait_event = 'PgSleep'");
my $dropper = $node->background_psql('renamed');
$dropper->query_until(qr/^$/, "DROP EXTENSION atlas_events CASCADE;\n\\echo dropped\n");
wait_until($node, 'postgres', q{SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND locktype = 'object'}, 'the extension is to be dropped while an action is under way');
$node->safe_psql('renamed', 'DELETE FROM work.gate');
$dropper->quit;
is($node->safe_psql('renamed', 'SELECT count(*) FROM pg_extension WHERE extname = \'atlas_events\''), '0', 'it is dropped when that has ended');
my $offset = log_size($node);
for my $round (1 .. 3)
{
	push @ids, submit_named($node, 'atlas', 'Busy', 3);
	settled_ok($node, 'atlas', 'others act afterwards');
}
cmp_ok(scalar(() = log_since($node, $offset) =~ /registering background worker "atlas_events action worker"/g), '<=', 4, 'nobody comes to act in vain');
sound_ok('atlas', 'the oracle finds nothing wrong in the end');
$node->stop;
done_testing();
