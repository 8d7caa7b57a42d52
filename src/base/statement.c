/*
 * statement.c
 *		SQL statements of our own, with plans that are kept.
 *
 * A statement is planned at its first use, for all values of its parameters, and
 * kept until the extension is moved or dropped. A plan finds its tables by name, and
 * a schema can be renamed while we wait for a lock: so the tables that a plan reads
 * are compared with the extension's own each time before it runs.
 *
 * Our statements read by index. A plan is kept although the tables grow, and for tables
 * that are small or empty when it is made, the planner would read them as a whole.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "optimizer/cost.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "base/extension.h"
#include "base/identity.h"
#include "base/statement.h"

#define SCHEMA_PLACEHOLDER "@extschema@"
#define PLAN_ATTEMPTS 10

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

/* Called when the memory of the transaction is freed. */
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

/* Makes the next use of the statement plan it anew. */
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

/* The OIDs of the relations of a plan, which are locked now. */
static List *
plan_relations(SPIPlanPtr plan)
{
	return bring_up_to_date(plan)->relationOids;
}

const Query *
atlas_plan_query(SPIPlanPtr plan)
{
	return linitial_node(Query, bring_up_to_date(plan)->query_list);
}

/*
 * The relations of a plan of our own, which is brought up to date so that it reads them by
 * index. This happens before each use, so a plan that is valid is not looked at twice.
 */
static List *
relations_by_index(SPIPlanPtr plan)
{
	bool		saved = enable_seqscan;
	List	   *result;

	PG_TRY();
	{
		enable_seqscan = false;
		result = plan_relations(plan);
	}
	PG_FINALLY();
	{
		enable_seqscan = saved;
	}
	PG_END_TRY();
	return result;
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
		Oid			relid = get_relname_relid(pnstrdup(name, length), atlas_extension()->schema);

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
	statement->generation = atlas_extension_generation();
	relations = relations_by_index(statement->plan);
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
		if (statement->plan != NULL && statement->generation == atlas_extension_generation() &&
			equal(statement->relations, relations_by_index(statement->plan)))
			return statement->plan;
		forget_plan(statement);
		AcceptInvalidationMessages();
		(void) atlas_extension();
		make_plan(statement);
		(void) atlas_extension();
		if (statement->generation == atlas_extension_generation() &&
			names_are_ours(statement->sql, statement->relations))
			return statement->plan;
		forget_plan(statement);
	}
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the schema of extension \"%s\" was renamed just now", ATLAS_EXTENSION_NAME),
			 errhint("Try again.")));
}

uint64
atlas_execute(AtlasStatement *statement, Datum *values, const char *nulls,
			  bool read_only, long limit)
{
	int			guc_level = atlas_restrict_search_path();
	SPIPlanPtr	plan = atlas_plan(statement);
	int			code;

	code = SPI_execute_plan(plan, values, nulls, read_only, limit);
	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql, SPI_result_code_string(code));
	atlas_restore_search_path(guc_level);
	return SPI_processed;
}

/* Runs a statement with a snapshot that is taken now. */
static uint64
execute_with_latest_snapshot(AtlasStatement *statement, Datum *values, bool read_only)
{
	int			guc_level = atlas_restrict_search_path();
	SPIPlanPtr	plan = atlas_plan(statement);
	int			code = SPI_execute_snapshot(plan, values, NULL, GetLatestSnapshot(), InvalidSnapshot,
											read_only, false, 0);

	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql, SPI_result_code_string(code));
	atlas_restore_search_path(guc_level);
	return SPI_processed;
}

uint64
atlas_execute_now(AtlasStatement *statement, Datum *values)
{
	return execute_with_latest_snapshot(statement, values, true);
}

uint64
atlas_change_now(AtlasStatement *statement, Datum *values)
{
	return execute_with_latest_snapshot(statement, values, false);
}
