/*
 * eviction.h
 *		Turns of linkers, when more databases have work than there are workers.
 */
#ifndef ATLAS_EVICTION_H
#define ATLAS_EVICTION_H

#include "datatype/timestamp.h"

#define ATLAS_TURN_MILLISECONDS 1000	/* that a linker may have while others wait */

/*
 * Called by the launcher, again and again while a database waits: sees to it that
 * one linker makes room.
 */
extern void atlas_evict_one(TimestampTz now);

#endif							/* ATLAS_EVICTION_H */
