/*
 * timeline.c
 *		A page of the timeline of some objects: their events, newest first.
 *
 * An object is the primary one of some events, which are in the log, and a related one of
 * others, which are in the links. Both are read from the newest partition on, no further
 * than the page, and merged. The row of a related event is then looked up in the log, and
 * the status of every event in the queue.
 *
 * The tables are read by their indexes, without a statement (index_reader.c), as the
 * snapshot of the caller's statement sees them. A statement reads the page if
 * atlas_events.direct_access is off, if a policy concerns the owner of the extension, or
 * if a partition that the page needs cannot be read by an index: it is a foreign table or
 * has partitions of its own, or somebody has dropped the index.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "read/index_reader.h"
#include "read/object_events.h"
#include "read/row_finder.h"
#include "read/timeline.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/statement.h"
#include "store/rows.h"

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

/* The columns of the log that are read: those of the result, in its order, and the tenant. */
enum
{
	LOG_EVENT_ID,
	LOG_OCCURRED_AT,
	LOG_NAME,
	LOG_DESCRIPTION,
	LOG_ICON,
	LOG_PAYLOAD,
	LOG_OBJECT_TYPE,
	LOG_OBJECT_ID,
	LOG_EXTERNAL_ID,
	LOG_TENANT_ID,
	LOG_NCOLUMNS
};

/* In the result, the role follows the time, and the status comes last. */
#define RESULT_ROLE LOG_NAME
#define RESULT_STATUS (LOG_EXTERNAL_ID + 2)
#define RESULT_NCOLUMNS (RESULT_STATUS + 1)

#define LOG_COLUMNS { \
	[LOG_EVENT_ID] = {"event_id", UUIDOID}, \
	[LOG_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID}, \
	[LOG_NAME] = {"name", TEXTOID}, \
	[LOG_DESCRIPTION] = {"description", TEXTOID}, \
	[LOG_ICON] = {"icon", TEXTOID}, \
	[LOG_PAYLOAD] = {"payload", JSONBOID}, \
	[LOG_OBJECT_TYPE] = {"object_type", TEXTOID}, \
	[LOG_OBJECT_ID] = {"object_id", TEXTOID}, \
	[LOG_EXTERNAL_ID] = {"external_id", TEXTOID}, \
	[LOG_TENANT_ID] = {"tenant_id", TEXTOID}, \
}

static const AtlasReadShape log_by_object = {
	.ncolumns = LOG_NCOLUMNS,
	.columns = LOG_COLUMNS,
	.nequal = 3,
	.keys = {LOG_TENANT_ID, LOG_OBJECT_TYPE, LOG_OBJECT_ID, LOG_EVENT_ID},
};

static const AtlasReadShape log_by_id = {
	.ncolumns = LOG_NCOLUMNS,
	.columns = LOG_COLUMNS,
	.nequal = 1,
	.keys = {LOG_TENANT_ID, LOG_EVENT_ID},
};

static const AtlasReadShape links_by_object = {
	.ncolumns = 4,
	.columns = {
		{"tenant_id", TEXTOID}, {"object_type", TEXTOID}, {"object_id", TEXTOID}, {"event_id", UUIDOID},
	},
	.nequal = 3,
	.keys = {0, 1, 2, 3},
};

#define QUEUE_NEXT_ATTEMPT_AT 2

static const AtlasReadShape queue_by_id = {
	.ncolumns = 3,
	.columns = {
		{"tenant_id", TEXTOID}, {"event_id", UUIDOID},
		[QUEUE_NEXT_ATTEMPT_AT] = {"next_attempt_at", TIMESTAMPTZOID},
	},
	.nequal = 1,
	.keys = {0, 1},
};

/* A page that is being read. */
typedef struct TimelinePage
{
	const AtlasTimelineQuery *query;
	ReturnSetInfo *result;
	Snapshot	snapshot;		/* of the caller's statement */
	Relation	log;
	Relation	links;
	AtlasIndexReader *queue;
	AtlasObjectEvents *lists;	/* for each object one of the log, and then one of the links for each */
	int			nlists;
	AtlasRowFinder related;		/* of rows of related events */
	Datum		tenant;
	Datum		roles[2];		/* of the log, and of the links */
	Datum		linked;
	Datum		pending;
	Datum		failed;
	pg_uuid_t	last_id;		/* of the event that was looked at last */
	int			nevents;		/* that are on the page */
} TimelinePage;

/* Opens the queue; NULL if it cannot be read directly. */
static AtlasIndexReader *
open_queue(Snapshot snapshot)
{
	Relation	queue = atlas_open_for_reading(ATLAS_EVENT_QUEUE);
	AtlasIndexReader *reader = NULL;

	if (atlas_may_use_directly(queue, ACL_SELECT))
		reader = atlas_index_reader_open(RelationGetRelid(queue), &queue_by_id, false, snapshot);
	table_close(queue, NoLock);
	return reader;
}

/* Opens the tables. Returns false if one of them cannot be read directly. */
static bool
begin_page(TimelinePage *page, const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	int			nobjects = query->nobjects;

	memset(page, 0, sizeof(*page));
	page->query = query;
	page->result = result;
	page->snapshot = GetActiveSnapshot();
	page->log = atlas_open_for_reading(ATLAS_EVENTS);
	page->links = atlas_open_for_reading(ATLAS_EVENT_LINKS);
	page->queue = open_queue(page->snapshot);
	atlas_row_finder_begin(&page->related, page->log, &log_by_id, page->snapshot);
	page->tenant = PointerGetDatum(query->tenant);
	page->roles[0] = CStringGetTextDatum("PRIMARY");
	page->roles[1] = CStringGetTextDatum("RELATED");
	page->linked = CStringGetTextDatum("LINKED");
	page->pending = CStringGetTextDatum("PENDING");
	page->failed = CStringGetTextDatum("FAILED");

	page->nlists = 2 * nobjects;
	page->lists = palloc(sizeof(AtlasObjectEvents) * page->nlists);
	for (int i = 0; i < page->nlists; i++)
		atlas_object_events_begin(&page->lists[i], i < nobjects ? page->log : page->links,
								  i < nobjects ? &log_by_object : &links_by_object, query->tenant,
								  &query->objects[i % nobjects], &query->low, &query->high,
								  page->snapshot);
	return page->queue != NULL && atlas_may_use_directly(page->log, ACL_SELECT) &&
		atlas_may_use_directly(page->links, ACL_SELECT);
}

/* Closes the tables; the locks stay until the end of the transaction. */
static void
end_page(TimelinePage *page)
{
	for (int i = 0; i < page->nlists; i++)
		atlas_object_events_end(&page->lists[i]);
	pfree(page->lists);
	atlas_row_finder_end(&page->related);
	if (page->queue != NULL)
		atlas_index_reader_close(page->queue);
	table_close(page->links, NoLock);
	table_close(page->log, NoLock);
}

/*
 * The list that may have the newest event of those that are left; NULL when none is left.
 * A list that is at this event comes before one that only may have older ones, and the
 * log comes before the links.
 */
static AtlasObjectEvents *
newest_list(const TimelinePage *page)
{
	AtlasObjectEvents *newest = NULL;

	for (int i = 0; i < page->nlists; i++)
	{
		AtlasObjectEvents *list = &page->lists[i];
		const pg_uuid_t *id = atlas_object_events_newest(list);
		int			order;

		if (id == NULL)
			continue;
		order = newest == NULL ? 1 : atlas_event_id_compare(id, atlas_object_events_newest(newest));
		if (order > 0 || (order == 0 && list->is_at_event && !newest->is_at_event))
			newest = list;
	}
	return newest;
}

/* The processing status of an event. */
static Datum
status_of(TimelinePage *page, const pg_uuid_t *id)
{
	Datum		next_attempt_at;
	bool		isnull;

	atlas_index_reader_seek_id(page->queue, &page->tenant, id);
	if (!atlas_index_reader_next(page->queue))
		return page->linked;
	next_attempt_at = atlas_index_reader_value(page->queue, QUEUE_NEXT_ATTEMPT_AT, &isnull);
	return !isnull && TIMESTAMP_IS_NOEND(DatumGetTimestampTz(next_attempt_at)) ?
		page->failed : page->pending;
}

/* Does the event have the name that is asked for, if one is? */
static bool
has_name(const TimelinePage *page, AtlasIndexReader *row)
{
	bool		isnull;

	return page->query->name == NULL ||
		DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
											 atlas_index_reader_value(row, LOG_NAME, &isnull),
											 PointerGetDatum(page->query->name)));
}

/* Puts an event on the page. */
static void
put_event(TimelinePage *page, AtlasIndexReader *row, const pg_uuid_t *id, Datum role)
{
	Datum		values[RESULT_NCOLUMNS];
	bool		nulls[RESULT_NCOLUMNS];

	for (int column = 0; column < LOG_TENANT_ID; column++)
	{
		int			place = column < RESULT_ROLE ? column : column + 1;

		values[place] = atlas_index_reader_value(row, column, &nulls[place]);
	}
	values[RESULT_ROLE] = role;
	nulls[RESULT_ROLE] = false;
	values[RESULT_STATUS] = status_of(page, id);
	nulls[RESULT_STATUS] = false;
	tuplestore_putvalues(page->result->setResult, page->result->setDesc, values, nulls);
	page->nevents++;
}

/*
 * Takes the event that a list is at, unless it was taken from another list already. Returns
 * false if its row cannot be read directly.
 */
static bool
take_event(TimelinePage *page, const AtlasObjectEvents *list)
{
	bool		is_related = list->table == page->links;
	AtlasIndexReader *row = list->reader;

	if (atlas_event_id_compare(&list->event_id, &page->last_id) == 0)
		return true;
	page->last_id = list->event_id;
	if (is_related && !atlas_row_finder_find(&page->related, &page->tenant, &list->event_id, &row))
		return false;
	if (row != NULL && has_name(page, row))
		put_event(page, row, &list->event_id, page->roles[is_related]);
	return true;
}

/* Merges the lists. Returns false if something cannot be read directly. */
static bool
fill_page(TimelinePage *page)
{
	for (;;)
	{
		AtlasObjectEvents *list = newest_list(page);

		CHECK_FOR_INTERRUPTS();
		if (list == NULL)
			return true;
		if (list->is_at_event && !take_event(page, list))
			return false;
		if (page->nevents == page->query->max_events)
			return true;
		if (!atlas_object_events_advance(list))
			return false;
	}
}

/* Reads the page without a statement. Returns false if that is not possible. */
static bool
read_directly(const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	TimelinePage		page;
	bool		is_read = begin_page(&page, query, result) && fill_page(&page);

	end_page(&page);
	return is_read;
}

/* Reads the page by a statement. */
static void
read_by_statement(const AtlasTimelineQuery *query, ReturnSetInfo *result)
{
	AtlasColumn types;
	AtlasColumn ids;
	Datum		values[7];
	char		nulls[] = "       ";

	atlas_column_init(&types, query->nobjects);
	atlas_column_init(&ids, query->nobjects);
	for (int i = 0; i < query->nobjects; i++)
	{
		atlas_column_add_pointer(&types, query->objects[i].object_type);
		atlas_column_add_pointer(&ids, query->objects[i].object_id);
	}
	values[0] = PointerGetDatum(query->tenant);
	values[1] = atlas_column_array(&types, TEXTOID);
	values[2] = atlas_column_array(&ids, TEXTOID);
	values[3] = UUIDPGetDatum(&query->low);
	values[4] = UUIDPGetDatum(&query->high);
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
