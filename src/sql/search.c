/*
 * search.c
 *		atlas_search_events(): the events that a query finds, newest first.
 *
 * The page is read as the owner of the extension, so that a reader needs nothing but
 * EXECUTE on the function. The tenant is that of the session.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "base/identity.h"
#include "base/tenant.h"
#include "objects/lookup.h"
#include "objects/registry.h"
#include "search/query.h"
#include "search/search_events.h"
#include "sql/arguments.h"

PG_FUNCTION_INFO_V1(atlas_search_events);

Datum
atlas_search_events(PG_FUNCTION_ARGS)
{
	const AtlasRangeArguments places = {.since = 4, .until = 5, .before_event = 6};
	AtlasEventSearch search = {0};
	AtlasSearchQuery query;
	AtlasIdentity saved;

	atlas_require_argument(PG_ARGISNULL(2) || !PG_ARGISNULL(1), "/objectType", "objectType is required");
	search.name = atlas_text_argument(fcinfo, 3);
	atlas_range_arguments(fcinfo, &places, &search.low, &search.high);
	search.max_events = atlas_size_argument(fcinfo, 7, "max_events", 50);
	search.budget.is_limited = !PG_ARGISNULL(8);
	search.budget.left = atlas_size_argument(fcinfo, 8, "max_work", 1);
	InitMaterializedSRF(fcinfo, 0);

	SPI_connect();
	search.tenant = atlas_session_tenant();
	if (!PG_ARGISNULL(1))
	{
		AtlasObjectType *type = atlas_type_argument(PG_GETARG_TEXT_PP(1));

		search.object_type = cstring_to_text(type->name);
		if (!PG_ARGISNULL(2))
			search.object_id = atlas_stored_id(type, PG_GETARG_TEXT_PP(2));
	}
	atlas_query_argument(fcinfo, 0, &query);
	search.query = &query;
	atlas_become_owner(&saved);
	atlas_read_search(&search, (ReturnSetInfo *) fcinfo->resultinfo);
	atlas_return(&saved);
	SPI_finish();
	return (Datum) 0;
}
