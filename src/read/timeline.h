/*
 * timeline.h
 *		A page of the timeline of some objects.
 */
#ifndef ATLAS_TIMELINE_H
#define ATLAS_TIMELINE_H

#include "funcapi.h"
#include "read/timeline_events.h"

typedef struct AtlasTimelineQuery
{
	AtlasTimelineRange range;
	const text *name;			/* NULL: of any name */
	int			max_events;
} AtlasTimelineQuery;

/*
 * Adds the newest of these events to the result of atlas_timeline(). To be called as the
 * owner of the extension, inside SPI_connect().
 */
extern void atlas_read_timeline(const AtlasTimelineQuery *query, ReturnSetInfo *result);

#endif							/* ATLAS_TIMELINE_H */
