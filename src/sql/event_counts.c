/*
 * event_counts.c
 *		atlas_has_event() and atlas_count_events(): whether an object has events of a kind.
 *
 * The events are read as the owner of the extension, so that a caller needs nothing but
 * EXECUTE on the function. The tenant is that of the session.
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "read/event_count.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/identity.h"
#include "base/tenant.h"
#include "objects/lookup.h"
#include "sql/arguments.h"

PG_FUNCTION_INFO_V1(atlas_has_event);
PG_FUNCTION_INFO_V1(atlas_count_events);

/* The first arguments of both. */
enum
{
	ARG_OBJECT_TYPE,
	ARG_OBJECT_ID,
	ARG_NAME,
	ARG_CONDITION,
	ARG_WITHIN,
	ARG_TIMES
};

/*
 * The condition; NULL if it is null. It is usually the same in all calls of a statement, and is
 * checked again when it is another one.
 */
static const AtlasCondition *
condition_argument(FunctionCallInfo fcinfo)
{
	AtlasCondition *checked = fcinfo->flinfo->fn_extra;
	AtlasCondition condition;
	JsonPath   *path;

	if (PG_ARGISNULL(ARG_CONDITION))
		return NULL;
	path = PG_GETARG_JSONPATH_P(ARG_CONDITION);
	if (checked != NULL && VARSIZE(checked->path) == VARSIZE(path) &&
		memcmp(checked->path, path, VARSIZE(path)) == 0)
		return checked;

	atlas_condition_require(path, "/condition", &condition);
	fcinfo->flinfo->fn_extra = NULL;
	if (checked != NULL)
	{
		pfree(checked->path);
		pfree(checked);
	}
	checked = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(AtlasCondition));
	*checked = condition;
	checked->path = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, VARSIZE(path));
	memcpy(checked->path, path, VARSIZE(path));
	fcinfo->flinfo->fn_extra = checked;
	return checked;
}

/* The range of the ids of events that occurred later than so long before now(). */
static void
within_argument(FunctionCallInfo fcinfo, AtlasTimelineRange *range)
{
	TimestampTz since;

	memset(&range->low, 0, UUID_LEN);
	memset(&range->high, 0xff, UUID_LEN);
	if (PG_ARGISNULL(ARG_WITHIN))
		return;
	since = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
													PG_GETARG_DATUM(ARG_WITHIN)));
	if (!TIMESTAMP_NOT_FINITE(since))
		since++;
	atlas_first_id(since, &range->low);
}

/* Counts the events of the object, up to so many. */
static int64
count_events_of_object(FunctionCallInfo fcinfo, int64 enough)
{
	AtlasTimelineObject object;
	AtlasCountQuery query = {.range = {.objects = &object, .nobjects = 1}, .enough = enough};
	AtlasObjectType *type;
	AtlasIdentity saved;
	int64		result;

	query.name = atlas_text_argument(fcinfo, ARG_NAME);
	query.condition = condition_argument(fcinfo);
	within_argument(fcinfo, &query.range);

	SPI_connect();
	query.range.tenant = atlas_session_tenant();
	type = atlas_type_argument(PG_GETARG_TEXT_PP(ARG_OBJECT_TYPE));
	object.object_type = cstring_to_text(type->name);
	object.object_id = atlas_stored_id(type, PG_GETARG_TEXT_PP(ARG_OBJECT_ID));
	atlas_take_rights_of_owner(&saved);
	result = atlas_count_timeline(&query);
	atlas_return(&saved);
	SPI_finish();
	return result;
}

/* No object has no events: the answer is null. */
static bool
is_no_object(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(ARG_OBJECT_TYPE) || PG_ARGISNULL(ARG_OBJECT_ID);
}

Datum
atlas_has_event(PG_FUNCTION_ARGS)
{
	int64		times;

	if (is_no_object(fcinfo))
		PG_RETURN_NULL();
	atlas_require_argument(!PG_ARGISNULL(ARG_TIMES), "/times", "times is required");
	times = atlas_count_argument(fcinfo, ARG_TIMES, 0, "/times");
	PG_RETURN_BOOL(count_events_of_object(fcinfo, times) >= times);
}

Datum
atlas_count_events(PG_FUNCTION_ARGS)
{
	if (is_no_object(fcinfo))
		PG_RETURN_NULL();
	PG_RETURN_INT64(count_events_of_object(fcinfo, PG_INT64_MAX));
}
