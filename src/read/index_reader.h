/*
 * index_reader.h
 *		Reading the rows of one of our tables by an index, without a statement.
 */
#ifndef ATLAS_INDEX_READER_H
#define ATLAS_INDEX_READER_H

#include "access/htup.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "store/rows.h"

#define ATLAS_MAX_READ_COLUMNS 12
#define ATLAS_MAX_EQUAL_COLUMNS 3

/* What is read of a table, and by which columns. */
typedef struct AtlasReadShape
{
	int			ncolumns;
	AtlasTableColumn columns[ATLAS_MAX_READ_COLUMNS];

	/* Places of columns of type text or bigint, which are compared with values, and then of the event id. */
	int			nequal;
	int			keys[ATLAS_MAX_EQUAL_COLUMNS + 1];
} AtlasReadShape;

typedef struct AtlasIndexReader AtlasIndexReader;

/* Watches for changes of what is known of tables; from _PG_init(). */
extern void atlas_index_reader_init(void);

/*
 * Locks and opens one of our tables. While we wait for the lock, the extension may be
 * dropped and created again.
 */
extern Relation atlas_open_for_reading(AtlasTableId table);

/*
 * Can this index, a row of pg_index, be used, and does it have every row, without anything to
 * evaluate?
 */
extern bool atlas_index_is_plain(HeapTuple tuple);

/*
 * Locks and opens a table, or a partition, to read rows that the snapshot sees. Returns NULL
 * if it cannot be read by an index: it is not an ordinary table, its columns are others, or
 * no index has the keys. With is_ordered, the index must give the rows in the order of the
 * event ids.
 */
extern AtlasIndexReader *atlas_index_reader_open(Oid relid, const AtlasReadShape *shape,
												 bool is_ordered, Snapshot snapshot);

/* Looks for the rows with these values whose event ids are from low up to high, without high. */
extern void atlas_index_reader_seek(AtlasIndexReader *reader, const Datum *values,
									const pg_uuid_t *low, const pg_uuid_t *high);

/* The same, but the rows come in the order of their event ids, the smallest first. */
extern void atlas_index_reader_seek_forward(AtlasIndexReader *reader, const Datum *values,
											const pg_uuid_t *low, const pg_uuid_t *high);

/* Looks for the row with these values and this event id. */
extern void atlas_index_reader_seek_id(AtlasIndexReader *reader, const Datum *values,
									   const pg_uuid_t *id);

/* Goes to the next row, the greatest event id first unless they come forward. Returns false when there are no more. */
extern bool atlas_index_reader_next(AtlasIndexReader *reader);

/* A column of the row, by its place in the shape; good until the next call. */
extern Datum atlas_index_reader_value(AtlasIndexReader *reader, int column, bool *isnull);

/*
 * Has the index rows whose first value to be equal is not this one? Also if nobody sees them any more, or
 * if the index does not begin with that column.
 */
extern bool atlas_index_reader_has_others(AtlasIndexReader *reader, const Datum *values);

/* The table, or partition, that is read. */
extern Relation atlas_index_reader_relation(const AtlasIndexReader *reader);

/* Where a column of the shape is in that table. */
extern AttrNumber atlas_index_reader_attribute(const AtlasIndexReader *reader, int column);

extern void atlas_index_reader_close(AtlasIndexReader *reader);

#endif							/* ATLAS_INDEX_READER_H */
