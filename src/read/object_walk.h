/*
 * object_walk.h
 *		The ids of the events of one object, newest first.
 */
#ifndef ATLAS_OBJECT_WALK_H
#define ATLAS_OBJECT_WALK_H

#include "read/event_tables.h"
#include "read/object_events.h"

typedef struct AtlasObjectWalk AtlasObjectWalk;

/*
 * The events of which the object is the primary one or a related one, from low up to high,
 * without high. The tables stay open, and tenant and object stay as they are, until the
 * end. Inside SPI_connect(), as the owner of the extension.
 */
extern AtlasObjectWalk *atlas_object_walk_begin(const AtlasEventTables *tables, const text *tenant,
												const AtlasTimelineObject *object,
												const pg_uuid_t *low, const pg_uuid_t *high);

/* The next event, each of them once. Returns false when there are no more. */
extern bool atlas_object_walk_next(AtlasObjectWalk *walk, pg_uuid_t *event_id);

extern void atlas_object_walk_end(AtlasObjectWalk *walk);

#endif							/* ATLAS_OBJECT_WALK_H */
