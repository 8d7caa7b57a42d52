# Roles that own a registered table, its schema, or a name that somebody uses by
# mistake, and try to have their code run with the rights of others: of the
# submitter, the linker, the owner of the extension or of another table. The code
# says in the log as whom it runs, for what it writes in a lookup is undone. Nor
# does it leave a setting behind, after success, an error or a cancel.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('impostors');
my @acknowledged;

make_database($node, 'atlas');
$node->safe_psql('atlas', <<'END');
CREATE ROLE mallory LOGIN;
CREATE ROLE shop LOGIN;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO mallory, shop;
GRANT SET ON PARAMETER atlas_events.tenant TO mallory;
CREATE SCHEMA trap AUTHORIZATION mallory;
SET ROLE mallory;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.spring(what text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE LOG 'sprung as %: %', current_user, what;
    RETURN true;
END $$;
CREATE FUNCTION trap.spoil() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('search_path', 'trap', false), set_config('atlas_events.tenant', 'stolen', false),
            set_config('row_security', 'off', false), set_config('statement_timeout', '1h', false),
            set_config('atlas_events.linking', 'off', false);
    RETURN true;
EXCEPTION WHEN insufficient_privilege THEN
    PERFORM set_config('search_path', 'trap', false), set_config('atlas_events.tenant', 'stolen', false),
            set_config('row_security', 'off', false), set_config('statement_timeout', '1h', false);
    RETURN true;
END $$;
END

# Who and what a session is, in one line.
my $state = q{SELECT concat_ws(' ', current_user, session_user, current_setting('role'), current_setting('search_path'),
	current_setting('row_security'), current_setting('statement_timeout'), atlas_tenant() = '')};

# Runs statements in one session, and compares its state before and after; stops
# for no error. Returns the output between.
sub keeps_state
{
	my ($user, $name, @statements) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $script = join('', map { "$_;\n" } $state, @statements, $state);
	my ($stdout, $stderr) = ('', '');

	$node->psql('atlas', "SET search_path = public, pg_catalog;\n$script",
		stdout => \$stdout, stderr => \$stderr, on_error_stop => 0, extra_params => [ '-U', $user ]);
	my @lines = split /\n/, $stdout;
	is($lines[-1], $lines[0], $name);
	push @acknowledged, event_ids($stdout);
	return ($stdout, $stderr);
}

# What has run since the last time, each as "ROLE: WHAT", once.
my $read = 0;

sub sprung
{
	my %lines = map { $_ => 1 } log_since($node, $read) =~ /LOG:  sprung as (\w+: .*)$/mg;

	return sort keys %lines;
}

sub forget_sprung
{
	$read = log_size($node);
	return;
}

# Nothing has run but this.
sub sprung_ok
{
	my ($expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_deeply([ sprung() ], $expected, $name);
	forget_sprung();
	return;
}

sub submit_of
{
	my ($type, %options) = @_;
	my $related = $options{related} ? "ARRAY[('$options{related}', '1', NULL)]::public.atlas_object[]" : 'NULL';

	return "SELECT public.submit_event('$type', '$options{id}', 'x', related_objects => $related)";
}

# ----- An index whose predicate would be evaluated if a statement were planned -----

# The path of the session changes, and the index is read anew, between lookups.
$node->safe_psql('atlas', <<'END');
SET ROLE mallory;
CREATE FUNCTION trap.predicate(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN trap.spring('predicate') AND trap.spoil();
END $$;
CREATE TABLE trap.bots (id int, flag int);
INSERT INTO trap.bots VALUES (1);
CREATE INDEX flags ON trap.bots (flag) WHERE trap.predicate(1);
SET search_path = public;
CREATE UNIQUE INDEX ON trap.bots (id);
SET search_path = public;
SELECT atlas_register_object_type('BOT', 'trap.bots');
END
forget_sprung();
my $flush = q{\! psql -X -q -U mallory -c 'ALTER INDEX trap.flags SET (fillfactor = 90)' } . "'" . $node->connstr('atlas') . "'";
for my $user ('shop', $ENV{USER} // 'postgres')
{
	next if $node->psql('atlas', 'SELECT 1', extra_params => [ '-U', $user ]) != 0;
	keeps_state($user, "a predicate changes no setting of $user",
		submit_of('BOT', id => 1), "$flush\n", submit_of('BOT', id => 1),
		'SET search_path = pg_catalog', "$flush\n", submit_of('BOT', id => 1),
		'SET search_path = public, pg_catalog', "$flush\n",
		"SELECT public.submit_events(ARRAY[('BOT', '1', NULL, 'x', NULL, NULL, NULL, NULL, NULL, NULL), ('BOT', '1', NULL, 'y', NULL, NULL, NULL, NULL, NULL, NULL)]::public.atlas_event[])");
}
sprung_ok([], 'nothing of a table that is read directly is evaluated');

# ----- A view that does what is forbidden to it, or is to happen later -----

$node->safe_psql('atlas', <<'END');
SET ROLE mallory;
CREATE TABLE trap.later (id int);
CREATE FUNCTION trap.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM trap.spring('deferred trigger');
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON trap.later DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION trap.at_commit();
-- Says what succeeded although it must not.
CREATE FUNCTION trap.attempt(command text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE command;
    PERFORM trap.spring('succeeded: ' || command);
    RETURN true;
EXCEPTION WHEN OTHERS THEN
    RETURN true;
END $$;
CREATE VIEW trap.hostile AS SELECT 1 AS id WHERE trap.spring('view') AND trap.spoil()
    AND trap.attempt('INSERT INTO trap.later VALUES (1)')
    AND trap.attempt('DECLARE c CURSOR WITH HOLD FOR SELECT trap.spring(''cursor'')')
    AND trap.attempt('LISTEN mallory') AND trap.attempt('CREATE TEMPORARY TABLE customers (id int)')
    AND trap.attempt('PREPARE p AS SELECT 1') AND trap.attempt('RESET SESSION AUTHORIZATION') AND trap.attempt('RESET ROLE')
    AND trap.attempt('SET ROLE shop') AND trap.attempt('DISCARD ALL') AND trap.attempt('COMMIT')
    AND trap.attempt('SELECT FROM public.customers') AND trap.attempt('SELECT FROM public.atlas_events')
    AND trap.attempt('SELECT pg_terminate_backend(pg_backend_pid())')
    AND trap.attempt('ALTER TABLE trap.later OWNER TO shop');
RESET ROLE;
SELECT atlas_register_object_type('HOSTILE', 'trap.hostile');
END
forget_sprung();
keeps_state('shop', 'a view changes nothing in the session of a submitter', submit_of('HOSTILE', id => 1));
keeps_state($node->safe_psql('atlas', 'SELECT current_user'), 'nor in that of a superuser', submit_of('HOSTILE', id => 1));
sprung_ok([ 'mallory: view' ],
	'the view runs as its owner; nothing is left for the end of the transaction, and nothing of the session is in reach');

# The linker is a superuser.
my $customer = $node->safe_psql('atlas', 'SELECT id FROM customers LIMIT 1');
keeps_state('shop', 'an event that refers to the view', submit_of('CUSTOMER', id => $customer, related => 'HOSTILE'));
linked_ok($node, 'atlas', 'it is linked');
sprung_ok([ 'mallory: view' ],
	'it has run in a linker, as its owner too, and did nothing else there either');
keeps_state('shop', 'an event that refers to a predicate', submit_of('CUSTOMER', id => $customer, related => 'BOT'));
linked_ok($node, 'atlas', 'the linker goes on with settings of its own');

# ----- The tenant of the session -----

# Mallory is of a tenant of his own, and may read and submit what is that one's.
$node->safe_psql('atlas', <<"END");
GRANT SELECT ON atlas_events, atlas_event_queue, atlas_event_links, atlas_event_unresolved, atlas_event_logs TO mallory;
SET ROLE mallory;
CREATE FUNCTION trap.look() RETURNS boolean LANGUAGE plpgsql SET search_path = public AS \$\$
BEGIN
    PERFORM trap.spring(format('tenant %s, events %s', coalesce(atlas_tenant(), 'none'), coalesce((SELECT string_agg(name, ' ') FROM atlas_event_logs), 'none')));
    RETURN trap.attempt('SELECT FROM atlas_timeline(''CUSTOMER'', ''$customer'')') AND
        trap.attempt('SELECT submit_event(''CUSTOMER'', ''$customer'', ''forged'')') AND
        trap.attempt('SELECT submit_events(''[]''::text)') AND trap.attempt('SELECT atlas_link_events()');
END \$\$;
CREATE VIEW trap.curious AS SELECT 1 AS id WHERE trap.look();
RESET ROLE;
SELECT atlas_register_object_type('CURIOUS', 'trap.curious');
ALTER ROLE mallory SET atlas_events.tenant = 'acme';
ALTER ROLE shop SET atlas_events.tenant = 'globex';
END
keeps_state('shop', 'events of a tenant', submit_of('CUSTOMER', id => $customer),
	submit_of('CURIOUS', id => 1), submit_of('CUSTOMER', id => $customer, related => 'CURIOUS'));
$node->safe_psql('atlas', 'ALTER ROLE shop RESET atlas_events.tenant; ALTER ROLE mallory RESET atlas_events.tenant');
linked_ok($node, 'atlas', 'they are linked');
sprung_ok([ 'mallory: tenant none, events none' ],
	'the view has seen neither the tenant nor one of its events; it neither read a timeline, nor submitted, nor linked');

# ----- In the middle of it: an error, a cancel -----

$node->safe_psql('atlas', <<'END');
CREATE FUNCTION public.cancel_session() RETURNS void LANGUAGE sql SECURITY DEFINER
AS 'SELECT pg_cancel_backend(pg_backend_pid()); SELECT pg_sleep(3600)';
END
for my $end ([ 'an error', q{RAISE EXCEPTION 'ouch'} ], [ 'a cancel', 'PERFORM public.cancel_session()' ])
{
	my ($what, $statement) = @$end;

	$node->safe_psql('atlas', <<"END");
SET ROLE mallory;
CREATE OR REPLACE FUNCTION trap.spring(what text) RETURNS boolean LANGUAGE plpgsql AS \$\$
BEGIN
    PERFORM trap.spoil();
    IF current_setting('application_name') = 'victim' THEN
        $statement;
    END IF;
    RETURN true;
END \$\$;
END
	my (undef, $stderr) = keeps_state('shop', "after $what the session is as it was",
		'SET application_name = victim',
		submit_of('HOSTILE', id => 1),
		'BEGIN', 'SAVEPOINT s', submit_of('HOSTILE', id => 1), 'ROLLBACK TO s', $state, 'COMMIT',
		'RESET application_name');
	like($stderr, qr/ouch|canceling statement due to user request/, "$what came");
}

# ----- A trigger of the DBA's own, with a name that it does not qualify -----

$node->safe_psql('atlas', <<'END');
CREATE TABLE public.audit (event_id uuid);
CREATE FUNCTION public.audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_regclass('audit') IS NOT NULL THEN
        EXECUTE 'INSERT INTO audit VALUES ($1)' USING NEW.event_id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit BEFORE INSERT ON atlas_event_queue FOR EACH ROW EXECUTE FUNCTION audit_event();
SET ROLE mallory;
CREATE TABLE trap.noticed (role name);
GRANT ALL ON trap.noticed TO PUBLIC;
CREATE VIEW trap.audit AS SELECT NULL::uuid AS event_id;
CREATE FUNCTION trap.notice() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trap.noticed VALUES (current_user);
    RETURN NULL;
END $$;
CREATE TRIGGER notice INSTEAD OF INSERT ON trap.audit FOR EACH ROW EXECUTE FUNCTION trap.notice();
END
keeps_state('mallory', 'a submitter with a search_path of his own',
	'SET search_path = trap, public', submit_of('CUSTOMER', id => $customer, related => 'CUSTOMER'),
	'SET search_path = public, pg_catalog');
is($node->safe_psql('atlas', 'SELECT count(*) FROM trap.noticed'), '0',
	'a trigger on the tables of the extension does not see it');

$node->safe_psql('atlas', <<'END');
DROP TRIGGER audit ON atlas_event_queue;
SELECT atlas_unregister_object_type('HOSTILE'), atlas_unregister_object_type('BOT'), atlas_unregister_object_type('CURIOUS');
END
linked_ok($node, 'atlas', 'all events are linked');
oracle_ok($node, 'atlas', \@acknowledged);
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');

$node->stop;
done_testing();
