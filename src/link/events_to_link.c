/*
 * events_to_link.c
 *		Reading events from the log, to link them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/statement.h"
#include "event/event_related.h"
#include "link/events_to_link.h"
#include "store/log.h"
#include "store/missing.h"

static AtlasStatement select_events = {
	ATLAS_LOG_BY_KEYS("e.event_id, e.tenant_id, e.object_type, e.object_id, e.related_objects, e.received_at"),
};

/* The references as the log stores them: see event_related.c. */
static void
read_references(AtlasLinkEvent *event, Jsonb *related)
{
	int			nrefs = JB_ROOT_COUNT(related);

	event->refs = palloc0(sizeof(AtlasRef) * Max(nrefs, 1));
	event->nrefs = nrefs;
	for (int i = 0; i < nrefs; i++)
	{
		AtlasReference reference =
		atlas_reference_from_jsonb(getIthJsonbValueFromContainer(&related->root, i));
		AtlasRef   *ref = &event->refs[i];

		CHECK_FOR_INTERRUPTS();
		if (reference.object_type == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("related object %d of event %s is not readable", i + 1,
							atlas_event_id_string(&event->key.id))));
		ref->object_type = reference.object_type;
		ref->problem = reference.problem;
		ref->lookup.tenant = event->key.tenant;
		ref->lookup.object_id = reference.object_id;
		ref->lookup.external_id = reference.external_id;
	}
}

/* Takes an event from a row of the statement above. */
static void
read_event(AtlasLinkEvent *event, HeapTuple row, TupleDesc tupdesc)
{
	bool		isnull;
	Datum		related;

	memset(event, 0, sizeof(*event));
	event->key.id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 1, &isnull));
	event->key.tenant = atlas_result_text(row, tupdesc, 2);
	event->object_type = SPI_getvalue(row, tupdesc, 3);
	event->object_id = atlas_result_text(row, tupdesc, 4);
	related = SPI_getbinval(row, tupdesc, 5, &isnull);
	if (!isnull)
		read_references(event, DatumGetJsonbP(related));
	event->received_at = DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 6, &isnull));
}

/* By key. */
static int
compare_events(const void *a, const void *b)
{
	return atlas_event_key_compare(&((const AtlasLinkEvent *) a)->key,
								   &((const AtlasLinkEvent *) b)->key);
}

int
atlas_select_events(const AtlasEventKey *keys, int nkeys)
{
	return atlas_log_select(&select_events, keys, nkeys);
}

/* Reads those of the events that are there; keys are sorted, and so are they. */
static AtlasLinkEvent *
read_events(const AtlasEventKey *keys, int nkeys, int *nevents)
{
	AtlasLinkEvent *events;

	*nevents = atlas_select_events(keys, nkeys);
	events = palloc(sizeof(AtlasLinkEvent) * Max(*nevents, 1));
	for (int i = 0; i < *nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_event(&events[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	}
	SPI_freetuptable(SPI_tuptable);
	qsort(events, *nevents, sizeof(AtlasLinkEvent), compare_events);
	atlas_complete_keys(keys, events, *nevents, sizeof(AtlasLinkEvent));
	return events;
}

AtlasLinkEvent *
atlas_read_events_to_link(const AtlasEventKey *keys, int nkeys, int *nevents, AtlasMissing *missing)
{
	AtlasLinkEvent *events = read_events(keys, nkeys, nevents);

	atlas_find_missing(keys, nkeys, events, *nevents, sizeof(AtlasLinkEvent), missing);
	if (missing->nkeys > 0)
	{
		events = read_events(keys, nkeys, nevents);
		atlas_forget_found(missing, events, *nevents, sizeof(AtlasLinkEvent));
	}
	return events;
}

int
atlas_count_references(const AtlasLinkEvent *events, int nevents)
{
	int			count = 0;

	for (int i = 0; i < nevents; i++)
		count += events[i].nrefs;
	return count;
}
