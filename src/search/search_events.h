/*
 * search_events.h
 *		A page of a search over events.
 */
#ifndef ATLAS_SEARCH_EVENTS_H
#define ATLAS_SEARCH_EVENTS_H

#include "funcapi.h"

#include "search/budget.h"
#include "search/query.h"
#include "utils/uuid.h"

/* What is searched for. */
typedef struct AtlasEventSearch
{
	const text *tenant;
	const AtlasSearchQuery *query;
	const text *object_type;	/* canonical; NULL: of any type, as below */
	const text *object_id;		/* as the log has it; if it is given, events that it is related to as well */
	const text *name;
	pg_uuid_t	low;			/* ids from this one */
	pg_uuid_t	high;			/* up to this one, without it */
	int			max_events;
	AtlasBudget budget;
} AtlasEventSearch;

/*
 * Adds the newest of the events that are found to the result of atlas_search_events(). If the budget
 * is spent before the page is full, the last row has no event, and says where to go on. To be
 * called as the owner of the extension, inside SPI_connect().
 */
extern void atlas_read_search(AtlasEventSearch *search, ReturnSetInfo *result);

#endif							/* ATLAS_SEARCH_EVENTS_H */
