/*
 * link_batch.c
 *		Linking a batch of events.
 *
 *	claimed events ─► read the events ─► partitions ─► resolve the references, type by
 *	type ─► links, unresolved references ─► out of the queue, into the work table
 *
 * A batch is processed in a subtransaction; if that fails it is bisected until
 * the event that makes it fail stands alone. Events whose references cannot be
 * looked up now, because a table is locked, are put off and the others go on.
 * An event that is in the queue but not in the log is put off as well: in a restore
 * the queue may come first, and the first event of a month is visible a moment before
 * its partition is known to other sessions.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/retry.h"
#include "base/subtransaction.h"
#include "link/events_to_link.h"
#include "link/link_batch.h"
#include "link/link_rows.h"
#include "link/put_off.h"
#include "link/references.h"
#include "link/unresolved.h"
#include "store/partitions.h"
#include "store/queue.h"
#include "store/work.h"

int			atlas_batch_size = 1000;

typedef struct LinkBatch
{
	AtlasEventKey *keys;		/* sorted */
	int			nkeys;
	bool		links_may_exist;
	bool		makes_partitions;	/* at this moment */
	AtlasLinkCounts *counts;
} LinkBatch;

/* A month's links have a partition of their own. */
static void
ensure_link_partitions(const AtlasLinkEvent *events, int nevents)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(nevents, 1));

	for (int i = 0; i < nevents; i++)
		ids[i] = events[i].key.id;
	atlas_partition_ensure(ATLAS_EVENT_LINKS, ids, nevents);
}

/* Looks up the references of all events at once. What can never be looked up is not tried. */
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

/*
 * Takes the events out of the queue that are linked now, and writes down what is to be done
 * about them next. Returns how many they are.
 */
static int
take_out_of_queue(const AtlasLinkEvent *events, int nevents)
{
	AtlasEventKey *linked = palloc(sizeof(AtlasEventKey) * Max(nevents, 1));
	int			nlinked = 0;
	AtlasNewWork work;

	atlas_new_work_begin(&work, nevents);
	for (int i = 0; i < nevents; i++)
		if (atlas_first_deferred(&events[i]) == NULL)
		{
			atlas_new_work_add(&work, &events[i].key.id, events[i].key.tenant, events[i].key.depth);
			linked[nlinked++] = events[i].key;
		}
	atlas_queue_remove(linked, nlinked);
	(void) atlas_new_work_write(&work);
	return nlinked;
}

/* Links a part of the batch. What is not kept is a trial and does not count. */
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
	events = atlas_read_events_to_link(&batch->keys[from], to - from, &nevents, &missing);
	batch->makes_partitions = true;
	ensure_link_partitions(events, nevents);
	batch->makes_partitions = false;
	resolve_references(events, nevents);
	atlas_write_links(events, nevents, batch->links_may_exist, now);
	counts.not_found = atlas_unresolved_add(events, nevents, now);
	counts.linked = take_out_of_queue(events, nevents);
	atlas_put_off_deferred(events, nevents, now);
	atlas_put_off_missing(&missing, now);

	if (kept)
	{
		batch->counts->linked += counts.linked;
		batch->counts->not_found += counts.not_found;
	}
}

/* The body of the subtransaction that nearly always succeeds. */
static void
link_whole_batch(void *argument)
{
	LinkBatch  *batch = argument;

	link_events(batch, 0, batch->nkeys, true);
}

/* An event is not to blame if the partition of its month cannot be made. */
static void
fail_event(void *argument, int item, const ErrorData *error)
{
	LinkBatch  *batch = argument;

	if (atlas_is_shortage(error) || batch->makes_partitions)
		atlas_put_off(&batch->keys[item], error->message);
	else
		atlas_link_failed(&batch->keys[item], true, error->message);
}

void
atlas_link(const AtlasEventKey *keys, int nkeys, AtlasLinkCounts *counts)
{
	LinkBatch	batch = {.nkeys = nkeys,.counts = counts};
	ErrorData  *error;

	if (nkeys == 0)
		return;
	batch.keys = palloc(sizeof(AtlasEventKey) * nkeys);
	memcpy(batch.keys, keys, sizeof(AtlasEventKey) * nkeys);
	qsort(batch.keys, nkeys, sizeof(AtlasEventKey), atlas_event_key_compare);

	/* An event in the queue has no links yet, except when the tables were restored one by one. */
	error = atlas_try(link_whole_batch, &batch);
	if (error == NULL)
		return;
	if (atlas_stops_batch(error))
		ReThrowError(error);
	batch.links_may_exist = true;
	atlas_bisect(&batch, nkeys, link_events, fail_event);
}

int
atlas_link_batch(AtlasCursor *cursor, int limit, AtlasLinkCounts *counts)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * limit);
	int			nclaimed = atlas_queue_claim_batch(cursor, limit, keys);

	atlas_link(keys, nclaimed, counts);
	return nclaimed;
}
