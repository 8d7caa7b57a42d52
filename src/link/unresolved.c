/*
 * unresolved.c
 *		Looking up unresolved references again.
 *
 * In real life the event of an order often comes before the account that it
 * names. A reference that was not found is looked up again with growing delays
 * for atlas_events.relink_window; a late hit becomes a link and the record of
 * the failure goes. After the window the record stays.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/retry.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "link/link_batch.h"
#include "store/partitions.h"

#define FIRST_DELAY_SECONDS 5
#define MAX_DELAY_SECONDS 3600

/* Index Cond on atlas_event_unresolved_next_attempt_at_idx. */
static AtlasStatement select_due = {
	.sql =
	"SELECT event_id, position, tenant_id, object_type, object_id, external_id, attempts,"
	"       first_attempt_at"
	"  FROM @extschema@.atlas_event_unresolved"
	" WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1"
	" ORDER BY next_attempt_at"
	" LIMIT $2"
	"   FOR UPDATE SKIP LOCKED",
	.nparameters = 2,
	.parameters = {TIMESTAMPTZOID, INT8OID},
};

/* Those of one event, whose lookup killed a linker, or may have. */
static AtlasStatement select_given_up = {
	.sql =
	"SELECT event_id, position, tenant_id, object_type, object_id, external_id, attempts,"
	"       first_attempt_at"
	"  FROM @extschema@.atlas_event_unresolved"
	" WHERE event_id OPERATOR(pg_catalog.=) $1 AND reason OPERATOR(pg_catalog.=) $2"
	"   FOR UPDATE",
	.nparameters = 2,
	.parameters = {UUIDOID, TEXTOID},
};

static AtlasStatement give_up = {
	.sql =
	"UPDATE @extschema@.atlas_event_unresolved"
	"   SET next_attempt_at = NULL, outcome = 'ERROR', reason = $2"
	" WHERE event_id OPERATOR(pg_catalog.=) $1 AND next_attempt_at IS NOT NULL",
	.nparameters = 2,
	.parameters = {UUIDOID, TEXTOID},
};

static AtlasStatement select_due_events = {
	.sql =
	"SELECT event_id"
	"  FROM (SELECT event_id FROM @extschema@.atlas_event_unresolved"
	"         WHERE next_attempt_at OPERATOR(pg_catalog.<=) $1"
	"         ORDER BY next_attempt_at LIMIT $2) u"
	" ORDER BY event_id",
	.nparameters = 2,
	.parameters = {TIMESTAMPTZOID, INT8OID},
};

static AtlasStatement delete_resolved = {
	.sql =
	"DELETE FROM @extschema@.atlas_event_unresolved u"
	" USING ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS r (event_id, position)"
	" WHERE u.event_id OPERATOR(pg_catalog.=) r.event_id"
	"   AND u.position OPERATOR(pg_catalog.=) r.position",
	.nparameters = 2,
	.parameters = {UUIDARRAYOID, INT2ARRAYOID},
};

static AtlasStatement update_unresolved = {
	.sql =
	"UPDATE @extschema@.atlas_event_unresolved u"
	"   SET attempts = r.attempts, next_attempt_at = r.next_attempt_at, outcome = r.outcome,"
	"       reason = r.reason"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                  pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6))"
	"       AS r (event_id, position, attempts, next_attempt_at, outcome, reason)"
	" WHERE u.event_id OPERATOR(pg_catalog.=) r.event_id"
	"   AND u.position OPERATOR(pg_catalog.=) r.position",
	.nparameters = 6,
	.parameters = {UUIDARRAYOID, INT2ARRAYOID, INT2ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID},
};

typedef struct Unresolved
{
	pg_uuid_t	event_id;
	int16		position;
	int16		attempts;
	TimestampTz first_attempt_at;
	AtlasRef	ref;
	bool		event_exists;
	char	   *primary_type;
	text	   *primary_id;
} Unresolved;

typedef struct RelinkBatch
{
	Unresolved *items;
	int			nitems;
	bool		makes_partitions;	/* at this moment */
} RelinkBatch;

TimestampTz
atlas_relink_time(TimestampTz now, int attempts)
{
	return atlas_backoff(now, FIRST_DELAY_SECONDS, attempts, MAX_DELAY_SECONDS);
}

static int
compare_items(const void *a, const void *b)
{
	return atlas_event_id_compare(&((const Unresolved *) a)->event_id,
								  &((const Unresolved *) b)->event_id);
}

/* Claims the references that a statement selects; they come out sorted by event. */
static void
claim(RelinkBatch *batch, AtlasStatement *statement, Datum *values)
{
	batch->makes_partitions = false;
	batch->nitems = (int) atlas_execute(statement, values, NULL, false, 0);
	batch->items = palloc0(sizeof(Unresolved) * Max(batch->nitems, 1));
	for (int i = 0; i < batch->nitems; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		Unresolved *item = &batch->items[i];
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		item->event_id = *DatumGetUUIDP(SPI_getbinval(row, tupdesc, 1, &isnull));
		item->position = DatumGetInt16(SPI_getbinval(row, tupdesc, 2, &isnull));
		item->ref.lookup.tenant = atlas_result_text(row, tupdesc, 3);
		item->ref.object_type = SPI_getvalue(row, tupdesc, 4);
		item->ref.lookup.object_id = atlas_result_text(row, tupdesc, 5);
		item->ref.lookup.external_id = atlas_result_text(row, tupdesc, 6);
		item->attempts = DatumGetInt16(SPI_getbinval(row, tupdesc, 7, &isnull));
		item->first_attempt_at = DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 8, &isnull));
	}
	qsort(batch->items, batch->nitems, sizeof(Unresolved), compare_items);
}

/* Reads the primary objects of the events, which are sorted. */
static void
read_primaries(RelinkBatch *batch)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * batch->nitems);
	bool		isnull;

	for (int i = 0; i < batch->nitems; i++)
		ids[i] = batch->items[i].event_id;
	(void) atlas_select_events(ids, batch->nitems);

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[row];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		Unresolved	key;
		Unresolved *item;
		Unresolved *end = batch->items + batch->nitems;

		key.event_id = *DatumGetUUIDP(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		item = bsearch(&key, batch->items, batch->nitems, sizeof(Unresolved), compare_items);
		if (item == NULL)
			continue;
		while (item > batch->items && compare_items(item - 1, &key) == 0)
			item--;
		for (; item < end && compare_items(item, &key) == 0; item++)
		{
			item->event_exists = true;
			item->primary_type = SPI_getvalue(tuple, tupdesc, 3);
			item->primary_id = atlas_result_text(tuple, tupdesc, 4);
		}
	}
}

static bool
is_primary(const Unresolved *item)
{
	return strcmp(item->ref.object_type, item->primary_type) == 0 &&
		atlas_compare_text(item->ref.lookup.found_id, item->primary_id) == 0;
}

/* Turns the late hits into links. */
static void
write_resolved(const Unresolved *items, int nitems, TimestampTz now)
{
	AtlasRows	links;
	AtlasColumn ids;
	AtlasColumn positions;
	Datum		values[2];

	atlas_link_rows_init(&links, nitems);
	atlas_column_init(&ids, nitems);
	atlas_column_init(&positions, nitems);
	for (int i = 0; i < nitems; i++)
	{
		if (items[i].ref.outcome != ATLAS_LINKED || !items[i].event_exists)
			continue;
		atlas_column_add(&ids, UUIDPGetDatum(&items[i].event_id));
		atlas_column_add(&positions, Int16GetDatum(items[i].position));
		if (!is_primary(&items[i]))
			atlas_link_rows_add(&links, &items[i].event_id, &items[i].ref, now);
	}
	if (ids.nvalues == 0)
		return;
	atlas_rows_insert(&links);
	values[0] = atlas_column_array(&ids, UUIDOID);
	values[1] = atlas_column_array(&positions, INT2OID);
	(void) atlas_execute(&delete_resolved, values, NULL, false, 0);
}

/*
 * Notes the others for another time. A table that is locked does not count as
 * an attempt; an event that is not there (yet, in a restore) does.
 */
static void
write_unresolved(const Unresolved *items, int nitems, TimestampTz now)
{
	AtlasColumn columns[6];
	static const Oid types[6] = {UUIDOID, INT2OID, INT2OID, TIMESTAMPTZOID, TEXTOID, TEXTOID};
	Datum		values[6];

	for (int i = 0; i < lengthof(columns); i++)
		atlas_column_init(&columns[i], nitems);
	for (int i = 0; i < nitems; i++)
	{
		const Unresolved *item = &items[i];
		bool		locked = item->ref.outcome == ATLAS_DEFERRED;
		int			attempts = Min(item->attempts + (locked ? 0 : 1), PG_INT16_MAX);
		TimestampTz next = atlas_relink_time(now, attempts);

		if (item->ref.outcome == ATLAS_LINKED && item->event_exists)
			continue;
		atlas_column_add(&columns[0], UUIDPGetDatum(&item->event_id));
		atlas_column_add(&columns[1], Int16GetDatum(item->position));
		atlas_column_add(&columns[2], Int16GetDatum(attempts));
		if (next <= TimestampTzPlusMilliseconds(item->first_attempt_at,
												(int64) atlas_relink_window * 1000))
			atlas_column_add(&columns[3], TimestampTzGetDatum(next));
		else
			atlas_column_add_null(&columns[3]);
		atlas_column_add(&columns[4], CStringGetTextDatum(
							item->ref.outcome == ATLAS_REFERENCE_NOT_FOUND ? "NOT_FOUND" : "ERROR"));
		atlas_column_add(&columns[5], CStringGetTextDatum(
							item->ref.outcome == ATLAS_LINKED ? "the event is not there" : item->ref.reason));
	}
	if (columns[0].nvalues == 0)
		return;
	for (int i = 0; i < lengthof(columns); i++)
		values[i] = atlas_column_array(&columns[i], types[i]);
	(void) atlas_execute(&update_unresolved, values, NULL, false, 0);
}

/* Retention may have dropped the event, and the month's links with it. */
static void
ensure_partitions(const Unresolved *items, int nitems)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * nitems);
	int			nids = 0;

	for (int i = 0; i < nitems; i++)
		if (items[i].event_exists)
			ids[nids++] = items[i].event_id;
	atlas_partition_ensure(ATLAS_LINKS, ids, nids);
}

static void
relink_items(void *argument, int from, int to, bool kept)
{
	RelinkBatch *batch = argument;
	Unresolved *items = &batch->items[from];
	int			nitems = to - from;
	TimestampTz now = GetCurrentTimestamp();
	AtlasRef  **refs = palloc(sizeof(AtlasRef *) * nitems);

	batch->makes_partitions = true;
	ensure_partitions(items, nitems);
	batch->makes_partitions = false;
	for (int i = 0; i < nitems; i++)
		refs[i] = &items[i].ref;
	atlas_resolve(refs, nitems);
	write_resolved(items, nitems, now);
	write_unresolved(items, nitems, now);
}

static void
fail_item(void *argument, int index, const ErrorData *error)
{
	RelinkBatch *batch = argument;
	Unresolved *item = &batch->items[index];

	item->ref.outcome = atlas_is_shortage(error) || batch->makes_partitions ?
		ATLAS_DEFERRED : ATLAS_REFERENCE_ERROR;
	item->ref.reason = error->message;
	write_unresolved(item, 1, GetCurrentTimestamp());
}

/* Looks up the references that were claimed. */
static void
relink(RelinkBatch *batch)
{
	if (batch->nitems == 0)
		return;
	read_primaries(batch);
	atlas_bisect(batch, batch->nitems, relink_items, fail_item);
}

static void
due_values(int limit, Datum *values)
{
	values[0] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[1] = Int64GetDatum(limit);
}

int
atlas_relink_batch(int limit)
{
	RelinkBatch batch;
	Datum		values[2];

	due_values(limit, values);
	claim(&batch, &select_due, values);
	relink(&batch);
	return batch.nitems;
}

int
atlas_relink_events(int limit, pg_uuid_t *ids)
{
	Datum		values[2];
	bool		isnull;

	due_values(limit, values);
	(void) atlas_execute(&select_due_events, values, NULL, false, 0);
	for (uint64 i = 0; i < SPI_processed; i++)
		ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
											  1, &isnull));
	return (int) SPI_processed;
}

bool
atlas_relink_give_up(const pg_uuid_t *id, const char *reason)
{
	Datum		values[2];

	values[0] = UUIDPGetDatum(id);
	values[1] = CStringGetTextDatum(reason);
	return atlas_execute(&give_up, values, NULL, false, 0) > 0;
}

void
atlas_relink_given_up(const pg_uuid_t *id, const char *reason)
{
	RelinkBatch batch;
	Datum		values[2];

	values[0] = UUIDPGetDatum(id);
	values[1] = CStringGetTextDatum(reason);
	claim(&batch, &select_given_up, values);
	relink(&batch);
}
