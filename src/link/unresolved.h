/*
 * unresolved.h
 *		Rows of atlas_event_unresolved: references that were not linked.
 */
#ifndef ATLAS_UNRESOLVED_H
#define ATLAS_UNRESOLVED_H

#include "link/events_to_link.h"

/* Setting, in seconds, see atlas_events.c. */
extern int	atlas_relink_window;

/* A reference that was not linked, and is looked up again. */
typedef struct AtlasUnresolved
{
	AtlasEventKey event;
	int16		position;
	int16		attempts;
	TimestampTz first_attempt_at;
	AtlasRef	ref;

	/* What its event is about, if the event is in the log. */
	bool		event_exists;
	char	   *primary_type;
	text	   *primary_id;
} AtlasUnresolved;

/*
 * Records the references that were not linked, of the events of which no reference was
 * deferred, and returns how many there are.
 */
extern int	atlas_unresolved_add(const AtlasLinkEvent *events, int nevents, TimestampTz now);

/*
 * Claims up to limit references whose time for another lookup has come, and locks their
 * rows. Returns how many; they are sorted by event.
 */
extern int	atlas_unresolved_claim_due(int limit, AtlasUnresolved **items);

/* The events of those, sorted, some of them repeated; keys has room for limit. */
extern int	atlas_unresolved_due_events(int limit, AtlasEventKey *keys);

/*
 * Gives up the references of an event that are to be looked up again, and returns
 * whether there are any. The other call claims those that were given up for this reason.
 */
extern bool atlas_unresolved_give_up(const AtlasEventKey *key, const char *reason);
extern int	atlas_unresolved_claim_given_up(const AtlasEventKey *key, const char *reason,
											AtlasUnresolved **items);

/* Removes those that are linked now. */
extern void atlas_unresolved_remove(const AtlasUnresolved *items, int nitems);

/* Notes what became of the others, and when they are looked up again, if at all. */
extern void atlas_unresolved_update(const AtlasUnresolved *items, int nitems, TimestampTz now);

/* The order of their events, for qsort() and bsearch(). */
extern int	atlas_unresolved_compare(const void *a, const void *b);

/* Is this one linked now? Its event may be gone, or not be there yet, as in a restore. */
static inline bool
atlas_is_resolved(const AtlasUnresolved *item)
{
	return item->ref.outcome == ATLAS_LINKED && item->event_exists;
}

#endif							/* ATLAS_UNRESOLVED_H */
