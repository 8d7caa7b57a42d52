/*
 * row_finder.c
 *		Finding rows of one of the partitioned tables by their event ids, without a
 *		statement.
 *
 * Ids that are looked for one after the other are usually in the same partition.
 */
#include "postgres.h"

#include "read/row_finder.h"

#include "store/partitions.h"

void
atlas_row_finder_begin(AtlasRowFinder *finder, Relation table, const AtlasReadShape *shape,
					   Snapshot snapshot)
{
	memset(finder, 0, sizeof(*finder));
	finder->table = table;
	finder->shape = shape;
	finder->snapshot = snapshot;
}

bool
atlas_row_finder_find(AtlasRowFinder *finder, const Datum *values, const pg_uuid_t *id,
					  AtlasIndexReader **row)
{
	*row = NULL;
	if (finder->reader == NULL || !atlas_range_has(&finder->range, id))
	{
		Oid			partition;

		atlas_row_finder_end(finder);
		partition = atlas_partition_at(finder->table, id, &finder->range);
		if (!OidIsValid(partition))
			return true;
		finder->reader = atlas_index_reader_open(partition, finder->shape, false, finder->snapshot);
		if (finder->reader == NULL)
			return false;
	}
	atlas_index_reader_seek_id(finder->reader, values, id);
	if (atlas_index_reader_next(finder->reader))
		*row = finder->reader;
	return true;
}

void
atlas_row_finder_end(AtlasRowFinder *finder)
{
	if (finder->reader != NULL)
		atlas_index_reader_close(finder->reader);
	finder->reader = NULL;
}
