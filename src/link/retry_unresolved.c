/*
 * retry_unresolved.c
 *		Looking up unresolved references again.
 *
 * In real life the event of an order often comes before the account that it
 * names. A reference that was not found is looked up again for some time; a late
 * hit becomes a link, and the record of the failure goes.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/retry.h"
#include "base/subtransaction.h"
#include "link/events_to_link.h"
#include "link/link_rows.h"
#include "link/references.h"
#include "link/retry_unresolved.h"
#include "link/unresolved.h"
#include "store/partitions.h"
#include "store/rows.h"
#include "store/work.h"

typedef struct RetryBatch
{
	AtlasUnresolved *items;		/* sorted by event */
	int			nitems;
	bool		makes_partitions;	/* at this moment */
} RetryBatch;

/* Reads the primary objects of the events, which are sorted. */
static void
read_primaries(RetryBatch *batch)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * batch->nitems);
	bool		isnull;

	for (int i = 0; i < batch->nitems; i++)
		keys[i] = batch->items[i].event;
	(void) atlas_select_events(keys, batch->nitems);

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[row];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		AtlasUnresolved	key;
		AtlasUnresolved *item;
		AtlasUnresolved *end = batch->items + batch->nitems;

		key.event.id = *DatumGetUUIDP(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		key.event.tenant = DatumGetTextPP(SPI_getbinval(tuple, tupdesc, 2, &isnull));
		item = bsearch(&key, batch->items, batch->nitems, sizeof(AtlasUnresolved), atlas_unresolved_compare);
		if (item == NULL)
			continue;
		while (item > batch->items && atlas_unresolved_compare(item - 1, &key) == 0)
			item--;
		for (; item < end && atlas_unresolved_compare(item, &key) == 0; item++)
		{
			item->event_exists = true;
			item->primary_type = SPI_getvalue(tuple, tupdesc, 3);
			item->primary_id = atlas_result_text(tuple, tupdesc, 4);
		}
	}
}

/* Has the reference turned out to be to the primary object of its event? */
static bool
is_primary_of_its_event(const AtlasUnresolved *item)
{
	return strcmp(item->ref.object_type, item->primary_type) == 0 &&
		atlas_compare_text(item->ref.lookup.found_id, item->primary_id) == 0;
}

/* Turns the late hits into links, and has the rules evaluated for these objects. */
static void
write_late_links(const AtlasUnresolved *items, int nitems, TimestampTz now)
{
	AtlasEventKey *linked = palloc(sizeof(AtlasEventKey) * nitems);
	int			nlinked = 0;
	AtlasRows	links;

	atlas_link_rows_init(&links, nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (!atlas_is_resolved(&items[i]) || is_primary_of_its_event(&items[i]))
			continue;
		atlas_link_rows_add(&links, &items[i].event.id, &items[i].ref, now);
		linked[nlinked++] = items[i].event;
	}
	atlas_rows_insert(&links);
	atlas_work_add_late(linked, nlinked);
}

/* Retention may have dropped the event, and the month's links with it. */
static void
ensure_partitions_of_late_links(const AtlasUnresolved *items, int nitems)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * nitems);
	int			nids = 0;

	for (int i = 0; i < nitems; i++)
		if (items[i].event_exists)
			ids[nids++] = items[i].event.id;
	atlas_partition_ensure(ATLAS_EVENT_LINKS, ids, nids);
}

/* Looks up a part of the batch, in a subtransaction. */
static void
retry_items(void *argument, int from, int to, bool kept)
{
	RetryBatch *batch = argument;
	AtlasUnresolved *items = &batch->items[from];
	int			nitems = to - from;
	TimestampTz now = GetCurrentTimestamp();
	AtlasRef  **refs = palloc(sizeof(AtlasRef *) * nitems);

	batch->makes_partitions = true;
	ensure_partitions_of_late_links(items, nitems);
	batch->makes_partitions = false;
	for (int i = 0; i < nitems; i++)
		refs[i] = &items[i].ref;
	atlas_resolve(refs, nitems);
	write_late_links(items, nitems, now);
	atlas_unresolved_remove(items, nitems);
	atlas_unresolved_update(items, nitems, now);
}

/* Notes a reference that makes its whole batch fail. */
static void
fail_reference(void *argument, int index, const ErrorData *error)
{
	RetryBatch *batch = argument;
	AtlasUnresolved *item = &batch->items[index];

	item->ref.outcome = atlas_is_shortage(error) || batch->makes_partitions ?
		ATLAS_DEFERRED : ATLAS_REFERENCE_ERROR;
	item->ref.reason = error->message;
	atlas_unresolved_update(item, 1, GetCurrentTimestamp());
}

/* Looks up the references that were claimed. */
static void
retry_claimed(RetryBatch *batch)
{
	if (batch->nitems == 0)
		return;
	read_primaries(batch);
	atlas_bisect(batch, batch->nitems, retry_items, fail_reference);
}

int
atlas_retry_unresolved(int limit)
{
	RetryBatch	batch = {0};

	batch.nitems = atlas_unresolved_claim_due(limit, &batch.items);
	retry_claimed(&batch);
	return batch.nitems;
}

void
atlas_retry_given_up(const AtlasEventKey *key, const char *reason)
{
	RetryBatch	batch = {0};

	batch.nitems = atlas_unresolved_claim_given_up(key, reason, &batch.items);
	retry_claimed(&batch);
}
