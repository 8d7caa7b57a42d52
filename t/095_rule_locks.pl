# Rules whose rows are locked: they cannot be switched off meanwhile, and hold up nothing.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('rule_locks');
make_database($node, 'atlas');
my @ids;

my $path = '$.payload.a[*] ? (@ < 0 - $.payload.a[*])';
my $rules = join('; ', map { "SELECT atlas_create_rule('slow $_', 'CUSTOMER', 'Long', '$path > $_ || $path < -$_ || $path == $_')" } 1 .. 6);
$node->safe_psql('atlas', "SET client_min_messages = warning; $rules; SELECT atlas_create_rule('quick', 'CUSTOMER', 'Long', '\$.payload.n > 0')");
wait_until($node, 'atlas', 'SELECT count(since) = 7 FROM atlas_rules', 'the rules begin');

sub submit_long
{
	my ($count) = @_;

	push @ids, event_ids($node->safe_psql('atlas', qq{SELECT submit_event('CUSTOMER', md5('customer-' || n)::uuid::text, 'Long',
        payload => jsonb_build_object('n', n, 'a', (SELECT jsonb_agg(i) FROM generate_series(1, 1900) i))) FROM generate_series(1, $count) n}));
	return;
}

# Somebody is about to switch them off, and does not come to an end with that.
my $session = $node->background_psql('atlas');
$session->query_safe(q{BEGIN; SELECT atlas_enable_rule(rule_name, false) FROM atlas_rules WHERE rule_name ~ 'slow'});
submit_long(5);
push @ids, submit_events($node, 'atlas', 1, 20);
linked_ok($node, 'atlas', 'events are worked on, also those that the rules take too long for');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_event_work'), '0', 'and done with');
is($node->safe_psql('atlas', "SELECT string_agg(DISTINCT rule_name, ', '), count(*) FROM atlas_rule_matches"), 'quick|5', 'the other rule matches');
is($node->safe_psql('atlas', 'SELECT count(*) FROM atlas_rules WHERE is_enabled AND disabled_reason IS NULL'), '7', 'they are enabled still');
is(log_since($node, 0) =~ /was switched off/ ? 'yes' : 'no', 'no', 'and nothing else is said');

# When it goes back on that, the linker switches them off with the next event.
$session->query_safe('ROLLBACK');
submit_long(1);
wait_until($node, 'atlas', q{SELECT count(*) = 6 FROM atlas_rules WHERE disabled_reason ~ 'condition takes'}, 'the rules are switched off when nobody has locked them');
linked_ok($node, 'atlas', 'the event is worked on as well');

# One that is enabled again is a new one, which the linker has nothing against.
$node->safe_psql('atlas', q{SELECT atlas_enable_rule('slow 1', true)});
wait_until($node, 'atlas', q{SELECT since IS NOT NULL FROM atlas_rules WHERE rule_name = 'slow 1'}, 'one begins anew');
$node->safe_psql('atlas', q{UPDATE atlas_rules SET condition = '$.payload.n > 0' WHERE rule_name = 'slow 1'});
submit_long(2);
linked_ok($node, 'atlas', 'events are worked on');
is($node->safe_psql('atlas', "SELECT count(*) FROM atlas_rule_matches WHERE rule_name = 'slow 1'"), '2', 'it matches');
$session->quit;
oracle_ok($node, 'atlas', \@ids);

is(join("\n", worker_errors($node)), '', 'no worker has logged an error');
$node->stop;
done_testing();
