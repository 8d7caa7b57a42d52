# CREATE EXTENSION by a superuser, in a schema where a role without any other
# right has made objects beforehand: it fails, or goes on without them. Nothing of
# that role runs with the superuser's rights, and the extension stands on nothing
# of it. What is planted comes from the catalog of a fresh installation, so an
# object that is added to the extension is tried as well.

use strict;
use warnings;

use AtlasTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_node('planted', preload => 0);

# ----- The scripts themselves -----

for my $script (glob(atlas_root() . '/atlas_events*--*.sql'))
{
	my ($name) = $script =~ m{([^/]+)$};

	unlike(slurp_file($script), qr/\bOR\s+REPLACE\b|\bIF\s+NOT\s+EXISTS\b/i,
		"$name takes nothing over that is there already");
}
for my $control (glob(atlas_root() . '/*.control'))
{
	my ($name) = $control =~ m{([^/]+)$};

	unlike(slurp_file($control), qr/^\s*(?:superuser\s*=\s*false|trusted\s*=\s*true)/m,
		"$name: only a superuser may create the extension");
}

# ----- What may be planted -----

# The members of the extensions, and all functions, operators and types that their
# views, policies, defaults, constraints and functions use. A planted object notes
# whether it is used by anybody but its owner: the sequence counts although what
# happens is rolled back.
my $helpers = <<'END';
CREATE SCHEMA trap AUTHORIZATION mallory;
GRANT USAGE ON SCHEMA trap TO PUBLIC;
SET ROLE mallory;
CREATE SEQUENCE trap.sprung;
GRANT ALL ON SEQUENCE trap.sprung TO PUBLIC;
CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'mallory' THEN
        PERFORM nextval('trap.sprung');
    END IF;
    RETURN true;
END $$;
RESET ROLE;

CREATE SCHEMA planting;

-- An object, and all that is a part of it.
CREATE FUNCTION planting.members(extension text, OUT classid oid, OUT objid oid) RETURNS SETOF record LANGUAGE sql AS $$
    WITH RECURSIVE m AS (
        SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
         WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = extension
        UNION
        SELECT d.classid, d.objid FROM pg_depend d JOIN m ON m.classid = d.refclassid AND m.objid = d.refobjid
         WHERE d.deptype IN ('a', 'i', 'P', 'S'))
    SELECT * FROM m
$$;

-- What an extension depends on, besides itself, other extensions and schemas.
CREATE FUNCTION planting.strangers(extension text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(DISTINCT pg_describe_object(d.refclassid, d.refobjid, 0), ', ')
      FROM planting.members(extension) m JOIN pg_depend d USING (classid, objid)
     WHERE d.refclassid NOT IN ('pg_extension'::regclass, 'pg_namespace'::regclass)
       AND NOT EXISTS (SELECT FROM pg_extension e, planting.members(e.extname) o
                        WHERE o.classid = d.refclassid AND o.objid = d.refobjid)
$$;

CREATE FUNCTION planting.expressions(extension text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT ev_action::text FROM pg_rewrite, planting.members(extension) WHERE classid = 'pg_class'::regclass AND objid = ev_class
    UNION ALL
    SELECT polqual::text FROM pg_policy, planting.members(extension) WHERE classid = 'pg_class'::regclass AND objid = polrelid
    UNION ALL
    SELECT adbin::text FROM pg_attrdef, planting.members(extension) WHERE classid = 'pg_class'::regclass AND objid = adrelid
    UNION ALL
    SELECT conbin::text FROM pg_constraint, planting.members(extension) WHERE classid = 'pg_class'::regclass AND objid = conrelid
    UNION ALL
    SELECT indpred::text FROM pg_index, planting.members(extension) WHERE classid = 'pg_class'::regclass AND objid = indexrelid
    UNION ALL
    SELECT prosqlbody::text FROM pg_proc p, planting.members(extension) WHERE classid = 'pg_proc'::regclass AND objid = p.oid
    UNION ALL
    SELECT proargdefaults::text FROM pg_proc p, planting.members(extension) WHERE classid = 'pg_proc'::regclass AND objid = p.oid
$$;

CREATE FUNCTION planting.oids_after(extension text, key text) RETURNS SETOF oid LANGUAGE sql AS $$
    SELECT DISTINCT found[1]::oid
      FROM planting.expressions(extension) e, regexp_matches(e, ':' || key || ' ([0-9]+)', 'g') found
     WHERE found[1] <> '0'
$$;

-- A function for each way to call a function or an operator, better or worse.
CREATE FUNCTION planting.signatures(arguments oidvector) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT string_agg(format_type(a, NULL), ', ' ORDER BY n) FROM unnest(arguments::oid[]) WITH ORDINALITY u (a, n)
    UNION
    SELECT string_agg(CASE WHEN a = 'text'::regtype THEN 'varchar' ELSE 'anyelement' END, ', ' ORDER BY n)
      FROM unnest(arguments::oid[]) WITH ORDINALITY u (a, n)
$$;

-- Plants something as mallory, creates the extension as a superuser, and undoes
-- both. Returns the SQLSTATE, or what the extension stands on that is not its own.
CREATE FUNCTION planting.try(extension text, VARIADIC plants text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plant text;
    outcome text := 'not planted';
BEGIN
    BEGIN
        SET LOCAL ROLE mallory;
        FOREACH plant IN ARRAY plants LOOP
            BEGIN
                EXECUTE plant;
                outcome := 'planted';
            EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_object_definition OR feature_not_supported THEN
                -- Not everything can be made in every form.
            END;
        END LOOP;
        RESET ROLE;
        IF outcome = 'planted' THEN
            EXECUTE 'CREATE EXTENSION ' || extension;
            outcome := coalesce('stands on ' || planting.strangers(extension), 'ignored');
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'UNDO0';
    EXCEPTION
        WHEN SQLSTATE 'UNDO0' THEN
            RETURN outcome;
        WHEN OTHERS THEN
            RETURN SQLSTATE;
    END;
END $$;

-- What is there to be planted, by the catalog: each in turn, or all together.
CREATE TABLE planting.each (what text, kind text, statement text);
CREATE TABLE planting.used (statement text);
END

my $enumerate = <<'END';
INSERT INTO planting.each
SELECT format('%s %I', kind, c.relname), 'relation', format(statement, c.relname)
  FROM planting.members('@') m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid AND c.relkind <> 't',
       (VALUES ('table', 'CREATE TABLE public.%I (event_id uuid)'), ('view', 'CREATE VIEW public.%I AS SELECT 1 AS event_id'),
               ('sequence', 'CREATE SEQUENCE public.%I'), ('composite type', 'CREATE TYPE public.%I AS (object_type text)'),
               ('index', 'CREATE TABLE public.planted (id int); CREATE INDEX %I ON public.planted (id)')) v (kind, statement)
 WHERE c.relnamespace = 'public'::regnamespace;
INSERT INTO planting.each
SELECT format('%s %I', kind, t.typname), 'type', format(statement, t.typname)
  FROM planting.members('@') m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid,
       (VALUES ('domain', 'CREATE DOMAIN public.%I AS text CHECK (trap.spring())'), ('enum', 'CREATE TYPE public.%I AS ENUM ()'),
               ('shell type', 'CREATE TYPE public.%I'), ('range', 'CREATE TYPE public.%I AS RANGE (SUBTYPE = text)')) v (kind, statement)
 WHERE t.typnamespace = 'public'::regnamespace;
INSERT INTO planting.each
SELECT format('function %I(%s)', p.proname, signature), 'function',
       format('CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE sql AS %L', p.proname, signature, 'SELECT NULL FROM trap.spring()')
  FROM planting.members('@') m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid,
       LATERAL (SELECT coalesce(string_agg(format_type(a, NULL), ', ' ORDER BY n), '')
                  FROM unnest(proargtypes::oid[]) WITH ORDINALITY u (a, n)) s (signature)
 WHERE p.pronamespace = 'public'::regnamespace;

INSERT INTO planting.used
SELECT format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE sql AS %L', proname, coalesce(signature, ''),
              CASE WHEN signature LIKE '%any%' THEN 'anyelement' ELSE format_type(prorettype, NULL) END, 'SELECT NULL FROM trap.spring()')
  FROM pg_proc p,
       LATERAL planting.signatures(proargtypes) signature
 WHERE pronamespace = 'pg_catalog'::regnamespace
   AND p.oid IN (SELECT planting.oids_after('@', key) FROM unnest(ARRAY['funcid', 'opfuncid', 'aggfnoid']) key);
INSERT INTO planting.used
SELECT unnest(ARRAY[
           format('CREATE FUNCTION public.planted_%s(%s) RETURNS %s LANGUAGE sql AS %L', o.oid, signature, result, 'SELECT NULL FROM trap.spring()'),
           format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.planted_%s)',
                  oprname, split_part(signature, ', ', 1), split_part(signature, ', ', 2), o.oid)])
  FROM pg_operator o,
       LATERAL (SELECT format_type(oprleft, NULL) || ', ' || format_type(oprright, NULL), format_type(oprresult, NULL)) s (signature, result)
 WHERE o.oid IN (SELECT planting.oids_after('@', 'opno'))
   AND oprleft <> 0;
INSERT INTO planting.used
SELECT format('CREATE DOMAIN public.%I AS pg_catalog.%I CHECK (trap.spring())', typname, typname)
  FROM pg_type
 WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype = 'b' AND typelem = 0
   AND (oid IN (SELECT planting.oids_after('@', key) FROM unnest(ARRAY['vartype', 'consttype', 'resulttype', 'funcresulttype', 'opresulttype']) key)
        OR typname IN ('text', 'uuid', 'jsonb', 'json', 'timestamptz', 'int4', 'int8', 'int2', 'name', 'regclass', 'regnamespace', 'xid8', 'bytea', 'interval'));
-- Unqualified, and with other arguments than those of pg_catalog.
INSERT INTO planting.used
SELECT format('CREATE FUNCTION public.%s RETURNS %s LANGUAGE sql AS %L', signature, result, 'SELECT NULL FROM trap.spring()')
  FROM (VALUES ('pg_extension_config_dump(text, text)', 'void'), ('pg_extension_config_dump(regclass, text)', 'void'),
               ('set_config(text, text, boolean)', 'text'), ('quote_ident(text)', 'text'), ('quote_ident(name)', 'text'),
               ('current_database()', 'name'), ('to_regrole(text)', 'regrole'), ('pg_has_role(name, regrole, text)', 'boolean'),
               ('submit_event(varchar, varchar)', 'json'), ('submit_events(varchar)', 'json'), ('atlas_timeline(varchar, varchar, uuid, int)', 'record'),
               ('atlas_status(VARIADIC int[])', 'record'), ('atlas_tenant(VARIADIC int[])', 'text')) v (signature, result);
END

# The second part is tried in a database that has the core, for the API.
sub make_planting
{
	my ($database, $extension, $schema) = @_;
	my $statements = $enumerate =~ s/\@/$extension/gr;

	make_database($node, $database, extension => 0);
	$statements =~ s/'public'::regnamespace/'$schema'::regnamespace/g;
	$node->safe_psql($database,
		"$helpers GRANT CREATE ON SCHEMA public TO mallory;
		CREATE EXTENSION $extension CASCADE; $statements DROP EXTENSION $extension;");
	return;
}

# The oracle's own functions would obey what is planted.
sub unplant_ok
{
	my ($database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($code) = $node->psql($database, 'DROP OWNED BY mallory');

	return is($code, 0, "$database: everything that was planted can be dropped without CASCADE");
}

sub sprung
{
	my ($database) = @_;

	return $node->safe_psql($database, 'SELECT is_called FROM trap.sprung');
}

$node->safe_psql('postgres', 'CREATE ROLE mallory');
make_planting('core', 'atlas_events', 'public');

# ----- Each of its own names -----

my $kinds = long_or('', '^(table|domain|function)');
my $outcomes = $node->safe_psql('core', <<"END");
SELECT kind || ' ' || what || ': ' || planting.try('atlas_events', statement)
  FROM planting.each WHERE what ~ '$kinds' ORDER BY 1
END
my @lines = split /\n/, $outcomes;

cmp_ok(scalar(grep { /^relation table / } @lines), '>=', 9, 'tables, views and indexes are among what is planted');
cmp_ok(scalar(grep { /^function / && !/: not planted/ } @lines), '>=', 10, 'functions too');
cmp_ok(scalar(grep { /^type / } @lines), '>=', 8, 'and types');

# PostgreSQL finds another name itself for the index of a primary key, and for the
# array of a type.
my $other_name = qr/ (?:\w+_pkey|_atlas_\w+): ignored$/;
my @wrong = grep { !/: (?:42P07|42710|42723|not planted)$/ && !/$other_name/ } @lines;
is(join("\n", @wrong), '',
	'whatever has a name of the extension, CREATE EXTENSION fails because it is there');
foreach my $code (qw(42P07 42710 42723))
{
	ok(scalar(grep { /: $code$/ } @lines), "some with $code");
}
my ($code, $output, $errors) = $node->psql('core',
	'SET ROLE mallory; CREATE TABLE atlas_event_keys (); RESET ROLE; CREATE EXTENSION atlas_events;');
like($errors, qr/ERROR:  relation "atlas_event_keys" already exists/, 'the message names the object');
is($node->safe_psql('core', "SELECT count(*) FROM pg_extension WHERE extname = 'atlas_events'"),
	'0', 'and nothing is installed');
$node->safe_psql('core', 'DROP TABLE atlas_event_keys');

# ----- What it uses of PostgreSQL -----

is($node->safe_psql('core', q{SELECT planting.try('atlas_events', VARIADIC array_agg(statement)) FROM planting.used}),
	'ignored', 'functions, operators and types under the names of those that the script uses are ignored');
is(sprung('core'), 'f', 'nothing of the role that planted them has run as somebody else');

# The same, to stay, and the extension is used with it.
my $plant_all = <<'END';
CREATE FUNCTION planting.plant_all() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    plant text;
    planted bigint := 0;
BEGIN
    FOR plant IN SELECT statement FROM planting.used LOOP
        BEGIN
            SET LOCAL ROLE mallory;
            EXECUTE plant;
            planted := planted + 1;
        EXCEPTION WHEN syntax_error_or_access_rule_violation OR invalid_object_definition THEN
        END;
    END LOOP;
    RETURN planted;
END $$;
BEGIN;
SELECT planting.plant_all();
COMMIT;
END

cmp_ok($node->safe_psql('core', $plant_all), '>', 30, 'there are more than thirty of those');
make_extension($node, 'core');
my @ids = submit_events($node, 'core', 1, 20);
$node->safe_psql('core', <<'END');
SELECT atlas_link_events();
SELECT count(*) FROM atlas_event_logs WHERE processing_status = 'LINKED';
SELECT count(*) FROM atlas_timeline('TICKET', '7');
SELECT * FROM atlas_events_status;
END
is(sprung('core'), 'f', 'nor does anything run when the extension is used');
is($node->safe_psql('core', q{SELECT planting.strangers('atlas_events')}),
	'', 'the extension stands on nothing but PostgreSQL');
unplant_ok('core');
oracle_ok($node, 'core', \@ids);

# ----- The API -----

make_planting('api', 'atlas_events_api', 'public');
cmp_ok($node->safe_psql('api', $plant_all), '>', 30, 'the same for the API, beside the core in its schema');
$node->safe_psql('api', 'CREATE EXTENSION atlas_events_api; SELECT atlas_api_private.create_roles(); SELECT atlas_api.openapi();');
is(sprung('api'), 'f', 'nothing of the role that planted them has run');
is($node->safe_psql('api', q{SELECT planting.strangers('atlas_events_api')}),
	'', 'the API stands on nothing but PostgreSQL and the core');
unplant_ok('api');
$node->safe_psql('api', 'SELECT atlas_discover_object_types()');
@ids = submit_events($node, 'api', 1, 20);
$node->safe_psql('api', 'SELECT atlas_link_events()');
oracle_ok($node, 'api', \@ids);

$node->stop;
done_testing();
