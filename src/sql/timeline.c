/*
 * timeline.c
 *		atlas_timeline(): the events of an object, newest first.
 *
 * The page is read as the owner of the extension, so that a reader needs nothing but
 * EXECUTE on the function. The tenant is that of the session.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "read/timeline.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/event_id.h"
#include "base/identity.h"
#include "base/tenant.h"
#include "event/validation.h"
#include "objects/lookup.h"
#include "objects/registry.h"

PG_FUNCTION_INFO_V1(atlas_timeline);

/* The object type of this name; an error when there is none. */
static AtlasObjectType *
type_argument(const text *given)
{
	AtlasObjectType *type = atlas_object_type(atlas_fold_object_type(VARDATA_ANY(given),
																	 VARSIZE_ANY_EXHDR(given)));

	if (type == NULL)
	{
		AtlasError	error = {0};

		atlas_add_problem(&error, "unknown_type", "/objectType",
						  "is neither a built-in object type nor a registered one");
		atlas_raise(&error);
	}
	return type;
}

/* Refuses a call without this argument, in the words of the Events API. */
static void
require_field(bool given, const char *field, const char *message)
{
	AtlasError	error = {0};

	if (given)
		return;
	atlas_add_problem(&error, "required", pstrdup(field), "%s", message);
	atlas_raise(&error);
}

/* An argument of type text; NULL when it is null. */
static text *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : PG_GETARG_TEXT_PP(number);
}

/*
 * The id of the object, as our tables have it. An object that is named by its id alone is not
 * looked up: it may be gone, and its events stay. An external id is only in the object's
 * own row, so the object must be there.
 */
static text *
object_argument(AtlasObjectType *type, text *tenant, text *object_id, text *external_id)
{
	AtlasLookup lookup = {.tenant = tenant, .object_id = object_id, .external_id = external_id};
	AtlasError	error = {0};

	if (external_id == NULL)
		return atlas_stored_id(type, object_id);
	(void) atlas_connect(type, false);
	if (object_id != NULL)
		lookup.object_id = atlas_stored_id(type, object_id);
	atlas_lookup_one(type, &lookup);
	atlas_refuse_lookup(type, &lookup, &error);
	if (error.status != 0)
		atlas_raise(&error);
	return lookup.found_id;
}

/*
 * The id with which a time begins. A time that no event can have is before all of them or
 * after all. The end of a period that is a whole millisecond is the bound between two
 * milliseconds: a partition that begins with it need not be opened.
 */
static void
id_of_time(TimestampTz time, bool is_end, pg_uuid_t *id)
{
	if (!atlas_event_id_first(time, id))
		memset(id, time < 0 ? 0 : 0xff, UUID_LEN);
	else if (is_end && time % 1000 == 0)
		atlas_event_id_floor(time, id);
}

/*
 * The range of the ids: from that of since up to that of until, and below before_event.
 * The ids of all events are below the largest uuid.
 */
static void
range_arguments(FunctionCallInfo fcinfo, AtlasTimelineQuery *query)
{
	memset(&query->low, 0, UUID_LEN);
	memset(&query->high, 0xff, UUID_LEN);
	if (!PG_ARGISNULL(6))
		id_of_time(PG_GETARG_TIMESTAMPTZ(6), false, &query->low);
	if (!PG_ARGISNULL(7))
		id_of_time(PG_GETARG_TIMESTAMPTZ(7), true, &query->high);
	if (!PG_ARGISNULL(2) && atlas_event_id_compare(PG_GETARG_UUID_P(2), &query->high) < 0)
		query->high = *PG_GETARG_UUID_P(2);
}

Datum
atlas_timeline(PG_FUNCTION_ARGS)
{
	AtlasTimelineObject object;
	AtlasTimelineQuery query = {.objects = &object, .nobjects = 1};
	AtlasObjectType *type;
	text	   *tenant;
	text	   *object_id = text_argument(fcinfo, 1);
	text	   *external_id = text_argument(fcinfo, 4);
	AtlasIdentity saved;

	require_field(!PG_ARGISNULL(0), "/objectType", "objectType is required");
	require_field(object_id != NULL || external_id != NULL, "/objectId", "objectId or externalId is required");
	query.max_events = PG_ARGISNULL(3) ? 50 : PG_GETARG_INT32(3);
	if (query.max_events < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_events must be at least 1")));
	query.name = text_argument(fcinfo, 5);
	range_arguments(fcinfo, &query);
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	query.tenant = tenant = atlas_session_tenant();
	type = type_argument(PG_GETARG_TEXT_PP(0));
	object.object_type = cstring_to_text(type->name);
	object.object_id = object_argument(type, tenant, object_id, external_id);
	atlas_become_owner(&saved);
	atlas_read_timeline(&query, (ReturnSetInfo *) fcinfo->resultinfo);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}
