# What a page of /rule-matches reads: one way into an index, whatever there is to be read besides,
# whichever filter there is, and whether or not PostgreSQL knows how many rows there are.

use strict;
use warnings;

use AtlasApiTest;
use AtlasTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A year and a half of matches of two tenants; the rule "rare" has 1 of 1000, and so has one of the objects.
my $node = start_node('matches', settings => "atlas_events.oldest_event = '1000 d'\nautovacuum = off");
make_database($node, 'atlas', extension => 0);
make_api($node, 'atlas');
$node->safe_psql('atlas', <<'END');
SET atlas_events.tenant = 'large';
SELECT atlas_create_rule('every', 'CUSTOMER'), atlas_create_rule('rare', 'CUSTOMER', 'Rare');
SET atlas_events.tenant = 'small';
SELECT atlas_create_rule('every', 'CUSTOMER');
END
wait_until($node, 'atlas', 'SELECT NOT EXISTS (SELECT FROM atlas_rules WHERE since IS NULL)', 'the rules have begun');
$node->safe_psql('atlas', "UPDATE atlas_rules SET since = '-infinity'");
for my $tenant ('large', 'small')
{
	my $events = $tenant eq 'large' ? 40_000 : 40;

	$node->safe_psql('atlas', <<"END");
SET atlas_events.tenant = '$tenant';
SELECT count(submit_event('CUSTOMER', md5('customer-' || CASE WHEN n % 1000 = 7 THEN 1 ELSE 2 + n % 50 END)::uuid::text,
        CASE WHEN n % 1000 = 3 THEN 'Rare' ELSE 'Seen' END, occurred_at => now() - n * interval '540 days' / $events))
  FROM generate_series(1, $events) n
END
}
my $matches = 40_000 + 40 + 40;
wait_until($node, 'atlas', "SELECT count(*) = $matches FROM atlas_rule_matches", 'all have matched');
my $months = $node->safe_psql('atlas', "SELECT count(*) FROM pg_inherits WHERE inhparent = 'atlas_rule_matches'::regclass");
cmp_ok($months, '>=', 6, "they are in partitions: $months");
my ($event) = $node->safe_psql('atlas', "SELECT event_id FROM atlas_rule_matches WHERE rule_name = 'rare' ORDER BY 1 OFFSET 20 LIMIT 1");
my $rule = $node->safe_psql('atlas', "SELECT rule_id FROM atlas_rules WHERE rule_name = 'rare'");
my $pages = $node->safe_psql('atlas', "SELECT sum(pg_relation_size(inhrelid))::bigint / 8192 FROM pg_inherits WHERE inhparent = 'atlas_rule_matches'::regclass");
cmp_ok($pages, '>', 500, 'matches are on many pages');
note("all matches are on $pages pages");

# The rows of a page, the place of the next one, and the buffers that were read, as a reader of a tenant.
sub page
{
	my ($tenant, $arguments) = @_;
	my ($output, $errors) = api_session($node, 'atlas', <<"END", role => 'atlas_reader', claims => { tenant => $tenant });
SELECT atlas_api_private.rule_matches_page($arguments) \\g /dev/null
SELECT json_array_length(page), next_before FROM atlas_api_private.rule_matches_page($arguments);
EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) SELECT atlas_api_private.rule_matches_page($arguments);
END
	is($errors, '', 'no error');
	my ($first, @plan) = split /\n/, $output;
	my ($rows, $next) = split /\|/, $first, 2;
	my $plan = decode_json("@plan")->[0]{Plan};

	return { rows => $rows, next => $next, buffers => $plan->{'Shared Hit Blocks'} + $plan->{'Shared Read Blocks'} };
}

sub page_ok
{
	my ($tenant, $filters, $rows, $name) = @_;
	my $arguments = join ', ', map { $filters->{$_} // 'NULL' }
	  qw(rule_name rule_id object_type object_id event_id low high before_event before_rule before_object);
	my $page = page($tenant, "$arguments, 50");

	is($page->{rows}, $rows, "$name: rows");
	cmp_ok($page->{buffers}, '<', 150, "$name: buffers");
	note("$page->{buffers} buffers");
	return $page->{next};
}

my $customer = q{md5('customer-1')::uuid::text};
for my $known ('unknown', 'known')
{
	my $what = "number of rows $known";

	$node->safe_psql('atlas', 'VACUUM ANALYZE') if $known eq 'known';
	my $next = page_ok('large', {}, 50, "all, $what");
	my ($before, $of, $with) = split /,/, $next;
	page_ok('large', { before_event => "'$before'", before_rule => $of, before_object => "'$with'" }, 50, "the next page, $what");
	page_ok('large', { low => "public.event_id_at(now() - interval '400 days')", high => "public.event_id_at(now() - interval '370 days')" }, 50, "a period, $what");
	page_ok('large', { rule_name => q{'rare'} }, 40, "a rare rule by name, $what");
	page_ok('large', { rule_name => q{'every'} }, 50, "a frequent rule by name, $what");
	page_ok('large', { rule_name => q{'none'} }, 0, "a rule that there is not, $what");
	page_ok('large', { rule_id => $rule }, 40, "a rare rule by number, $what");
	page_ok('large', { object_type => q{'CUSTOMER'}, object_id => $customer }, 40, "an object, $what");
	page_ok('large', { event_id => "'$event'" }, 2, "an event, $what");
	page_ok('small', {}, 40, "a small tenant beside a large one, $what");
}

# ----- What a reader may see with SQL of its own -----

my ($output, $errors) = api_session($node, 'atlas', <<'END', role => 'atlas_reader', claims => { tenant => 'small' });
SELECT count(*), count(DISTINCT "ruleId") FROM atlas_api_private.rule_matches;
SELECT count(*) FROM public.atlas_rule_matches;
SELECT string_agg("ruleName", ' '), string_agg(owner, ' ') FROM atlas_api.rules;
END
is($output, "40|1\n40\nevery|", 'it sees matches and rules of its tenant, and no owner');
is($errors, '', 'without an error');
for my $statement ('SELECT * FROM public.atlas_rules', 'SELECT * FROM atlas_api_private.rules', "SELECT public.atlas_drop_rule('every')",
	"SELECT public.atlas_enable_rule('every', false)", "SELECT public.atlas_create_rule('x', 'CUSTOMER')",
	"SELECT atlas_api_private.create_rule('{}', 'atlas_reader'::pg_catalog.regrole)")
{
	(undef, $errors) = api_session($node, 'atlas', "$statement;", role => 'atlas_reader');
	like($errors, qr/ERROR:  42501: permission denied/, "a reader may not: $statement");
}
for my $owner (qw(postgres atlas_authenticator))
{
	(undef, $errors) = api_session($node, 'atlas',
		"SELECT atlas_api_private.create_rule('{\"ruleName\": \"x\", \"objectType\": \"CUSTOMER\"}', pg_catalog.to_regrole('$owner'));");
	like($errors, qr/ERROR:  42501: must be a member of role "$owner"/, "an admin makes no rule that belongs to $owner");
}

done_testing();
