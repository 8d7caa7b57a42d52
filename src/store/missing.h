/*
 * missing.h
 *		Claimed events that are not in the log, or not yet.
 */
#ifndef ATLAS_MISSING_H
#define ATLAS_MISSING_H

#include "store/event_keys.h"

/* Events that were claimed and are not in the log, sorted by key. */
typedef struct AtlasMissing
{
	AtlasEventKey *keys;
	bool	   *ending;			/* their transactions were about to end */
	int			nkeys;
} AtlasMissing;

/*
 * The events that were read are structures of this size that begin with their keys. Both
 * they and the keys that were claimed are sorted. Gives the events all that is known of
 * their keys.
 */
extern void atlas_complete_keys(const AtlasEventKey *keys, void *events, int nevents, Size size);

/*
 * Lists the keys that have no event, and finds out whose transactions are about to end: these
 * are visible already, but what they did to the catalogs may not be known to other sessions. The
 * events are to be read once more then, because all other transactions had ended before, so
 * that what they wrote must be visible by then.
 */
extern void atlas_find_missing(const AtlasEventKey *keys, int nkeys, const void *events, int nevents,
							   Size size, AtlasMissing *missing);

/*
 * Is a transaction still to tell other sessions what it changed, or under way? One of another
 * server is not.
 */
extern bool atlas_transaction_is_ending(uint64 xid);

/* Takes those out of the list that were found when the events were read once more. */
extern void atlas_forget_found(AtlasMissing *missing, const void *events, int nevents, Size size);

#endif							/* ATLAS_MISSING_H */
