/*
 * event_conditions.h
 *		Which events of the log satisfy a condition.
 */
#ifndef ATLAS_EVENT_CONDITIONS_H
#define ATLAS_EVENT_CONDITIONS_H

#include "conditions/condition.h"
#include "read/event_tables.h"
#include "read/log_reader.h"
#include "utils/uuid.h"

typedef struct AtlasEventConditions AtlasEventConditions;

/*
 * Begins to ask about events of a tenant: whether they have a name and satisfy a condition,
 * either of which may be NULL. The tables stay open, and all of these as they are, until the end.
 * Inside SPI_connect(), as the owner of the extension. After an error it is enough that the
 * current memory context is freed.
 */
extern AtlasEventConditions *atlas_event_conditions_begin(const AtlasEventTables *tables,
														  const text *tenant, const text *name,
														  const AtlasCondition *condition);

/* Is this so for the event of a row of the log, read by one of the shapes of log_reader.h? */
extern bool atlas_event_conditions_hold(AtlasEventConditions *conditions, AtlasIndexReader *row);

/* The same for an event by its id; false if it is not in the log. */
extern bool atlas_event_conditions_hold_for(AtlasEventConditions *conditions, const pg_uuid_t *event_id);

extern void atlas_event_conditions_end(AtlasEventConditions *conditions);

#endif							/* ATLAS_EVENT_CONDITIONS_H */
