# Related objects of which something is wrong, with workers: they refuse no event, hold
# up no other one, and those whose type is registered later are linked late.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('odd');
make_database($node, 'atlas');

# Submits an event with these related objects, among good ones, and returns its id.
sub submit_related
{
	my ($related) = @_;
	my ($id) = event_ids(
		$node->safe_psql('atlas', <<"END"));
SELECT submit_event('{"objectType":"TICKET","objectId":1,"name":"Odd","relatedObjects":[
	{"objectType":"CUSTOMER","externalId":190001}, $related, {"objectType":"ACCOUNT","externalId":"ACC-000001"}]}') ->> 'eventId'
END
	return $id;
}

sub outcomes_of
{
	my ($id) = @_;
	return $node->safe_psql('atlas', <<"END");
SELECT string_agg(r->>'outcome', ' ' ORDER BY n)
  FROM atlas_event_logs, jsonb_array_elements(related_objects) WITH ORDINALITY a (r, n) WHERE event_id = '$id'
END
}

my $wrong = submit_related('{}, {"objectId":true}, {"objectType":"TICKET","objectId":"2","id":2}, {"objectType":"TICKET","objectId":"two"}');
my $unknown = submit_related('{"objectType":"ORDER","objectId":7}, {"objectType":"purchase order","objectId":8}, {"objectType":"ORDER","objectId":404}');
my $later = submit_related('{"objectType":"ORDER","objectId":"7","externalId":"x"}, {"objectType":"SHIP","objectId":1}');
my @ids = ($wrong, $unknown, $later, submit_events($node, 'atlas', 1, 500));
linked_ok($node, 'atlas', 'all events are linked');
is(outcomes_of($wrong), 'LINKED ERROR ERROR ERROR NOT_FOUND LINKED', 'what is wrong is the outcome of the object that has it');
is(outcomes_of($unknown), 'LINKED ERROR ERROR ERROR LINKED', 'so is an unknown type');
oracle_ok($node, 'atlas', \@ids);

$node->safe_psql('atlas', <<'END');
CREATE TABLE orders (id bigint PRIMARY KEY, external_id text UNIQUE);
INSERT INTO orders VALUES (7, 'x'), (8, 'y');
SELECT atlas_register_object_type('ORDER', 'orders', external_id_column => 'external_id', aliases => '{Purchase-Order}');
END
wait_until($node, 'atlas', <<"END", 'a type that is registered later is linked late, by its alias as well');
SELECT count(*) = 3 FROM atlas_event_links WHERE object_type = 'ORDER' AND event_id IN ('$unknown', '$later')
END
is(outcomes_of($unknown), 'LINKED LINKED LINKED NOT_FOUND LINKED', 'and that is the outcome then');
is(outcomes_of($later), 'LINKED LINKED ERROR LINKED', 'of each object');
is_deeply([ worker_errors($node) ], [], 'no worker logs an error');
oracle_ok($node, 'atlas', \@ids);

$node->stop;
done_testing();
