/*
 * matches_gin.c
 *		The documents of one partition that its GIN index finds.
 *
 * The index gives a bitmap of places, in no order that serves a page. What is wanted are the newest
 * events, and only as many as the caller takes. So the places are divided into those of
 * the ranges of pages of which something is known (page_ranges.c), and the ranges are read in
 * the order of the newest event that each may have. What was read waits until no range
 * is left that may have a newer one.
 *
 * A bitmap that grows too large forgets which rows of a page it means. Then each row of
 * the page is looked at. If too many matches wait, the older half is forgotten, and whoever
 * wants these asks again.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "nodes/tidbitmap.h"
#include "port/pg_bswap.h"
#include "tsearch/ts_utils.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/event_id.h"
#include "search/column_index.h"
#include "search/matches_gin.h"
#include "search/page_ranges.h"

#define MAX_BITMAP_BYTES (64 * 1024 * 1024)
#define MAX_WAITING (256 * 1024)
#define FIRST_ROOM 256

/* A page with places. */
typedef struct PlacesOfPage
{
	BlockNumber block;
	int			first;			/* of its offsets */
	int			noffsets;		/* -1: any row of the page may be meant */
} PlacesOfPage;

/* Pages of a range, side by side. */
typedef struct PlacesOfRange
{
	pg_uuid_t	newest;			/* no row has a greater id */
	int			first;			/* of the pages */
	int			npages;
} PlacesOfRange;

/* A match that was read. */
typedef struct Waiting
{
	pairingheap_node node;
	pg_uuid_t	event_id;
} Waiting;

struct AtlasCandidates
{
	AtlasGinSearch search;
	MemoryContext context;
	Snapshot	snapshot;
	struct IndexFetchTableData *fetch;
	TupleTableSlot *slot;
	pg_uuid_t	low;			/* what is older is not wanted */

	PlacesOfPage *pages;		/* in the order of the partition */
	int			npages;
	int			page_room;
	OffsetNumber *offsets;
	int			noffsets;
	int			offset_room;
	int64		nplaces;

	PlacesOfRange *ranges;		/* the one that may have the newest event first */
	int			nranges;
	int			range_room;
	int			next_range;

	pairingheap *waiting;		/* the greatest id first */
	int			nwaiting;
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

/* The places of a bitmap are read as those of a heap. */
Oid
atlas_gin_index(Relation partition, AttrNumber document)
{
	return partition->rd_rel->relam == HEAP_TABLE_AM_OID ?
		atlas_column_index(partition, document, is_class_for_matches) : InvalidOid;
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

/* ----- Places, range by range ----- */

/* Adds the places of a page. */
static void
add_page(AtlasCandidates *candidates, const AtlasBitmapPage *page)
{
	int			noffsets = Max(page->noffsets, 0);
	PlacesOfPage *places;

	if (candidates->npages == candidates->page_room)
	{
		candidates->page_room *= 2;
		candidates->pages = repalloc_huge(candidates->pages, sizeof(PlacesOfPage) * candidates->page_room);
	}
	while (candidates->noffsets + noffsets > candidates->offset_room)
	{
		candidates->offset_room *= 2;
		candidates->offsets = repalloc_huge(candidates->offsets,
											sizeof(OffsetNumber) * candidates->offset_room);
	}
	places = &candidates->pages[candidates->npages++];
	places->block = page->block;
	places->first = candidates->noffsets;
	places->noffsets = page->noffsets;
	memcpy(&candidates->offsets[candidates->noffsets], page->offsets, sizeof(OffsetNumber) * noffsets);
	candidates->noffsets += noffsets;
	candidates->nplaces += Max(noffsets, 1);
}

/* Copies the places out of the bitmap. */
static void
add_pages(AtlasCandidates *candidates, TIDBitmap *bitmap)
{
	AtlasBitmapIterator *iterator = atlas_begin_bitmap(bitmap);
	AtlasBitmapPage *page = palloc(sizeof(AtlasBitmapPage));

	candidates->page_room = FIRST_ROOM;
	candidates->pages = palloc(sizeof(PlacesOfPage) * candidates->page_room);
	candidates->offset_room = FIRST_ROOM;
	candidates->offsets = palloc(sizeof(OffsetNumber) * candidates->offset_room);
	while (atlas_next_bitmap_page(iterator, page))
	{
		CHECK_FOR_INTERRUPTS();
		add_page(candidates, page);
	}
	atlas_end_bitmap(iterator);
	pfree(page);
}

/* Those that may have the newest events first. */
static int
compare_ranges(const void *a, const void *b)
{
	return atlas_event_id_compare(&((const PlacesOfRange *) b)->newest,
								  &((const PlacesOfRange *) a)->newest);
}

/* Adds the range of a page, unless it cannot have events that are wanted. Returns whether it can. */
static bool
add_range(AtlasCandidates *candidates, AtlasPageRanges *known, BlockNumber number, int first)
{
	PlacesOfRange range = {.first = first};
	pg_uuid_t	oldest;

	CHECK_FOR_INTERRUPTS();
	atlas_page_range_bounds(known, number, &oldest, &range.newest);
	if (atlas_event_id_compare(&range.newest, &candidates->search.low) < 0 ||
		atlas_event_id_compare(&candidates->search.high, &oldest) <= 0)
		return false;
	if (candidates->nranges == candidates->range_room)
	{
		candidates->range_room *= 2;
		candidates->ranges = repalloc_huge(candidates->ranges, sizeof(PlacesOfRange) * candidates->range_room);
	}
	candidates->ranges[candidates->nranges++] = range;
	return true;
}

/* Divides the pages into ranges. */
static void
divide_pages(AtlasCandidates *candidates)
{
	AtlasPageRanges *known;
	BlockNumber number = InvalidBlockNumber;
	bool		is_wanted = false;

	if (candidates->npages == 0)
		return;
	known = atlas_page_ranges_begin(candidates->search.partition, candidates->search.event_id);
	candidates->range_room = FIRST_ROOM;
	candidates->ranges = palloc(sizeof(PlacesOfRange) * candidates->range_room);
	for (int i = 0; i < candidates->npages; i++)
	{
		BlockNumber of_page = atlas_page_range(known, candidates->pages[i].block);

		if (of_page != number)
			is_wanted = add_range(candidates, known, of_page, i);
		number = of_page;
		if (is_wanted)
			candidates->ranges[candidates->nranges - 1].npages++;
	}
	atlas_page_ranges_end(known);
	qsort(candidates->ranges, candidates->nranges, sizeof(PlacesOfRange), compare_ranges);
}

/* The greatest id first. */
static int
compare_waiting(const pairingheap_node *a, const pairingheap_node *b, void *argument)
{
	return atlas_event_id_compare(&pairingheap_const_container(Waiting, node, a)->event_id,
								  &pairingheap_const_container(Waiting, node, b)->event_id);
}

AtlasCandidates *
atlas_candidates_collect(const AtlasGinSearch *search)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events candidates",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AtlasCandidates *candidates = palloc0(sizeof(AtlasCandidates));
	TIDBitmap  *bitmap = read_index(search);

	candidates->search = *search;
	candidates->context = context;
	candidates->low = search->low;
	candidates->waiting = pairingheap_allocate(compare_waiting, NULL);
	add_pages(candidates, bitmap);
	tbm_free(bitmap);
	divide_pages(candidates);
	candidates->snapshot = RegisterSnapshot(search->snapshot);
	candidates->fetch = table_index_fetch_begin(search->partition);
	candidates->slot = table_slot_create(search->partition, NULL);
	MemoryContextSwitchTo(old);
	return candidates;
}

int64
atlas_candidates_places(const AtlasCandidates *candidates)
{
	return candidates->nplaces;
}

int64
atlas_candidates_first_places(const AtlasCandidates *candidates)
{
	int64		nplaces = 0;

	for (int i = 0; i < candidates->nranges; i++)
	{
		const PlacesOfRange *range = &candidates->ranges[i];

		if (atlas_event_id_compare(&range->newest, &candidates->search.high) < 0)
			break;
		for (int j = range->first; j < range->first + range->npages; j++)
			nplaces += Max(candidates->pages[j].noffsets, 1);
	}
	return nplaces;
}

/* ----- Rows ----- */

/* Forgets the older half of what waits. */
static void
keep_newest(AtlasCandidates *candidates)
{
	pairingheap *all = candidates->waiting;
	int			nkept = candidates->nwaiting / 2;
	Waiting    *waiting;

	candidates->waiting = pairingheap_allocate(compare_waiting, NULL);
	for (int i = 0; i < nkept; i++)
	{
		waiting = pairingheap_container(Waiting, node, pairingheap_remove_first(all));
		candidates->low = waiting->event_id;
		pairingheap_add(candidates->waiting, &waiting->node);
	}
	candidates->nwaiting = nkept;
	while (!pairingheap_is_empty(all))
	{
		waiting = pairingheap_container(Waiting, node, pairingheap_remove_first(all));
		/* A table without its key may have an id twice. */
		if (atlas_event_id_compare(&waiting->event_id, &candidates->low) == 0)
		{
			pairingheap_add(candidates->waiting, &waiting->node);
			candidates->nwaiting++;
		}
		else
			pfree(waiting);
	}
	pairingheap_free(all);
}

/* Is the id one of those that are wanted? */
static bool
is_in_bounds(const AtlasCandidates *candidates, const pg_uuid_t *id)
{
	return atlas_event_id_compare(&candidates->low, id) <= 0 &&
		atlas_event_id_compare(id, &candidates->search.high) < 0;
}

/* Reads a row, if the snapshot sees one; a match waits then. */
static void
read_row(AtlasCandidates *candidates, BlockNumber block, OffsetNumber offset)
{
	const AtlasGinSearch *search = &candidates->search;
	ItemPointerData place;
	const pg_uuid_t *id;
	Waiting    *waiting;
	bool		call_again = false;
	bool		isnull;

	ItemPointerSet(&place, block, offset);
	if (!table_index_fetch_tuple(candidates->fetch, &place, candidates->snapshot, candidates->slot,
								 &call_again, NULL))
		return;
	id = DatumGetUUIDP(slot_getattr(candidates->slot, search->event_id, &isnull));
	if (isnull || !is_in_bounds(candidates, id) || !search->check(search->check_argument, candidates->slot))
		return;
	if (candidates->nwaiting == MAX_WAITING)
		keep_newest(candidates);
	waiting = MemoryContextAlloc(candidates->context, sizeof(Waiting));
	waiting->event_id = *id;
	pairingheap_add(candidates->waiting, &waiting->node);
	candidates->nwaiting++;
}

/* Reads the rows of the next range. */
static void
read_range(AtlasCandidates *candidates, AtlasBudget *budget)
{
	const PlacesOfRange *range = &candidates->ranges[candidates->next_range++];

	for (int i = range->first; i < range->first + range->npages; i++)
	{
		const PlacesOfPage *page = &candidates->pages[i];
		int			nrows = page->noffsets < 0 ? MaxHeapTuplesPerPage : page->noffsets;

		CHECK_FOR_INTERRUPTS();
		for (int j = 0; j < nrows; j++)
			read_row(candidates, page->block,
					 page->noffsets < 0 ? FirstOffsetNumber + j : candidates->offsets[page->first + j]);
		atlas_budget_spend(budget, nrows);
	}
	ExecClearTuple(candidates->slot);
}

/* The least id that no row of the ranges has that were not read; low if there are none. */
static pg_uuid_t
end_of_unread(const AtlasCandidates *candidates)
{
	pg_uuid_t	end = candidates->low;
	int			i = UUID_LEN - 1;

	if (candidates->next_range == candidates->nranges ||
		atlas_event_id_compare(&candidates->ranges[candidates->next_range].newest, &end) < 0)
		return end;
	end = candidates->ranges[candidates->next_range].newest;
	/* One more; the greatest of all ids, of a range of which nothing is known, has none above it. */
	while (i >= 0 && end.data[i] == 0xff)
		i--;
	if (i >= 0)
	{
		end.data[i]++;
		memset(&end.data[i + 1], 0, UUID_LEN - 1 - i);
	}
	return end;
}

/*
 * Where a page may end that has looked at all ids from this one on: at the next full second. The id itself
 * would tell when another tenant had an event, and which one.
 */
static pg_uuid_t
end_of_page(const pg_uuid_t *id)
{
	pg_uuid_t	end = {0};
	uint64		ms;

	memcpy(&ms, id->data, sizeof(ms));
	ms = ((pg_ntoh64(ms) >> 16) / 1000 + 1) * 1000;
	if (ms >> 48 != 0)
	{
		memset(&end, 0xff, sizeof(end));
		return end;
	}
	ms = pg_hton64(ms << 16);
	memcpy(end.data, &ms, sizeof(ms));
	return end;
}

bool
atlas_candidates_next(AtlasCandidates *candidates, AtlasBudget *budget, pg_uuid_t *position)
{
	for (;;)
	{
		pg_uuid_t	end = end_of_unread(candidates);
		Waiting    *first = NULL;

		if (!pairingheap_is_empty(candidates->waiting))
			first = pairingheap_container(Waiting, node, pairingheap_first(candidates->waiting));
		if (first != NULL && atlas_event_id_compare(&first->event_id, &end) >= 0)
		{
			*position = first->event_id;
			(void) pairingheap_remove_first(candidates->waiting);
			candidates->nwaiting--;
			pfree(first);
			return true;
		}
		if (atlas_event_id_compare(&end, &candidates->low) <= 0)
		{
			*position = end;
			return false;
		}
		end = end_of_page(&end);
		if (atlas_budget_is_spent(budget) && atlas_event_id_compare(&end, position) < 0)
		{
			*position = end;
			return false;
		}
		read_range(candidates, budget);
	}
}

void
atlas_candidates_free(AtlasCandidates *candidates)
{
	ExecDropSingleTupleTableSlot(candidates->slot);
	table_index_fetch_end(candidates->fetch);
	UnregisterSnapshot(candidates->snapshot);
	MemoryContextDelete(candidates->context);
}
