/*
 * page_ranges.h
 *		The oldest and the newest event that each range of the pages of a partition may have.
 */
#ifndef ATLAS_PAGE_RANGES_H
#define ATLAS_PAGE_RANGES_H

#include "storage/block.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

typedef struct AtlasPageRanges AtlasPageRanges;

/* Begins to read the BRIN index of the column with the event ids. */
extern AtlasPageRanges *atlas_page_ranges_begin(Relation partition, AttrNumber event_id);

/* The number of the range that has a page, from 0. Without an index there is only one range. */
extern BlockNumber atlas_page_range(const AtlasPageRanges *ranges, BlockNumber page);

/*
 * No row of the range that a snapshot of this transaction sees has a lesser id than the oldest,
 * or a greater one than the newest. These are the least and the greatest of all ids where
 * nothing is known of the range.
 */
extern void atlas_page_range_bounds(AtlasPageRanges *ranges, BlockNumber range, pg_uuid_t *oldest, pg_uuid_t *newest);

extern void atlas_page_ranges_end(AtlasPageRanges *ranges);

#endif							/* ATLAS_PAGE_RANGES_H */
