/*
 * matches.h
 *		The events of a tenant whose documents match a query, newest first.
 */
#ifndef ATLAS_MATCHES_H
#define ATLAS_MATCHES_H

#include "tsearch/ts_type.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "search/budget.h"

/* Which documents are wanted. */
typedef struct AtlasMatchesScope
{
	const text *tenant;
	TSQuery		query;			/* as documents are compared with it */
	bool		is_indexable;	/* see query.h */
	pg_uuid_t	low;			/* ids from this one */
	pg_uuid_t	high;			/* up to this one, without it */
	int			wanted;			/* how many the caller is likely to take */
} AtlasMatchesScope;

typedef struct AtlasMatches AtlasMatches;

/*
 * Begins to look, partition by partition, the newest first: a short walk back through the newest
 * documents, and then, if they are too rare for that, the GIN index. Inside SPI_connect(), as
 * the owner of the extension. The budget is the caller's and is spent by each call. Where a
 * statement reads the documents, because they cannot be read directly, only
 * atlas_matches_has() spends it.
 */
extern AtlasMatches *atlas_matches_begin(const AtlasMatchesScope *scope, AtlasBudget *budget,
										 Snapshot snapshot);

/* The next event. Returns false when there are no more, or when the budget is spent. */
extern bool atlas_matches_next(AtlasMatches *matches, pg_uuid_t *event_id);

/*
 * After false: all events with ids from this one on have been looked at. It is the lower bound of the
 * scope when there are no more.
 */
extern const pg_uuid_t *atlas_matches_searched_until(const AtlasMatches *matches);

extern void atlas_matches_end(AtlasMatches *matches);

/*
 * Does the document of this event match? An event without a document does not. Spends one.
 * For walks along the timeline of an object.
 */
extern bool atlas_matches_has(AtlasMatches *matches, const pg_uuid_t *event_id);

#endif							/* ATLAS_MATCHES_H */
