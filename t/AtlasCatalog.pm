=pod

=head1 NAME

AtlasCatalog - everything that an extension has in the catalog, as text

=head1 DESCRIPTION

Describes an extension and all of its objects, a line for each property, in
words that do not depend on when and in which order they were made: an updated
extension and a fresh one must have the same lines.

=cut

package AtlasCatalog;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(make_catalog catalog_of catalog_difference same_catalog_ok);

# The extension, its members, and whatever belongs to one of these: columns'
# defaults, indexes, constraints, triggers, policies, types, partitions. That a
# column is NOT NULL, which is a constraint from PostgreSQL 18 on, is said of the
# column: the constraint's name depends on how a partition came about.
my $objects = <<'END';
CREATE FUNCTION atlas_test.extension_objects(
    extension name, OUT classid oid, OUT objid oid) RETURNS SETOF record
LANGUAGE sql STABLE AS $$
WITH RECURSIVE objects AS (
    SELECT 'pg_extension'::regclass::oid AS classid, oid AS objid
      FROM pg_extension WHERE extname = extension
    UNION
    SELECT d.classid, d.objid
      FROM objects o
      JOIN pg_depend d ON d.refclassid = o.classid AND d.refobjid = o.objid
     WHERE d.deptype = 'e'
        OR o.classid <> 'pg_extension'::regclass AND d.deptype IN ('a', 'i', 'I', 'P', 'S'))
SELECT o.classid, o.objid FROM objects o
 WHERE NOT EXISTS (SELECT FROM pg_class c
                    WHERE o.classid = 'pg_class'::regclass AND c.oid = o.objid
                      AND c.relnamespace = 'pg_toast'::regnamespace)
   AND NOT EXISTS (SELECT FROM pg_constraint n
                    WHERE o.classid = 'pg_constraint'::regclass AND n.oid = o.objid AND n.contype = 'n')
$$;
END

# Names of partitions and what they hold for depend on the day.
my $names = <<'END';
CREATE FUNCTION atlas_test.name_of(class oid, object oid, part int DEFAULT 0) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT regexp_replace(i.type || ' ' || COALESCE(i.identity, ''), '_\d{4}_\d{2}', '_MONTH', 'g')
      FROM pg_identify_object(class, object, part) AS i
$$;

CREATE FUNCTION atlas_test.acl_of(acl aclitem[]) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT string_agg(a::text, ', ' ORDER BY a::text) FROM unnest(acl) AS a
$$;
END

# The rows that the catalog has about the objects themselves. What is an object's
# id is said as a name, or left out. pg_attver is a number that the server notes
# with each column.
my $properties = <<'END';
CREATE FUNCTION atlas_test.properties(class oid, object oid) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
    SELECT 'extension: ' || concat_ws(', ', extrelocatable, extnamespace::regnamespace, extowner::regrole)
      FROM pg_extension WHERE class = 'pg_extension'::regclass AND oid = object
    UNION ALL
    SELECT format('dumped: %s %s', relation::regclass, extcondition[i])
      FROM pg_extension, unnest(extconfig) WITH ORDINALITY AS t (relation, i)
     WHERE class = 'pg_extension'::regclass AND oid = object
    UNION ALL
    SELECT 'schema: ' || concat_ws(', ', nspowner::regrole, atlas_test.acl_of(nspacl))
      FROM pg_namespace WHERE class = 'pg_namespace'::regclass AND oid = object
    UNION ALL
    SELECT 'relation: ' || concat_ws(', ', relkind, relpersistence, relowner::regrole, relreplident,
               relispartition, relhastriggers, relrowsecurity, relforcerowsecurity, am.amname,
               'options ' || array_to_string(reloptions, ' '),
               'for ' || CASE WHEN relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
               'grants ' || atlas_test.acl_of(relacl))
      FROM pg_class c LEFT JOIN pg_am am ON am.oid = c.relam
     WHERE class = 'pg_class'::regclass AND c.oid = object
    UNION ALL
    SELECT 'view: ' || pg_get_viewdef(oid)
      FROM pg_class WHERE class = 'pg_class'::regclass AND oid = object AND relkind IN ('v', 'm')
    UNION ALL
    SELECT 'index: ' || concat_ws(', ',
               regexp_replace(pg_get_indexdef(indexrelid), '_\d{4}_\d{2}', '_MONTH', 'g'), indisunique,
               indisprimary, indimmediate, indisclustered, indisvalid, indisreplident)
      FROM pg_index WHERE class = 'pg_class'::regclass AND indexrelid = object
    UNION ALL
    SELECT format('column %s: ', row_number() OVER (ORDER BY attnum)) || concat_ws(', ', attname,
               format_type(atttypid, atttypmod), NULLIF(attcollation, 0)::regcollation,
               CASE WHEN attnotnull THEN 'not null' END,
               'default ' || pg_get_expr(d.adbin, d.adrelid), 'identity ' || NULLIF(attidentity::text, ''),
               'generated ' || NULLIF(attgenerated::text, ''), attstorage, NULLIF(attcompression::text, ''),
               attislocal, attinhcount, 'statistics ' || NULLIF(attstattarget, -1),
               (SELECT string_agg(o, ' ' ORDER BY o) FROM unnest(attoptions) AS o WHERE o NOT LIKE 'pg_attver=%'),
               'grants ' || atlas_test.acl_of(attacl), 'comment ' || col_description(attrelid, attnum))
      FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = attrelid AND d.adnum = attnum
     WHERE class = 'pg_class'::regclass AND attrelid = object AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'sequence: ' || concat_ws(', ', seqtypid::regtype, seqstart, seqincrement, seqmax, seqmin,
               seqcache, seqcycle)
      FROM pg_sequence WHERE class = 'pg_class'::regclass AND seqrelid = object
    UNION ALL
    SELECT 'constraint: ' || concat_ws(', ', contype, pg_get_constraintdef(oid), convalidated, conislocal,
               coninhcount, connoinherit)
      FROM pg_constraint WHERE class = 'pg_constraint'::regclass AND oid = object
    UNION ALL
    SELECT 'trigger: ' || concat_ws(', ', pg_get_triggerdef(oid), tgenabled)
      FROM pg_trigger WHERE class = 'pg_trigger'::regclass AND oid = object AND NOT tgisinternal
    UNION ALL
    SELECT 'policy: ' || concat_ws(', ', polcmd, polpermissive,
               (SELECT string_agg(r::regrole::text, ' ' ORDER BY r::regrole::text) FROM unnest(polroles) AS r),
               'using ' || pg_get_expr(polqual, polrelid), 'check ' || pg_get_expr(polwithcheck, polrelid))
      FROM pg_policy WHERE class = 'pg_policy'::regclass AND oid = object
    UNION ALL
    SELECT 'function: ' || concat_ws(', ', pg_get_functiondef(oid), proowner::regrole,
               'grants ' || atlas_test.acl_of(proacl))
      FROM pg_proc WHERE class = 'pg_proc'::regclass AND oid = object AND prokind <> 'a'
    UNION ALL
    SELECT 'type: ' || concat_ws(', ', typtype, typcategory, typowner::regrole, NULLIF(typbasetype, 0)::regtype,
               CASE WHEN typnotnull THEN 'not null' END, typdefault, 'grants ' || atlas_test.acl_of(typacl),
               (SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid))
      FROM pg_type t WHERE class = 'pg_type'::regclass AND t.oid = object
    UNION ALL
    SELECT 'event trigger: ' || concat_ws(', ', evtevent, evtowner::regrole, evtfoid::regprocedure, evtenabled,
               array_to_string(evttags, ' '))
      FROM pg_event_trigger WHERE class = 'pg_event_trigger'::regclass AND oid = object
    UNION ALL
    SELECT 'comment: ' || obj_description(object, (SELECT relname FROM pg_class WHERE oid = class))
    UNION ALL
    SELECT 'initial grants: ' || concat_ws(' ', objsubid, privtype, atlas_test.acl_of(initprivs))
      FROM pg_init_privs WHERE classoid = class AND objoid = object
    UNION ALL
    SELECT DISTINCT 'depends: ' || concat_ws(' ', deptype, atlas_test.name_of(class, object, objsubid), 'on',
               atlas_test.name_of(refclassid, refobjid, refobjsubid))
      FROM pg_depend WHERE classid = class AND objid = object
$$;
END

my $catalog = <<'END';
CREATE FUNCTION atlas_test.catalog(extension name) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog SET jit = off AS $$
    SELECT DISTINCT concat_ws(' | ', atlas_test.name_of(o.classid, o.objid),
               regexp_replace(p.property, '\s+', ' ', 'g'))
      FROM atlas_test.extension_objects(extension) AS o
      LEFT JOIN LATERAL atlas_test.properties(o.classid, o.objid) AS p (property) ON p.property IS NOT NULL
$$;
END

# Installs the description in a database, in the schema of the tests' helpers.
sub make_catalog
{
	my ($node, $database) = @_;

	$node->safe_psql($database, <<"END");
SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS atlas_test;
$objects
$names
$properties
$catalog
END
	return;
}

# The lines that describe an extension, after some SQL that is not kept.
sub catalog_of
{
	my ($node, $database, $extension, $sql) = @_;

	return [
		split /\n/,
		$node->safe_psql($database, join "\n",
			'SET client_min_messages = warning;',
			'BEGIN;',
			$sql // '',
			qq{SELECT c FROM atlas_test.catalog('$extension') AS c ORDER BY c COLLATE "C";})
	];
}

# What differs between two descriptions: lines that only the first, or only the
# second, has.
sub catalog_difference
{
	my ($is, $expected) = @_;
	my %is = map { $_ => 1 } @$is;
	my %expected = map { $_ => 1 } @$expected;

	return sort((map { "only here: $_" } grep { !$expected{$_} } keys %is),
		(map { "missing here: $_" } grep { !$is{$_} } keys %expected));
}

sub same_catalog_ok
{
	my ($is, $expected, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	return is(join("\n", catalog_difference($is, $expected)), '', $name);
}

1;
