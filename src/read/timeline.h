/*
 * timeline.h
 *		A page of the timeline of some objects.
 */
#ifndef ATLAS_TIMELINE_H
#define ATLAS_TIMELINE_H

#include "funcapi.h"
#include "read/object_events.h"
#include "utils/uuid.h"

/* Whose events are wanted, and which of them. */
typedef struct AtlasTimelineQuery
{
	const text *tenant;
	const AtlasTimelineObject *objects; /* an event of several of them is one row */
	int			nobjects;
	pg_uuid_t	low;			/* ids from this one */
	pg_uuid_t	high;			/* up to this one, without it */
	const text *name;			/* NULL: of any name */
	int			max_events;
} AtlasTimelineQuery;

/*
 * Adds the newest of these events to the result of atlas_timeline(). To be called as the
 * owner of the extension, inside SPI_connect().
 */
extern void atlas_read_timeline(const AtlasTimelineQuery *query, ReturnSetInfo *result);

#endif							/* ATLAS_TIMELINE_H */
