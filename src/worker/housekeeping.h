/*
 * housekeeping.h
 *		What a linker does besides linking, and what is wrong with that.
 */
#ifndef ATLAS_HOUSEKEEPING_H
#define ATLAS_HOUSEKEEPING_H

#include "base/shmem.h"

/*
 * Makes the partitions of the coming months, and checks who owns the partitions. Problems
 * are logged and noted in the slot, and raise no error. This runs in a transaction of its
 * own, as the owner of the extension, inside SPI_connect().
 */
extern void atlas_keep_house(AtlasDatabase *slot, TimestampTz now);

/* What the slot notes, for the reader of the status view. NULL if all is well. */
extern char *atlas_housekeeping_advice(const AtlasDatabase *slot);

#endif							/* ATLAS_HOUSEKEEPING_H */
