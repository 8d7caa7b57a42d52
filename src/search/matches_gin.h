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

	/* Is a row wanted? One that is not is as if the index had not found it. */
	bool		(*check) (void *argument, TupleTableSlot *row);
	void	   *check_argument;
} AtlasGinSearch;

typedef struct AtlasCandidates AtlasCandidates;

/* The GIN index of the documents that can be used; InvalidOid if there is none. */
extern Oid	atlas_gin_index(Relation partition, AttrNumber document);

/*
 * Collects the places of documents that may match. The memory is bounded: if there are too
 * many, the newest are kept.
 */
extern AtlasCandidates *atlas_candidates_collect(const AtlasGinSearch *search);

/* How many rows were fetched to collect them. */
extern int64 atlas_candidates_fetched(const AtlasCandidates *candidates);

/* All that may match with ids from this one on have been collected. */
extern const pg_uuid_t *atlas_candidates_low(const AtlasCandidates *candidates);

/* Takes the next one, the greatest id first. Returns false when there are no more. */
extern bool atlas_candidates_next(AtlasCandidates *candidates, pg_uuid_t *event_id);

/* The row of the one that was taken; NULL if it is not there. */
extern TupleTableSlot *atlas_candidates_row(AtlasCandidates *candidates);

extern void atlas_candidates_free(AtlasCandidates *candidates);

#endif							/* ATLAS_MATCHES_GIN_H */
