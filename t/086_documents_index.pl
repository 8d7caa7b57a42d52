# The GIN index of the documents has each lexeme of each document, and no other: of large and
# of small batches, of a crash between them, and of documents that are empty.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('indexed', settings => 'atlas_events.max_attempts = 1');
make_database($node, 'atlas');

# What the index finds for each lexeme of the documents, against what the documents themselves
# say: partitions and lexemes where these differ. A search for what has no word reads all of the index.
$node->safe_psql('atlas', <<'END');
CREATE FUNCTION index_differs(OUT partition regclass, OUT lexeme text, OUT in_index bigint, OUT in_documents bigint)
RETURNS SETOF record LANGUAGE plpgsql
SET enable_seqscan = off SET enable_indexscan = off SET enable_indexonlyscan = off AS $$
BEGIN
    FOR partition IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'atlas_event_search'::regclass LOOP
        FOR lexeme, in_documents IN EXECUTE format('SELECT word, ndoc FROM ts_stat(%L)', 'SELECT document FROM ' || partition) LOOP
            EXECUTE format('SELECT count(*) FROM %s WHERE document @@ $1', partition) INTO in_index
              USING ('''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''')::tsquery;
            IF in_index <> in_documents THEN RETURN NEXT; END IF;
        END LOOP;
        lexeme := 'none, in a search for what has no such word';
        EXECUTE format('SELECT count(*) FROM %s', partition) INTO in_documents;
        EXECUTE format('SELECT count(*) FROM %s WHERE document @@ $1', partition) INTO in_index USING '!nowhere'::tsquery;
        IF in_index <> in_documents THEN RETURN NEXT; END IF;
    END LOOP;
END $$;
END

sub submit
{
	my ($first, $last) = @_;

	return event_ids($node->safe_psql('atlas', <<"END"));
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Checkout Completed', description => 'Paid by <b>card</b>',
                    payload => jsonb_build_object('n', n, 'tenth', 'tenth' || n % 10, 'it''s', 'back\\slash ''quoted'' 返金'),
                    occurred_at => now() - n % 3 * interval '40 days')
  FROM generate_series($first, $last) AS n
END
}

# ----- A backlog, which is worked on in large batches -----

$node->safe_psql('atlas', 'ALTER DATABASE atlas SET atlas_events.linking = off');
my @ids = submit(1, 6000);
$node->safe_psql('atlas', 'ALTER DATABASE atlas RESET atlas_events.linking');
linked_ok($node, 'atlas', 'documents of a backlog are made');
is($node->safe_psql('atlas', 'SELECT * FROM index_differs()'), '', 'the index has the lexemes of the documents, each once');

# ----- A few at a time, a crash, and a document that cannot be made -----

push @ids, submit($_, $_ + 2) for map { 3 * $_ } 2001 .. 2010;
linked_ok($node, 'atlas', 'documents of single events are made');
push @ids, submit(7001, 8000);
$node->stop('immediate');
$node->start;
linked_ok($node, 'atlas', 'and after a crash');

# A payload that is damaged on the disk cannot be read.
my ($damaged) = event_ids($node->safe_psql('atlas', <<'END'));
CREATE EXTENSION pg_surgery;
BEGIN;
SELECT submit_event('CUSTOMER', md5('customer-1')::uuid::text, 'Damaged',
                    payload => jsonb_build_object('blob', (SELECT string_agg(md5(n::text), ' ') FROM generate_series(1, 300) AS n)));
DO $$ DECLARE toast regclass; places tid[]; BEGIN
    SELECT reltoastrelid INTO toast FROM pg_class WHERE oid = (SELECT tableoid FROM atlas_events WHERE name = 'Damaged');
    EXECUTE format('SELECT array_agg(ctid) FROM %s', toast) INTO places;
    PERFORM heap_force_kill(toast, places);
END $$;
COMMIT;
END
linked_ok($node, 'atlas', 'a document that cannot be made holds nothing up');
like($node->safe_psql('atlas', "SELECT problem FROM atlas_event_search WHERE event_id = '$damaged' AND length(document) = 0"),
	qr/^missing chunk number 0/, 'it is empty, and says why');
is($node->safe_psql('atlas', 'SELECT * FROM index_differs()'), '', 'the index has everything still');
$node->safe_psql('atlas', "DELETE FROM atlas_events WHERE event_id = '$damaged'; DELETE FROM atlas_event_search WHERE event_id = '$damaged'");

# ----- Documents that are made anew -----

$node->safe_psql('atlas', q{DELETE FROM atlas_event_search WHERE document @@ 'tenth7'; SELECT atlas_rebuild_search('-infinity')});
linked_ok($node, 'atlas', 'a rebuild ends');
wait_until($node, 'atlas', 'SELECT rebuild_finished_at IS NOT NULL FROM atlas_search_status', 'it is noted');
is($node->safe_psql('atlas', "SELECT count(*) FROM atlas_event_search WHERE document @@ 'tenth7'"),
	$node->safe_psql('atlas', "SELECT count(*) FROM atlas_events WHERE payload->>'tenth' = 'tenth7'"), 'it makes what was missing');
is($node->safe_psql('atlas', 'SELECT * FROM index_differs()'), '', 'and the index has it');

oracle_ok($node, 'atlas', \@ids);
$node->stop;
done_testing();
