/*
 * event_count.c
 *		How many events of an object have a name and satisfy a condition.
 *
 * The tables are read by their indexes, without a statement, as a page of a timeline is
 * (timeline.c). Where that is not possible, statements read the ids of the events, and each
 * event by itself.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "read/event_conditions.h"
#include "read/event_count.h"
#include "read/object_walk.h"
#include "utils/snapmgr.h"

/* Counts the events that are read. Returns false if something cannot be read directly. */
static bool
count_timeline_events(const AtlasCountQuery *query, AtlasLogReader *reader,
					  AtlasTimelineEvents *events, int64 *nevents)
{
	AtlasEventTables tables = {.log = reader->log, .snapshot = reader->snapshot, .is_direct = true};
	AtlasEventConditions *conditions = atlas_event_conditions_begin(&tables, query->range.tenant,
																	query->name, query->condition);
	AtlasTimelineEvent event;
	bool		is_read = true;

	while (is_read && *nevents < query->enough && atlas_timeline_events_next(events, &event, &is_read))
	{
		if (event.is_related)
			is_read = atlas_log_reader_find(reader, &event.id, &event.row);
		if (is_read && event.row != NULL && atlas_event_conditions_hold(conditions, event.row))
			(*nevents)++;
	}
	atlas_event_conditions_end(conditions);
	return is_read;
}

/* Counts without a statement. Returns false if that is not possible. */
static bool
count_directly(const AtlasCountQuery *query, int64 *nevents)
{
	AtlasLogReader reader;
	AtlasTimelineEvents events;
	bool		is_direct = atlas_log_reader_begin_without_status(&reader, query->range.tenant,
																  GetActiveSnapshot());
	bool		is_counted = atlas_timeline_events_begin(&events, &reader, &query->range) && is_direct &&
		count_timeline_events(query, &reader, &events, nevents);

	atlas_timeline_events_end(&events);
	atlas_log_reader_end(&reader);
	return is_counted;
}

/* Counts by statements. */
static int64
count_by_statements(const AtlasCountQuery *query)
{
	const AtlasTimelineRange *range = &query->range;
	AtlasEventTables tables;
	AtlasEventConditions *conditions;
	AtlasObjectWalk *walk;
	pg_uuid_t	event_id;
	int64		nevents = 0;

	atlas_event_tables_open(&tables);
	tables.is_direct = false;
	conditions = atlas_event_conditions_begin(&tables, range->tenant, query->name, query->condition);
	walk = atlas_object_walk_begin(&tables, range->tenant, range->objects, &range->low, &range->high);
	while (nevents < query->enough && atlas_object_walk_next(walk, &event_id))
	{
		CHECK_FOR_INTERRUPTS();
		if (atlas_event_conditions_hold_for(conditions, &event_id))
			nevents++;
	}
	atlas_object_walk_end(walk);
	atlas_event_conditions_end(conditions);
	atlas_event_tables_close(&tables);
	return nevents;
}

int64
atlas_count_timeline(const AtlasCountQuery *query)
{
	int64		nevents = 0;

	if (atlas_direct_access && count_directly(query, &nevents))
		return nevents;
	return count_by_statements(query);
}
