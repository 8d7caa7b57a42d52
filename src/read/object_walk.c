/*
 * object_walk.c
 *		The ids of the events of one object, newest first.
 *
 * An object is the primary one of some events, which are in the log, and a related one of
 * others, which are in the links. Both are read by their indexes and merged. Where that is
 * not possible, statements read the rest, some events at a time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "read/object_walk.h"

#include "base/event_id.h"
#include "base/statement.h"

#define IDS_AT_ONCE 1000		/* that a statement reads */

/* An Index Only Scan Backward on both tables, with Append in order of the partitions. */
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

/* Both tables have these columns, and an index on them. */
static const AtlasReadShape events_by_object = {
	.ncolumns = 4,
	.columns = {
		{"tenant_id", TEXTOID}, {"object_type", TEXTOID}, {"object_id", TEXTOID}, {"event_id", UUIDOID},
	},
	.nequal = 3,
	.keys = {0, 1, 2, 3},
};

#define NLISTS 2				/* the log and the links */

struct AtlasObjectWalk
{
	const text *tenant;
	const AtlasTimelineObject *object;
	pg_uuid_t	low;
	pg_uuid_t	high;			/* events with ids below this one are left */
	bool		is_direct;
	AtlasObjectEvents lists[NLISTS];

	/* By statement. */
	pg_uuid_t  *ids;			/* the last ones that were read */
	int			nids;
	int			next;
};

AtlasObjectWalk *
atlas_object_walk_begin(const AtlasEventTables *tables, const text *tenant,
						const AtlasTimelineObject *object, const pg_uuid_t *low,
						const pg_uuid_t *high)
{
	AtlasObjectWalk *walk = palloc0(sizeof(AtlasObjectWalk));

	walk->tenant = tenant;
	walk->object = object;
	walk->low = *low;
	walk->high = *high;
	walk->is_direct = tables->is_direct;
	for (int i = 0; i < NLISTS && walk->is_direct; i++)
		atlas_object_events_begin(&walk->lists[i], i == 0 ? tables->log : tables->links,
								  &events_by_object, tenant, object, low, high, tables->snapshot);
	return walk;
}

/* The list that may have the newest event of those that are left; NULL when none is left. */
static AtlasObjectEvents *
newer_list(AtlasObjectWalk *walk)
{
	const pg_uuid_t *primary = atlas_object_events_newest(&walk->lists[0]);
	const pg_uuid_t *related = atlas_object_events_newest(&walk->lists[1]);
	int			order;

	if (primary == NULL || related == NULL)
		return primary != NULL ? &walk->lists[0] : related != NULL ? &walk->lists[1] : NULL;
	order = atlas_event_id_compare(primary, related);
	if (order == 0)
		return walk->lists[0].is_at_event ? &walk->lists[0] : &walk->lists[1];
	return order > 0 ? &walk->lists[0] : &walk->lists[1];
}

/*
 * The next event of both lists. An event that is in both is passed over the second time. If
 * a partition cannot be read by an index, the rest is left to statements.
 */
static bool
next_directly(AtlasObjectWalk *walk, pg_uuid_t *event_id)
{
	for (;;)
	{
		AtlasObjectEvents *list = newer_list(walk);
		bool		is_found = false;

		CHECK_FOR_INTERRUPTS();
		if (list == NULL)
			return false;
		if (list->is_at_event && atlas_event_id_compare(&list->event_id, &walk->high) < 0)
		{
			*event_id = walk->high = list->event_id;
			is_found = true;
		}
		if (!atlas_object_events_advance(list))
			walk->is_direct = false;
		if (is_found || !walk->is_direct)
			return is_found;
	}
}

/* Reads the next ids by a statement. */
static void
read_ids_of_object(AtlasObjectWalk *walk)
{
	Datum		values[] = {
		PointerGetDatum(walk->tenant), PointerGetDatum(walk->object->object_type),
		PointerGetDatum(walk->object->object_id), UUIDPGetDatum(&walk->low),
		UUIDPGetDatum(&walk->high), Int64GetDatum(IDS_AT_ONCE)
	};
	bool		isnull;

	if (walk->ids == NULL)
		walk->ids = palloc(sizeof(pg_uuid_t) * IDS_AT_ONCE);
	walk->nids = (int) atlas_execute(&select_object_events, values, NULL, true, 0);
	walk->next = 0;
	for (int i = 0; i < walk->nids; i++)
		walk->ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
													&isnull));
	SPI_freetuptable(SPI_tuptable);
}

static bool
next_by_statement(AtlasObjectWalk *walk, pg_uuid_t *event_id)
{
	if (walk->next == walk->nids)
	{
		if (walk->ids != NULL && walk->nids < IDS_AT_ONCE)
			return false;
		read_ids_of_object(walk);
		if (walk->nids == 0)
			return false;
	}
	*event_id = walk->high = walk->ids[walk->next++];
	return true;
}

bool
atlas_object_walk_next(AtlasObjectWalk *walk, pg_uuid_t *event_id)
{
	if (walk->is_direct && next_directly(walk, event_id))
		return true;
	return !walk->is_direct && next_by_statement(walk, event_id);
}

void
atlas_object_walk_end(AtlasObjectWalk *walk)
{
	for (int i = 0; i < NLISTS; i++)
		atlas_object_events_end(&walk->lists[i]);
	if (walk->ids != NULL)
		pfree(walk->ids);
	pfree(walk);
}
