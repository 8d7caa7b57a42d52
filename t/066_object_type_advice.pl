# The status says which object types are not looked up any more, or at a price, before
# anybody wonders why events are refused or slow.

use strict;
use warnings;

use AtlasTest;
use Test::More;

my $node = start_node('advice');

make_database($node, 'atlas');
my @acknowledged = submit_events($node, 'atlas', 1, 10);
linked_ok($node, 'atlas', 'events are linked');
is(status_of($node, 'atlas', 'advice'), '', 'there is nothing to advise');

# Runs a statement and says what the advice is then.
sub advice_after
{
	my ($statement) = @_;

	$node->safe_psql('atlas', $statement);
	return status_of($node, 'atlas', 'advice');
}

like(advice_after('ALTER TABLE accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY'),
	qr/^Events of object type ACCOUNT are refused, since .*row security is forced/, 'a type whose events are refused');
is(advice_after('ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY'), '', 'it is taken back');
like(advice_after('ALTER TABLE conversations DROP CONSTRAINT conversations_pkey'),
	qr/^Each lookup of an object of type CONVERSATION reads its whole table: create a unique index/,
	'a type whose index is gone');
is(advice_after('ALTER TABLE conversations ADD PRIMARY KEY (id)'), '', 'it has one again');
is( advice_after(<<'END'), '', 'a type with 64 partitions');
CREATE TABLE bugs (id int, day int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
SELECT format('CREATE TABLE bugs_%1$s PARTITION OF bugs FOR VALUES FROM (%1$s) TO (%1$s + 1)', n) FROM generate_series(1, 64) n \gexec
SELECT atlas_register_object_type('BUG', 'bugs');
END
like(advice_after('CREATE TABLE bugs_65 PARTITION OF bugs FOR VALUES FROM (65) TO (66)'),
	qr/^Each lookup of an object of type BUG reads more than 64 partitions/, 'and with one more');
is(advice_after('DROP TABLE bugs_1'), '', 'when one is dropped all is well');

# A table that is locked holds nothing up.
my $gate = $node->background_psql('atlas');
$gate->query_safe('BEGIN; LOCK TABLE bugs, accounts');
is(status_of($node, 'atlas', 'advice'), '', 'what is locked is passed over');
$gate->query_safe('COMMIT');
$gate->quit;

oracle_ok($node, 'atlas', \@acknowledged);
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
$node->stop;
done_testing();
