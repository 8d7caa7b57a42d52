/*
 * object_events.c
 *		The events of one object in one of the partitioned tables, newest first.
 *
 * Partitions are opened one after the other, the newest first, and only when somebody
 * asks for what is in them. So a page locks and reads no partition that is older than its
 * last event. Where there is a default partition, it is read for each gap between the
 * others.
 */
#include "postgres.h"

#include "read/object_events.h"

#include "base/event_id.h"
#include "store/partitions.h"

void
atlas_object_events_begin(AtlasObjectEvents *events, Relation table, const AtlasReadShape *shape,
						  const text *tenant, const AtlasTimelineObject *object,
						  const pg_uuid_t *low, const pg_uuid_t *high, Snapshot snapshot)
{
	memset(events, 0, sizeof(*events));
	events->table = table;
	events->shape = shape;
	events->snapshot = snapshot;
	events->values[0] = PointerGetDatum(tenant);
	events->values[1] = PointerGetDatum(object->object_type);
	events->values[2] = PointerGetDatum(object->object_id);
	events->low = *low;
	events->bound = *high;
}

/*
 * Opens the partition below the bound, unless there is a gap, and moves the bound down
 * to where it begins. Returns false if the partition cannot be read by an index.
 */
static bool
open_next_partition(AtlasObjectEvents *events)
{
	AtlasIdRange wanted;
	Oid			partition = atlas_partition_part_below(events->table, &events->low, &events->bound,
													   &wanted);

	events->bound = wanted.low;
	if (!OidIsValid(partition))
		return true;
	events->reader = atlas_index_reader_open(partition, events->shape, true, events->snapshot);
	if (events->reader == NULL)
		return false;
	atlas_index_reader_seek(events->reader, events->values, &wanted.low, &wanted.high);
	return true;
}

/* Goes to the next row of the partition that is open, or closes it. */
static void
next_row(AtlasObjectEvents *events)
{
	bool		isnull;

	events->is_at_event = atlas_index_reader_next(events->reader);
	if (events->is_at_event)
		events->event_id = *DatumGetUUIDP(atlas_index_reader_value(events->reader,
																   events->shape->keys[events->shape->nequal], &isnull));
	else
		atlas_object_events_end(events);
}

bool
atlas_object_events_advance(AtlasObjectEvents *events)
{
	if (events->reader == NULL && !open_next_partition(events))
		return false;
	if (events->reader != NULL)
		next_row(events);
	return true;
}

const pg_uuid_t *
atlas_object_events_newest(const AtlasObjectEvents *events)
{
	if (events->is_at_event)
		return &events->event_id;
	return atlas_event_id_compare(&events->low, &events->bound) < 0 ? &events->bound : NULL;
}

void
atlas_object_events_end(AtlasObjectEvents *events)
{
	if (events->reader != NULL)
		atlas_index_reader_close(events->reader);
	events->reader = NULL;
	events->is_at_event = false;
}
