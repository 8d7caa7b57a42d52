/*
 * event_count.h
 *		How many events of an object have a name and satisfy a condition.
 */
#ifndef ATLAS_EVENT_COUNT_H
#define ATLAS_EVENT_COUNT_H

#include "conditions/condition.h"
#include "read/timeline_events.h"

typedef struct AtlasCountQuery
{
	AtlasTimelineRange range;	/* of one object */
	const text *name;			/* NULL: of any name */
	const AtlasCondition *condition;	/* NULL: none */
	int64		enough;			/* no more need be counted */
} AtlasCountQuery;

/*
 * Counts the events of which the object is the primary or a related one, the newest first. To be
 * called as the owner of the extension, inside SPI_connect().
 */
extern int64 atlas_count_timeline(const AtlasCountQuery *query);

#endif							/* ATLAS_EVENT_COUNT_H */
