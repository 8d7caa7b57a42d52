/*
 * timeline_events.c
 *		The events of some objects, newest first, read without a statement.
 *
 * An object is the primary one of some events, which are in the log, and a related one of
 * others, which are in the links. Both are read from the newest partition on, no further
 * than somebody asks, and merged.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "read/timeline_events.h"
#include "utils/rel.h"

#include "base/event_id.h"

static const AtlasReadShape links_by_object = {
	.ncolumns = 4,
	.columns = {
		{"tenant_id", TEXTOID}, {"object_type", TEXTOID}, {"object_id", TEXTOID}, {"event_id", UUIDOID},
	},
	.nequal = 3,
	.keys = {0, 1, 2, 3},
};

bool
atlas_timeline_events_begin(AtlasTimelineEvents *events, AtlasLogReader *reader,
							const AtlasTimelineRange *range)
{
	int			nobjects = range->nobjects;

	memset(events, 0, sizeof(*events));
	events->reader = reader;
	events->links = atlas_open_for_reading(ATLAS_EVENT_LINKS);
	events->nlists = 2 * nobjects;
	events->lists = palloc(sizeof(AtlasObjectEvents) * events->nlists);
	for (int i = 0; i < events->nlists; i++)
		atlas_object_events_begin(&events->lists[i], i < nobjects ? reader->log : events->links,
								  i < nobjects ? &atlas_log_by_object : &links_by_object,
								  range->tenant, &range->objects[i % nobjects], &range->low,
								  &range->high, reader->snapshot);
	return atlas_may_use_directly(events->links, ACL_SELECT);
}

/*
 * The list that may have the newest event of those that are left; NULL when none is left.
 * A list that is at this event comes before one that only may have older ones, and the
 * log comes before the links.
 */
static AtlasObjectEvents *
newest_list(const AtlasTimelineEvents *events)
{
	AtlasObjectEvents *newest = NULL;

	for (int i = 0; i < events->nlists; i++)
	{
		AtlasObjectEvents *list = &events->lists[i];
		const pg_uuid_t *id = atlas_object_events_newest(list);
		int			order;

		if (id == NULL)
			continue;
		order = newest == NULL ? 1 : atlas_event_id_compare(id, atlas_object_events_newest(newest));
		if (order > 0 || (order == 0 && list->is_at_event && !newest->is_at_event))
			newest = list;
	}
	return newest;
}

bool
atlas_timeline_events_next(AtlasTimelineEvents *events, AtlasTimelineEvent *event, bool *is_read)
{
	*is_read = true;
	for (;;)
	{
		AtlasObjectEvents *list = events->current;

		CHECK_FOR_INTERRUPTS();
		if (list == NULL)
			list = newest_list(events);
		if (list == NULL)
			return false;
		/* An event that came from another list already is passed over. */
		if (list != events->current && list->is_at_event &&
			atlas_event_id_compare(&list->event_id, &events->last_id) != 0)
		{
			events->current = list;
			events->last_id = list->event_id;
			event->id = list->event_id;
			event->is_related = list->table == events->links;
			event->row = event->is_related ? NULL : list->reader;
			return true;
		}
		events->current = NULL;
		if (!atlas_object_events_advance(list))
		{
			*is_read = false;
			return false;
		}
	}
}

void
atlas_timeline_events_end(AtlasTimelineEvents *events)
{
	for (int i = 0; i < events->nlists; i++)
		atlas_object_events_end(&events->lists[i]);
	pfree(events->lists);
	table_close(events->links, NoLock);
}
