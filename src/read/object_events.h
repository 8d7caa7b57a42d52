/*
 * object_events.h
 *		The events of one object in one of the partitioned tables, newest first.
 */
#ifndef ATLAS_OBJECT_EVENTS_H
#define ATLAS_OBJECT_EVENTS_H

#include "read/index_reader.h"

#include "store/partition_range.h"

/* An object, as the log and the links name it. */
typedef struct AtlasTimelineObject
{
	const text *object_type;
	const text *object_id;
} AtlasTimelineObject;

/*
 * The events of an object. Either the newest of those that are left is known, or they are
 * known to have ids below a bound, because the next partition has not been opened yet.
 */
typedef struct AtlasObjectEvents
{
	Relation	table;
	const AtlasReadShape *shape;
	Snapshot	snapshot;
	Datum		values[ATLAS_MAX_EQUAL_COLUMNS];	/* tenant, type and id */
	pg_uuid_t	low;			/* no ids below this one are wanted */

	AtlasIndexReader *reader;	/* of the partition that is open; NULL: there is none */
	bool		is_at_event;	/* the reader's row is an event */
	pg_uuid_t	event_id;		/* its id */
	pg_uuid_t	bound;			/* partitions with ids below this one are still to be opened */
} AtlasObjectEvents;

/* The events from low up to high, without high, of a table that is open. */
extern void atlas_object_events_begin(AtlasObjectEvents *events, Relation table,
									  const AtlasReadShape *shape, const text *tenant,
									  const AtlasTimelineObject *object, const pg_uuid_t *low,
									  const pg_uuid_t *high, Snapshot snapshot);

/*
 * The id of the newest event that is left, if is_at_event, and else one that is greater
 * than those that may be left. NULL when no events are left.
 */
extern const pg_uuid_t *atlas_object_events_newest(const AtlasObjectEvents *events);

/*
 * Goes to the next event, or finds that the partition that is open has no more; opens the
 * next partition when none is open. Returns false if it cannot be read by an index.
 */
extern bool atlas_object_events_advance(AtlasObjectEvents *events);

extern void atlas_object_events_end(AtlasObjectEvents *events);

#endif							/* ATLAS_OBJECT_EVENTS_H */
