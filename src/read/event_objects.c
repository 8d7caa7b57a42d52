/*
 * event_objects.c
 *		The objects of one type that events have.
 *
 * The primary object is in the event's row of the log, and the related objects that are
 * linked are in the links. Both are read by index, or else by a statement.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "read/event_objects.h"
#include "read/row_finder.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/statement.h"

/* Both tables have an index that begins with the tenant and the event. */
static AtlasStatement select_objects = {
	.sql =
	"SELECT e.occurred_at, e.object_type OPERATOR(pg_catalog.=) $3, e.object_id"
	"  FROM @extschema@.atlas_events e"
	" WHERE e.tenant_id OPERATOR(pg_catalog.=) $1 AND e.event_id OPERATOR(pg_catalog.=) $2"
	" UNION ALL "
	"SELECT NULL, true, l.object_id"
	"  FROM @extschema@.atlas_event_links l"
	" WHERE l.tenant_id OPERATOR(pg_catalog.=) $1 AND l.event_id OPERATOR(pg_catalog.=) $2"
	"   AND l.object_type OPERATOR(pg_catalog.=) $3",
	.nparameters = 3,
	.parameters = {TEXTOID, UUIDOID, TEXTOID},
};

enum
{
	ROW_TENANT_ID,
	ROW_EVENT_ID,
	ROW_OBJECT_TYPE,
	ROW_OBJECT_ID,
	ROW_OCCURRED_AT
};

static const AtlasReadShape log_row = {
	.ncolumns = ROW_OCCURRED_AT + 1,
	.columns = {
		[ROW_TENANT_ID] = {"tenant_id", TEXTOID},
		[ROW_EVENT_ID] = {"event_id", UUIDOID},
		[ROW_OBJECT_TYPE] = {"object_type", TEXTOID},
		[ROW_OBJECT_ID] = {"object_id", TEXTOID},
		[ROW_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID},
	},
	.nequal = 1,
	.keys = {ROW_TENANT_ID, ROW_EVENT_ID},
};

/* The type is compared in the row. */
static const AtlasReadShape link_rows = {
	.ncolumns = ROW_OBJECT_ID + 1,
	.columns = {
		[ROW_TENANT_ID] = {"tenant_id", TEXTOID},
		[ROW_EVENT_ID] = {"event_id", UUIDOID},
		[ROW_OBJECT_TYPE] = {"object_type", TEXTOID},
		[ROW_OBJECT_ID] = {"object_id", TEXTOID},
	},
	.nequal = 2,
	.keys = {ROW_TENANT_ID, ROW_OBJECT_TYPE, ROW_EVENT_ID},
};

struct AtlasEventObjects
{
	Datum		values[2];		/* tenant and type */
	bool		is_direct;
	AtlasRowFinder log;
	AtlasRowFinder links;
};

AtlasEventObjects *
atlas_event_objects_begin(const AtlasEventTables *tables, const text *tenant,
						  const text *object_type)
{
	AtlasEventObjects *objects = palloc0(sizeof(AtlasEventObjects));

	objects->values[0] = PointerGetDatum(tenant);
	objects->values[1] = PointerGetDatum(object_type);
	objects->is_direct = tables->is_direct;
	atlas_row_finder_begin(&objects->log, tables->log, &log_row, tables->snapshot);
	atlas_row_finder_begin(&objects->links, tables->links, &link_rows, tables->snapshot);
	return objects;
}

/* Adds the object that a row has. */
static void
add_object_of_row(List **ids, AtlasIndexReader *row)
{
	bool		isnull;

	*ids = lappend(*ids, DatumGetTextPCopy(atlas_index_reader_value(row, ROW_OBJECT_ID, &isnull)));
}

/* Reads the objects without a statement. Returns false if that is not possible. */
static bool
read_objects_directly(AtlasEventObjects *objects, const pg_uuid_t *event_id, List **ids,
					  TimestampTz *occurred_at)
{
	AtlasIndexReader *row;
	bool		isnull;

	if (!atlas_row_finder_find(&objects->log, objects->values, event_id, &row))
		return false;
	if (row == NULL)
		return true;
	*occurred_at = DatumGetTimestampTz(atlas_index_reader_value(row, ROW_OCCURRED_AT, &isnull));
	if (atlas_compare_text(DatumGetTextPP(atlas_index_reader_value(row, ROW_OBJECT_TYPE, &isnull)),
						   (const text *) DatumGetPointer(objects->values[1])) == 0)
		add_object_of_row(ids, row);
	if (!atlas_row_finder_find(&objects->links, objects->values, event_id, &row))
		return false;
	for (bool is_found = row != NULL; is_found; is_found = atlas_index_reader_next(row))
		add_object_of_row(ids, row);
	return true;
}

/* Reads the objects by a statement. */
static List *
read_objects_by_statement(AtlasEventObjects *objects, const pg_uuid_t *event_id,
						  TimestampTz *occurred_at)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[] = {objects->values[0], UUIDPGetDatum(event_id), objects->values[1]};
	List	   *ids = NIL;
	bool		is_in_log = false;

	(void) atlas_execute(&select_objects, values, NULL, true, 0);
	MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		bool		isnull;
		Datum		time = SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (!isnull)
		{
			*occurred_at = DatumGetTimestampTz(time);
			is_in_log = true;
		}
		if (DatumGetBool(SPI_getbinval(row, SPI_tuptable->tupdesc, 2, &isnull)))
			ids = lappend(ids, atlas_result_text(row, SPI_tuptable->tupdesc, 3));
	}
	SPI_freetuptable(SPI_tuptable);
	if (!is_in_log)
	{
		list_free_deep(ids);
		return NIL;
	}
	return ids;
}

/* memcmp order of ids in a list. */
static int
compare_listed_ids(const ListCell *a, const ListCell *b)
{
	return atlas_compare_text(lfirst(a), lfirst(b));
}

/* Sorts the ids, and leaves each of them in the list once. */
static List *
sort_distinct_ids(List *ids)
{
	int			ndistinct = 0;

	list_sort(ids, compare_listed_ids);
	for (int i = 0; i < list_length(ids); i++)
	{
		if (ndistinct > 0 && atlas_compare_text(list_nth(ids, ndistinct - 1), list_nth(ids, i)) == 0)
			pfree(list_nth(ids, i));
		else
			lfirst(list_nth_cell(ids, ndistinct++)) = list_nth(ids, i);
	}
	return list_truncate(ids, ndistinct);
}

List *
atlas_event_objects_of(AtlasEventObjects *objects, const pg_uuid_t *event_id,
					   TimestampTz *occurred_at)
{
	List	   *ids = NIL;

	if (objects->is_direct)
		objects->is_direct = read_objects_directly(objects, event_id, &ids, occurred_at);
	if (!objects->is_direct)
	{
		list_free_deep(ids);
		ids = read_objects_by_statement(objects, event_id, occurred_at);
	}
	return sort_distinct_ids(ids);
}

void
atlas_event_objects_end(AtlasEventObjects *objects)
{
	atlas_row_finder_end(&objects->log);
	atlas_row_finder_end(&objects->links);
	pfree(objects);
}
