/*
 * event_fields.h
 *		The fields of an event, from its parsed envelope and its payload.
 */
#ifndef ATLAS_EVENT_FIELDS_H
#define ATLAS_EVENT_FIELDS_H

#include "event/body.h"
#include "event/event.h"
#include "event/json_payload.h"

/* Reads and validates the event. The envelope is what jansson made of the skeleton. */
extern void atlas_event_read_fields(AtlasEvent *event, json_t *envelope, const AtlasBody *body,
									const AtlasSpan *payload);

/*
 * A key that the Events API does not have, for people or as a part of a JSON pointer. A long one
 * is shortened; "?" stands for one that the encoding of the database cannot show.
 */
extern char *atlas_unknown_key(const char *key, bool in_pointer);

#endif							/* ATLAS_EVENT_FIELDS_H */
