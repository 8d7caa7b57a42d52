/*
 * retry_unresolved.h
 *		Looking up unresolved references again.
 */
#ifndef ATLAS_RETRY_UNRESOLVED_H
#define ATLAS_RETRY_UNRESOLVED_H

#include "store/event_keys.h"

/*
 * Looks up again a batch of unresolved references that are due. Returns how
 * many were due; fewer than limit: there are no more for now.
 */
extern int	atlas_retry_unresolved(int limit);

/* Looks up once more the references of an event that were given up for this reason. */
extern void atlas_retry_given_up(const AtlasEventKey *key, const char *reason);

#endif							/* ATLAS_RETRY_UNRESOLVED_H */
