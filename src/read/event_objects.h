/*
 * event_objects.h
 *		The objects of one type that events have.
 */
#ifndef ATLAS_EVENT_OBJECTS_H
#define ATLAS_EVENT_OBJECTS_H

#include "datatype/timestamp.h"
#include "read/event_tables.h"
#include "utils/uuid.h"

typedef struct AtlasEventObjects AtlasEventObjects;

/*
 * The tables stay open, and tenant and type as they are, until the end. Inside
 * SPI_connect(), as the owner of the extension.
 */
extern AtlasEventObjects *atlas_event_objects_begin(const AtlasEventTables *tables,
													const text *tenant, const text *object_type);

/*
 * The ids of the objects of the type that are the primary one or related ones of an event,
 * of text, each once and sorted; and when the event occurred. There are none if the event
 * is not in the log.
 */
extern List *atlas_event_objects_of(AtlasEventObjects *objects, const pg_uuid_t *event_id,
									TimestampTz *occurred_at);

extern void atlas_event_objects_end(AtlasEventObjects *objects);

#endif							/* ATLAS_EVENT_OBJECTS_H */
