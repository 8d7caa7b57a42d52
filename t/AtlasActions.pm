=pod

=head1 NAME

AtlasActions - what the TAP tests of actions of rules have in common

=head1 DESCRIPTION

A role C<agent> owns rules whose functions write what they are given to the table
C<atlas_test.done>. The oracle compares it with the matches.

=cut

package AtlasActions;

use strict;
use warnings;

use Exporter 'import';

use AtlasTest;
use Test::More;

our @EXPORT = qw(
  make_agent make_rule submit_named settled_ok hurry_until statuses last_error action_worker kill_action_worker killed
);

# The role, its functions, and the table that they write to.
sub make_agent
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<'END');
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'agent') THEN
        CREATE ROLE agent LOGIN;
    END IF;
END $$;
CREATE TABLE atlas_test.done (
    n int GENERATED ALWAYS AS IDENTITY, match_id bigint, argument jsonb,
    role text DEFAULT current_user, session_role text DEFAULT session_user,
    tenant text DEFAULT atlas_tenant(), pid int DEFAULT pg_backend_pid());
CREATE SCHEMA work AUTHORIZATION agent;
GRANT USAGE ON SCHEMA atlas_test TO agent;
GRANT ALL ON atlas_test.done TO agent;
GRANT EXECUTE ON FUNCTION atlas_tenant, atlas_create_rule, atlas_drop_rule, atlas_enable_rule TO agent;
SET ROLE agent;
CREATE FUNCTION work.act(jsonb) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO atlas_test.done (match_id, argument) VALUES (($1->>'matchId')::bigint, $1) $$;
CREATE FUNCTION work.fail(jsonb) RETURNS void LANGUAGE plpgsql AS
    $$ BEGIN PERFORM work.act($1); RAISE EXCEPTION 'no luck'; END $$;
END
	return;
}

# Makes a rule for events that have its name, as a role, and waits until it has begun.
sub make_rule
{
	my ($node, $database, $name, $arguments, $role) = @_;

	$role //= 'agent';
	$node->safe_psql($database,
		"SET client_min_messages = warning; SET ROLE $role; SELECT atlas_create_rule('$name', 'CUSTOMER', '$name', $arguments)");
	$node->poll_query_until($database, "SELECT since IS NOT NULL FROM atlas_rules WHERE rule_name = '$name'")
	  or die "rule $name does not begin";
	return;
}

# Submits so many events of a name, each for another customer. Returns their ids.
sub submit_named
{
	my ($node, $database, $name, $count) = @_;

	$count //= 1;
	return event_ids($node->safe_psql($database,
		"SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text, '$name') FROM generate_series(1, $count) n"));
}

# Waits until every action of a rule, or of all, is done or given up. Those that are to be tried again are tried now.
sub settled_ok
{
	my ($node, $database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return hurry_until($node, $database, q{NOT EXISTS (SELECT FROM atlas_event_queue WHERE next_attempt_at IS DISTINCT FROM 'infinity')
	    AND NOT EXISTS (SELECT FROM atlas_event_work)
	    AND NOT EXISTS (SELECT FROM atlas_rule_actions WHERE next_attempt_at IS DISTINCT FROM 'infinity')}, $name);
}

# Waits until a condition holds; meanwhile what is to be tried again is due now.
sub hurry_until
{
	my ($node, $database, $condition, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return wait_until($node, $database, <<"END", $name);
WITH hurried AS (UPDATE atlas_rule_actions SET next_attempt_at = now()
    WHERE match_id IN (SELECT match_id FROM atlas_rule_actions
                        WHERE next_attempt_at > now() AND next_attempt_at < 'infinity' FOR UPDATE SKIP LOCKED))
SELECT $condition
END
}

# What has become of the actions of a rule: "DONE 2, FAILED 1".
sub statuses
{
	my ($node, $database, $name) = @_;

	return $node->safe_psql($database, <<"END");
SELECT string_agg(action_status || ' ' || n, ', ' ORDER BY action_status)
  FROM (SELECT action_status, count(*) AS n FROM atlas_rule_matches WHERE rule_name = '$name' GROUP BY 1) AS s
END
}

# What the rows of actions that a rule has left say.
sub last_error
{
	my ($node, $database, $name) = @_;

	return $node->safe_psql($database, <<"END");
SELECT DISTINCT a.attempts, a.next_attempt_at = 'infinity', a.last_error
  FROM atlas_rule_actions a JOIN atlas_rule_matches m USING (tenant_id, event_id, match_id) WHERE m.rule_name = '$name'
END
}

# Waits until an action worker is at an action that meets a condition on pg_stat_activity; returns its process id.
sub action_worker
{
	my ($node, $database, $condition) = @_;

	$condition //= 'true';
	return poll_value($node, 'postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'atlas_events action worker'
	    AND datname = '$database' AND $condition LIMIT 1");
}

sub kill_action_worker
{
	my ($node, $pid) = @_;

	kill 'KILL', $pid;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	return;
}

sub killed
{
	my ($node) = @_;

	return scalar(() = log_since($node, 0) =~ /was terminated by signal 9/g);
}

1;
