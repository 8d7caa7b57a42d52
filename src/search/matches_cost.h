/*
 * matches_cost.h
 *		Is it cheaper to walk through documents, or to ask their GIN index?
 */
#ifndef ATLAS_MATCHES_COST_H
#define ATLAS_MATCHES_COST_H

#include "utils/relcache.h"

#include "search/matches_document.h"
#include "store/partition_range.h"

/* What has been seen of the documents lately; what is older counts less. */
typedef struct AtlasMatchesSeen
{
	double		rows;			/* of the tenant */
	double		candidates;		/* of these, those that may match */
	double		checked;		/* candidates that were looked at */
	double		matched;		/* of these, those that match */
	double		rows_per_ms;	/* of the tenant; 0: not known */
} AtlasMatchesSeen;

/* The part of a partition that is left. */
typedef struct AtlasMatchesLeft
{
	double		partition_rows; /* of all tenants, in the whole partition */
	double		tenant_rows;	/* in the whole partition */
	double		other_rows;		/* of other tenants in it, if these are the greater part */
	double		left_rows;		/* of the tenant, in what is left */
	double		pages;			/* of the partition */
} AtlasMatchesLeft;

/* The prices, in microseconds of some machine, and what is spent of a budget. */
typedef struct AtlasMatchesPrice
{
	double		walk;
	double		gin;
	double		walk_work;
	double		gin_work;
} AtlasMatchesPrice;

/* How many rows are left, where the partition has events of the range. */
extern void atlas_matches_estimate_left(Relation partition, bool has_one_tenant,
										const AtlasIdRange *range,
										const AtlasIdRange *left, const AtlasMatchesSeen *seen,
										AtlasMatchesLeft *result);

/* What it costs to find so many more matches in what is left. */
extern void atlas_matches_prices(const AtlasMatchesSeen *seen, const AtlasMatchesLeft *left,
								 const AtlasDocumentQuery *query, int wanted,
								 AtlasMatchesPrice *price);

/* What a bitmap is charged for besides the rows that it means. */
extern int64 atlas_matches_entries_charge(const AtlasMatchesLeft *left,
										  const AtlasDocumentQuery *query);

/* Milliseconds between two ids. */
extern double atlas_matches_ms(const pg_uuid_t *low, const pg_uuid_t *high);

#endif							/* ATLAS_MATCHES_COST_H */
