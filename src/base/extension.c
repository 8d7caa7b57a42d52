/*
 * extension.c
 *		Where the extension lives in this database, its kept plans, and as
 *		whom they run.
 *
 * What is known of the extension is looked up once and forgotten when the
 * relation cache says that one of its relations changed, or the catalog cache
 * that a schema did: CREATE and DROP EXTENSION, ALTER SCHEMA and REASSIGN OWNED
 * all send one of the two.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "base/setting_guard.h"

#define SCHEMA_PLACEHOLDER "@extschema@"
#define SEARCH_PATH "pg_catalog, pg_temp"
#define PLAN_ATTEMPTS 10

bool		atlas_direct_access = true;

static AtlasExtension extension;
static bool extension_valid = false;
static uint64 invalidations = 0;
static uint64 generation = 1;

static void
relation_changed(Datum arg, Oid relid)
{
	invalidations++;
	if (extension_valid &&
		(relid == InvalidOid || relid == extension.events || relid == extension.queue ||
		 relid == extension.links || relid == extension.object_types))
		extension_valid = false;
}

static void
schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	invalidations++;
	extension_valid = false;
}

void
atlas_extension_init(void)
{
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
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

/* Nothing is found while CREATE EXTENSION has not come that far. */
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
	result->events = get_relname_relid("atlas_events", result->schema);
	result->queue = get_relname_relid("atlas_event_queue", result->schema);
	result->links = get_relname_relid("atlas_event_links", result->schema);
	result->object_types = get_relname_relid("atlas_object_types", result->schema);
	return OidIsValid(result->events) && OidIsValid(result->queue) &&
		OidIsValid(result->links) && OidIsValid(result->object_types);
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

	/* An invalidation that came meanwhile makes for another reading. */
	extension_valid = before == invalidations;
	if (memcmp(&current, &extension, sizeof(extension)) != 0)
	{
		memcpy(&extension, &current, sizeof(extension));
		generation++;
	}
	return &extension;
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

/* Our own SQL with the placeholder replaced. */
static char *
fill_in_schema(const char *sql)
{
	const char *schema_name = atlas_extension()->schema_name;
	StringInfoData result;
	const char *found;

	initStringInfo(&result);
	while ((found = strstr(sql, SCHEMA_PLACEHOLDER)) != NULL)
	{
		appendBinaryStringInfo(&result, sql, found - sql);
		appendStringInfoString(&result, schema_name);
		sql = found + strlen(SCHEMA_PLACEHOLDER);
	}
	appendStringInfoString(&result, sql);
	return result.data;
}

static void
free_plan(void *plan)
{
	(void) SPI_freeplan(plan);
}

void
atlas_free_plan_later(SPIPlanPtr plan)
{
	MemoryContextCallback *callback = MemoryContextAlloc(TopTransactionContext,
														 sizeof(MemoryContextCallback));

	callback->func = free_plan;
	callback->arg = plan;
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
}

static void
forget_plan(AtlasStatement *statement)
{
	if (statement->plan != NULL)
		atlas_free_plan_later(statement->plan);
	statement->plan = NULL;
	list_free(statement->relations);
	statement->relations = NIL;
}

SPIPlanPtr
atlas_prepare(const char *sql, int nparameters, Oid *parameters)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, nparameters, parameters, CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not plan \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

/*
 * Planning reads the catalogs, and may learn there that the plan is out of date
 * already: such a plan is not the one that will be executed.
 */
static CachedPlanSource *
bring_up_to_date(SPIPlanPtr plan)
{
	for (int attempt = 0; attempt < PLAN_ATTEMPTS; attempt++)
	{
		CachedPlan *cached = SPI_plan_get_cached_plan(plan);
		CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));

		if (cached == NULL)
			elog(ERROR, "could not plan a statement");
		ReleaseCachedPlan(cached, CurrentResourceOwner);
		if (source->is_valid && source->gplan != NULL && source->gplan->is_valid)
			return source;
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("tables or schemas are being changed all the time"),
			 errhint("Try again.")));
}

List *
atlas_plan_relations(SPIPlanPtr plan)
{
	return bring_up_to_date(plan)->relationOids;
}

const Query *
atlas_plan_query(SPIPlanPtr plan)
{
	return linitial_node(Query, bring_up_to_date(plan)->query_list);
}

/*
 * Does every @extschema@.name of the statement mean the extension's own relation?
 * Rules may have added others.
 */
static bool
names_are_ours(const char *sql, const List *relations)
{
	const char *found = sql;

	while ((found = strstr(found, SCHEMA_PLACEHOLDER ".")) != NULL)
	{
		const char *name = found + strlen(SCHEMA_PLACEHOLDER ".");
		size_t		length = strspn(name, "abcdefghijklmnopqrstuvwxyz_");
		Oid			relid = get_relname_relid(pnstrdup(name, length), extension.schema);

		if (!OidIsValid(relid) || !list_member_oid(relations, relid))
			return false;
		found = name;
	}
	return true;
}

/* Plans a statement and notes which relations it uses. */
static void
make_plan(AtlasStatement *statement)
{
	char	   *sql = fill_in_schema(statement->sql);
	MemoryContext old;
	List	   *relations;

	statement->plan = atlas_prepare(sql, statement->nparameters, statement->parameters);
	statement->generation = generation;
	relations = atlas_plan_relations(statement->plan);
	old = MemoryContextSwitchTo(TopMemoryContext);
	statement->relations = list_copy(relations);
	MemoryContextSwitchTo(old);
}

/*
 * The plan of a statement, whose tables are locked now and are those that it was
 * made for. A plan finds its tables by name. If the schema was renamed and the
 * old name taken by somebody else, the locking reads the invalidation and the
 * plan is made anew from the wrong tables: so they are compared before it runs.
 */
SPIPlanPtr
atlas_plan(AtlasStatement *statement)
{
	for (int attempt = 0; attempt < 3; attempt++)
	{
		(void) atlas_extension();
		if (statement->plan != NULL && statement->generation == generation &&
			equal(statement->relations, atlas_plan_relations(statement->plan)))
			return statement->plan;
		forget_plan(statement);
		AcceptInvalidationMessages();
		(void) atlas_extension();
		make_plan(statement);
		(void) atlas_extension();
		if (statement->generation == generation &&
			names_are_ours(statement->sql, statement->relations))
			return statement->plan;
		forget_plan(statement);
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the schema of extension \"%s\" was renamed just now", ATLAS_EXTENSION_NAME),
			 errhint("Try again.")));
}

void
atlas_set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

static bool
search_path_is_restricted(void)
{
	return strcmp(namespace_search_path, SEARCH_PATH) == 0;
}

/*
 * Whatever is found by an unqualified name is PostgreSQL's own. A kept plan is
 * made anew when the search_path is not the one that it was made with, so there
 * is one for all.
 */
static int
restrict_search_path(void)
{
	int			guc_level;

	if (search_path_is_restricted())
		return 0;
	guc_level = NewGUCNestLevel();
	atlas_set_for_now("search_path", SEARCH_PATH);
	return guc_level;
}

static void
restore_search_path(int guc_level)
{
	if (guc_level > 0)
		AtEOXact_GUC(true, guc_level);
}

uint64
atlas_execute(AtlasStatement *statement, Datum *values, const char *nulls,
			  bool read_only, long limit)
{
	int			guc_level = restrict_search_path();
	SPIPlanPtr	plan = atlas_plan(statement);
	int			code;

	code = SPI_execute_plan(plan, values, nulls, read_only, limit);
	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql, SPI_result_code_string(code));
	restore_search_path(guc_level);
	return SPI_processed;
}

void
atlas_take_rights_of_owner(AtlasIdentity *saved)
{
	Oid			owner = atlas_extension()->owner;

	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	SetUserIdAndSecContext(owner, saved->security_context | SECURITY_LOCAL_USERID_CHANGE);
	saved->guc_level = 0;
	saved->keep_settings = true;
}

void
atlas_become_owner(AtlasIdentity *saved)
{
	atlas_take_rights_of_owner(saved);
	saved->guc_level = restrict_search_path();
}

void
atlas_become(Oid role, AtlasIdentity *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security_context);
	SetUserIdAndSecContext(role, saved->security_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	saved->guc_level = NewGUCNestLevel();
	saved->keep_settings = false;
	if (!search_path_is_restricted())
		atlas_set_for_now("search_path", SEARCH_PATH);
	if (!row_security)
		atlas_set_for_now("row_security", "on");
}

void
atlas_return(const AtlasIdentity *saved)
{
	if (saved->guc_level > 0)
		AtEOXact_GUC(saved->keep_settings, saved->guc_level);
	SetUserIdAndSecContext(saved->user, saved->security_context);
}
