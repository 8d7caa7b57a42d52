-- atlas_tables() says of each table what is true of it in the catalog, and has all of them.
SELECT * FROM atlas_tables();

-- All tables of the extension, and no others
SELECT coalesce(t.table_name, c.relname) AS "in one of the two only"
  FROM atlas_tables() t
  FULL JOIN (SELECT relname FROM pg_depend, pg_class
              WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND relkind IN ('r', 'p')
                AND refclassid = 'pg_extension'::regclass AND deptype = 'e'
                AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'atlas_events')) c
    ON c.relname = t.table_name
 WHERE t.table_name IS NULL OR c.relname IS NULL;

-- Partitioned
SELECT table_name, is_partitioned, relkind FROM atlas_tables(), pg_class
 WHERE pg_class.oid = table_name::regclass AND is_partitioned <> (relkind = 'p');

-- Dumped
SELECT table_name, is_dumped FROM atlas_tables(), pg_extension
 WHERE extname = 'atlas_events' AND is_dumped <> (table_name::regclass::oid = ANY (extconfig));

-- Every column that is named is there, and a table with a tenant has row security
SELECT table_name, column_name
  FROM atlas_tables(),
       regexp_split_to_table(concat_ws(', ', tenant_column, erased_by, distributed_by), ', ') AS column_name
 WHERE column_name <> ''
   AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = table_name::regclass AND attname = column_name);
SELECT table_name, tenant_column, relrowsecurity FROM atlas_tables(), pg_class
 WHERE pg_class.oid = table_name::regclass AND (tenant_column IS NOT NULL) <> relrowsecurity;

-- A table with a tenant_id says so, and one that has a row per event is reached when an object is erased
SELECT table_name, attname FROM atlas_tables(), pg_attribute
 WHERE attrelid = table_name::regclass AND attname = 'tenant_id' AND tenant_column IS NULL;
SELECT table_name, attname FROM atlas_tables(), pg_attribute
 WHERE attrelid = table_name::regclass AND attname = 'event_id' AND erased_by IS NULL;

-- Everything that is published can be: it has a key of its own, or partitions that have one
SELECT table_name FROM atlas_tables(), pg_class
 WHERE pg_class.oid = table_name::regclass AND is_published AND relreplident NOT IN ('d', 'f');

-- Every key and index of a table with a tenant begins with it, but for those that serve all tenants at once.
-- GIN and BRIN have no order: the tenant is a word of each document, and a BRIN index knows pages, not rows.
SELECT indexrelid::regclass AS index
  FROM atlas_tables(), pg_inherits RIGHT JOIN pg_index ON inhrelid = indrelid
 WHERE pg_get_indexdef(indexrelid) !~ ' USING (gin|brin) ' AND coalesce(inhparent, indrelid) = table_name::regclass AND tenant_column IS NOT NULL
   AND tenant_column IS DISTINCT FROM (SELECT attname FROM pg_attribute WHERE attrelid = indrelid AND attnum = indkey[0])
 ORDER BY 1;

-- And row security compares the tenant with that of the session
SELECT table_name, polname, pg_get_expr(polqual, polrelid) AS rows
  FROM atlas_tables(), pg_policy WHERE polrelid = table_name::regclass ORDER BY 1;
