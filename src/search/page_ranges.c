/*
 * page_ranges.c
 *		The oldest and the newest event that each range of the pages of a partition may have.
 *
 * Documents come in the order of their events, more or less. A BRIN index has the least and
 * the greatest event id of each range of pages. So a search that has found many places needs
 * the rows of those ranges only that may have the newest events.
 *
 * The index is told of each row when that is written, so it knows of all rows that a snapshot
 * sees which was taken before. It knows nothing of a range that nobody has summarized
 * yet, which autovacuum does, for each range that has become full. On a standby a snapshot that is
 * kept may be older than what the primary took into account when it summarized a range.
 */
#include "postgres.h"

#include "access/brin_internal.h"
#include "access/brin_revmap.h"
#include "access/brin_tuple.h"
#include "access/genam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_am.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "search/column_index.h"
#include "search/page_ranges.h"

struct AtlasPageRanges
{
	Relation	index;			/* NULL: there is none */
	BrinDesc   *description;
	BrinRevmap *map;
	BlockNumber pages;			/* in a range */
	BrinMemTuple *summary;		/* of the last range that was asked for */
	BrinTuple  *copy;
	Size		copy_size;
	Buffer		buffer;			/* pinned, or InvalidBuffer */
};

/* Is it PostgreSQL's class for the least and the greatest uuid? */
static bool
is_class_for_ranges(Oid opclass)
{
	HeapTuple	tuple;
	const FormData_pg_opclass *form;
	bool		result;

	if (opclass >= FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (const FormData_pg_opclass *) GETSTRUCT(tuple);
	result = form->opcmethod == BRIN_AM_OID && form->opcintype == UUIDOID &&
		get_opfamily_proc(form->opcfamily, UUIDOID, UUIDOID, BRIN_PROCNUM_OPCINFO) == F_BRIN_MINMAX_OPCINFO;
	ReleaseSysCache(tuple);
	return result;
}

AtlasPageRanges *
atlas_page_ranges_begin(Relation partition, AttrNumber event_id)
{
	AtlasPageRanges *ranges = palloc0(sizeof(AtlasPageRanges));
	Oid			index = atlas_column_index(partition, event_id, is_class_for_ranges);

	if (!OidIsValid(index) || (RecoveryInProgress() && IsolationUsesXactSnapshot()))
		return ranges;
	ranges->index = index_open(index, AccessShareLock);
	ranges->description = brin_build_desc(ranges->index);
	ranges->map = atlas_brin_map(ranges->index, &ranges->pages);
	ranges->summary = brin_new_memtuple(ranges->description);
	ranges->buffer = InvalidBuffer;
	return ranges;
}

BlockNumber
atlas_page_range(const AtlasPageRanges *ranges, BlockNumber page)
{
	return ranges->index != NULL ? page / ranges->pages : 0;
}

/* Copies the summary of a range. Returns false if there is none. */
static bool
read_summary(AtlasPageRanges *ranges, BlockNumber range)
{
	OffsetNumber offset;
	Size		size;
	BrinTuple  *tuple = atlas_brin_tuple(ranges->map, range * ranges->pages, &ranges->buffer, &offset, &size);

	if (tuple == NULL)
		return false;
	ranges->copy = brin_copy_tuple(tuple, size, ranges->copy, &ranges->copy_size);
	LockBuffer(ranges->buffer, BUFFER_LOCK_UNLOCK);
	ranges->summary = brin_deform_tuple(ranges->description, ranges->copy, ranges->summary);
	return !ranges->summary->bt_placeholder && !ranges->summary->bt_columns[0].bv_allnulls;
}

void
atlas_page_range_bounds(AtlasPageRanges *ranges, BlockNumber range, pg_uuid_t *oldest, pg_uuid_t *newest)
{
	const Datum *values;

	memset(oldest, 0, sizeof(*oldest));
	memset(newest, 0xff, sizeof(*newest));
	if (ranges->index == NULL || !read_summary(ranges, range))
		return;
	values = ranges->summary->bt_columns[0].bv_values;
	*oldest = *DatumGetUUIDP(values[0]);
	*newest = *DatumGetUUIDP(values[1]);
}

void
atlas_page_ranges_end(AtlasPageRanges *ranges)
{
	if (ranges->index != NULL)
	{
		if (BufferIsValid(ranges->buffer))
			ReleaseBuffer(ranges->buffer);
		brinRevmapTerminate(ranges->map);
		brin_free_desc(ranges->description);
		index_close(ranges->index, NoLock);
	}
	pfree(ranges);
}
