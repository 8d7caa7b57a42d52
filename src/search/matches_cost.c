/*
 * matches_cost.c
 *		Is it cheaper to walk through documents, or to ask their GIN index?
 *
 * A walk costs the same for each row, and ends when enough has been found. The index is
 * read for the whole partition: the entries of the rarest lexeme. Then the documents that may match
 * are read, range by range of pages, until there are enough. How frequent matches,
 * candidates and lexemes are is known from the rows that have been walked already.
 *
 * The prices were measured with documents of 800 bytes in memory. Most of the time goes into
 * pages that no cache of the processor has, of which a walk needs fewer. The proportions
 * matter, not the times.
 */
#include "postgres.h"

#include "access/tableam.h"
#include "optimizer/plancat.h"
#include "port/pg_bswap.h"
#include "utils/rel.h"

#include "search/matches_cost.h"
#include "store/partitions.h"

#define WALK_ROW 1.2			/* a row that is walked, with its document */
#define BEGIN_GIN 100.0			/* to begin with an index */
#define GIN_ENTRY 0.13			/* an entry of the rarest lexeme, with those of the others beside it */
#define GIN_PLACE 0.05			/* a place that may have a match */
#define GIN_PAGE 2.2			/* a page that is read */
#define GIN_ROW 1.2				/* a row on it, with its document */

/* So many entries count as one row of a budget. */
#define ENTRIES_PER_WORK 64

/* The first 48 bits of an id are milliseconds. */
static double
ms_of(const pg_uuid_t *id)
{
	uint64		high;

	memcpy(&high, id->data, sizeof(high));
	return (double) (pg_ntoh64(high) >> 16);
}

double
atlas_matches_ms(const pg_uuid_t *low, const pg_uuid_t *high)
{
	return Max(ms_of(high) - ms_of(low), 1);
}

void
atlas_matches_estimate_left(Relation partition, bool has_one_tenant, const AtlasIdRange *range,
							const AtlasIdRange *left, const AtlasMatchesSeen *seen,
							AtlasMatchesLeft *result)
{
	double		ms_left = atlas_matches_ms(&left->low, &left->high);
	BlockNumber pages;
	double		visible;

	estimate_rel_size(partition, NULL, &pages, &result->partition_rows, &visible);
	result->pages = Max(pages, 1);
	result->tenant_rows = result->partition_rows;
	result->left_rows = result->partition_rows;
	if (range->bounded_low && range->bounded_high)
	{
		double		ms = atlas_matches_ms(&range->low, &range->high);

		if (seen->rows_per_ms > 0)
			result->tenant_rows = Min(result->tenant_rows, seen->rows_per_ms * ms);
		result->left_rows *= Min(ms_left / ms, 1);
	}
	if (seen->rows_per_ms > 0)
		result->left_rows = Min(result->left_rows, seen->rows_per_ms * ms_left);

	/* How many the tenant has is not known well: traffic has its nights. */
	result->other_rows = 0;
	if (result->partition_rows > 2 * result->tenant_rows && !has_one_tenant)
		result->other_rows = result->partition_rows - result->tenant_rows;
}

/*
 * The entries of the index that are read; no more than the tenant has documents, but for
 * prefixes. Whatever begins with a prefix is collected for all tenants, and nothing that this
 * one has tells how much that is. So each document of others counts. Otherwise a page could
 * cost what others have, and the time that it takes would tell which words these are.
 */
static double
entries_read(const AtlasMatchesLeft *left, const AtlasDocumentQuery *query)
{
	return Min(atlas_document_share_read(query) * left->partition_rows, left->tenant_rows) +
		atlas_document_prefixes(query) * left->other_rows;
}

void
atlas_matches_prices(const AtlasMatchesSeen *seen, const AtlasMatchesLeft *left,
					 const AtlasDocumentQuery *query, int wanted, AtlasMatchesPrice *price)
{
	double		rows = Max(seen->rows, 1);
	double		density = Min((seen->candidates + 0.25) / rows, 1);
	double		precision = (seen->matched + 0.25) / (seen->checked + 0.25);
	double		entries = entries_read(left, query);
	double		places = density * left->tenant_rows;
	double		needed = Min(density * left->left_rows, wanted / precision);
	double		read = Min(places, needed + places * Min(ATLAS_PAGES_PER_RANGE / left->pages, 1));

	price->walk_work = Min(left->left_rows, wanted / (density * precision));
	price->walk = WALK_ROW * price->walk_work;
	price->gin_work = read + entries / ENTRIES_PER_WORK;
	price->gin = BEGIN_GIN + GIN_ENTRY * entries + GIN_PLACE * places + GIN_ROW * read +
		GIN_PAGE * Min(read, left->pages);
}

int64
atlas_matches_entries_charge(const AtlasMatchesLeft *left, const AtlasDocumentQuery *query)
{
	return (int64) (entries_read(left, query) / ENTRIES_PER_WORK);
}
