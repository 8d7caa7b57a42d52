/*
 * housekeeping.h
 *		What a linker does besides linking, and whether it can.
 */
#ifndef ATLAS_HOUSEKEEPING_H
#define ATLAS_HOUSEKEEPING_H

#include "base/shmem.h"

/*
 * Makes the partitions of the coming months, and looks whom the partitions belong to.
 * What is wrong is logged and noted in the slot, and raises no error. In a transaction
 * of its own, as the owner of the extension, inside SPI_connect().
 */
extern void atlas_keep_house(AtlasDatabase *slot, TimestampTz now);

/* What the note says to the reader of the status view; NULL when all is well. */
extern char *atlas_housekeeping_advice(const AtlasDatabase *slot);

#endif							/* ATLAS_HOUSEKEEPING_H */
