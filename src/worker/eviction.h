/*
 * eviction.h
 *		Makes linkers leave when more databases have work than there are workers.
 */
#ifndef ATLAS_EVICTION_H
#define ATLAS_EVICTION_H

#include "datatype/timestamp.h"

#define ATLAS_TURN_MILLISECONDS 1000	/* for which a linker may run while others wait */

/*
 * Makes one linker leave. The launcher calls this again and again while a database waits.
 */
extern void atlas_evict_one(TimestampTz now);

#endif							/* ATLAS_EVICTION_H */
