/*
 * link_batch.c
 *		Linking a batch of events.
 *
 *	claimed ids ─► read the events ─► partitions ─► resolve the references, type by
 *	type ─► links, unresolved references ─► out of the queue
 *
 * A batch is processed in a subtransaction; if that fails it is bisected until
 * the event that makes it fail stands alone. Events whose references cannot be
 * looked up now, because a table is locked, are put off and the others go on.
 * An event that is in the queue but not in the log is put off as well: in a restore
 * the queue may come first, and the first event of a month is visible a moment before
 * its partition is known to other sessions.
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
#include "base/retry.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "event/event_related.h"
#include "link/link_batch.h"
#include "link/link_rows.h"
#include "store/partitions.h"
#include "store/queue.h"

int			atlas_max_attempts = 5;
int			atlas_relink_window = SECS_PER_DAY;

/* The range lets the executor skip the other partitions. */
static AtlasStatement select_events = {
	.sql =
	"SELECT event_id, tenant_id, object_type, object_id, related_objects, received_at"
	"  FROM @extschema@.atlas_events"
	" WHERE event_id OPERATOR(pg_catalog.=) ANY ($1)"
	"   AND event_id OPERATOR(pg_catalog.>=) $2 AND event_id OPERATOR(pg_catalog.<=) $3",
	.nparameters = 3,
	.parameters = {UUIDARRAYOID, UUIDOID, UUIDOID},
};

typedef struct LinkBatch
{
	pg_uuid_t  *ids;
	int			nids;
	bool		links_may_exist;
	bool		makes_partitions;	/* at this moment */
	AtlasLinkCounts *counts;
} LinkBatch;

/* ----- Phase: read the events ----- */

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
							atlas_event_id_string(&event->id))));
		ref->object_type = reference.object_type;
		ref->problem = reference.problem;
		ref->lookup.tenant = event->tenant;
		ref->lookup.object_id = reference.object_id;
		ref->lookup.external_id = reference.external_id;
	}
}

static void
read_event(AtlasLinkEvent *event, HeapTuple row, TupleDesc tupdesc)
{
	bool		isnull;
	Datum		related;

	memset(event, 0, sizeof(*event));
	event->id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 1, &isnull));
	event->tenant = atlas_result_text(row, tupdesc, 2);
	event->object_type = SPI_getvalue(row, tupdesc, 3);
	event->object_id = atlas_result_text(row, tupdesc, 4);
	related = SPI_getbinval(row, tupdesc, 5, &isnull);
	if (!isnull)
		read_references(event, DatumGetJsonbP(related));
	event->received_at = DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 6, &isnull));
}

static int
compare_events(const void *a, const void *b)
{
	return atlas_event_id_compare(&((const AtlasLinkEvent *) a)->id,
								  &((const AtlasLinkEvent *) b)->id);
}

int
atlas_select_events(const pg_uuid_t *ids, int nids)
{
	Datum		values[3];

	/* A transaction that has locked the log before hears of no new partition by itself. */
	AcceptInvalidationMessages();
	values[0] = atlas_uuid_array(ids, nids);
	values[1] = UUIDPGetDatum(&ids[0]);
	values[2] = UUIDPGetDatum(&ids[nids - 1]);
	return (int) atlas_execute(&select_events, values, NULL, false, 0);
}

/* Reads those of the events that are there; ids are sorted, and so are they. */
static AtlasLinkEvent *
read_events(const pg_uuid_t *ids, int nids, int *nevents)
{
	AtlasLinkEvent *events;

	*nevents = atlas_select_events(ids, nids);
	events = palloc(sizeof(AtlasLinkEvent) * Max(*nevents, 1));
	for (int i = 0; i < *nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		read_event(&events[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	}
	SPI_freetuptable(SPI_tuptable);
	qsort(events, *nevents, sizeof(AtlasLinkEvent), compare_events);
	return events;
}

/* Lists the ids that there is no event of; both are sorted. */
static int
list_missing(const pg_uuid_t *ids, int nids, const AtlasLinkEvent *events, int nevents,
			 pg_uuid_t *missing)
{
	int			next = 0;
	int			nmissing = 0;

	for (int i = 0; i < nids; i++)
	{
		if (next < nevents && atlas_event_id_compare(&events[next].id, &ids[i]) == 0)
			next++;
		else
			missing[nmissing++] = ids[i];
	}
	return nmissing;
}

/*
 * Reads the events, and once more if some of them are missing, when it is known whose
 * transactions are about to end. Of all others everything must be known by then.
 */
static AtlasLinkEvent *
read_and_list_missing(const pg_uuid_t *ids, int nids, int *nevents, AtlasMissing *missing)
{
	AtlasLinkEvent *events = read_events(ids, nids, nevents);

	memset(missing, 0, sizeof(*missing));
	if (*nevents == nids)
		return events;
	missing->ids = palloc(sizeof(pg_uuid_t) * nids);
	missing->ending = palloc(sizeof(pg_uuid_t) * nids);
	missing->nids = list_missing(ids, nids, events, *nevents, missing->ids);
	missing->nending = atlas_queue_ending(missing->ids, missing->nids, missing->ending);
	events = read_events(ids, nids, nevents);
	missing->nids = list_missing(ids, nids, events, *nevents, missing->ids);
	return events;
}

/* ----- All phases for a part of the batch, in a subtransaction ----- */

/* A month's links have a partition of their own. */
static void
ensure_partitions(const AtlasLinkEvent *events, int nevents)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(nevents, 1));

	for (int i = 0; i < nevents; i++)
		ids[i] = events[i].id;
	atlas_partition_ensure(ATLAS_LINKS, ids, nevents);
}

static void
resolve_references(AtlasLinkEvent *events, int nevents)
{
	AtlasRef  **refs = palloc(sizeof(AtlasRef *) * Max(atlas_count_references(events, nevents), 1));
	int			nrefs = 0;

	for (int i = 0; i < nevents; i++)
		for (int j = 0; j < events[i].nrefs; j++)
		{
			AtlasRef   *ref = &events[i].refs[j];

			ref->outcome = ATLAS_REFERENCE_ERROR;
			ref->reason = ref->problem;
			if (ref->problem == NULL)
				refs[nrefs++] = ref;
		}
	atlas_resolve(refs, nrefs);
}

static void
link_events(void *argument, int from, int to, bool kept)
{
	LinkBatch  *batch = argument;
	TimestampTz now = GetCurrentTimestamp();
	AtlasLinkCounts counts = {0};
	AtlasMissing missing;
	int			nevents;
	AtlasLinkEvent *events;

	batch->makes_partitions = false;	/* as an error may have left it */
	events = read_and_list_missing(&batch->ids[from], to - from, &nevents, &missing);
	batch->makes_partitions = true;
	ensure_partitions(events, nevents);
	batch->makes_partitions = false;
	resolve_references(events, nevents);
	atlas_write_events(events, nevents, batch->links_may_exist, now, &counts);
	atlas_write_missing(&missing, now);

	if (kept)
	{
		batch->counts->linked += counts.linked;
		batch->counts->not_found += counts.not_found;
	}
}

static void
link_all(void *argument)
{
	LinkBatch  *batch = argument;

	link_events(batch, 0, batch->nids, true);
}

/* An event is not to blame for a month whose partition cannot be made. */
static void
fail_event(void *argument, int item, const ErrorData *error)
{
	LinkBatch  *batch = argument;

	if (atlas_is_shortage(error) || batch->makes_partitions)
		atlas_put_off(&batch->ids[item], error->message);
	else
		atlas_link_failed(&batch->ids[item], true, error->message);
}

void
atlas_link(const pg_uuid_t *ids, int nids, AtlasLinkCounts *counts)
{
	LinkBatch	batch = {.nids = nids,.counts = counts};
	ErrorData  *error;

	if (nids == 0)
		return;
	batch.ids = palloc(sizeof(pg_uuid_t) * nids);
	memcpy(batch.ids, ids, sizeof(pg_uuid_t) * nids);
	qsort(batch.ids, nids, sizeof(pg_uuid_t), atlas_event_id_compare);

	/* An event in the queue has no links, unless the tables were copied one by one. */
	error = atlas_try(link_all, &batch);
	if (error == NULL)
		return;
	if (atlas_stops_batch(error))
		ReThrowError(error);
	batch.links_may_exist = true;
	atlas_bisect(&batch, nids, link_events, fail_event);
}

int
atlas_claim_batch(AtlasCursor *cursor, int limit, pg_uuid_t *ids)
{
	/* A share for what was put off, however much is new. */
	int			share = limit > 1 ? Max(limit / 10, 1) : 0;
	int			ndue = atlas_queue_claim_due(share, ids);
	int			nnew = atlas_queue_claim(cursor, limit - ndue, ids + ndue);

	if (ndue < share || ndue + nnew == limit)
		return ndue + nnew;

	/* All the room that is left, too; the share is claimed once more with it. */
	memmove(ids, ids + ndue, sizeof(pg_uuid_t) * nnew);
	return nnew + atlas_queue_claim_due(limit - nnew, ids + nnew);
}

int
atlas_link_batch(AtlasCursor *cursor, int limit, AtlasLinkCounts *counts)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * limit);
	int			nclaimed = atlas_claim_batch(cursor, limit, ids);

	atlas_link(ids, nclaimed, counts);
	return nclaimed;
}
