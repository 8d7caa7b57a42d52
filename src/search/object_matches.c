/*
 * object_matches.c
 *		The events of one object whose documents match a query, newest first.
 *
 * The timeline of the object is walked, and the document of each of its events is found by
 * its id. An object has few events beside its tenant, so no index of words is asked. Where the
 * tables cannot be read directly, statements read the timeline, a number of ids each.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/event_id.h"
#include "base/statement.h"
#include "search/object_matches.h"

#define IDS_PER_STATEMENT 1000

/* An Index Scan Backward on both tables, with Append in order of the partitions. */
static AtlasStatement select_object_events = {
	.sql =
	"SELECT x.event_id"
	"  FROM ((SELECT p.event_id"
	"           FROM @extschema@.atlas_events p"
	"          WHERE p.tenant_id OPERATOR(pg_catalog.=) $1"
	"            AND p.object_type OPERATOR(pg_catalog.=) $2"
	"            AND p.object_id OPERATOR(pg_catalog.=) $3"
	"            AND p.event_id OPERATOR(pg_catalog.>=) $4"
	"            AND p.event_id OPERATOR(pg_catalog.<) $5"
	"          ORDER BY p.event_id DESC LIMIT $6)"
	"        UNION"
	"        (SELECT l.event_id"
	"           FROM @extschema@.atlas_event_links l"
	"          WHERE l.tenant_id OPERATOR(pg_catalog.=) $1"
	"            AND l.object_type OPERATOR(pg_catalog.=) $2"
	"            AND l.object_id OPERATOR(pg_catalog.=) $3"
	"            AND l.event_id OPERATOR(pg_catalog.>=) $4"
	"            AND l.event_id OPERATOR(pg_catalog.<) $5"
	"          ORDER BY l.event_id DESC LIMIT $6)) x"
	" ORDER BY x.event_id DESC LIMIT $6",
	.nparameters = 6,
	.parameters = {TEXTOID, TEXTOID, TEXTOID, UUIDOID, UUIDOID, INT8OID},
};

struct AtlasObjectMatches
{
	AtlasMatchesScope scope;
	AtlasTimelineObject object;
	AtlasBudget *budget;
	AtlasMatches *documents;
	MemoryContext context;
	AtlasLogReader *reader;		/* NULL: statements read the timeline */
	AtlasTimelineEvents events; /* with a reader */
	bool		is_open;		/* these are */
	pg_uuid_t	searched_until;
	pg_uuid_t  *ids;			/* without a reader: what the last statement has found */
	int			nids;
	int			next_id;
};

AtlasObjectMatches *
atlas_object_matches_begin(const AtlasMatchesScope *scope, const AtlasTimelineObject *object,
						   AtlasLogReader *reader, AtlasBudget *budget, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events object",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AtlasObjectMatches *matches = palloc0(sizeof(AtlasObjectMatches));
	AtlasTimelineRange range = {
		.tenant = scope->tenant,
		.objects = &matches->object,
		.nobjects = 1,
		.low = scope->low,
		.high = scope->high,
	};

	matches->scope = *scope;
	matches->object = *object;
	matches->budget = budget;
	matches->context = context;
	matches->searched_until = scope->high;
	matches->documents = atlas_matches_begin(scope, budget, snapshot);
	matches->is_open = reader != NULL;
	if (matches->is_open && atlas_timeline_events_begin(&matches->events, reader, &range))
		matches->reader = reader;
	MemoryContextSwitchTo(old);
	return matches;
}

/* Reads the next ids by a statement; there are none when the last ones have been taken. */
static void
read_ids(AtlasObjectMatches *matches)
{
	Datum		values[6];

	if (matches->ids == NULL)
		matches->ids = palloc(sizeof(pg_uuid_t) * IDS_PER_STATEMENT);
	values[0] = PointerGetDatum(matches->scope.tenant);
	values[1] = PointerGetDatum(matches->object.object_type);
	values[2] = PointerGetDatum(matches->object.object_id);
	values[3] = UUIDPGetDatum(&matches->scope.low);
	values[4] = UUIDPGetDatum(&matches->searched_until);
	values[5] = Int64GetDatum(IDS_PER_STATEMENT);
	matches->nids = (int) atlas_execute(&select_object_events, values, NULL, true, 0);
	matches->next_id = 0;
	for (int i = 0; i < matches->nids; i++)
	{
		bool		isnull;

		matches->ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
													   1, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Goes to the next event of the object. Returns false when there are no more. */
static bool
next_of_object(AtlasObjectMatches *matches)
{
	AtlasTimelineEvent event;
	bool		is_read;

	if (matches->reader != NULL)
	{
		if (atlas_timeline_events_next(&matches->events, &event, &is_read))
		{
			matches->searched_until = event.id;
			return true;
		}
		if (is_read)
			return false;
		matches->reader = NULL;
	}
	if (matches->next_id == matches->nids)
		read_ids(matches);
	if (matches->nids == 0)
		return false;
	matches->searched_until = matches->ids[matches->next_id++];
	return true;
}

bool
atlas_object_matches_next(AtlasObjectMatches *matches, pg_uuid_t *event_id)
{
	MemoryContext old = MemoryContextSwitchTo(matches->context);
	bool		is_found = false;

	while (!is_found && !atlas_budget_is_spent(matches->budget))
	{
		CHECK_FOR_INTERRUPTS();
		if (!next_of_object(matches))
		{
			matches->searched_until = matches->scope.low;
			break;
		}
		is_found = atlas_matches_has(matches->documents, &matches->searched_until);
	}
	MemoryContextSwitchTo(old);
	*event_id = matches->searched_until;
	return is_found;
}

const pg_uuid_t *
atlas_object_matches_searched_until(const AtlasObjectMatches *matches)
{
	return &matches->searched_until;
}

void
atlas_object_matches_end(AtlasObjectMatches *matches)
{
	if (matches->is_open)
		atlas_timeline_events_end(&matches->events);
	atlas_matches_end(matches->documents);
	MemoryContextDelete(matches->context);
}
