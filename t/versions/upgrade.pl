# pg_upgrade from an older server, by copy and by link, and a dump of it that
# the newer one restores, keep everything; the workers stand still meanwhile,
# and link afterwards what was pending.
#
# Needs two servers, both with the extension: the one that the tests are run
# for, and an older one, whose folder ATLAS_OLD_SERVER names (it has bin in it).
# script/test --upgrade-from sees to that.

use strict;
use warnings;

use AtlasApiTest;
use AtlasCatalog;
use AtlasContent;
use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old_server = $ENV{ATLAS_OLD_SERVER} or die 'ATLAS_OLD_SERVER names no server';
my @initdb = ('--locale=C', '--encoding=UTF8', '--data-checksums');
my $worker_started = qr/starting background worker process "atlas_events/;
my $globex = q{SELECT set_config('atlas_events.tenant', 'globex', false);};

# ----- The older server -----

my $old = start_node('old', install_path => $old_server, initdb => \@initdb);
make_database($old, 'atlas', extension => 0);
make_api($old, 'atlas');
$old->safe_psql('atlas', <<'END');
CREATE TABLE orders (tenant_id text, id bigint PRIMARY KEY);
INSERT INTO orders SELECT (ARRAY['acme', 'globex'])[1 + n % 2], n FROM generate_series(1, 100) AS n;
SELECT atlas_register_object_type('ORDER', 'orders', tenant_column => 'tenant_id', aliases => '{PURCHASE}');
END

# One rule has matches that have been notified, and another one will have its first afterwards.
$old->safe_psql('atlas', <<'END');
SET client_min_messages = warning;
SELECT atlas_create_rule('early', 'CUSTOMER', condition => '$.payload.n <= 100', role => 'PRIMARY', channel => 'atlas_early');
SELECT atlas_create_rule('twice', 'CUSTOMER', 'Upgraded', times => 2, within => '1 hour', channel => 'atlas_twice');
END
wait_until($old, 'atlas', 'SELECT bool_and(since IS NOT NULL) FROM atlas_rules', 'rules begin');
my $upgraded = q{SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Upgraded')};

my @ids = event_ids($old->safe_psql('atlas', $upgraded));
push @ids, submit_events($old, 'atlas', 1, 2000, keys => 'order-');
for my $months (1 .. 5)
{
	push @ids, event_ids(
		$old->safe_psql('atlas',
			"SELECT submit_event(object_type => 'ACCOUNT', object_id => NULL,
				external_id => 'ACC-000001', name => 'Invoice Paid',
				occurred_at => now() - interval '$months months',
				related_objects => ARRAY[('CUSTOMER', NULL, '190059'),
				                         ('USER', '999', NULL)]::atlas_object[])"));
}
push @ids, event_ids(
	$old->safe_psql('atlas',
		"$globex SELECT submit_event('PURCHASE', '1', 'Paid',
			related_objects => ARRAY[('ORDER', '3', NULL), ('ORDER', '2', NULL)]::atlas_object[])"));
my $accepted = api_submit($old, 'atlas', event_of(idempotencyKey => 'api-1'));
push @ids, $accepted->{body}{eventId};
refused_ok(api_submit($old, 'atlas', event_of(externalId => 'nobody')), 404, 'the API refuses an event');
linked_ok($old, 'atlas', 'the first events are linked');
wait_until($old, 'atlas', q{SELECT actions_due = 0 FROM atlas_events_status}, 'rules have acted');
my $rules_query = q{SELECT (SELECT string_agg(r::text, chr(10) ORDER BY rule_id) FROM atlas_rules r),
	(SELECT string_agg(h::text, chr(10) ORDER BY event_id) FROM atlas_rule_hits h),
	(SELECT string_agg(m::text, chr(10) ORDER BY match_id) FROM atlas_rule_matches m)};
my $rules = $old->safe_psql('atlas', $rules_query);
cmp_ok(() = $rules =~ /,DONE\)$/mg, '>', 0, 'and have matches');

# Ten thousand that nobody links, one of which is FAILED.
$old->adjust_conf('postgresql.conf', 'shared_preload_libraries', "''");
$old->restart;
push @ids, submit_events($old, 'atlas', 3001, 13000, keys => 'late-');
$old->safe_psql('atlas', <<'END');
UPDATE atlas_event_queue SET next_attempt_at = 'infinity', attempts = 5, last_error = 'for a test'
 WHERE event_id = (SELECT event_id FROM atlas_event_queue ORDER BY event_id DESC LIMIT 1)
END

my $pending = "SELECT event_id FROM atlas_events WHERE (payload->>'n')::int > 3000";
my $queue_query =
  'SELECT count(*), md5(string_agg(q::text, chr(10) ORDER BY event_id)) FROM atlas_event_queue q';
my $rejections_query = 'SELECT string_agg(r::text, chr(10)) FROM atlas_rejections r';
my $content = content_at_once($old, 'atlas', $pending);
my $queue = $old->safe_psql('atlas', $queue_query);
my $rejections = $old->safe_psql('atlas', $rejections_query);
like($queue, qr/^10000\|/, 'ten thousand events are pending');
cmp_ok(() = $content->{partitions} =~ /^atlas_events\|/mg, '>=', 6, 'there are partitions of several months');

$old->adjust_conf('postgresql.conf', 'shared_preload_libraries', "'atlas_events'");
$old->append_conf('postgresql.conf', "atlas_events.linking = off\nlog_min_messages = debug1");
my $start = log_size($old);
$old->restart;
ok($old->wait_for_log($worker_started, $start), 'a start of a worker would be seen in the log');

# ----- The newer server -----

# A server of the newer version; pg_upgrade needs it empty and stopped.
sub new_node
{
	my ($name) = @_;
	my $node = start_node($name, initdb => \@initdb, settings => 'atlas_events.linking = off');

	$node->stop;
	return $node;
}

my $dump = new_node('dumped');
$dump->start;
my ($roles, $archive) = map { $dump->basedir . "/$_" } qw(roles.sql atlas);
$dump->command_ok([ 'pg_dumpall', '--roles-only', '-d', $old->connstr('postgres'), '-f', $roles ],
	'the newer pg_dumpall of the older server');
$dump->command_ok([ 'pg_dump', '-Fc', '-d', $old->connstr('atlas'), '-f', $archive ],
	'the newer pg_dump of the older server');
my ($superuser) = $old->safe_psql('postgres', 'SELECT current_user');
$dump->safe_psql('postgres', slurp_file($roles) =~ s/^CREATE ROLE \Q$superuser\E;\n//mr);
$dump->safe_psql('postgres', "CREATE DATABASE atlas ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
$dump->command_checks_all([ 'pg_restore', '-j2', '-d', 'atlas', $archive ],
	0, [qr/^$/], [qr/^$/], 'the newer server restores it: no error, no warning');
$old->stop;

# pg_upgrade with its logs kept, in which a start of a worker would be seen.
sub upgrade
{
	my ($name, $mode) = @_;
	my $node = new_node($name);

	$node->append_conf('postgresql.conf', 'log_min_messages = debug1');
	$node->command_ok(
		[
			'pg_upgrade', '--no-sync', '--retain', $mode,
			'-d', $old->data_dir, '-D', $node->data_dir,
			'-b', "$old_server/bin", '-B', $node->config_data('--bindir'),
			'-s', $node->host, '-p', $old->port, '-P', $node->port
		],
		"pg_upgrade $mode");
	my $logs = join '',
	  map { slurp_file($_) } glob($node->data_dir . '/pg_upgrade_output.d/*/log/*server*.log');
	like($logs, qr/database system is ready/, "$name: the logs of the servers are there");
	unlike($logs, $worker_started, "$name: no worker was started meanwhile");
	$node->append_conf('postgresql.conf', 'log_min_messages = warning');
	$node->start;
	return $node;
}

# ----- What must hold in the newer server -----

# The catalog is that of an extension that was created there.
sub catalog_ok
{
	my ($node, $name) = @_;

	make_database($node, 'fresh', extension => 0);
	make_api($node, 'fresh');
	submit_events($node, 'fresh', 1, 1);

	# Rules have partitions as soon as they have hits and matches.
	$node->safe_psql('fresh', q{SET client_min_messages = warning;
		SELECT atlas_create_rule('twice', 'CUSTOMER', 'Upgraded', times => 2, within => '1 hour')});
	$node->safe_psql('fresh', 'SELECT atlas_link_events(); SELECT atlas_link_events()');
	is($node->safe_psql('fresh', 'SELECT count(since) FROM atlas_rules'), '1', "$name: a rule begins in a fresh one");
	$node->safe_psql('fresh', "$upgraded FROM generate_series(1, 2)");
	$node->safe_psql('fresh', 'SELECT atlas_link_events()');
	foreach my $database (qw(atlas fresh))
	{
		make_catalog($node, $database);
	}
	foreach my $extension (qw(atlas_events atlas_events_api))
	{
		same_catalog_ok(
			catalog_of($node, 'atlas', $extension),
			catalog_of($node, 'fresh', $extension),
			"$name: $extension has the catalog of a fresh one");
	}
	return;
}

sub drained_ok
{
	my ($node, $name) = @_;

	is($node->safe_psql('atlas', 'SELECT atlas_retry_failed()'), '1', "$name: an event is FAILED still");
	$node->adjust_conf('postgresql.conf', 'atlas_events.linking', 'on');
	$node->reload;
	linked_ok($node, 'atlas', "$name: what was pending is linked");

	# In a dump, events may come before the objects that they name.
	$node->safe_psql('atlas',
		'UPDATE atlas_event_unresolved SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL');
	wait_until($node, 'atlas',
		'SELECT count(*) = 0 FROM atlas_event_unresolved WHERE next_attempt_at <= now()',
		"$name: references are looked up again");
	return content_when_linked($node, 'atlas');
}

sub works_ok
{
	my ($node, $name) = @_;
	my @new = submit_events($node, 'atlas', 20001, 20100);

	push @new, event_ids(
		$node->safe_psql('atlas', "SELECT submit_event('CONVERSATION', '1', 'Long ago',
			occurred_at => now() - interval '20 months',
			related_objects => ARRAY[('CUSTOMER', NULL, '190059')]::atlas_object[])"));
	is( $node->safe_psql(
			'atlas',
			"SELECT count(*) FROM json_array_elements(
				submit_events(atlas_test.make_events(1, 10, 'order-'))->'results') AS r
			  WHERE (r->>'duplicate')::bool"),
		'10',
		"$name: the keys still know their events");
	my $again = api_submit($node, 'atlas', event_of(idempotencyKey => 'api-1'));
	is($again->{body}{eventId}, $accepted->{body}{eventId}, "$name: so they do in the API");
	refused_ok(api_submit($node, 'atlas', event_of(externalId => 'nobody')),
		404, "$name: the API refuses an event");
	is(scalar(api_rows($node, 'atlas', 'rejections', '', role => 'atlas_admin')),
		2, "$name: and has noted that after the first one");
	is( $node->safe_psql('atlas', "$globex SELECT string_agg(name, ',') FROM atlas_timeline('ORDER', '3')"),
		"globex\nPaid", "$name: the tenant has its timeline");
	push @new, event_ids($node->safe_psql('atlas', $upgraded));
	linked_ok($node, 'atlas', "$name: new events are linked, also of a new month");
	my $status = q{SELECT action_status FROM atlas_rule_matches WHERE rule_name = 'twice'};
	is($node->safe_psql('atlas', $status), 'PENDING', "$name: the second event matches together with the one from before, and the rule does not act");
	like(status_of($node, 'atlas', 'advice'), qr/call atlas_resume_actions/, "$name: advice says so");
	$node->safe_psql('atlas', 'SELECT atlas_resume_actions()');
	wait_until($node, 'atlas', "SELECT ($status) = 'DONE'", "$name: until it is told to");
	oracle_ok($node, 'atlas', [ @ids, @new ], "$name: the oracle finds nothing wrong");
	is_deeply([ worker_errors($node) ], [], "$name: no worker logs an error");
	$node->safe_psql('atlas', 'DROP EXTENSION atlas_events_api; DROP EXTENSION atlas_events');
	is($node->safe_psql('atlas', q{SELECT count(*) FROM pg_class WHERE relname LIKE 'atlas\_event%'}),
		'0', "$name: DROP EXTENSION takes everything with it, partitions too");
	return;
}

my %linked;
for my $copy ([ dumped => sub { $dump } ],
	[ copied => sub { upgrade('copied', '--copy') } ],
	[ linked => sub { upgrade('linked', '--link') } ])
{
	my ($name, $make) = @$copy;
	my $node = $make->();

	same_content_ok(content_at_once($node, 'atlas', $pending), $content, $name);
	is($node->safe_psql('atlas', $queue_query), $queue, "$name: same queue, which nobody has touched");
	is($node->safe_psql('atlas', $rejections_query), $rejections, "$name: same rejections");
	is($node->safe_psql('atlas', $rules_query), $rules, "$name: same rules, hits and matches");
	catalog_ok($node, $name);
	$linked{$name} = drained_ok($node, $name);
	same_content_ok($linked{$name}, $linked{dumped}, "$name, when linked");
	works_ok($node, $name);
	$node->stop;
}

done_testing();
