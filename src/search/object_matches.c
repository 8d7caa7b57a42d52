/*
 * object_matches.c
 *		The events of one object whose documents match a query, newest first.
 *
 * The timeline of the object is walked, and the document of each of its events is found by
 * its id. An object has few events beside its tenant, so no index of words is asked.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "read/object_walk.h"
#include "utils/memutils.h"

#include "search/object_matches.h"

struct AtlasObjectMatches
{
	AtlasMatchesScope scope;
	AtlasTimelineObject object;
	AtlasBudget *budget;
	AtlasMatches *documents;
	MemoryContext context;
	AtlasEventTables tables;
	AtlasObjectWalk *walk;
	pg_uuid_t	searched_until;
};

AtlasObjectMatches *
atlas_object_matches_begin(const AtlasMatchesScope *scope, const AtlasTimelineObject *object,
						   AtlasBudget *budget, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events object",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AtlasObjectMatches *matches = palloc0(sizeof(AtlasObjectMatches));

	matches->scope = *scope;
	matches->object = *object;
	matches->budget = budget;
	matches->context = context;
	matches->searched_until = scope->high;
	matches->documents = atlas_matches_begin(scope, budget, snapshot);
	atlas_event_tables_open(&matches->tables);
	matches->walk = atlas_object_walk_begin(&matches->tables, matches->scope.tenant, &matches->object,
											&matches->scope.low, &matches->scope.high);
	MemoryContextSwitchTo(old);
	return matches;
}

bool
atlas_object_matches_next(AtlasObjectMatches *matches, pg_uuid_t *event_id)
{
	MemoryContext old = MemoryContextSwitchTo(matches->context);
	bool		is_found = false;

	while (!is_found && !atlas_budget_is_spent(matches->budget))
	{
		CHECK_FOR_INTERRUPTS();
		if (!atlas_object_walk_next(matches->walk, &matches->searched_until))
		{
			matches->searched_until = matches->scope.low;
			break;
		}
		is_found = atlas_matches_has(matches->documents, &matches->searched_until);
	}
	MemoryContextSwitchTo(old);
	*event_id = matches->searched_until;
	return is_found;
}

const pg_uuid_t *
atlas_object_matches_searched_until(const AtlasObjectMatches *matches)
{
	return &matches->searched_until;
}

void
atlas_object_matches_end(AtlasObjectMatches *matches)
{
	atlas_object_walk_end(matches->walk);
	atlas_event_tables_close(&matches->tables);
	atlas_matches_end(matches->documents);
	MemoryContextDelete(matches->context);
}
