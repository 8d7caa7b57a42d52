# ALTER EXTENSION UPDATE leads to the same catalog as a fresh install, on every
# path that the update scripts offer, and keeps what is stored.
#
# The server is a copy that has two versions more of each extension, so that
# there is a path at all, and one that the test must find fault with: the
# update to "forgetful" leaves out a part of what its install script does.

use strict;
use warnings;

use AtlasApiTest;
use AtlasCatalog;
use AtlasTest;
use File::Path qw(make_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# ----- The versions -----

my %step = (
	atlas_events => <<'END',
ALTER TABLE @extschema@.atlas_event_queue ADD COLUMN priority smallint NOT NULL DEFAULT 0;
COMMENT ON COLUMN @extschema@.atlas_event_queue.priority IS 'Those with a higher one come first';
CREATE TABLE @extschema@.atlas_event_notes (note_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text);
SELECT pg_catalog.pg_extension_config_dump('@extschema@.atlas_event_notes', '');
CREATE FUNCTION @extschema@.atlas_note(note text) RETURNS void LANGUAGE sql
    AS 'INSERT INTO @extschema@.atlas_event_notes (note) VALUES (note)';
REVOKE ALL ON FUNCTION @extschema@.atlas_note(text) FROM PUBLIC;
END
	atlas_events_api => <<'END',
CREATE FUNCTION atlas_api.version() RETURNS text LANGUAGE sql AS $$ SELECT '1.1' $$;
REVOKE ALL ON FUNCTION atlas_api.version() FROM PUBLIC;
COMMENT ON FUNCTION atlas_api.version() IS 'Version of the API';
END
);
my $forgotten = qr/^(?:COMMENT|REVOKE|SELECT) .*\n/m;

# Where pg_config says that something is, and where the copy has it.
sub in_server
{
	my ($what) = @_;
	my ($path) = run_command([ 'pg_config', "--$what" ]);

	chomp $path;
	return $path;
}

# The server's programs look for its files from where they are themselves.
sub copy_server
{
	my ($prefix) = @_;
	my ($bin, $lib, $share) = map { in_server($_) } qw(bindir pkglibdir sharedir);

	make_path("$prefix$bin", "$prefix$share/extension", dirname_of("$prefix$lib"));
	system_or_bail('cp', '-L', glob("$bin/*"), "$prefix$bin");
	-e "$prefix$lib" or symlink($lib, "$prefix$lib") or die "$prefix$lib: $!";
	for my $file (glob("$share/* $share/extension/*"))
	{
		next if $file eq "$share/extension";
		symlink($file, "$prefix$file") or die "$prefix$file: $!";
	}
	return ("$prefix" . dirname_of($bin), "$prefix$share/extension");
}

sub dirname_of
{
	my ($path) = @_;

	return $path =~ s{/[^/]+$}{}r;
}

sub add_versions
{
	my ($extension, $folder) = @_;
	my ($version) = slurp_file("$folder/$extension.control") =~ /^default_version = '(.*)'$/m;
	my $install = slurp_file("$folder/$extension--$version.sql");
	my $part = $step{$extension} =~ s/$forgotten//gr;

	append_to_file("$folder/$extension--$_.sql", $install . $step{$extension}) for qw(whole forgetful);
	append_to_file("$folder/$extension--$version--whole.sql", $step{$extension});
	append_to_file("$folder/$extension--$version--forgetful.sql", $part);
	return;
}

my ($prefix, $folder) = copy_server(PostgreSQL::Test::Utils::tempdir_short());
add_versions($_, $folder) for sort keys %step;
my $node = start_node('catalog', install_path => $prefix);

# ----- Every path -----

make_database($node, 'paths', extension => 0);
make_catalog($node, 'paths');

# What an extension looks like after these statements. The API needs the core.
sub catalog_after
{
	my ($extension, $sql) = @_;
	my $core = $extension eq 'atlas_events' ? '' : 'CREATE EXTENSION atlas_events;';

	return catalog_of($node, 'paths', $extension, $core . $sql);
}

for my $extension (sort keys %step)
{
	my $paths = $node->safe_psql('paths',
		"SELECT source || ' ' || target FROM pg_extension_update_paths('$extension')
		  WHERE path IS NOT NULL ORDER BY 1");
	my $tried = 0;

	for (split /\n/, $paths)
	{
		my ($source, $target) = split / /;
		my $fresh = catalog_after($extension, "CREATE EXTENSION $extension VERSION '$target';");
		my $updated = catalog_after($extension,
			"CREATE EXTENSION $extension VERSION '$source'; ALTER EXTENSION $extension UPDATE TO '$target';");

		$tried++;
		if ($target eq 'forgetful')
		{
			my $difference = join "\n", catalog_difference($updated, $fresh);

			like($difference, qr/^missing here: .* (?:\| comment:|comment )/m,
				"$extension: a comment that an update forgets is found");
			like($difference, qr/^only here: function .* \| function: .*, postgres$/m,
				"$extension: a right that an update forgets to revoke is found");
			like($difference, qr/^missing here: extension .* \| dumped: public.atlas_event_notes/m,
				"$extension: a table that an update does not mark for dumps is found")
			  if $extension eq 'atlas_events';
			next;
		}
		same_catalog_ok($updated, $fresh,
			"$extension: an update from $source to $target is as good as a fresh install");
	}
	cmp_ok($tried, '>=', 2, "$extension: there are paths");
}

# ----- What is stored -----

my $load = start_node('update', install_path => $prefix);
make_database($load, 'atlas', extension => 0);
make_api($load, 'atlas');
my @ids = submit_events($load, 'atlas', 1, 3000, keys => 'order-');
$load->safe_psql('atlas', "ALTER EXTENSION $_ UPDATE TO whole") foreach sort keys %step;
push @ids, submit_events($load, 'atlas', 3001, 4000);
linked_ok($load, 'atlas', 'events from before and after an update are linked');
is( $load->safe_psql('atlas', 'SELECT count(priority) FROM atlas_event_queue'),
	'0', 'the queue is empty and has the new column');
is($load->safe_psql('atlas', 'SELECT atlas_api.version()'), '1.1', 'the API is the new one');
oracle_ok($load, 'atlas', \@ids);
$load->stop;

# ----- The comparison sees every kind of change -----

# What is changed, and how.
my @changes = map { [ split /:\s+/, $_, 2 ] } split /\n(?!\t)/, <<'END';
column: ALTER TABLE atlas_events ADD COLUMN extra int
type of a column: ALTER TABLE atlas_linker_state ALTER started_at TYPE timestamp
collation: ALTER TABLE atlas_event_keys ALTER idempotency_key TYPE text COLLATE "POSIX"
default: ALTER TABLE atlas_event_queue ALTER attempts SET DEFAULT 1
NOT NULL: ALTER TABLE atlas_event_unresolved ALTER reason DROP NOT NULL
order of columns:
	ALTER TABLE atlas_linker_state DROP batch;
	ALTER TABLE atlas_linker_state ADD batch uuid[] NOT NULL DEFAULT '{}'
storage of a column: ALTER TABLE atlas_events ALTER payload SET STORAGE EXTERNAL
index: DROP INDEX atlas_event_queue_cursor_idx
index of another kind: CREATE INDEX ON atlas_event_keys USING hash (event_id)
primary key: ALTER TABLE atlas_event_keys DROP CONSTRAINT atlas_event_keys_pkey
check: ALTER TABLE atlas_event_queue ADD CHECK (attempts >= 0)
check that was not validated:
	ALTER TABLE atlas_rejections ADD CONSTRAINT c CHECK (status > 0) NOT VALID
option of a table: ALTER TABLE atlas_event_queue SET (fillfactor = 50)
option of a view: ALTER VIEW atlas_event_logs SET (security_invoker = false)
view:
	CREATE OR REPLACE VIEW atlas_events_status WITH (security_invoker = true)
	AS SELECT * FROM atlas_status() WHERE true
row security: ALTER TABLE atlas_event_keys DISABLE ROW LEVEL SECURITY
policy: ALTER POLICY atlas_tenant ON atlas_events USING (true)
roles of a policy: ALTER POLICY atlas_tenant ON atlas_events TO pg_monitor
trigger: DROP TRIGGER atlas_object_types_changed ON atlas_object_types
disabled trigger: ALTER TABLE atlas_object_types DISABLE TRIGGER atlas_object_types_changed
field of a type: ALTER TYPE atlas_event ADD ATTRIBUTE extra text
right on a type: REVOKE USAGE ON TYPE atlas_event FROM PUBLIC
body of a function:
	CREATE OR REPLACE FUNCTION atlas_api_private.rejection_rows() RETURNS bigint LANGUAGE sql
	AS 'SELECT 1::bigint'
volatility: ALTER FUNCTION atlas_tenant() VOLATILE
parallel safety: ALTER FUNCTION atlas_tenant() PARALLEL UNSAFE
strictness: ALTER FUNCTION atlas_link_events(int) STRICT
setting of a function: ALTER FUNCTION atlas_api_private.check_request() SET work_mem = 64
right of the definer: ALTER FUNCTION atlas_api_private.check_request() SECURITY INVOKER
function that is granted: GRANT EXECUTE ON FUNCTION atlas_link_events(int) TO PUBLIC
view that is granted: REVOKE SELECT ON atlas_events_status FROM pg_monitor
column that is granted: GRANT SELECT (name) ON atlas_events TO pg_monitor
schema that is granted: GRANT USAGE ON SCHEMA atlas_api_private TO PUBLIC
owner: ALTER TABLE atlas_event_queue OWNER TO pg_monitor
comment on a table: COMMENT ON TABLE atlas_events IS NULL
comment on a column: COMMENT ON COLUMN atlas_events.name IS 'other'
comment on a function: COMMENT ON FUNCTION atlas_tenant() IS NULL
object that is no member: ALTER EXTENSION atlas_events DROP FUNCTION atlas_tenant()
table that is not dumped:
	UPDATE pg_extension SET extconfig = extconfig[2:], extcondition = extcondition[2:]
	 WHERE extname = 'atlas_events'
rows that are not dumped:
	UPDATE pg_extension SET extcondition[1] = 'WHERE false' WHERE extname = 'atlas_events'
sequence: ALTER SEQUENCE atlas_rejections_rejection_id_seq CACHE 7
event trigger:
	CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION atlas_test.nothing();
	ALTER EXTENSION atlas_events ADD EVENT TRIGGER e
dependency: ALTER FUNCTION atlas_tenant() DEPENDS ON EXTENSION plpgsql
END

$node->safe_psql('paths',
	q{CREATE FUNCTION atlas_test.nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'});
my $script = <<'END';
SET client_min_messages = warning;
BEGIN;
CREATE EXTENSION atlas_events;
CREATE EXTENSION atlas_events_api;
CREATE TEMPORARY TABLE atlas_events_fresh AS SELECT atlas_test.catalog('atlas_events');
CREATE TEMPORARY TABLE atlas_events_api_fresh AS SELECT atlas_test.catalog('atlas_events_api');
END
for my $sql ('', map { $_->[1] } @changes)
{
	my $extension = $sql =~ /atlas_api/ ? 'atlas_events_api' : 'atlas_events';

	$script .= <<"END";
SAVEPOINT fresh;
$sql;
CREATE TEMPORARY TABLE changed AS SELECT atlas_test.catalog('$extension');
SELECT count(*) FROM ((TABLE changed EXCEPT TABLE ${extension}_fresh) UNION ALL
                      (TABLE ${extension}_fresh EXCEPT TABLE changed)) AS differences;
ROLLBACK TO fresh;
END
}
my @differences = split /\n/, $node->safe_psql('paths', $script);
is(shift @differences, '0', 'no difference is seen where there is none');
cmp_ok($differences[$_] // 0, '>', 0, "a difference is seen: $changes[$_]->[0]") foreach 0 .. $#changes;

$node->stop;
done_testing();
