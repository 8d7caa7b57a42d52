/*
 * row_finder.h
 *		Finding rows of one of the partitioned tables by their event ids, without a
 *		statement.
 */
#ifndef ATLAS_ROW_FINDER_H
#define ATLAS_ROW_FINDER_H

#include "read/index_reader.h"
#include "store/partition_range.h"

/* The partition in which the last row was looked for stays open. */
typedef struct AtlasRowFinder
{
	Relation	table;
	const AtlasReadShape *shape;
	Snapshot	snapshot;
	AtlasIndexReader *reader;	/* NULL: none is open */
	AtlasIdRange range;			/* of the partition that is open */
} AtlasRowFinder;

/* The table is open, and stays so. */
extern void atlas_row_finder_begin(AtlasRowFinder *finder, Relation table,
								   const AtlasReadShape *shape, Snapshot snapshot);

/*
 * Finds the row with these values and this event id; NULL if it is not there. Returns false
 * if its partition cannot be read by an index.
 */
extern bool atlas_row_finder_find(AtlasRowFinder *finder, const Datum *values,
								  const pg_uuid_t *id, AtlasIndexReader **row);

extern void atlas_row_finder_end(AtlasRowFinder *finder);

#endif							/* ATLAS_ROW_FINDER_H */
