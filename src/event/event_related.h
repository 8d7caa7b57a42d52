/*
 * event_related.h
 *		Related objects as the log stores them.
 */
#ifndef ATLAS_EVENT_RELATED_H
#define ATLAS_EVENT_RELATED_H

#include "event/event.h"

/* The related objects of an event, as the log stores them. */
extern Jsonb *atlas_references_to_jsonb(const AtlasReference *references, int nreferences);

/* One of them, as it is needed when it is linked. All zero if the log has something else. */
extern AtlasReference atlas_reference_from_jsonb(const JsonbValue *item);

#endif							/* ATLAS_EVENT_RELATED_H */
