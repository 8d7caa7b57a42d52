/*
 * find_objects.h
 *		The objects of a type that have events that match a query.
 */
#ifndef ATLAS_FIND_OBJECTS_H
#define ATLAS_FIND_OBJECTS_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "conditions/condition.h"
#include "search/matches.h"

/* Which objects are wanted. */
typedef struct AtlasObjectsQuery
{
	const text *tenant;
	const char *object_type;	/* canonical */
	TSQuery		query;			/* as documents are compared with it */
	bool		is_indexable;	/* see query.h */
	const AtlasCondition *condition;	/* that events must satisfy as well; NULL: none */
	pg_uuid_t	low;			/* the period: ids from this one */
	pg_uuid_t	high;			/* up to this one, without it */
	pg_uuid_t	before;			/* only objects whose newest event has an id below this one */
	int64		times;			/* how many events an object must have */
	int			max_objects;
} AtlasObjectsQuery;

/* An object that has so many events. */
typedef struct AtlasObjectFound
{
	const text *object_id;
	int64		nevents;		/* in the whole period */
	pg_uuid_t	newest_event;
	TimestampTz newest_at;
} AtlasObjectFound;

/* A page of them. */
typedef struct AtlasObjectsPage
{
	List	   *objects;		/* of AtlasObjectFound, by newest event, the newest first */
	bool		is_cut;			/* the budget was spent before the page was full or complete */
	pg_uuid_t	searched_until; /* then: the next page is of objects before this one */
} AtlasObjectsPage;

/*
 * Finds a page of objects, within the budget, but at least one of them. Inside
 * SPI_connect(), as the owner of the extension. The page is in the current memory context.
 */
extern void atlas_find_objects_page(const AtlasObjectsQuery *query, AtlasBudget *budget,
									AtlasObjectsPage *page);

#endif							/* ATLAS_FIND_OBJECTS_H */
