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
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/event_id.h"
#include "base/identity.h"
#include "base/tenant.h"
#include "event/error.h"
#include "event/validation.h"
#include "objects/label.h"
#include "objects/registry.h"
#include "search/find_objects.h"
#include "search/query.h"

#define FIND_NCOLUMNS 7

PG_FUNCTION_INFO_V1(atlas_find_objects);

enum
{
	ARG_OBJECT_TYPE,
	ARG_QUERY,
	ARG_NAME,
	ARG_TIMES,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_BEFORE_EVENT,
	ARG_MAX_OBJECTS,
	ARG_MAX_WORK
};

/* The canonical name of the object type, or an error. */
static char *
type_of_objects(FunctionCallInfo fcinfo)
{
	AtlasError	error = {0};
	AtlasObjectType *type = NULL;

	if (PG_ARGISNULL(ARG_OBJECT_TYPE))
		atlas_add_problem(&error, "required", "/objectType", "objectType is required");
	else
	{
		const text *given = PG_GETARG_TEXT_PP(ARG_OBJECT_TYPE);

		type = atlas_object_type(atlas_fold_object_type(VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given)));
		if (type == NULL)
			atlas_add_problem(&error, "unknown_type", "/objectType",
							  "is neither a built-in object type nor a registered one");
	}
	if (type == NULL)
		atlas_raise(&error);
	return pstrdup(type->name);
}

/* A number that must be at least 1. */
static int
count_argument(FunctionCallInfo fcinfo, int number, int when_null, const char *field)
{
	AtlasError	error = {0};
	int			value = PG_ARGISNULL(number) ? when_null : PG_GETARG_INT32(number);

	if (value >= 1)
		return value;
	atlas_add_problem(&error, "invalid", field, "must be at least 1");
	atlas_raise(&error);
}

/*
 * The id with which a time begins. A time that no event can have is before all of them or
 * after all. The end of a period that is a whole millisecond is the bound between two
 * milliseconds: a partition that begins with it need not be opened.
 */
static void
period_bound(TimestampTz time, bool is_end, pg_uuid_t *id)
{
	if (!atlas_event_id_first(time, id))
		memset(id, time < 0 ? 0 : 0xff, UUID_LEN);
	else if (is_end && time % 1000 == 0)
		atlas_event_id_floor(time, id);
}

/* The period, and where the page begins. The ids of all events are below the largest uuid. */
static void
period_arguments(FunctionCallInfo fcinfo, AtlasObjectsQuery *query)
{
	memset(&query->low, 0, UUID_LEN);
	memset(&query->high, 0xff, UUID_LEN);
	memset(&query->before, 0xff, UUID_LEN);
	if (!PG_ARGISNULL(ARG_SINCE))
		period_bound(PG_GETARG_TIMESTAMPTZ(ARG_SINCE), false, &query->low);
	if (!PG_ARGISNULL(ARG_UNTIL))
		period_bound(PG_GETARG_TIMESTAMPTZ(ARG_UNTIL), true, &query->high);
	if (!PG_ARGISNULL(ARG_BEFORE_EVENT))
		query->before = *PG_GETARG_UUID_P(ARG_BEFORE_EVENT);
}

/* What documents are compared with: the query, and the name of the events if it is given. */
static void
search_arguments(FunctionCallInfo fcinfo, AtlasObjectsQuery *query)
{
	const text *words = PG_ARGISNULL(ARG_QUERY) ? cstring_to_text("") : PG_GETARG_TEXT_PP(ARG_QUERY);
	const text *name = PG_ARGISNULL(ARG_NAME) ? NULL : PG_GETARG_TEXT_PP(ARG_NAME);
	AtlasSearchQuery parsed;

	atlas_parse_query(VARDATA_ANY(words), VARSIZE_ANY_EXHDR(words), &parsed);
	if (parsed.nleft_out > 0)
		ereport(NOTICE,
				(errmsg("the last %d terms of the query were left out", parsed.nleft_out),
				 errdetail("The first %d terms of a query count.", ATLAS_MAX_TERMS)));
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
	AtlasIdentity saved;

	query.times = count_argument(fcinfo, ARG_TIMES, 1, "/times");
	query.max_objects = count_argument(fcinfo, ARG_MAX_OBJECTS, 50, "/maxObjects");
	budget.left = count_argument(fcinfo, ARG_MAX_WORK, PG_INT32_MAX, "/maxWork");
	period_arguments(fcinfo, &query);
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	query.tenant = atlas_session_tenant();
	query.object_type = type_of_objects(fcinfo);
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
