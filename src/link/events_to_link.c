/*
 * events_to_link.c
 *		Reading events from the log, to link them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/statement.h"
#include "event/event_related.h"
#include "link/events_to_link.h"
#include "store/queue.h"

/* The range lets the executor skip the other partitions. */
static AtlasStatement select_events = {
	.sql =
	"SELECT e.event_id, e.tenant_id, e.object_type, e.object_id, e.related_objects, e.received_at"
	"  FROM " ATLAS_KEYS ","
	"       LATERAL (SELECT * FROM @extschema@.atlas_events e"
	"                 WHERE " ATLAS_IS_KEY("e")
	"                   AND e.event_id OPERATOR(pg_catalog.>=) $3"
	"                   AND e.event_id OPERATOR(pg_catalog.<=) $4 OFFSET 0) e",
	.nparameters = ATLAS_KEYS_NPARAMETERS + 2,
	.parameters = {ATLAS_KEYS_PARAMETERS, UUIDOID, UUIDOID},
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
	Datum		values[ATLAS_KEYS_NPARAMETERS + 2];

	/* A transaction that has locked the log already does not learn of new partitions by itself. */
	AcceptInvalidationMessages();
	atlas_event_keys_values(keys, nkeys, values);
	values[ATLAS_KEYS_NPARAMETERS] = UUIDPGetDatum(&keys[0].id);
	values[ATLAS_KEYS_NPARAMETERS + 1] = UUIDPGetDatum(&keys[nkeys - 1].id);
	return (int) atlas_execute(&select_events, values, NULL, false, 0);
}

/* Notes where the events are in the queue. All of them are among the keys; both are sorted. */
static void
copy_places(const AtlasEventKey *keys, AtlasLinkEvent *events, int nevents)
{
	for (int i = 0; i < nevents; i++)
	{
		while (atlas_event_key_compare(keys, &events[i].key) != 0)
			keys++;
		events[i].key.place = keys->place;
	}
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
	copy_places(keys, events, *nevents);
	return events;
}

/* Lists the keys that have no event; keys and events are sorted. */
static int
list_missing(const AtlasEventKey *keys, int nkeys, const AtlasLinkEvent *events, int nevents,
			 AtlasEventKey *missing)
{
	int			next = 0;
	int			nmissing = 0;

	for (int i = 0; i < nkeys; i++)
	{
		if (next < nevents && atlas_event_key_compare(&events[next].key, &keys[i]) == 0)
			next++;
		else
			missing[nmissing++] = keys[i];
	}
	return nmissing;
}

/*
 * If some of the events are missing, they are read once more, after it has been found
 * out whose transactions are about to end. All other transactions had ended before, so
 * what they wrote must be visible by then.
 */
AtlasLinkEvent *
atlas_read_events_to_link(const AtlasEventKey *keys, int nkeys, int *nevents, AtlasMissing *missing)
{
	AtlasLinkEvent *events = read_events(keys, nkeys, nevents);

	memset(missing, 0, sizeof(*missing));
	if (*nevents == nkeys)
		return events;
	missing->keys = palloc(sizeof(AtlasEventKey) * nkeys);
	missing->ending = palloc(sizeof(AtlasEventKey) * nkeys);
	missing->nkeys = list_missing(keys, nkeys, events, *nevents, missing->keys);
	missing->nending = atlas_queue_ending(missing->keys, missing->nkeys, missing->ending);
	events = read_events(keys, nkeys, nevents);
	missing->nkeys = list_missing(keys, nkeys, events, *nevents, missing->keys);
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
