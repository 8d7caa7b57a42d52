/*
 * matches_gin.h
 *		The documents of one partition that its GIN index finds.
 */
#ifndef ATLAS_MATCHES_GIN_H
#define ATLAS_MATCHES_GIN_H

#include "executor/tuptable.h"
#include "tsearch/ts_type.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "search/budget.h"

/* Where to look, and for what. */
typedef struct AtlasGinSearch
{
	Relation	partition;		/* locked */
	Oid			index;
	AttrNumber	event_id;		/* its column */
	TSQuery		query;
	Snapshot	snapshot;
	pg_uuid_t	low;			/* ids from this one */
	pg_uuid_t	high;			/* up to this one, without it */

	/* Is a row a match? One that is not is as if the index had not found it. */
	bool		(*check) (void *argument, TupleTableSlot *row);
	void	   *check_argument;
} AtlasGinSearch;

typedef struct AtlasCandidates AtlasCandidates;

/* The GIN index of the documents that can be used; InvalidOid if there is none. */
extern Oid	atlas_gin_index(Relation partition, AttrNumber document);

/* Collects the places of documents that may match, in the whole partition. */
extern AtlasCandidates *atlas_candidates_collect(const AtlasGinSearch *search);

/* How many places there are; at least, if the index has forgotten which rows of a page it means. */
extern int64 atlas_candidates_places(const AtlasCandidates *candidates);

/* How many of them are read before the first match can be taken, or a page can end. */
extern int64 atlas_candidates_first_places(const AtlasCandidates *candidates);

/*
 * Takes the next match, the greatest id first: *position is its id. Spends one for each row that is
 * read. Returns false when there are no more, or when the budget is spent: all rows with
 * ids from *position on have been looked at then. Either way, *position has become less.
 */
extern bool atlas_candidates_next(AtlasCandidates *candidates, AtlasBudget *budget, pg_uuid_t *position);

extern void atlas_candidates_free(AtlasCandidates *candidates);

#endif							/* ATLAS_MATCHES_GIN_H */
