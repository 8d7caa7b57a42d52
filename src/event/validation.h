/*
 * validation.h
 *		Validation of an event, and noting what is wrong with it.
 */
#ifndef ATLAS_VALIDATION_H
#define ATLAS_VALIDATION_H

#include "event/event.h"

/* Settings, see atlas_events.c. */
extern int	atlas_max_event_size;	/* bytes */
extern int	atlas_max_related_objects;
extern int	atlas_max_batch_size;
extern int	atlas_oldest_event; /* seconds */
extern int	atlas_max_clock_skew;	/* seconds */

/* Makes an event empty. Its pointer says where it stands in the request: "" or "/3". */
extern void atlas_event_init(AtlasEvent *event, const char *pointer, TimestampTz received_at);

/*
 * Checks all that can be checked without a table and collects every problem in
 * event->error. Those who read an event call it at the end.
 */
extern void atlas_event_validate(AtlasEvent *event);

/* Refuses an event that has too many related objects. Returns whether it may have so many. */
extern bool atlas_event_check_related_count(AtlasEvent *event, int nrelated);

/* Refuses an event, or its request, of more than max_event_size bytes. */
extern void atlas_event_check_size(AtlasEvent *event, Size size);

/* Refuses more events in one call than max_batch_size. */
extern void atlas_event_check_batch_size(int nevents);

/* JSON pointer of a field of the event, palloc'd. */
extern char *atlas_event_pointer(const AtlasEvent *event, const char *field);

/*
 * Notes what is wrong with a field of the event, or of one of its references. It is a
 * problem of the event if the reference is the primary one, or NULL. Otherwise it is a
 * problem of the reference only, because what is wrong with a related object does not
 * refuse the event.
 */
extern void atlas_event_note(AtlasEvent *event, AtlasReference *reference, const char *code,
							 const char *field, const char *message_format,...)
			pg_attribute_printf(5, 6);

/* Sets a payload that came as jsonb. */
extern void atlas_event_take_payload(AtlasEvent *event, Jsonb *payload);

/* Refuses an event because a related object is not an object at all. */
extern void atlas_event_refuse_related(AtlasEvent *event, int index);

/* Folds an object type the way that input is folded, palloc'd. */
extern char *atlas_fold_object_type(const char *type, int length);

#endif							/* ATLAS_VALIDATION_H */
