/*
 * find_objects.c
 *		atlas_find_objects(): the objects of a type that have events that match a query.
 *
 * The page is made as the owner of the extension, so that a reader needs nothing but
 * EXECUTE on the function. The tenant is that of the session. What the objects are called
 * is read from their own rows.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/identity.h"
#include "base/tenant.h"
#include "objects/label.h"
#include "search/find_objects.h"
#include "search/query.h"
#include "sql/arguments.h"

#define FIND_NCOLUMNS 7

PG_FUNCTION_INFO_V1(atlas_find_objects);

enum
{
	ARG_OBJECT_TYPE,
	ARG_QUERY,
	ARG_NAME,
	ARG_CONDITION,
	ARG_TIMES,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_BEFORE_EVENT,
	ARG_MAX_OBJECTS,
	ARG_MAX_WORK
};

/* The period, and where the page begins: without before_event with the newest. */
static void
period_arguments(FunctionCallInfo fcinfo, AtlasObjectsQuery *query)
{
	const AtlasRangeArguments of_page = {ARG_SINCE, ARG_UNTIL, ARG_BEFORE_EVENT};
	const AtlasRangeArguments of_period = {ARG_SINCE, ARG_UNTIL, -1};

	atlas_range_arguments(fcinfo, &of_page, &query->low, &query->before);
	atlas_range_arguments(fcinfo, &of_period, &query->low, &query->high);
}

/* What documents are compared with: the query, and the name of the events if it is given. */
static void
search_arguments(FunctionCallInfo fcinfo, AtlasObjectsQuery *query)
{
	const text *name = atlas_text_argument(fcinfo, ARG_NAME);
	AtlasSearchQuery parsed;

	atlas_query_argument(fcinfo, ARG_QUERY, &parsed);
	query->query = atlas_query_for(&parsed, query->tenant, NULL, name);
	query->is_indexable = name != NULL || atlas_query_is_indexable(&parsed);
}

/* Returns an object as a row, with what its own row says of it. */
static void
put_object(ReturnSetInfo *result, const AtlasObjectsQuery *query, const AtlasObjectFound *found)
{
	AtlasDescription object = atlas_describe(query->object_type, query->tenant, found->object_id);
	Datum		values[FIND_NCOLUMNS];
	bool		nulls[FIND_NCOLUMNS] = {0};

	values[0] = PointerGetDatum(found->object_id);
	values[1] = PointerGetDatum(object.external_id);
	nulls[1] = object.external_id == NULL;
	values[2] = PointerGetDatum(object.label);
	nulls[2] = object.label == NULL;
	values[3] = Int64GetDatum(found->nevents);
	values[4] = UUIDPGetDatum(&found->newest_event);
	values[5] = TimestampTzGetDatum(found->newest_at);
	values[6] = (Datum) 0;
	nulls[6] = true;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Returns where the search goes on as a row without an object. */
static void
put_searched_until(ReturnSetInfo *result, const pg_uuid_t *searched_until)
{
	Datum		values[FIND_NCOLUMNS] = {0};
	bool		nulls[FIND_NCOLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[6] = UUIDPGetDatum(searched_until);
	nulls[6] = false;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
atlas_find_objects(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	AtlasObjectsQuery query = {0};
	AtlasObjectsPage page;
	AtlasBudget budget = {.is_limited = !PG_ARGISNULL(ARG_MAX_WORK)};
	AtlasCondition condition;
	AtlasIdentity saved;

	atlas_require_argument(!PG_ARGISNULL(ARG_OBJECT_TYPE), "/objectType", "objectType is required");
	query.times = atlas_count_argument(fcinfo, ARG_TIMES, 1, "/times");
	query.max_objects = atlas_count_argument(fcinfo, ARG_MAX_OBJECTS, 50, "/maxObjects");
	budget.left = atlas_count_argument(fcinfo, ARG_MAX_WORK, PG_INT32_MAX, "/maxWork");
	period_arguments(fcinfo, &query);
	if (!PG_ARGISNULL(ARG_CONDITION))
	{
		atlas_condition_require(PG_GETARG_JSONPATH_P(ARG_CONDITION), "/condition", &condition);
		query.condition = &condition;
	}
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	query.tenant = atlas_session_tenant();
	query.object_type = pstrdup(atlas_type_argument(PG_GETARG_TEXT_PP(ARG_OBJECT_TYPE))->name);
	search_arguments(fcinfo, &query);
	atlas_become_owner(&saved);
	atlas_find_objects_page(&query, &budget, &page);
	for (int i = 0; i < list_length(page.objects); i++)
		put_object(result, &query, list_nth(page.objects, i));
	if (page.is_cut)
		put_searched_until(result, &page.searched_until);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}
