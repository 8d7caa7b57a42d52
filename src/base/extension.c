/*
 * extension.c
 *		Where the extension lives in this database, and whose it is.
 *
 * The extension is looked up once. What was found is forgotten when the relation
 * cache says that one of our relations has changed, or when the catalog cache says
 * that a schema has changed: CREATE and DROP EXTENSION, ALTER SCHEMA and REASSIGN
 * OWNED all send one of the two.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "base/invalidation.h"
#include "base/setting_guard.h"
#include "base/tables.h"

static AtlasExtension extension;
static bool extension_valid = false;
static uint64 invalidations = 0;
static uint64 generation = 1;

/* Called by the relation cache: what is known of the extension may be out of date. */
static void
extension_relation_changed(Oid relid)
{
	invalidations++;
	if (!extension_valid)
		return;
	if (relid == InvalidOid)
		extension_valid = false;
	for (int i = 0; i < ATLAS_NTABLES; i++)
		if (relid == extension.relations[i])
			extension_valid = false;
}

/* Called by the catalog cache: the schema may have another name, or be gone. */
static void
extension_schema_changed(uint32 hash)
{
	invalidations++;
	extension_valid = false;
}

void
atlas_extension_init(void)
{
	atlas_listen_to_relations(extension_relation_changed);
	atlas_listen_to_catalog(NAMESPACEOID, extension_schema_changed);
}

/* Schema and owner, as pg_extension has them. */
static bool
read_catalog(AtlasExtension *result)
{
	Relation	pg_extension = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(ATLAS_EXTENSION_NAME));
	scan = systable_beginscan(pg_extension, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);

		result->oid = form->oid;
		result->schema = form->extnamespace;
		result->owner = form->extowner;
	}
	systable_endscan(scan);
	table_close(pg_extension, AccessShareLock);
	return OidIsValid(result->oid);
}

/* Only linkers need the table of the linker's note, and only the API that of rejections. */
static bool
is_needed_by_submit(AtlasTableId table)
{
	return table != ATLAS_LINKER_STATE && table != ATLAS_REJECTIONS;
}

/* Finds nothing as long as CREATE EXTENSION has not made the tables that take an event. */
static bool
read_extension(AtlasExtension *result)
{
	char	   *schema_name;

	if (!read_catalog(result))
		return false;
	schema_name = get_namespace_name(result->schema);
	if (schema_name == NULL)
		return false;
	strlcpy(result->schema_name, quote_identifier(schema_name), sizeof(result->schema_name));
	for (int i = 0; i < ATLAS_NTABLES; i++)
	{
		result->relations[i] = get_relname_relid(atlas_tables[i].name, result->schema);
		if (!OidIsValid(result->relations[i]) && is_needed_by_submit(i))
			return false;
	}
	return true;
}

const AtlasExtension *
atlas_extension_if_any(void)
{
	AtlasExtension current;
	uint64		before = invalidations;

	if (extension_valid)
		return &extension;
	memset(&current, 0, sizeof(current));	/* compared as a whole */
	if (!read_extension(&current))
		return NULL;

	/* If an invalidation came meanwhile, the catalogs are read again next time. */
	extension_valid = before == invalidations;
	if (memcmp(&current, &extension, sizeof(extension)) != 0)
	{
		memcpy(&extension, &current, sizeof(extension));
		generation++;
	}
	return &extension;
}

bool
atlas_extension_lock(void)
{
	const AtlasExtension *current;
	Oid			locked = InvalidOid;

	/* While this waits, the extension may be dropped, and another one created. */
	while ((current = atlas_extension_if_any()) != NULL && current->oid != locked)
	{
		locked = current->oid;
		LockDatabaseObject(ExtensionRelationId, locked, 0, AccessShareLock);
	}
	return current != NULL;
}

uint64
atlas_extension_generation(void)
{
	return generation;
}

const AtlasExtension *
atlas_extension(void)
{
	const AtlasExtension *result = atlas_extension_if_any();

	atlas_settings_check();
	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database",
						ATLAS_EXTENSION_NAME),
				 errhint("Run CREATE EXTENSION %s.", ATLAS_EXTENSION_NAME)));
	return result;
}
