/*
 * timeline.c
 *		A page of the timeline of some objects: their events, newest first.
 *
 * The events are merged by timeline_events.c. The row of a related event is then looked up
 * in the log, and the status of every event in the queue.
 *
 * The tables are read by their indexes, without a statement (index_reader.c), as the
 * snapshot of the caller's statement sees them. A statement reads the page if
 * atlas_events.direct_access is off, if a policy concerns the owner of the extension, or
 * if a partition that the page needs cannot be read by an index: it is a foreign table or
 * has partitions of its own, or somebody has dropped the index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "read/timeline.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/arrays.h"
#include "base/statement.h"

/*
 * An Index Scan Backward for each of the objects on both tables, with Append in order of
 * the partitions.
 */
static AtlasStatement select_timeline = {
	.sql =
	"SELECT e.event_id, e.occurred_at, t.role, e.name, e.description, e.icon, e.payload,"
	"       e.object_type, e.object_id, e.external_id,"
	"       CASE WHEN q.event_id IS NULL THEN 'LINKED'"
	"            WHEN q.next_attempt_at OPERATOR(pg_catalog.=) 'infinity' THEN 'FAILED'"
	"            ELSE 'PENDING' END"
	"  FROM (SELECT x.event_id, pg_catalog.min(x.role) AS role"
	"          FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS o (object_type, object_id),"
	"               LATERAL ((SELECT p.event_id, 'PRIMARY' AS role"
	"                           FROM @extschema@.atlas_events p"
	"                          WHERE p.tenant_id OPERATOR(pg_catalog.=) $1"
	"                            AND p.object_type OPERATOR(pg_catalog.=) o.object_type"
	"                            AND p.object_id OPERATOR(pg_catalog.=) o.object_id"
	"                            AND p.event_id OPERATOR(pg_catalog.>=) $4"
	"                            AND p.event_id OPERATOR(pg_catalog.<) $5"
	"                            AND ($6 IS NULL OR p.name OPERATOR(pg_catalog.=) $6)"
	"                          ORDER BY p.event_id DESC LIMIT $7)"
	"                        UNION ALL"
	"                        (SELECT l.event_id, 'RELATED' AS role"
	"                           FROM @extschema@.atlas_event_links l"
	"                          WHERE l.tenant_id OPERATOR(pg_catalog.=) $1"
	"                            AND l.object_type OPERATOR(pg_catalog.=) o.object_type"
	"                            AND l.object_id OPERATOR(pg_catalog.=) o.object_id"
	"                            AND l.event_id OPERATOR(pg_catalog.>=) $4"
	"                            AND l.event_id OPERATOR(pg_catalog.<) $5"
	"                            AND EXISTS (SELECT FROM @extschema@.atlas_events n"
	"                                         WHERE n.tenant_id OPERATOR(pg_catalog.=) $1"
	"                                           AND n.event_id OPERATOR(pg_catalog.=) l.event_id"
	"                                           AND ($6 IS NULL OR n.name OPERATOR(pg_catalog.=) $6)"
	"                                        OFFSET 0)"
	"                          ORDER BY l.event_id DESC LIMIT $7)) x"
	"         GROUP BY x.event_id"
	"         ORDER BY x.event_id DESC LIMIT $7) t,"
	"       LATERAL (SELECT * FROM @extschema@.atlas_events e"
	"                 WHERE e.tenant_id OPERATOR(pg_catalog.=) $1"
	"                   AND e.event_id OPERATOR(pg_catalog.=) t.event_id OFFSET 0) e"
	"       LEFT JOIN @extschema@.atlas_event_queue q"
	"              ON q.tenant_id OPERATOR(pg_catalog.=) $1 AND q.event_id OPERATOR(pg_catalog.=) e.event_id"
	" ORDER BY t.event_id DESC",
	.nparameters = 7,
	.parameters = {TEXTOID, TEXTARRAYOID, TEXTARRAYOID, UUIDOID, UUIDOID, TEXTOID, INT8OID},
};

/* In the result, the role follows the time, and the status comes last. */
#define RESULT_ROLE ATLAS_READ_NAME
#define RESULT_STATUS (ATLAS_READ_EXTERNAL_ID + 2)
#define RESULT_NCOLUMNS (RESULT_STATUS + 1)

/* A page that is being read. */
typedef struct TimelinePage
{
	const AtlasTimelineQuery *query;
	ReturnSetInfo *result;
	AtlasLogReader reader;
	AtlasTimelineEvents events;
	Datum		primary;
	Datum		related;
	int			nevents;		/* that are on the page */
} TimelinePage;

/* Opens the tables. Returns false if one of them cannot be read directly. */
static bool
begin_page(TimelinePage *page, const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	bool		is_direct = atlas_log_reader_begin(&page->reader, query->range.tenant,
												   GetActiveSnapshot());

	page->query = query;
	page->result = result;
	page->primary = CStringGetTextDatum("PRIMARY");
	page->related = CStringGetTextDatum("RELATED");
	page->nevents = 0;
	return atlas_timeline_events_begin(&page->events, &page->reader, &query->range) && is_direct;
}

/* Closes the tables; the locks stay until the end of the transaction. */
static void
end_page(TimelinePage *page)
{
	atlas_timeline_events_end(&page->events);
	atlas_log_reader_end(&page->reader);
}

/* Puts an event on the page. */
static void
put_event(TimelinePage *page, const AtlasTimelineEvent *event)
{
	Datum		values[RESULT_NCOLUMNS];
	bool		nulls[RESULT_NCOLUMNS];

	for (int column = 0; column < ATLAS_READ_TENANT_ID; column++)
	{
		int			place = column < RESULT_ROLE ? column : column + 1;

		values[place] = atlas_index_reader_value(event->row, column, &nulls[place]);
	}
	values[RESULT_ROLE] = event->is_related ? page->related : page->primary;
	nulls[RESULT_ROLE] = false;
	values[RESULT_STATUS] = atlas_log_reader_status(&page->reader, &event->id);
	nulls[RESULT_STATUS] = false;
	tuplestore_putvalues(page->result->setResult, page->result->setDesc, values, nulls);
	page->nevents++;
}

/* Puts the newest events on the page. Returns false if something cannot be read directly. */
static bool
fill_page(TimelinePage *page)
{
	AtlasTimelineEvent event;
	bool		is_read = true;

	while (page->nevents < page->query->max_events &&
		   atlas_timeline_events_next(&page->events, &event, &is_read))
	{
		if (event.is_related && !atlas_log_reader_find(&page->reader, &event.id, &event.row))
			return false;
		if (event.row != NULL && atlas_row_has_name(event.row, page->query->name))
			put_event(page, &event);
	}
	return is_read;
}

/* Reads the page without a statement. Returns false if that is not possible. */
static bool
read_directly(const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	TimelinePage page;
	bool		is_read = begin_page(&page, query, result) && fill_page(&page);

	end_page(&page);
	return is_read;
}

/* Reads the page by a statement. */
static void
read_by_statement(const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	const AtlasTimelineRange *range = &query->range;
	AtlasColumn types;
	AtlasColumn ids;
	Datum		values[7];
	char		nulls[] = "       ";

	atlas_column_init(&types, range->nobjects);
	atlas_column_init(&ids, range->nobjects);
	for (int i = 0; i < range->nobjects; i++)
	{
		atlas_column_add_pointer(&types, range->objects[i].object_type);
		atlas_column_add_pointer(&ids, range->objects[i].object_id);
	}
	values[0] = PointerGetDatum(range->tenant);
	values[1] = atlas_column_array(&types, TEXTOID);
	values[2] = atlas_column_array(&ids, TEXTOID);
	values[3] = UUIDPGetDatum(&range->low);
	values[4] = UUIDPGetDatum(&range->high);
	values[5] = PointerGetDatum(query->name);
	nulls[5] = query->name == NULL ? 'n' : ' ';
	values[6] = Int64GetDatum(query->max_events);

	(void) atlas_execute(&select_timeline, values, nulls, true, 0);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Datum		columns[RESULT_NCOLUMNS];
		bool		isnull[RESULT_NCOLUMNS];

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < RESULT_NCOLUMNS; i++)
			columns[i] = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, i + 1,
									   &isnull[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, columns, isnull);
	}
}

void
atlas_read_timeline(const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	if (atlas_direct_access && read_directly(query, result))
		return;
	tuplestore_clear(result->setResult);
	read_by_statement(query, result);
}
