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

#include "base/identity.h"
#include "base/tenant.h"
#include "objects/lookup.h"
#include "objects/registry.h"
#include "sql/arguments.h"

PG_FUNCTION_INFO_V1(atlas_timeline);

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

Datum
atlas_timeline(PG_FUNCTION_ARGS)
{
	AtlasTimelineObject object;
	AtlasTimelineQuery query = {.range = {.objects = &object, .nobjects = 1}};
	const AtlasRangeArguments places = {.since = 6, .until = 7, .before_event = 2};
	AtlasObjectType *type;
	text	   *tenant;
	text	   *object_id = atlas_text_argument(fcinfo, 1);
	text	   *external_id = atlas_text_argument(fcinfo, 4);
	AtlasIdentity saved;

	atlas_require_argument(!PG_ARGISNULL(0), "/objectType", "objectType is required");
	atlas_require_argument(object_id != NULL || external_id != NULL, "/objectId", "objectId or externalId is required");
	query.max_events = atlas_size_argument(fcinfo, 3, "max_events", 50);
	query.name = atlas_text_argument(fcinfo, 5);
	atlas_range_arguments(fcinfo, &places, &query.range.low, &query.range.high);
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	query.range.tenant = tenant = atlas_session_tenant();
	type = atlas_type_argument(PG_GETARG_TEXT_PP(0));
	object.object_type = cstring_to_text(type->name);
	object.object_id = object_argument(type, tenant, object_id, external_id);
	atlas_become_owner(&saved);
	atlas_read_timeline(&query, (ReturnSetInfo *) fcinfo->resultinfo);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}
