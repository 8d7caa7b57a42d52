# Rules in a storm: sessions submit events in any order and roll some of them back, make, drop and switch
# rules, link by themselves in long transactions, and connect objects late, while linkers and the server are
# killed. Whatever happens, hits and matches are what follows from the events that are there.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('storm',
	settings => "atlas_events.relink_window = 1h\natlas_events.poll_interval = 200ms\natlas_events.max_attempts = 100");
make_database($node, 'atlas');

# Rules that are there all the time count for events of long ago as well, in partitions that come and go.
$node->safe_psql('atlas', q{SET client_min_messages = error;
    SELECT atlas_create_rule('each', 'CUSTOMER'),
           atlas_create_rule('some', 'ACCOUNT', 'A', '$.payload.n > 500'),
           atlas_create_rule('2 an hour', 'CUSTOMER', NULL, '$.payload.n > 200', 2, '1 hour'),
           atlas_create_rule('3 a day', 'CUSTOMER', 'A', NULL, 3, '1 day', 'PRIMARY'),
           atlas_create_rule('9 in 30 days', 'ACCOUNT', NULL, '$.payload.n < 900', 9, '30 days', 'RELATED')});
$node->poll_query_until('atlas', 'SELECT count(*) = 5 FROM atlas_rules WHERE since IS NOT NULL') or die 'rules do not begin';
$node->safe_psql('atlas', q{UPDATE atlas_rules SET since = '2020-01-01'});

$node->safe_psql('atlas', <<'END');
CREATE FUNCTION atlas_test.some(n int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1 + floor(random() * n)::int';
CREATE FUNCTION atlas_test.event() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT submit_event('CUSTOMER', md5('customer-' || atlas_test.some(7))::uuid::text, CASE WHEN random() < 0.7 THEN 'A' ELSE 'B' END,
        payload => jsonb_build_object('n', atlas_test.some(1000)),
        occurred_at => CASE WHEN random() < 0.5 THEN now() - random() * interval '2 s' WHEN random() < 0.8 THEN now() - random() * interval '2 days'
                            ELSE now() - floor(random() * 100) * interval '1 day' END,
        related_objects => CASE WHEN random() < 0.6 THEN (
            SELECT array_agg((CASE WHEN r < 0.3 THEN 'CUSTOMER' ELSE 'ACCOUNT' END,
                              CASE WHEN r < 0.3 THEN md5('customer-' || atlas_test.some(7))::uuid
                                   WHEN r < 0.8 THEN md5('account-' || atlas_test.some(5))::uuid END,
                              CASE WHEN r >= 0.8 THEN 'LATE-' || atlas_test.some(30) END)::atlas_object)
              FROM (SELECT random() AS r FROM generate_series(1, atlas_test.some(3)) OFFSET 0) x) END)
$$;
CREATE FUNCTION atlas_test.change_rules() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text := 'r' || atlas_test.some(4);
BEGIN
    IF NOT EXISTS (SELECT FROM atlas_rules WHERE rule_name = name) THEN
        PERFORM atlas_create_rule(name, CASE WHEN random() < 0.7 THEN 'CUSTOMER' ELSE 'ACCOUNT' END, CASE WHEN random() < 0.5 THEN 'A' END,
            CASE WHEN random() < 0.5 THEN '$.payload.n > 300'::jsonpath END, t, CASE WHEN t > 1 THEN interval '1 s' * atlas_test.some(10) END)
           FROM (SELECT atlas_test.some(4) AS t) x;
    ELSIF random() < 0.3 THEN
        PERFORM atlas_drop_rule(name);
    ELSE
        PERFORM atlas_enable_rule(name, random() < 0.7);
    END IF;
END $$;
CREATE PROCEDURE atlas_test.storm(seconds int) LANGUAGE plpgsql AS $$
DECLARE
    until timestamptz := clock_timestamp() + seconds * interval '1 s';
    what float;
BEGIN
    WHILE clock_timestamp() < until LOOP
        BEGIN
            what := random();
            IF what < 0.6 THEN
                PERFORM atlas_test.event() FROM generate_series(1, atlas_test.some(10));
            END IF;
            IF random() < 0.1 THEN
                BEGIN
                    PERFORM atlas_test.change_rules();
                    PERFORM atlas_test.event();
                    IF random() < 0.5 THEN
                        RAISE EXCEPTION USING ERRCODE = 'P0099';
                    END IF;
                EXCEPTION WHEN SQLSTATE 'P0099' THEN
                    NULL;
                END;
                PERFORM atlas_test.event();
            END IF;
            IF random() < 0.1 THEN
                PERFORM atlas_link_events(atlas_test.some(200));
            END IF;
            IF random() < 0.02 THEN
                INSERT INTO accounts VALUES (gen_random_uuid(), 'LATE-' || atlas_test.some(30)) ON CONFLICT DO NOTHING;
                UPDATE atlas_event_unresolved SET next_attempt_at = now();
            END IF;
            IF random() < 0.1 THEN
                PERFORM pg_sleep(random() * 0.7);
            END IF;
            IF random() < 0.1 THEN
                PERFORM atlas_test.event();
            END IF;
            what := random();
        EXCEPTION WHEN lock_not_available OR deadlock_detected OR serialization_failure OR SQLSTATE 'PT409' OR SQLSTATE 'PT404' THEN
            NULL;
        END;
        IF what < 0.15 THEN
            ROLLBACK;
        ELSE
            COMMIT;
        END IF;
    END LOOP;
END $$;
END

# Has four sessions rage for so many seconds, or until the linker or the server is killed after a moment.
sub storm
{
	my ($seed, $seconds, $kill) = @_;
	my (@sessions, @errors);

	for my $n (0 .. 3)
	{
		my $file = $node->basedir . "/storm_$n.sql";
		my $level = $n == 3 ? 'repeatable read' : 'read committed';
		unlink $file;
		append_to_file($file, "SET client_min_messages = error; SET lock_timeout = '5s'; SET deadlock_timeout = '100ms';\n"
			  . "SET default_transaction_isolation = '$level';\nSELECT setseed(($seed * 4 + $n) / 10000.0);\nCALL atlas_test.storm($seconds);\n");
		push @errors, '';
		push @sessions, IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('atlas'), '-f', $file ], '>', '/dev/null', '2>', \$errors[$n]);
	}
	if ($kill ne '')
	{
		my $linker = poll_value($node, 'postgres', "SELECT pid FROM pg_stat_activity, pg_sleep(random() * $seconds)
			WHERE backend_type = 'atlas_events linker' AND datname = 'atlas'");
		kill 'KILL', $linker if $kill eq 'linker';
		$node->stop('immediate') if $kill eq 'server';
	}
	$_->finish foreach @sessions;
	$node->start if $kill eq 'server';
	is(join('', @errors), '', "storm $seed: no session fails") if $kill eq '';
	return;
}

my $rounds = long_or(20, 2);
for my $round (1 .. $rounds)
{
	storm($round, long_or(12, 5), '');
	linked_ok($node, 'atlas', "round $round: everything is done");
	oracle_ok($node, 'atlas', [], "round $round: hits and matches are those of the events");
	storm($rounds + $round * 10 + $_, 2, $_ == 4 ? 'server' : 'linker') foreach 1 .. 4;
	linked_ok($node, 'atlas', "round $round: everything is done after the kills");
	oracle_ok($node, 'atlas', [], "round $round: and each hit and match is there once");
	note $node->safe_psql('atlas', "SELECT (SELECT count(*) FROM atlas_events), (SELECT count(*) FROM atlas_rule_hits),
		(SELECT count(*) FROM atlas_rule_matches), (SELECT string_agg(concat_ws(' ', rule_name, disabled_reason), ', ') FROM atlas_rules WHERE disabled_reason IS NOT NULL)");
}
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rules WHERE disabled_reason IS NOT NULL'), '0', 'no rule was switched off');
cmp_ok($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rule_matches'), '>', 1000, 'there are many matches');
$node->stop;
done_testing();
