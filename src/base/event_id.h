/*
 * event_id.h
 *		Event ids: UUIDs of version 7 (RFC 9562) whose time is when the event
 *		occurred, so that their order is timeline order. Events of the same time are in
 *		the order in which they were submitted.
 */
#ifndef ATLAS_EVENT_ID_H
#define ATLAS_EVENT_ID_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* What the ids of one call share: it arrives once, and its events are in order. */
typedef struct AtlasEventIds
{
	uint64		next;			/* arrival and tail of the next id */
	uint64		step;			/* from one id to the next */
} AtlasEventIds;

/* Begins the ids of a call that submits so many events. */
extern void atlas_event_ids_begin(int nevents, AtlasEventIds *ids);

/*
 * A new id; those of one call that have the same time are in the order in which they
 * are made. The time must be between 1970 and the year 10889.
 */
extern void atlas_event_id_make(TimestampTz occurred_at, AtlasEventIds *ids, pg_uuid_t *id);

/*
 * An id that is smaller than all of this time and of later ones, and greater than all of
 * earlier times.
 */
extern void atlas_event_id_floor(TimestampTz occurred_at, pg_uuid_t *id);

/*
 * The smallest id that an event of this time could have: events of the microsecond
 * before have smaller ids. Of -infinity it is the smallest uuid of all, of infinity the
 * greatest. False when no event can have the time.
 */
extern bool atlas_event_id_first(TimestampTz occurred_at, pg_uuid_t *id);

/* When the event with this id occurred, to the millisecond. */
extern TimestampTz atlas_event_id_time(const pg_uuid_t *id);

/* memcmp order, which is the order of the type uuid. */
extern int	atlas_event_id_compare(const void *a, const void *b);

/* As text, palloc'd. */
extern char *atlas_event_id_string(const pg_uuid_t *id);

/* Start of the UTC month of a time, and of the month so many months later. */
extern TimestampTz atlas_month_start(TimestampTz time, int months_later);

#endif							/* ATLAS_EVENT_ID_H */
