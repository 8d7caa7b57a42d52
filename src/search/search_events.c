/*
 * search_events.c
 *		A page of a search over events, newest first.
 *
 * Documents tell the ids of the events (matches.c; with an object, object_matches.c). The
 * rows of the events are then read from the log, and the status of each from the queue; the label of
 * the primary object is that of now. An event whose row is gone is passed over.
 *
 * The tables are read by their indexes, without a statement, as the snapshot of the
 * caller's statement sees them. If log or queue cannot be read so, a statement reads the
 * rows of a number of events.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/statement.h"
#include "objects/label.h"
#include "read/log_reader.h"
#include "search/headline.h"
#include "search/matches.h"
#include "search/object_matches.h"
#include "search/search_events.h"

#define IDS_AT_ONCE 1000

/* The columns of atlas_log_reader_columns in their order, and the status. */
static AtlasStatement select_found = {
	.sql =
	"SELECT e.event_id, e.occurred_at, e.name, e.description, e.icon, e.payload,"
	"       e.object_type, e.object_id, e.external_id,"
	"       CASE WHEN q.event_id IS NULL THEN 'LINKED'"
	"            WHEN q.next_attempt_at OPERATOR(pg_catalog.=) 'infinity' THEN 'FAILED'"
	"            ELSE 'PENDING' END"
	"  FROM pg_catalog.unnest($2) AS f (event_id),"
	"       LATERAL (SELECT * FROM @extschema@.atlas_events e"
	"                 WHERE e.tenant_id OPERATOR(pg_catalog.=) $1"
	"                   AND e.event_id OPERATOR(pg_catalog.=) f.event_id OFFSET 0) e"
	"       LEFT JOIN @extschema@.atlas_event_queue q"
	"              ON q.tenant_id OPERATOR(pg_catalog.=) $1 AND q.event_id OPERATOR(pg_catalog.=) e.event_id"
	" ORDER BY f.event_id DESC",
	.nparameters = 2,
	.parameters = {TEXTOID, UUIDARRAYOID},
};

#define FOUND_STATUS ATLAS_READ_TENANT_ID
#define FOUND_NCOLUMNS (FOUND_STATUS + 1)

/* The columns of atlas_search_events(). */
enum
{
	RESULT_EVENT_ID,
	RESULT_OCCURRED_AT,
	RESULT_OBJECT_TYPE,
	RESULT_OBJECT_ID,
	RESULT_EXTERNAL_ID,
	RESULT_LABEL,
	RESULT_NAME,
	RESULT_DESCRIPTION,
	RESULT_ICON,
	RESULT_PAYLOAD,
	RESULT_HEADLINE,
	RESULT_PROCESSING_STATUS,
	RESULT_SEARCHED_UNTIL,
	RESULT_COLUMNS
};

/* Where the columns that are read go. */
static const int result_of_read[FOUND_NCOLUMNS] = {
	[ATLAS_READ_EVENT_ID] = RESULT_EVENT_ID,
	[ATLAS_READ_OCCURRED_AT] = RESULT_OCCURRED_AT,
	[ATLAS_READ_NAME] = RESULT_NAME,
	[ATLAS_READ_DESCRIPTION] = RESULT_DESCRIPTION,
	[ATLAS_READ_ICON] = RESULT_ICON,
	[ATLAS_READ_PAYLOAD] = RESULT_PAYLOAD,
	[ATLAS_READ_OBJECT_TYPE] = RESULT_OBJECT_TYPE,
	[ATLAS_READ_OBJECT_ID] = RESULT_OBJECT_ID,
	[ATLAS_READ_EXTERNAL_ID] = RESULT_EXTERNAL_ID,
	[FOUND_STATUS] = RESULT_PROCESSING_STATUS,
};

/* A page that is being read. */
typedef struct SearchPage
{
	AtlasEventSearch *search;
	ReturnSetInfo *result;
	Snapshot	snapshot;		/* of the caller's statement */
	AtlasLogReader reader;
	bool		is_direct;		/* log and queue can be read by it */
	AtlasMatches *matches;		/* without an object */
	AtlasObjectMatches *object_matches; /* with one */
	MemoryContext row_context;
	int			nevents;		/* that are on the page */
} SearchPage;

/* An event as it was read, in the order of AtlasLogReaderColumn, with the status last. */
typedef struct FoundEvent
{
	Datum		values[FOUND_NCOLUMNS];
	bool		nulls[FOUND_NCOLUMNS];
} FoundEvent;

/* Begins to look for the documents. */
static void
begin_matches(SearchPage *page)
{
	const AtlasEventSearch *search = page->search;
	const text *type = search->object_id == NULL ? search->object_type : NULL;
	AtlasTimelineObject object = {.object_type = search->object_type, .object_id = search->object_id};
	AtlasMatchesScope scope = {
		.tenant = search->tenant,
		.query = atlas_query_for(search->query, search->tenant, type, search->name),
		.is_indexable = type != NULL || search->name != NULL || atlas_query_is_indexable(search->query),
		.low = search->low,
		.high = search->high,
		.wanted = search->max_events,
	};

	if (search->object_id == NULL)
		page->matches = atlas_matches_begin(&scope, &page->search->budget, page->snapshot);
	else
		page->object_matches = atlas_object_matches_begin(&scope, &object, &page->search->budget,
														  page->snapshot);
}

/* The id of the next event that is found. */
static bool
next_match(SearchPage *page, pg_uuid_t *id)
{
	return page->matches != NULL ? atlas_matches_next(page->matches, id) :
		atlas_object_matches_next(page->object_matches, id);
}

static const pg_uuid_t *
searched_until(const SearchPage *page)
{
	return page->matches != NULL ? atlas_matches_searched_until(page->matches) :
		atlas_object_matches_searched_until(page->object_matches);
}

/* A value of a found event; NULL when it is null. */
static void *
pointer_of(const FoundEvent *event, int column)
{
	return event->nulls[column] ? NULL : DatumGetPointer(event->values[column]);
}

/* The same for a text, as it is when it is not compressed. */
static text *
text_of(const FoundEvent *event, int column)
{
	void	   *value = pointer_of(event, column);

	return value == NULL ? NULL : DatumGetTextPP(PointerGetDatum(value));
}

/* Sets a column that may be null. */
static void
set_result_text(Datum *values, bool *nulls, int column, const text *value)
{
	values[column] = PointerGetDatum(value);
	nulls[column] = value == NULL;
}

/* Puts an event on the page. */
static void
put_found(SearchPage *page, const FoundEvent *event)
{
	void	   *payload = pointer_of(event, ATLAS_READ_PAYLOAD);
	AtlasDocumentSource source = {
		.tenant = page->search->tenant,
		.object_type = text_of(event, ATLAS_READ_OBJECT_TYPE),
		.name = text_of(event, ATLAS_READ_NAME),
		.description = text_of(event, ATLAS_READ_DESCRIPTION),
		.payload = payload == NULL ? NULL : DatumGetJsonbP(PointerGetDatum(payload)),
	};
	Datum		values[RESULT_COLUMNS] = {0};
	bool		nulls[RESULT_COLUMNS];

	for (int i = 0; i < FOUND_NCOLUMNS; i++)
	{
		values[result_of_read[i]] = event->values[i];
		nulls[result_of_read[i]] = event->nulls[i];
	}
	set_result_text(values, nulls, RESULT_LABEL,
			 atlas_label(text_to_cstring(source.object_type), page->search->tenant,
						 text_of(event, ATLAS_READ_OBJECT_ID)));
	set_result_text(values, nulls, RESULT_HEADLINE, atlas_headline(&source, page->search->query));
	nulls[RESULT_SEARCHED_UNTIL] = true;
	tuplestore_putvalues(page->result->setResult, page->result->setDesc, values, nulls);
	page->nevents++;
}

/* The last row of a page that ended before it was full. */
static void
put_end(const SearchPage *page)
{
	Datum		values[RESULT_COLUMNS] = {0};
	bool		nulls[RESULT_COLUMNS];

	memset(nulls, true, sizeof(nulls));
	values[RESULT_SEARCHED_UNTIL] = UUIDPGetDatum(searched_until(page));
	nulls[RESULT_SEARCHED_UNTIL] = false;
	tuplestore_putvalues(page->result->setResult, page->result->setDesc, values, nulls);
}

/* Reads an event without a statement and puts it on the page. Returns false if that is not possible. */
static bool
put_directly(SearchPage *page, const pg_uuid_t *id)
{
	AtlasIndexReader *row;
	FoundEvent	event;
	MemoryContext old;

	if (!atlas_log_reader_find(&page->reader, id, &row))
		return false;
	if (row == NULL)
		return true;
	for (int i = 0; i < ATLAS_READ_TENANT_ID; i++)
		event.values[i] = atlas_index_reader_value(row, i, &event.nulls[i]);
	event.values[FOUND_STATUS] = atlas_log_reader_status(&page->reader, id);
	event.nulls[FOUND_STATUS] = false;
	old = MemoryContextSwitchTo(page->row_context);
	put_found(page, &event);
	MemoryContextSwitchTo(old);
	MemoryContextReset(page->row_context);
	return true;
}

/* Reads events by a statement and puts them on the page. */
static void
put_by_statement(SearchPage *page, const pg_uuid_t *ids, int nids)
{
	AtlasColumn column;
	Datum		values[2];
	SPITupleTable *table;
	uint64		nrows;

	atlas_column_init(&column, nids);
	for (int i = 0; i < nids; i++)
		atlas_column_add_pointer(&column, &ids[i]);
	values[0] = PointerGetDatum(page->search->tenant);
	values[1] = atlas_column_array(&column, UUIDOID);
	nrows = atlas_execute(&select_found, values, NULL, true, 0);
	table = SPI_tuptable;
	for (uint64 row = 0; row < nrows; row++)
	{
		MemoryContext old = MemoryContextSwitchTo(page->row_context);
		FoundEvent	event;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < FOUND_NCOLUMNS; i++)
			event.values[i] = SPI_getbinval(table->vals[row], table->tupdesc, i + 1, &event.nulls[i]);
		put_found(page, &event);
		MemoryContextSwitchTo(old);
		MemoryContextReset(page->row_context);
	}
	SPI_freetuptable(table);
}

/* Puts the events with these ids on the page, as far as they are there. */
static void
put_events(SearchPage *page, const pg_uuid_t *ids, int nids)
{
	for (int i = 0; i < nids; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (page->is_direct && put_directly(page, &ids[i]))
			continue;
		page->is_direct = false;
		put_by_statement(page, ids + i, nids - i);
		return;
	}
}

/* Puts the newest events on the page, a number of ids at a time. */
static void
fill_search_page(SearchPage *page)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * IDS_AT_ONCE);
	bool		is_more = true;

	while (is_more && page->nevents < page->search->max_events)
	{
		int			size = Min(page->search->max_events - page->nevents, IDS_AT_ONCE);
		int			nids = 0;

		while (nids < size && (is_more = next_match(page, &ids[nids])))
			nids++;
		put_events(page, ids, nids);
	}
	if (!is_more && atlas_event_id_compare(&page->search->low, searched_until(page)) < 0)
		put_end(page);
	pfree(ids);
}

void
atlas_read_search(AtlasEventSearch *search, ReturnSetInfo *result)
{
	SearchPage	page = {
		.search = search,
		.result = result,
		.snapshot = GetActiveSnapshot(),
		.row_context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events search",
											 ALLOCSET_DEFAULT_SIZES),
	};

	page.is_direct = atlas_log_reader_begin(&page.reader, search->tenant, page.snapshot) &&
		atlas_direct_access;
	begin_matches(&page);
	fill_search_page(&page);
	if (page.matches != NULL)
		atlas_matches_end(page.matches);
	else
		atlas_object_matches_end(page.object_matches);
	atlas_log_reader_end(&page.reader);
	MemoryContextDelete(page.row_context);
}
