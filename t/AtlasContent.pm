=pod

=head1 NAME

AtlasContent - what a database has stored, for comparison with a copy of it

=cut

package AtlasContent;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use Test::More;

our @EXPORT = qw(content_at_once content_when_linked same_content_ok);

# content_at_once(NODE, DATABASE, PENDING)
# What a copy must have from the start. What linking adds is left out, by an SQL
# query of the events that are pending in the original.
sub content_at_once
{
	my ($node, $database, $pending) = @_;

	return content_of(
		$node, $database,
		events => 'SELECT count(*), md5(string_agg(e::text, chr(10) ORDER BY event_id)) FROM atlas_events e',
		keys => 'SELECT count(*), md5(string_agg(k::text, chr(10) ORDER BY idempotency_key))
			FROM atlas_event_keys k',
		registry => 'SELECT string_agg(t::text, chr(10) ORDER BY object_type) FROM atlas_object_types t',
		partitions => q{SELECT inhparent::regclass, inhrelid::regclass, pg_get_expr(relpartbound, c.oid),
			(SELECT string_agg(pg_get_indexdef(indexrelid), chr(10) ORDER BY indexrelid::regclass::text)
			   FROM pg_index WHERE indrelid = c.oid)
		   FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
		  WHERE inhparent IN ('atlas_events'::regclass, 'atlas_event_links'::regclass, 'atlas_event_search'::regclass)
		  ORDER BY inhparent::regclass::text, inhrelid::regclass::text},
		'links of linked events' => "SELECT count(*), md5(string_agg(l::text, chr(10)
			ORDER BY event_id, object_type, object_id))
		   FROM atlas_event_links l WHERE event_id NOT IN ($pending)",
		'row security' => q{SELECT string_agg(polrelid::regclass || pg_get_expr(polqual, polrelid), ','
			ORDER BY polrelid::regclass::text) FROM pg_policy});
}

# What both must have when all is linked.
sub content_when_linked
{
	my ($node, $database) = @_;

	return content_of(
		$node, $database,
		links => 'SELECT count(*), md5(string_agg(concat(event_id, tenant_id, object_type, object_id), chr(10)
			ORDER BY event_id, object_type, object_id)) FROM atlas_event_links',
		documents => 'SELECT count(*), md5(string_agg(concat(event_id, tenant_id, document, problem), chr(10)
			ORDER BY event_id)) FROM atlas_event_search',
		unresolved => 'SELECT count(*), md5(string_agg(concat_ws(chr(9), event_id, position, tenant_id,
			object_type, object_id, external_id, outcome, reason), chr(10) ORDER BY event_id, position))
		   FROM atlas_event_unresolved');
}

sub content_of
{
	my ($node, $database, %queries) = @_;

	return { map { $_ => $node->safe_psql($database, $queries{$_}) } keys %queries };
}

# same_content_ok(CONTENT, EXPECTED, NAME OF THE COPY): one test for each kind.
sub same_content_ok
{
	my ($content, $expected, $copy) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is($content->{$_}, $expected->{$_}, "$copy: same $_") foreach sort keys %$expected;
	return;
}

1;
