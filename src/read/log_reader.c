/*
 * log_reader.c
 *		What a page shows of events: their rows in the log and their status, read without
 *		a statement.
 *
 * An event is PENDING or FAILED as long as the queue has a row for it, and else LINKED.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "read/log_reader.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define LOG_COLUMNS { \
	[ATLAS_READ_EVENT_ID] = {"event_id", UUIDOID}, \
	[ATLAS_READ_OCCURRED_AT] = {"occurred_at", TIMESTAMPTZOID}, \
	[ATLAS_READ_NAME] = {"name", TEXTOID}, \
	[ATLAS_READ_DESCRIPTION] = {"description", TEXTOID}, \
	[ATLAS_READ_ICON] = {"icon", TEXTOID}, \
	[ATLAS_READ_PAYLOAD] = {"payload", JSONBOID}, \
	[ATLAS_READ_OBJECT_TYPE] = {"object_type", TEXTOID}, \
	[ATLAS_READ_OBJECT_ID] = {"object_id", TEXTOID}, \
	[ATLAS_READ_EXTERNAL_ID] = {"external_id", TEXTOID}, \
	[ATLAS_READ_TENANT_ID] = {"tenant_id", TEXTOID}, \
	[ATLAS_READ_RECEIVED_AT] = {"received_at", TIMESTAMPTZOID}, \
	[ATLAS_READ_RELATED_OBJECTS] = {"related_objects", JSONBOID}, \
}

const AtlasReadShape atlas_log_by_object = {
	.ncolumns = ATLAS_READ_NCOLUMNS,
	.columns = LOG_COLUMNS,
	.nequal = 3,
	.keys = {ATLAS_READ_TENANT_ID, ATLAS_READ_OBJECT_TYPE, ATLAS_READ_OBJECT_ID, ATLAS_READ_EVENT_ID},
};

const AtlasReadShape atlas_log_by_id = {
	.ncolumns = ATLAS_READ_NCOLUMNS,
	.columns = LOG_COLUMNS,
	.nequal = 1,
	.keys = {ATLAS_READ_TENANT_ID, ATLAS_READ_EVENT_ID},
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

bool
atlas_log_reader_begin_without_status(AtlasLogReader *reader, const text *tenant, Snapshot snapshot)
{
	memset(reader, 0, sizeof(*reader));
	reader->tenant = PointerGetDatum(tenant);
	reader->snapshot = snapshot;
	reader->log = atlas_open_for_reading(ATLAS_EVENTS);
	atlas_row_finder_begin(&reader->rows, reader->log, &atlas_log_by_id, snapshot);
	return atlas_may_use_directly(reader->log, ACL_SELECT);
}

bool
atlas_log_reader_begin(AtlasLogReader *reader, const text *tenant, Snapshot snapshot)
{
	bool		is_direct = atlas_log_reader_begin_without_status(reader, tenant, snapshot);

	reader->linked = CStringGetTextDatum("LINKED");
	reader->pending = CStringGetTextDatum("PENDING");
	reader->failed = CStringGetTextDatum("FAILED");
	reader->queue = open_queue(snapshot);
	return is_direct && reader->queue != NULL;
}

bool
atlas_log_reader_find(AtlasLogReader *reader, const pg_uuid_t *id, AtlasIndexReader **row)
{
	return atlas_row_finder_find(&reader->rows, &reader->tenant, id, row);
}

bool
atlas_row_has_name(AtlasIndexReader *row, const text *name)
{
	bool		isnull;

	return name == NULL ||
		DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID,
											 atlas_index_reader_value(row, ATLAS_READ_NAME, &isnull),
											 PointerGetDatum(name)));
}

Datum
atlas_log_reader_status(AtlasLogReader *reader, const pg_uuid_t *id)
{
	Datum		next_attempt_at;
	bool		isnull;

	atlas_index_reader_seek_id(reader->queue, &reader->tenant, id);
	if (!atlas_index_reader_next(reader->queue))
		return reader->linked;
	next_attempt_at = atlas_index_reader_value(reader->queue, QUEUE_NEXT_ATTEMPT_AT, &isnull);
	return !isnull && TIMESTAMP_IS_NOEND(DatumGetTimestampTz(next_attempt_at)) ?
		reader->failed : reader->pending;
}

void
atlas_log_reader_end(AtlasLogReader *reader)
{
	atlas_row_finder_end(&reader->rows);
	if (reader->queue != NULL)
		atlas_index_reader_close(reader->queue);
	table_close(reader->log, NoLock);
}
