# What a page of a search reads and locks: a few partitions, by walking through the newest
# documents where matches are frequent and by GIN indexes where they are rare. Counted in
# buffers, beside those of reading everything.

use strict;
use warnings;

use AtlasTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Twelve years of 2,500 events each, of which every tenth is another tenant's.
my $node = start_node('search_pages', settings => "atlas_events.oldest_event = '24000 d'\nautovacuum = off");
make_database($node, 'atlas');
for my $tenant ('', 'small')
{
	my $condition = $tenant eq '' ? 'n % 10 <> 1' : 'n % 10 = 1';

	$node->safe_psql('atlas', <<"END");
SET atlas_events.tenant = '$tenant';
SELECT count(submit_event('CUSTOMER', md5('customer-' || 1 + n % 100)::uuid::text,
        CASE WHEN n % 8 = 0 THEN 'Checkout Failed' ELSE 'Page Viewed' END,
        'event ' || n || CASE WHEN n % 12500 = 1250 THEN ' rare' ELSE '' END || CASE WHEN n % 500 = 0 THEN ' seldom' ELSE '' END
            || CASE WHEN n % 3 = 0 THEN ' alpha gap beta' ELSE '' END,
        payload => jsonb_build_object('order', 'ORD-' || n, 'text', md5(n::text) || ' ' || md5((n + 1)::text)),
        occurred_at => timestamptz '2010-01-01 00:00+00' + n * interval '210 minutes'))
  FROM generate_series(1, 30000) n WHERE $condition
END
}
linked_ok($node, 'atlas', 'all events have their documents');
$node->safe_psql('atlas', "ALTER DATABASE atlas SET timezone = 'UTC'");
$node->safe_psql('atlas', "ALTER DATABASE atlas SET atlas_events.linking = off");
$node->safe_psql('atlas', 'VACUUM ANALYZE');

# What is read and locked by a page, in a session that has read it before.
sub page
{
	my ($arguments) = @_;
	my ($rows, @plan) = split /\n/, $node->safe_psql('atlas', <<"END");
\\o /dev/null
SELECT count(*) FROM atlas_search_events($arguments);
\\o
BEGIN;
SELECT count(event_id) FROM atlas_search_events($arguments);
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM atlas_search_events($arguments);
SELECT string_agg(relation::regclass::text, ' ' ORDER BY relation::regclass::text) FROM pg_locks
 WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation::regclass::text ~ '^atlas_event_search_';
COMMIT;
END
	my $locked = pop @plan;
	my $scan = decode_json("@plan")->[0]{Plan};

	return { rows => $rows + 0, buffers => $scan->{'Shared Hit Blocks'} + $scan->{'Shared Read Blocks'}, locked => $locked };
}

my $all = $node->safe_psql('atlas', "SELECT sum(relpages) FROM pg_class WHERE relname ~ '^atlas_event_search_\\d+\$'");
note("all documents are on $all pages");

sub page_ok
{
	my ($arguments, $rows, $buffers, $name) = @_;
	my $page = page($arguments);

	is($page->{rows}, $rows, "$name: rows");
	cmp_ok($page->{buffers}, '<', $buffers, "$name: buffers");
	return $page->{locked};
}

# ----- What a page reads -----

page_ok(q{'failed'}, 50, 600, 'a frequent word');
page_ok(q{'seldom'}, 50, 1200, 'a word of 1 event in 500');
page_ok(q{'rare'}, 3, 800, 'a rare word');
page_ok(q{'nowhere'}, 0, 600, 'a word that is nowhere');
page_ok(q{'seldom failed'}, 30, 1200, 'two words');
page_ok(q{'seld*'}, 50, 1200, 'a prefix');
page_ok(q{'order:"ORD-7777"'}, 1, 700, 'a value');
page_ok(q{'seldom', 'CUSTOMER'}, 50, 1200, 'a word and a type');
page_ok(q{NULL}, 50, 600, 'the newest events');
page_ok(q{'rare', max_work => 2000}, 3, 800, 'a rare word, with a budget');
page_ok(q{'failed', 'CUSTOMER', md5('customer-41')::uuid::text}, 50, 2500, 'the timeline of an object');
isnt(page(q{'"alpha beta"'})->{buffers}, 0, 'a phrase that is nowhere is looked for everywhere');
cmp_ok(page(q{'"alpha beta"', max_work => 1000})->{buffers}, '<', 1500, 'but not with a budget');
cmp_ok(page(q{'-event', max_work => 1000})->{buffers}, '<', 1500, 'nor is what has no word');

# ----- What it locks -----

my ($first, $last) = split /\|/, $node->safe_psql('atlas', <<'END');
SELECT min(relname), max(relname) FROM pg_class WHERE relname ~ '^atlas_event_search_\d+$'
END
is(page(q{'failed', until => '2022-01-01'})->{locked}, "$last ${last}_pkey", 'a page locks the partition that it is in, and not the GIN index that it does not use');
is(page(q{'failed', until => '2010-07-01'})->{locked}, "$first ${first}_pkey", 'no partition that is newer than the period');
is(page(q{'nowhere', since => '2021-02-01', until => '2022-01-01'})->{locked}, "$last ${last}_document_idx ${last}_pkey", 'and none that is older');

# ----- Only pages with the newest of the events that an index finds are read -----

$node->safe_psql('atlas', <<'END');
ALTER DATABASE atlas SET atlas_events.linking = on;
SELECT count(submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Page Viewed',
        CASE WHEN n % 400 = 7 THEN 'ranged' ELSE 'plain' END || ' event ' || n || ' ' || repeat(md5(n::text), 10),
        occurred_at => timestamptz '2023-03-01 00:00+00' + n * interval '1 minute'))
  FROM generate_series(1, 20000) n
END
linked_ok($node, 'atlas', 'a month of many events has its documents');
my $busy = $node->safe_psql('atlas', q{SELECT tableoid::regclass FROM atlas_event_search WHERE document @@ 'ranged' LIMIT 1});
$node->safe_psql('atlas', $_) for 'ALTER DATABASE atlas SET atlas_events.linking = off',
	"ALTER INDEX ${busy}_event_id_idx SET (pages_per_range = 16)", "REINDEX INDEX ${busy}_event_id_idx", "VACUUM ANALYZE $busy";
my $ranged = q{'ranged', since => '2023-03-01', until => '2023-03-31', max_events => 5};
my $with_ranges = page($ranged);
is($with_ranges->{rows}, 5, 'a page of a word that the month has 50 times');
like($with_ranges->{locked}, qr/ ${busy}_event_id_idx /, 'asks the index of the ranges');
$node->safe_psql('atlas', "DROP INDEX ${busy}_event_id_idx");
my $without_ranges = page($ranged);
is($without_ranges->{rows}, 5, 'as many without it');
cmp_ok($with_ranges->{buffers} + 30, '<', $without_ranges->{buffers}, 'which reads all 50 of them');

# ----- Entries of a GIN index that are in its pending list, which a DBA can switch on -----

$node->safe_psql('atlas', <<"END");
ALTER INDEX ${first}_document_idx SET (fastupdate = on);
UPDATE atlas_event_search s SET document = s.document || 'pending'::tsvector
 WHERE s.event_id IN (SELECT event_id FROM atlas_events WHERE name = 'Checkout Failed' AND tenant_id = '' AND occurred_at < '2010-12-01' ORDER BY event_id LIMIT 7);
END
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_search_events('pending')}), '7', 'documents whose entries are pending are found');
cmp_ok($node->safe_psql('atlas', "SELECT gin_clean_pending_list('${first}_document_idx')"), '>', 0, 'they were pending');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_search_events('pending')}), '7', 'they are found afterwards');

# ----- An index of the objects that is locked -----

$node->safe_psql('atlas', q{SELECT atlas_register_object_type('CUSTOMER', 'customers', 'id', 'external_id', label_column => 'external_id')});
my $labels = q{SELECT count(*), count(label) FROM atlas_search_events('rare')};
is($node->safe_psql('atlas', $labels), '3|3', 'events have the labels of their objects');
my $owner = $node->background_psql('atlas');
$owner->query_safe('BEGIN; REINDEX TABLE customers');
like($node->safe_psql('atlas', $labels), qr/^3\|0$/, 'nobody waits for one');
$owner->query_safe('ROLLBACK');
$owner->quit;
is($node->safe_psql('atlas', $labels), '3|3', 'they are there afterwards');

# ----- Rows that are gone -----

$node->safe_psql('atlas', q{DELETE FROM atlas_event_search WHERE document @@ 'rare' AND event_id < event_id_at('2012-01-01')});
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_search_events('rare')}), '2', 'a document that was deleted is not found');
$node->safe_psql('atlas', 'VACUUM');
is($node->safe_psql('atlas', q{SELECT count(*) FROM atlas_search_events('rare')}), '2', 'nor after a vacuum');

# ----- Words of other tenants -----

# An index collects what begins with a prefix for all tenants. One that has few of the events
# pays neither for these nor for asking.
$node->safe_psql('atlas', <<'END');
UPDATE atlas_event_search SET document = document || ('others' || hashtext(event_id::text))::tsvector WHERE tenant_id = '';
DELETE FROM atlas_event_search
 WHERE event_id IN (SELECT event_id FROM (SELECT event_id, row_number() OVER (ORDER BY event_id) AS n
                                            FROM atlas_event_search WHERE tenant_id = 'small') s WHERE n % 5 < 3);
VACUUM ANALYZE;
ALTER DATABASE atlas SET atlas_events.tenant = 'small';
END
is(page(q{'others*'})->{buffers}, page(q{'nobodys*'})->{buffers}, 'a page of a small tenant does not depend on the words of others');

# A tenant that has come since ANALYZE saw only one. (GIN descends to the root of a list of places.)
$node->safe_psql('atlas', <<'END');
ALTER DATABASE atlas SET atlas_events.linking = on;
SELECT count(submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Page Viewed', 'own event ' || n,
        occurred_at => timestamptz '2023-03-01 00:00:30+00' + n * interval '20 minutes'))
  FROM generate_series(1, 700) n
END
linked_ok($node, 'atlas', 'a small tenant has documents in the month of many events');
my $month = q{since => '2023-03-01', until => '2023-03-31', max_work => 600};
is($node->safe_psql('atlas', "SELECT n_distinct FROM pg_stats WHERE tablename = '$busy' AND attname = 'tenant_id'"), '1', 'which ANALYZE has not seen');
my ($of_others, $of_nobody) = map { page("'$_', $month") } 'plain', 'nobodys';
cmp_ok(abs($of_others->{buffers} - $of_nobody->{buffers}), '<', 40, 'it does not pay for the words of others');
is($of_others->{rows} . $node->safe_psql('atlas', "SELECT count(searched_until) FROM atlas_search_events('plain', $month)"),
	$of_nobody->{rows} . $node->safe_psql('atlas', "SELECT count(searched_until) FROM atlas_search_events('nobodys', $month)"), 'nor do its pages end because of them');

# Two tenants side by side. The newest events do not have a word that all others have, so the index is
# asked for more than the budget allows, and pages end between ranges.
$node->safe_psql('atlas', <<'END');
SELECT count(set_config('atlas_events.tenant', CASE WHEN n % 2 = 0 THEN 'small' ELSE '' END, false) || submit_event('CUSTOMER', md5('customer-1')::uuid::text,
        'Page Viewed', CASE WHEN n <= 6000 THEN 'omega gap psi ' ELSE '' END || repeat(md5(n::text) || ' ', 10),
        occurred_at => timestamptz '2024-03-01 00:00+00' + n * interval '77 seconds'))
  FROM generate_series(1, 8000) n
END
linked_ok($node, 'atlas', 'a month of two tenants has its documents');
my $shared = $node->safe_psql('atlas', q{SELECT tableoid::regclass FROM atlas_event_search WHERE document @@ 'omega' LIMIT 1});
$node->safe_psql('atlas', $_) for 'ALTER DATABASE atlas SET atlas_events.linking = off',
	"ALTER INDEX ${shared}_event_id_idx SET (pages_per_range = 16)", "REINDEX INDEX ${shared}_event_id_idx", "VACUUM ANALYZE $shared";
my $ends = $node->safe_psql('atlas', <<'END');
WITH RECURSIVE pages (work, until) AS (
    SELECT work, event_id_at('2024-04-01') FROM unnest(ARRAY[1100, 1200, 1300, 1400]) work
    UNION ALL
    SELECT work, (SELECT searched_until FROM atlas_search_events('"omega psi"', since => '2024-03-01', before_event => until, max_work => work)
                   WHERE event_id IS NULL)
      FROM pages WHERE until IS NOT NULL)
SELECT count(*) FILTER (WHERE until <> event_id_at('2024-04-01') AND until NOT IN (SELECT event_id FROM atlas_events WHERE tenant_id = 'small')) > 3,
       count(*) FILTER (WHERE left(until::text, 30) IN (SELECT left(event_id::text, 30) FROM atlas_events WHERE tenant_id = ''))
  FROM pages
END
is($ends, 't|0', 'pages end between ranges, and do not tell the id of the newest event of one, which is of another tenant');

$node->stop;
done_testing();
