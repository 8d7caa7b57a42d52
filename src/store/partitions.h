/*
 * partitions.h
 *		Partitions of the log, and of the tables that go with it, by event id.
 */
#ifndef ATLAS_PARTITIONS_H
#define ATLAS_PARTITIONS_H

#include "datatype/timestamp.h"
#include "utils/relcache.h"
#include "utils/uuid.h"

#include "base/tables.h"
#include "store/partition_range.h"

/* Pages of documents that the BRIN index of a partition has one entry for: nearly 10,000 events. */
#define ATLAS_PAGES_PER_RANGE 1024

extern void atlas_partition_init(void);

/*
 * Makes sure that each of these event ids has a partition of the table to go to, and one of
 * the log. Makes the missing ones, oldest first. To be called before the first row of the call is
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
 * Where to look for ids below this one, the greatest first: the partition of a table that
 * is open, and the range in which it has them. InvalidOid when there is a gap below the id.
 */
extern Oid	atlas_partition_below(Relation parent, const pg_uuid_t *id, AtlasIdRange *range);

/*
 * The same for ids from low up to the bound, without the bound: the part of them that the
 * partition, or the gap, has.
 */
extern Oid	atlas_partition_part_below(Relation parent, const pg_uuid_t *low,
									   const pg_uuid_t *bound, AtlasIdRange *part);

/* The partition that one id is in, and its range. */
extern Oid	atlas_partition_at(Relation parent, const pg_uuid_t *id, AtlasIdRange *range);

/*
 * Makes the partitions of the coming months, once there is one at all, and those of
 * other tables once the log has them. Leaves it for another time when the table is
 * locked or the name is taken, as it is in the middle of a restore.
 */
extern void atlas_partition_ahead(AtlasTableId table, TimestampTz now);

#endif							/* ATLAS_PARTITIONS_H */
