/*
 * event_json.h
 *		Reading events from the request body of the Events API.
 */
#ifndef ATLAS_EVENT_JSON_H
#define ATLAS_EVENT_JSON_H

#include "event/event.h"

/*
 * Reads one event, from a body in the server's encoding or from jsonb. An idempotency
 * key that is set beforehand counts as if the body had it.
 */
extern void atlas_event_from_json(AtlasEvent *event, const char *json, Size length);
extern void atlas_event_from_jsonb(AtlasEvent *event, Jsonb *jsonb);

/* Reads an array of events. Raises an error if the body is something else, or has too many. */
extern AtlasEvent *atlas_events_from_json(const char *json, Size length, int *nevents);
extern AtlasEvent *atlas_events_from_jsonb(Jsonb *jsonb, int *nevents);

#endif							/* ATLAS_EVENT_JSON_H */
