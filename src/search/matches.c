/*
 * matches.c
 *		The events of a tenant whose documents match a query, newest first.
 *
 * Partitions are opened one after the other, the newest first, and only when somebody
 * asks for what is in them. In each, the documents of the tenant are walked through by
 * (tenant_id, event_id), the newest first. That is good for words that are frequent. When enough
 * rows have been seen to say that matches are rare, the GIN index of the partition finds
 * what is left of it. What was seen in one partition counts in the next, so that nothing
 * is walked in vain there.
 *
 * A budget is spent by each row that is walked, fetched or compared, and by the entries that a
 * bitmap is made of: 64 of them count as a row. Their number is an estimate, made of how
 * frequent the lexemes are in the documents that were walked, and, where there are prefixes,
 * of how many documents other tenants have. An index is not asked when
 * that would cost more than the budget: then the walk goes on. If it would cost more than
 * what is left, but not more than there was, the page ends early, and the next one asks
 * the index. In case the estimate is wrong, half of what is left remains for reading what
 * was found. Each page goes on from where the last one ended, and takes at least one row.
 *
 * The tables are read by their indexes, without a statement (index_reader.c), as the
 * snapshot sees them. Statements read them if atlas_events.direct_access is off, if a
 * policy concerns the owner of the extension, or from the first partition on that cannot be
 * read by its indexes. What they read is not counted.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "tsearch/ts_utils.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "base/event_id.h"
#include "read/index_reader.h"
#include "read/row_finder.h"
#include "search/matches.h"
#include "search/matches_cost.h"
#include "search/matches_document.h"
#include "search/matches_gin.h"
#include "search/matches_statement.h"
#include "store/partitions.h"

#define ROWS_BEFORE_CHOICE 500	/* that are walked before an index is thought of */
#define ROWS_BETWEEN_CHOICES 250
#define SAMPLED_ROWS 256		/* in which each lexeme is looked for */
#define MIN_IDS_PER_STATEMENT 10
#define MAX_IDS_PER_STATEMENT 1000

enum
{
	SEARCH_EVENT_ID,
	SEARCH_TENANT_ID,
	SEARCH_DOCUMENT,
	SEARCH_NCOLUMNS
};

static const AtlasReadShape search_by_id = {
	.ncolumns = SEARCH_NCOLUMNS,
	.columns = {
		[SEARCH_EVENT_ID] = {"event_id", UUIDOID},
		[SEARCH_TENANT_ID] = {"tenant_id", TEXTOID},
		[SEARCH_DOCUMENT] = {"document", TSVECTOROID},
	},
	.nequal = 1,
	.keys = {SEARCH_TENANT_ID, SEARCH_EVENT_ID},
};

/* Ids that a statement has found. */
typedef struct FoundIds
{
	pg_uuid_t  *ids;
	int			nids;
	int			next;
	bool		is_last;		/* there are no more than these */
} FoundIds;

struct AtlasMatches
{
	AtlasMatchesScope scope;
	AtlasBudget *budget;
	int64		first_budget;	/* what was left of it when the search began */
	Snapshot	snapshot;
	MemoryContext context;
	MemoryContext row_context;	/* of one document */
	Relation	table;
	bool		is_direct;		/* read without a statement, so far */
	Datum		tenant;
	AtlasDocumentQuery query;
	AtlasMatchesSeen seen;
	int			nfound;
	pg_uuid_t	searched_until; /* all from this one on have been looked at */

	/* The partition that is open. */
	AtlasIndexReader *reader;	/* NULL: none is */
	AtlasIdRange range;			/* of all its ids */
	pg_uuid_t	low;			/* of its ids that are wanted */
	bool		is_walking;
	int			nwalked;		/* rows since the walk began */
	pg_uuid_t	walk_high;		/* the id with which it began */
	int			next_choice;	/* after so many rows */
	Oid			gin_index;
	bool		knows_tenants;	/* whether there are others is known */
	bool		has_one_tenant;
	AtlasCandidates *candidates;	/* NULL: none are being taken */

	FoundIds	found;
	AtlasRowFinder finder;		/* for atlas_matches_has() */
};

AtlasMatches *
atlas_matches_begin(const AtlasMatchesScope *scope, AtlasBudget *budget, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events matches",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AtlasMatches *matches = palloc0(sizeof(AtlasMatches));

	matches->scope = *scope;
	matches->budget = budget;
	matches->first_budget = budget->left;
	matches->snapshot = snapshot;
	matches->context = context;
	matches->row_context = AllocSetContextCreate(context, "atlas_events document",
												 ALLOCSET_DEFAULT_SIZES);
	matches->table = atlas_open_for_reading(ATLAS_EVENT_SEARCH);
	matches->is_direct = atlas_direct_access && atlas_may_use_directly(matches->table, ACL_SELECT);
	matches->tenant = PointerGetDatum(scope->tenant);
	matches->searched_until = atlas_event_id_compare(&scope->low, &scope->high) < 0 ?
		scope->high : scope->low;
	atlas_document_query_init(&matches->query, scope->query);
	atlas_row_finder_begin(&matches->finder, matches->table, &search_by_id, snapshot);
	MemoryContextSwitchTo(old);
	return matches;
}

/* Closes the partition that is open. */
static void
close_partition(AtlasMatches *matches)
{
	if (matches->candidates != NULL)
		atlas_candidates_free(matches->candidates);
	matches->candidates = NULL;
	if (matches->reader != NULL)
		atlas_index_reader_close(matches->reader);
	matches->reader = NULL;
}

void
atlas_matches_end(AtlasMatches *matches)
{
	close_partition(matches);
	atlas_row_finder_end(&matches->finder);
	table_close(matches->table, NoLock);
	MemoryContextDelete(matches->context);
}

/*
 * Compares a document with the query, and notes what was seen. A document that is null, where
 * somebody has dropped the constraint, is as if it were not there.
 */
static bool
is_match(AtlasMatches *matches, Datum value, bool by_index)
{
	MemoryContext old;
	TSVector	document;
	bool		result = false;

	if (DatumGetPointer(value) == NULL)
		return false;
	old = MemoryContextSwitchTo(matches->row_context);
	document = DatumGetTSVector(value);
	atlas_document_prefetch(document);
	if (!by_index && matches->query.nsampled < SAMPLED_ROWS)
		atlas_document_sample(&matches->query, document);
	if (atlas_document_may_match(&matches->query, document))
	{
		result = atlas_document_matches(&matches->query, document);
		matches->seen.candidates += by_index ? 0 : 1;
		matches->seen.checked += by_index ? 0 : 1;
		matches->seen.matched += result;
	}
	matches->seen.checked += by_index ? 1 : 0;
	matches->seen.rows += by_index ? 0 : 1;
	MemoryContextSwitchTo(old);
	MemoryContextReset(matches->row_context);
	return result;
}

/*
 * Has the partition no tenant but this one? The key tells. Statistics do not: ANALYZE misses a tenant
 * that is small, or has come since. It would be charged for what the GIN index has of others.
 */
static bool
has_one_tenant(AtlasMatches *matches)
{
	if (!matches->knows_tenants)
		matches->has_one_tenant = !atlas_index_reader_has_others(matches->reader, &matches->tenant);
	matches->knows_tenants = true;
	return matches->has_one_tenant;
}

/* The part of the partition that has not been looked at. */
static void
estimate_left(AtlasMatches *matches, AtlasMatchesLeft *left)
{
	AtlasIdRange range = {.low = matches->low, .high = matches->searched_until};

	atlas_matches_estimate_left(atlas_index_reader_relation(matches->reader), has_one_tenant(matches),
								&matches->range, &range, &matches->seen, left);
}

/*
 * What is older counts half at each choice, so that what comes next is judged by what came
 * just before it.
 */
static void
forget_half(AtlasMatchesSeen *seen)
{
	seen->rows /= 2;
	seen->candidates /= 2;
	seen->checked /= 2;
	seen->matched /= 2;
}

/* Is the index cheaper, and affordable? May end the page, so that it is affordable then. */
static bool
choose_index(AtlasMatches *matches)
{
	const AtlasBudget *budget = matches->budget;
	AtlasMatchesLeft left;
	AtlasMatchesPrice price;

	if (!OidIsValid(matches->gin_index) || matches->seen.rows < ROWS_BEFORE_CHOICE / 2.0)
		return false;
	estimate_left(matches, &left);
	atlas_matches_prices(&matches->seen, &left, &matches->query,
						 Max(matches->scope.wanted - matches->nfound, 1), &price);
	if (price.gin >= price.walk)
		return false;
	if (!budget->is_limited || price.gin_work <= budget->left)
		return true;
	if (price.walk_work > budget->left && budget->left < matches->first_budget / 2 &&
		price.gin_work <= 0.8 * matches->first_budget)
		atlas_budget_spend(matches->budget, budget->left);
	return false;
}

/* Is the row one of the tenant's? */
static bool
is_of_tenant(AtlasMatches *matches, TupleTableSlot *row)
{
	AttrNumber	attribute = atlas_index_reader_attribute(matches->reader, SEARCH_TENANT_ID);
	bool		isnull;
	Datum		tenant = slot_getattr(row, attribute, &isnull);

	return !isnull &&
		DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, tenant, matches->tenant));
}

/*
 * Is a row that the index has found a match? It may be another tenant's, if the index has
 * forgotten which rows of a page it means, or if long tenants have the same hash. The id of
 * such a row must not become the place where a page ends.
 */
static bool
is_found_by_index(void *argument, TupleTableSlot *row)
{
	AtlasMatches *matches = argument;
	AttrNumber	attribute = atlas_index_reader_attribute(matches->reader, SEARCH_DOCUMENT);
	bool		isnull;

	return is_of_tenant(matches, row) && is_match(matches, slot_getattr(row, attribute, &isnull), true);
}

/* Walks through what has not been looked at. */
static void
begin_walk(AtlasMatches *matches)
{
	matches->is_walking = true;
	matches->nwalked = 0;
	matches->next_choice = ROWS_BEFORE_CHOICE;
	atlas_index_reader_seek(matches->reader, &matches->tenant, &matches->low,
							&matches->searched_until);
}

/*
 * Would reading what the index has found take more than the budget that there was? Nobody knows that
 * before, because it depends on what is known of the ranges of pages and on how the rows lie there.
 */
static bool
is_too_much(const AtlasMatches *matches)
{
	return matches->budget->is_limited &&
		atlas_candidates_first_places(matches->candidates) > matches->first_budget;
}

/*
 * Asks the index for what has not been looked at. If it finds too much, the walk goes on, and
 * the index of this partition is not asked again.
 */
static void
use_index(AtlasMatches *matches)
{
	AtlasGinSearch search = {
		.partition = atlas_index_reader_relation(matches->reader),
		.index = matches->gin_index,
		.event_id = atlas_index_reader_attribute(matches->reader, SEARCH_EVENT_ID),
		.snapshot = matches->snapshot,
		.low = matches->low,
		.high = matches->searched_until,
		.check = is_found_by_index,
		.check_argument = matches,
	};
	AtlasMatchesLeft left;

	estimate_left(matches, &left);
	matches->is_walking = false;
	search.query = atlas_document_index_query(&matches->query, has_one_tenant(matches));
	matches->candidates = atlas_candidates_collect(&search);
	atlas_budget_spend(matches->budget, Min(atlas_matches_entries_charge(&left, &matches->query),
											matches->budget->left / 2));
	if (is_too_much(matches))
	{
		atlas_candidates_free(matches->candidates);
		matches->candidates = NULL;
		matches->gin_index = InvalidOid;
		begin_walk(matches);
		return;
	}
	matches->seen.rows += left.tenant_rows;
	matches->seen.candidates += atlas_candidates_places(matches->candidates);
}

/* Notes how many rows the tenant has, when enough have been seen, or all. */
static void
note_rate(AtlasMatches *matches)
{
	matches->seen.rows_per_ms = matches->nwalked /
		atlas_matches_ms(&matches->searched_until, &matches->walk_high);
}

/* All of the partition has been looked at. */
static void
finish_partition(AtlasMatches *matches)
{
	matches->searched_until = matches->low;
	if (matches->is_walking && matches->nwalked > 0)
		note_rate(matches);
	matches->is_walking = false;
	close_partition(matches);
}

/* Opens the newest partition of those that are left, unless there is a gap. */
static void
begin_partition(AtlasMatches *matches)
{
	AtlasIdRange part;
	Oid			partition = atlas_partition_below(matches->table, &matches->searched_until,
												  &matches->range);

	part = (AtlasIdRange) {.low = matches->scope.low, .high = matches->searched_until,
	.bounded_low = true, .bounded_high = true};
	atlas_range_narrow(&part, &matches->range);
	matches->low = part.low;
	if (!OidIsValid(partition))
	{
		finish_partition(matches);
		return;
	}
	matches->reader = atlas_index_reader_open(partition, &search_by_id, true, matches->snapshot);
	if (matches->reader == NULL)
	{
		matches->is_direct = false;
		return;
	}
	/* Nothing is beyond the partition. */
	matches->searched_until = part.high;
	matches->gin_index = !matches->scope.is_indexable ? InvalidOid :
		atlas_gin_index(atlas_index_reader_relation(matches->reader),
						atlas_index_reader_attribute(matches->reader, SEARCH_DOCUMENT));
	matches->knows_tenants = false;
	matches->is_walking = false;
}

/* Walks one row on. */
static bool
walk(AtlasMatches *matches)
{
	bool		isnull;

	if (matches->nwalked == matches->next_choice)
	{
		note_rate(matches);
		matches->next_choice += ROWS_BETWEEN_CHOICES;
		if (choose_index(matches))
			use_index(matches);
		forget_half(&matches->seen);
		if (!matches->is_walking || atlas_budget_is_spent(matches->budget))
			return false;
	}
	if (!atlas_index_reader_next(matches->reader))
	{
		finish_partition(matches);
		return false;
	}
	matches->searched_until =
		*DatumGetUUIDP(atlas_index_reader_value(matches->reader, SEARCH_EVENT_ID, &isnull));
	if (matches->nwalked++ == 0)
		matches->walk_high = matches->searched_until;
	atlas_budget_spend(matches->budget, 1);
	return is_match(matches, atlas_index_reader_value(matches->reader, SEARCH_DOCUMENT, &isnull), false);
}

/* Takes the next of the matches that the index has found. */
static bool
take_candidate(AtlasMatches *matches)
{
	if (atlas_candidates_next(matches->candidates, matches->budget, &matches->searched_until))
		return true;
	if (!atlas_budget_is_spent(matches->budget))
	{
		atlas_candidates_free(matches->candidates);
		matches->candidates = NULL;
	}
	return false;
}

/* Goes on where there is something to look at, one row at most. Is it a match? */
static bool
look_on(AtlasMatches *matches)
{
	if (matches->reader == NULL)
		begin_partition(matches);
	else if (matches->candidates != NULL)
		return take_candidate(matches);
	else if (atlas_event_id_compare(&matches->searched_until, &matches->low) <= 0)
		finish_partition(matches);
	else if (!matches->is_walking && choose_index(matches))
		use_index(matches);
	else if (!matches->is_walking)
		begin_walk(matches);
	else
		return walk(matches);
	return false;
}

/* Takes the next of the ids that a statement finds. */
static bool
take_found(AtlasMatches *matches)
{
	FoundIds   *found = &matches->found;
	AtlasMatchesCondition condition = {
		.tenant = matches->scope.tenant,
		.query = matches->scope.query,
		.low = &matches->scope.low,
		.high = &matches->searched_until,
	};

	if (found->next == found->nids && !found->is_last)
	{
		int			size = Min(Max(matches->scope.wanted, MIN_IDS_PER_STATEMENT), MAX_IDS_PER_STATEMENT);

		if (found->ids == NULL)
			found->ids = palloc(sizeof(pg_uuid_t) * size);
		found->nids = atlas_matches_by_statement(&condition, found->ids, size);
		found->next = 0;
		found->is_last = found->nids < size;
	}
	if (found->next == found->nids)
	{
		matches->searched_until = matches->scope.low;
		return false;
	}
	matches->searched_until = found->ids[found->next++];
	return true;
}

bool
atlas_matches_next(AtlasMatches *matches, pg_uuid_t *event_id)
{
	MemoryContext old = MemoryContextSwitchTo(matches->context);
	bool		is_found = false;

	while (!is_found && !atlas_budget_is_spent(matches->budget) &&
		   atlas_event_id_compare(&matches->scope.low, &matches->searched_until) < 0)
	{
		CHECK_FOR_INTERRUPTS();
		is_found = matches->is_direct ? look_on(matches) : take_found(matches);
	}
	MemoryContextSwitchTo(old);
	*event_id = matches->searched_until;
	matches->nfound += is_found;
	return is_found;
}

const pg_uuid_t *
atlas_matches_searched_until(const AtlasMatches *matches)
{
	return &matches->searched_until;
}

bool
atlas_matches_has(AtlasMatches *matches, const pg_uuid_t *event_id)
{
	MemoryContext old = MemoryContextSwitchTo(matches->context);
	AtlasMatchesCondition condition = {.tenant = matches->scope.tenant, .query = matches->scope.query};
	AtlasIndexReader *row;
	bool		result;
	bool		isnull;

	atlas_budget_spend(matches->budget, 1);
	matches->is_direct = matches->is_direct &&
		atlas_row_finder_find(&matches->finder, &matches->tenant, event_id, &row);
	if (!matches->is_direct)
		result = atlas_matches_has_by_statement(&condition, event_id);
	else
		result = row != NULL &&
			is_match(matches, atlas_index_reader_value(row, SEARCH_DOCUMENT, &isnull), true);
	MemoryContextSwitchTo(old);
	return result;
}
