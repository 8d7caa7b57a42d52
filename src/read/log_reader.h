/*
 * log_reader.h
 *		What a page shows of events: their rows in the log and their status, read without
 *		a statement.
 */
#ifndef ATLAS_LOG_READER_H
#define ATLAS_LOG_READER_H

#include "read/index_reader.h"
#include "read/row_finder.h"

/* The columns of the log that are read. */
typedef enum AtlasLogReaderColumn
{
	ATLAS_READ_EVENT_ID,
	ATLAS_READ_OCCURRED_AT,
	ATLAS_READ_NAME,
	ATLAS_READ_DESCRIPTION,
	ATLAS_READ_ICON,
	ATLAS_READ_PAYLOAD,
	ATLAS_READ_OBJECT_TYPE,
	ATLAS_READ_OBJECT_ID,
	ATLAS_READ_EXTERNAL_ID,
	ATLAS_READ_TENANT_ID,		/* the columns before it are those that a page shows */
	ATLAS_READ_RECEIVED_AT,
	ATLAS_READ_RELATED_OBJECTS
} AtlasLogReaderColumn;

#define ATLAS_READ_NCOLUMNS (ATLAS_READ_RELATED_OBJECTS + 1)

/* These columns, found by tenant, type and id of the primary object, or by tenant and event. */
extern const AtlasReadShape atlas_log_by_object;
extern const AtlasReadShape atlas_log_by_id;

typedef struct AtlasLogReader
{
	Relation	log;
	AtlasRowFinder rows;
	AtlasIndexReader *queue;	/* NULL: it cannot be read directly, or is not needed */
	Datum		tenant;
	Snapshot	snapshot;
	Datum		linked;
	Datum		pending;
	Datum		failed;
} AtlasLogReader;

/*
 * Opens log and queue, to read rows of a tenant that the snapshot sees; the other one opens the
 * log alone, and the status of events cannot be asked for. Returns false if one of them cannot
 * be read directly; it is to be ended all the same.
 */
extern bool atlas_log_reader_begin(AtlasLogReader *reader, const text *tenant, Snapshot snapshot);
extern bool atlas_log_reader_begin_without_status(AtlasLogReader *reader, const text *tenant,
												  Snapshot snapshot);

/* Finds an event, as atlas_row_finder_find() does. */
extern bool atlas_log_reader_find(AtlasLogReader *reader, const pg_uuid_t *id,
								  AtlasIndexReader **row);

/* Is this the name of the event that a row is at? Any name is if none is asked for. */
extern bool atlas_row_has_name(AtlasIndexReader *row, const text *name);

/* The processing status of an event, as text. */
extern Datum atlas_log_reader_status(AtlasLogReader *reader, const pg_uuid_t *id);

/* Closes the tables; the locks stay until the end of the transaction. */
extern void atlas_log_reader_end(AtlasLogReader *reader);

#endif							/* ATLAS_LOG_READER_H */
