# The rules of examples/rules.sql: each one does what its comment says.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $customer = '7b803e80-0c30-d7ad-eefe-5cfb77b9b66e';
my $account = 'ACC-000003';

my $node = start_node('example_rules');
make_database($node, 'atlas', sample => 1);
$node->safe_psql('atlas', 'SET client_min_messages = warning; \i ' . atlas_root() . '/examples/rules.sql');
wait_until($node, 'atlas', 'SELECT count(*) = 5 FROM atlas_rules WHERE since IS NOT NULL', 'the rules begin');

my $tagged = q(FROM conversations WHERE tags @> '{payment-trouble}');

# Submits so many equal events, and waits until everything that follows from them is done.
sub submit
{
	my ($what, $count) = @_;

	$node->safe_psql('atlas', "SELECT submit_event($what) FROM generate_series(1, $count)");
	return wait_until($node, 'atlas',
		"SELECT queue_depth = 0 AND actions_due = 0 AND NOT EXISTS (SELECT FROM atlas_event_work) FROM atlas_events_status",
		$what);
}

sub query
{
	my ($sql) = @_;

	return $node->safe_psql('atlas', $sql);
}

my $open_tickets = query("SELECT count(*) FROM conversations WHERE customer_id = '$customer' AND status <> 'closed'");
cmp_ok($open_tickets, '>', 1, 'the customer has open tickets');
submit("'CUSTOMER', '$customer', 'Payment Failed'", 2);
is(query("SELECT count(*) $tagged"), '0', 'two failed payments are no reason');
submit("'CUSTOMER', '$customer', 'Payment Failed'", 2);
is(query("SELECT count(*), bool_and(customer_id = '$customer' AND status <> 'closed') $tagged"),
	"$open_tickets|t", 'the third tags the open tickets of this customer');
is(query("SELECT string_agg(action_status, ' ' ORDER BY match_id) FROM atlas_rule_matches"), 'DONE HELD_BACK',
	'the fourth does not do it again on the same day');

submit(qq('ACCOUNT', NULL, 'Subscription Cancelled', external_id => '$account', payload => '{"plan": "growth"}'), 1);
is(query("SELECT count(*) FROM conversations WHERE number LIKE 'RULE-%'"), '0', 'another plan is cancelled');
submit(qq('ACCOUNT', NULL, 'Subscription Cancelled', external_id => '$account', payload => '{"plan": "enterprise", "reason": "too dear"}'), 1);
is( query(
		"SELECT count(*), bool_and(t.subject LIKE '% has cancelled: too dear' AND t.assignee_id IS NOT DISTINCT FROM a.owner_id)
		   FROM conversations t JOIN customers c ON c.id = t.customer_id JOIN accounts a ON a.id = c.account_id
		  WHERE t.number LIKE 'RULE-%' AND a.external_id = '$account'"),
	'1|t', 'a ticket is opened for the owner of the account');

my $listener = $node->background_psql('atlas');
$listener->query_safe('LISTEN atlas_escalations');
submit(qq('CONVERSATION', '1', 'ticket.csat_received', payload => '{"score": 5}'), 1);
submit(qq('CONVERSATION', '1', 'ticket.csat_received', payload => '{"score": 1}'), 1);
my $bad_rating = query("SELECT match_id FROM atlas_rule_matches WHERE rule_name = 'Bad rating'");
like($listener->query_safe('SELECT 1'), qr/"atlas_escalations" with payload "$bad_rating"/, 'a bad rating is notified');
submit(qq('CUSTOMER', '$customer', 'Error Encountered', payload => '{"code": "PAYMENT_GATEWAY_TIMEOUT"}'), 3);
is(query("SELECT string_agg(action_status, ' ' ORDER BY match_id) FROM atlas_rule_matches WHERE rule_name = 'Checkout is broken'"),
	'DONE HELD_BACK', 'so is a broken checkout, once');
$listener->quit;

submit("'CUSTOMER', '$customer', 'Sign-in Failed'", 5);
is(query("SELECT count(*), count(action_status) FROM atlas_rule_matches WHERE rule_name = 'Locked out'"),
	'1|0', 'five failed sign-ins are a match that is there to be read');
is($node->safe_psql('atlas', 'SELECT actions_failed FROM atlas_events_status'), '0', 'no action has failed');

done_testing();
