/*
 * timeline_events.h
 *		The events of some objects, newest first, read without a statement.
 */
#ifndef ATLAS_TIMELINE_EVENTS_H
#define ATLAS_TIMELINE_EVENTS_H

#include "read/log_reader.h"
#include "read/object_events.h"

typedef struct AtlasTimelineEvents
{
	AtlasLogReader *reader;
	Relation	links;
	AtlasObjectEvents *lists;	/* for each object one of the log, and then one of the links for each */
	int			nlists;
	AtlasObjectEvents *current; /* is at the event that was returned last; NULL: none was */
	pg_uuid_t	last_id;		/* of that event */
} AtlasTimelineEvents;

/* Whose events are wanted, and which of them. */
typedef struct AtlasTimelineRange
{
	const text *tenant;
	const AtlasTimelineObject *objects; /* an event of several of them comes once */
	int			nobjects;
	pg_uuid_t	low;			/* ids from this one */
	pg_uuid_t	high;			/* up to this one, without it */
} AtlasTimelineRange;

/* An event of the timeline. */
typedef struct AtlasTimelineEvent
{
	pg_uuid_t	id;
	bool		is_related;		/* the objects are not primary ones of it */
	AtlasIndexReader *row;		/* in the log, if it is not related; else it is to be looked for */
} AtlasTimelineEvent;

/*
 * Opens the links; the reader has opened the log. Returns false if the links cannot be read
 * directly; to be ended all the same.
 */
extern bool atlas_timeline_events_begin(AtlasTimelineEvents *events, AtlasLogReader *reader,
										const AtlasTimelineRange *range);

/*
 * The next event. Returns false if there are no more, or if they cannot be read by an index,
 * which is_read then says.
 */
extern bool atlas_timeline_events_next(AtlasTimelineEvents *events, AtlasTimelineEvent *event,
									   bool *is_read);

extern void atlas_timeline_events_end(AtlasTimelineEvents *events);

#endif							/* ATLAS_TIMELINE_EVENTS_H */
