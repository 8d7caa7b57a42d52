/*
 * matches_gin.c
 *		The documents of one partition that its GIN index finds.
 *
 * The index gives a bitmap of places, in no order that serves a page. The event ids are
 * read from the rows that the snapshot sees, and sorted. The documents themselves are
 * read only when somebody takes them, the newest first; or at once, if nearly all of them will
 * be needed, so that each page is visited only once. Documents come in the order of their events,
 * more or less, so that most of the sorting is done when the bitmap is read page by page.
 *
 * A bitmap that grows too large forgets which rows of a page it means. Then each row of
 * the page is a candidate.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "tsearch/ts_utils.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/event_id.h"
#include "read/index_reader.h"
#include "search/matches_gin.h"

#define MAX_BITMAP_BYTES (64 * 1024 * 1024)
#define MAX_CANDIDATES (256 * 1024)
#define FIRST_CANDIDATES 256

typedef struct Candidate
{
	pg_uuid_t	event_id;
	ItemPointerData place;
} Candidate;

struct AtlasCandidates
{
	Snapshot	snapshot;
	IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	pg_uuid_t	low;
	int64		nfetched;
	int			nitems;
	int			size;
	Candidate  *items;			/* when they have been collected: the greatest id last */
};

/* Is the operator class of the index one of GIN, which has PostgreSQL's own operator @@? */
static bool
is_class_for_matches(Oid opclass)
{
	HeapTuple	tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	const FormData_pg_opclass *form;
	Oid			operator = InvalidOid;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (const FormData_pg_opclass *) GETSTRUCT(tuple);
	if (form->opcmethod == GIN_AM_OID)
		operator = get_opfamily_member(form->opcfamily, TSVECTOROID, TSQUERYOID, TSearchStrategyNumber);
	ReleaseSysCache(tuple);
	return OidIsValid(operator) && get_opcode(operator) == F_TS_MATCH_VQ;
}

/* Is it a GIN index of this column alone? */
static bool
is_gin_index_of(HeapTuple tuple, AttrNumber column)
{
	const FormData_pg_index *form = (const FormData_pg_index *) GETSTRUCT(tuple);
	bool		isnull;
	Datum		classes = SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indclass, &isnull);

	return atlas_index_is_plain(tuple) && form->indnkeyatts == 1 &&
		form->indkey.values[0] == column &&
		is_class_for_matches(((const oidvector *) DatumGetPointer(classes))->values[0]);
}

Oid
atlas_gin_index(Relation partition, AttrNumber document)
{
	List	   *indexes;
	Oid			found = InvalidOid;

	/* The places of a bitmap are read as those of a heap. */
	if (partition->rd_rel->relam != HEAP_TABLE_AM_OID)
		return InvalidOid;
	indexes = RelationGetIndexList(partition);
	for (int i = 0; i < list_length(indexes) && !OidIsValid(found); i++)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(list_nth_oid(indexes, i)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (is_gin_index_of(tuple, document))
			found = list_nth_oid(indexes, i);
		ReleaseSysCache(tuple);
	}
	list_free(indexes);
	return found;
}

/* Asks the index for the places. */
static TIDBitmap *
read_index(const AtlasGinSearch *search)
{
	TIDBitmap  *bitmap = tbm_create(MAX_BITMAP_BYTES, NULL);
	Relation	index = index_open(search->index, AccessShareLock);
	IndexScanDesc scan = atlas_begin_bitmap_scan(index, search->snapshot, 1);
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, TSearchStrategyNumber, TSQUERYOID, InvalidOid, F_TS_MATCH_VQ,
						   TSQueryGetDatum(search->query));
	index_rescan(scan, &key, 1, NULL, 0);
	(void) index_getbitmap(scan, bitmap);
	index_endscan(scan);
	index_close(index, NoLock);
	return bitmap;
}

/* Ascending, which is how most of them come. */
static int
compare_candidates(const void *a, const void *b)
{
	return atlas_event_id_compare(&((const Candidate *) a)->event_id,
								  &((const Candidate *) b)->event_id);
}

/* Forgets the older half, when there are too many. */
static void
keep_newest(AtlasCandidates *candidates)
{
	int			first = candidates->nitems / 2;

	qsort(candidates->items, candidates->nitems, sizeof(Candidate), compare_candidates);
	/* A table without its key may have an id twice. */
	while (first > 0 && compare_candidates(&candidates->items[first - 1], &candidates->items[first]) == 0)
		first--;
	candidates->nitems -= first;
	memmove(candidates->items, candidates->items + first, sizeof(Candidate) * candidates->nitems);
	candidates->low = candidates->items[0].event_id;
}

static void
add_candidate(AtlasCandidates *candidates, const pg_uuid_t *id, const ItemPointerData *place)
{
	if (candidates->nitems == MAX_CANDIDATES)
		keep_newest(candidates);
	if (candidates->nitems == candidates->size)
	{
		candidates->size *= 2;
		candidates->items = repalloc(candidates->items, sizeof(Candidate) * candidates->size);
	}
	candidates->items[candidates->nitems].event_id = *id;
	candidates->items[candidates->nitems].place = *place;
	candidates->nitems++;
}

/* Fetches the version of a row that the snapshot sees; false if it sees none. */
static bool
fetch_candidate(AtlasCandidates *candidates, const ItemPointerData *place)
{
	ItemPointerData tid = *place;
	bool		call_again = false;

	return table_index_fetch_tuple(candidates->fetch, &tid, candidates->snapshot, candidates->slot,
								   &call_again, NULL);
}

/* Makes a candidate of a row that may match, if its id is wanted. */
static void
collect_row(AtlasCandidates *candidates, const AtlasGinSearch *search, BlockNumber block,
			OffsetNumber offset)
{
	ItemPointerData place;
	const pg_uuid_t *id;
	bool		isnull;

	ItemPointerSet(&place, block, offset);
	candidates->nfetched++;
	if (!fetch_candidate(candidates, &place))
		return;
	id = DatumGetUUIDP(slot_getattr(candidates->slot, search->event_id, &isnull));
	if (!isnull && atlas_event_id_compare(&candidates->low, id) <= 0 &&
		atlas_event_id_compare(id, &search->high) < 0 &&
		search->check(search->check_argument, candidates->slot))
		add_candidate(candidates, id, &place);
}

/* Reads the ids of the rows that the bitmap means. */
static void
collect_rows(AtlasCandidates *candidates, const AtlasGinSearch *search, TIDBitmap *bitmap)
{
	AtlasBitmapIterator *iterator = atlas_begin_bitmap(bitmap);
	AtlasBitmapPage *page = palloc(sizeof(AtlasBitmapPage));

	while (atlas_next_bitmap_page(iterator, page))
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < page->noffsets; i++)
			collect_row(candidates, search, page->block, page->offsets[i]);
		for (int i = 0; page->noffsets < 0 && i < MaxHeapTuplesPerPage; i++)
			collect_row(candidates, search, page->block, FirstOffsetNumber + i);
	}
	atlas_end_bitmap(iterator);
	pfree(page);
}

AtlasCandidates *
atlas_candidates_collect(const AtlasGinSearch *search)
{
	AtlasCandidates *candidates = palloc0(sizeof(AtlasCandidates));
	TIDBitmap  *bitmap = read_index(search);

	candidates->snapshot = RegisterSnapshot(search->snapshot);
	candidates->fetch = table_index_fetch_begin(search->partition);
	candidates->slot = table_slot_create(search->partition, NULL);
	candidates->low = search->low;
	candidates->size = FIRST_CANDIDATES;
	candidates->items = palloc(sizeof(Candidate) * candidates->size);
	collect_rows(candidates, search, bitmap);
	tbm_free(bitmap);
	qsort(candidates->items, candidates->nitems, sizeof(Candidate), compare_candidates);
	return candidates;
}

int64
atlas_candidates_fetched(const AtlasCandidates *candidates)
{
	return candidates->nfetched;
}

const pg_uuid_t *
atlas_candidates_low(const AtlasCandidates *candidates)
{
	return &candidates->low;
}

bool
atlas_candidates_next(AtlasCandidates *candidates, pg_uuid_t *event_id)
{
	if (candidates->nitems == 0)
		return false;
	*event_id = candidates->items[--candidates->nitems].event_id;
	return true;
}

TupleTableSlot *
atlas_candidates_row(AtlasCandidates *candidates)
{
	return fetch_candidate(candidates, &candidates->items[candidates->nitems].place) ?
		candidates->slot : NULL;
}

void
atlas_candidates_free(AtlasCandidates *candidates)
{
	ExecDropSingleTupleTableSlot(candidates->slot);
	table_index_fetch_end(candidates->fetch);
	UnregisterSnapshot(candidates->snapshot);
	pfree(candidates->items);
	pfree(candidates);
}
