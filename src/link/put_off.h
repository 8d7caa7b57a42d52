/*
 * put_off.h
 *		Events that cannot be linked now: they are put off, or an attempt has failed.
 */
#ifndef ATLAS_PUT_OFF_H
#define ATLAS_PUT_OFF_H

#include "link/events_to_link.h"

/* Setting, see atlas_events.c. */
extern int	atlas_max_attempts;

/* The first reference of an event whose object cannot be looked up now; NULL: there is none. */
extern const AtlasRef *atlas_first_deferred(const AtlasLinkEvent *event);

/* Puts off the events that have such a reference. */
extern void atlas_put_off_deferred(const AtlasLinkEvent *events, int nevents, TimestampTz now);

/* Puts off events that are not in the log: for a moment, or, as in a restore, for longer. */
extern void atlas_put_off_missing(const AtlasMissing *missing, TimestampTz now);

/* Why, and when the transaction of an event may have ended. */
#define ATLAS_IS_ENDING "the transaction that submitted the event is about to end"
#define ATLAS_IS_MISSING "the event is not there"
extern TimestampTz atlas_when_ended(TimestampTz now);

/*
 * Writes into the server log why events are put off, for the same reason at most once a
 * minute, and where they are seen.
 */
extern void atlas_log_put_off(const char *reason, const char *view);

/* Puts off an event that is not to blame for anything. */
extern void atlas_put_off(const AtlasEventKey *key, const char *reason);

/*
 * Records an attempt at one event that has failed, or, if it is not made yet, one that
 * may kill the linker. An event is FAILED once max_attempts have been made.
 */
extern void atlas_link_failed(const AtlasEventKey *key, bool is_made, const char *message);

#endif							/* ATLAS_PUT_OFF_H */
