/*
 * partitions.h
 *		Monthly partitions of the log and of the links.
 */
#ifndef ATLAS_PARTITIONS_H
#define ATLAS_PARTITIONS_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "base/tables.h"

extern void atlas_partition_init(void);

/*
 * Makes sure that each of these event ids has a partition of the table to go to. Makes the
 * missing ones, oldest first. To be called before the first row of the call is
 * written, as the owner of the extension, inside SPI_connect(). The ids must be
 * in ascending order.
 */
extern void atlas_partition_ensure(AtlasTableId table, const pg_uuid_t *ids, int nids);

/*
 * The partition that event ids go to, from ids[first] on; InvalidOid when there is
 * none. *end is set to the first id that goes elsewhere, if that is before it.
 */
extern Oid	atlas_partition_of(AtlasTableId table, const Datum *ids, int first, int *end);

/*
 * Makes the partitions of the coming months, once there is one at all. Leaves
 * it for another time when the table is locked or the name is taken, as it is
 * in the middle of a restore.
 */
extern void atlas_partition_ahead(AtlasTableId table, TimestampTz now);

#endif							/* ATLAS_PARTITIONS_H */
