/*
 * partition_range.h
 *		Ranges of event ids that partitions cover: which range a new one gets, and
 *		what it is called.
 */
#ifndef ATLAS_PARTITION_RANGE_H
#define ATLAS_PARTITION_RANGE_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* The ids from low up to high, without high. */
typedef struct AtlasIdRange
{
	pg_uuid_t	low;
	pg_uuid_t	high;
	bool		bounded_low;
	bool		bounded_high;
} AtlasIdRange;

extern bool atlas_range_has(const AtlasIdRange *range, const pg_uuid_t *id);

/* Narrows a range to what another one has of it. */
extern void atlas_range_narrow(AtlasIdRange *range, const AtlasIdRange *other);

/*
 * Narrows a gap between partitions to the range of the partition that is made for an id:
 * its month, or its year if the month is old.
 */
extern void atlas_range_for_new_partition(AtlasIdRange *gap, const pg_uuid_t *id, TimestampTz now);

/* The name of the partition of a table that has this range. */
extern char *atlas_range_name(const char *table_name, const AtlasIdRange *range);

#endif							/* ATLAS_PARTITION_RANGE_H */
