/*
 * link.c
 *		Linking a batch of events.
 *
 *	claimed ids ─► read the events ─► partitions ─► resolve the references, one
 *	query a type ─► links, unresolved references ─► out of the queue
 *
 * A batch is processed in a subtransaction; if that fails it is bisected until
 * the event that makes it fail stands alone. Events whose references cannot be
 * looked up now, because a table is locked, are put off and the others go on.
 * An event that is in the queue but not in the log is put off as well: in a restore
 * the queue may come first.
 */
#include "postgres.h"

#include "values.h"
#include "attempt.h"
#include "catalog/pg_type.h"
#include "event_id.h"
#include "extension.h"
#include "link.h"
#include "partition.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#define FIRST_BACKOFF_SECONDS 1
#define MAX_BACKOFF_SECONDS 60

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

/* A link may be there only when a reference is looked up again. */
static AtlasStatement insert_links = {
	.sql =
	"INSERT INTO @extschema@.atlas_event_links"
	"       (event_id, tenant_id, object_type, object_id, linked_at)"
	" SELECT l.*, $5"
	"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                   pg_catalog.unnest($4)) AS l"
	" ON CONFLICT DO NOTHING",
	.nparameters = 5,
	.parameters = {UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID},
};

static AtlasStatement insert_unresolved = {
	.sql =
	"INSERT INTO @extschema@.atlas_event_unresolved"
	"       (event_id, position, tenant_id, object_type, object_id, external_id, outcome, reason,"
	"        first_attempt_at, next_attempt_at)"
	" SELECT u.*, $9, $10"
	"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                   pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
	"                   pg_catalog.unnest($7), pg_catalog.unnest($8)) AS u",
	.nparameters = 10,
	.parameters = {UUIDARRAYOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
};

static AtlasStatement delete_queued = {
	.sql =
	"DELETE FROM @extschema@.atlas_event_queue WHERE event_id OPERATOR(pg_catalog.=) ANY ($1)",
	.nparameters = 1,
	.parameters = {UUIDARRAYOID},
};

static AtlasStatement defer_queued = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue q"
	"   SET next_attempt_at = d.next_attempt_at, last_error = d.last_error"
	"  FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))"
	"       AS d (event_id, next_attempt_at, last_error)"
	" WHERE q.event_id OPERATOR(pg_catalog.=) d.event_id",
	.nparameters = 3,
	.parameters = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
};

static AtlasStatement fail_queued = {
	.sql =
	"UPDATE @extschema@.atlas_event_queue"
	"   SET attempts = attempts OPERATOR(pg_catalog.+) 1::pg_catalog.int2, last_error = $2,"
	"       next_attempt_at = CASE WHEN attempts OPERATOR(pg_catalog.+) 1 OPERATOR(pg_catalog.>=) $3"
	"                              THEN 'infinity' ELSE $4 END"
	" WHERE event_id OPERATOR(pg_catalog.=) $1"
	" RETURNING attempts",
	.nparameters = 4,
	.parameters = {UUIDOID, TEXTOID, INT4OID, TIMESTAMPTZOID},
};

static AtlasStatement select_attempts = {
	.sql =
	"SELECT attempts FROM @extschema@.atlas_event_queue WHERE event_id OPERATOR(pg_catalog.=) $1",
	.nparameters = 1,
	.parameters = {UUIDOID},
};

/* An event to be linked. */
typedef struct LinkEvent
{
	pg_uuid_t	id;
	text	   *tenant;
	char	   *object_type;	/* the primary object */
	text	   *object_id;
	TimestampTz received_at;
	AtlasRef   *refs;
	int			nrefs;
} LinkEvent;

typedef struct LinkBatch
{
	pg_uuid_t  *ids;
	AtlasLinkCounts *counts;
} LinkBatch;

/* ----- Phase: read the events ----- */

static text *
object_field(JsonbContainer *object, const char *key)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, key, strlen(key), &value) == NULL ||
		value.type != jbvString)
		return NULL;
	return cstring_to_text_with_len(value.val.string.val, value.val.string.len);
}

/* The references as the log stores them: see atlas_references_to_jsonb(). */
static void
read_references(LinkEvent *event, Jsonb *related)
{
	int			nrefs = JB_ROOT_COUNT(related);

	event->refs = palloc0(sizeof(AtlasRef) * Max(nrefs, 1));
	event->nrefs = nrefs;
	for (int i = 0; i < nrefs; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(&related->root, i);
		AtlasRef   *ref = &event->refs[i];
		text	   *object_type;

		if (item == NULL || item->type != jbvBinary ||
			(object_type = object_field(item->val.binary.data, "objectType")) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("related object %d of event %s is not readable", i + 1,
							atlas_event_id_string(&event->id))));
		ref->object_type = text_to_cstring(object_type);
		ref->lookup.tenant = event->tenant;
		ref->lookup.object_id = object_field(item->val.binary.data, "objectId");
		ref->lookup.external_id = object_field(item->val.binary.data, "externalId");
	}
}

static void
read_event(LinkEvent *event, HeapTuple row, TupleDesc tupdesc)
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
	return atlas_event_id_compare(&((const LinkEvent *) a)->id, &((const LinkEvent *) b)->id);
}

int
atlas_select_events(const pg_uuid_t *ids, int nids)
{
	AtlasColumn column;
	Datum		values[3];

	atlas_column_init(&column, nids);
	for (int i = 0; i < nids; i++)
		atlas_column_add(&column, UUIDPGetDatum(&ids[i]));
	values[0] = atlas_column_array(&column, UUIDOID);
	values[1] = UUIDPGetDatum(&ids[0]);
	values[2] = UUIDPGetDatum(&ids[nids - 1]);
	return (int) atlas_execute(&select_events, values, NULL, false, 0);
}

/* Reads those of the events that are there; ids are sorted, and so are they. */
static LinkEvent *
read_events(const pg_uuid_t *ids, int nids, int *nevents)
{
	LinkEvent  *events;

	*nevents = atlas_select_events(ids, nids);
	events = palloc(sizeof(LinkEvent) * Max(*nevents, 1));
	for (int i = 0; i < *nevents; i++)
		read_event(&events[i], SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_freetuptable(SPI_tuptable);
	qsort(events, *nevents, sizeof(LinkEvent), compare_events);
	return events;
}

/* ----- Phase: write what was resolved ----- */

struct AtlasLinkRows
{
	AtlasColumn event_ids;
	AtlasColumn tenants;
	AtlasColumn types;
	AtlasColumn object_ids;
};

AtlasLinkRows *
atlas_link_rows(int size)
{
	AtlasLinkRows *rows = palloc(sizeof(AtlasLinkRows));

	atlas_column_init(&rows->event_ids, size);
	atlas_column_init(&rows->tenants, size);
	atlas_column_init(&rows->types, size);
	atlas_column_init(&rows->object_ids, size);
	return rows;
}

void
atlas_link_rows_add(AtlasLinkRows *rows, const pg_uuid_t *event_id, const AtlasRef *ref)
{
	atlas_column_add(&rows->event_ids, UUIDPGetDatum(event_id));
	atlas_column_add(&rows->tenants, PointerGetDatum(ref->lookup.tenant));
	atlas_column_add(&rows->types, CStringGetTextDatum(ref->object_type));
	atlas_column_add(&rows->object_ids, PointerGetDatum(ref->lookup.found_id));
}

void
atlas_link_rows_write(const AtlasLinkRows *rows, TimestampTz now)
{
	Datum		values[5];

	if (rows->event_ids.nvalues == 0)
		return;
	values[0] = atlas_column_array(&rows->event_ids, UUIDOID);
	values[1] = atlas_column_array(&rows->tenants, TEXTOID);
	values[2] = atlas_column_array(&rows->types, TEXTOID);
	values[3] = atlas_column_array(&rows->object_ids, TEXTOID);
	values[4] = TimestampTzGetDatum(now);
	(void) atlas_execute(&insert_links, values, NULL, false, 0);
}

static bool
same_object(const AtlasRef *a, const AtlasRef *b)
{
	return strcmp(a->object_type, b->object_type) == 0 &&
		atlas_compare_text(a->lookup.found_id, b->lookup.found_id) == 0;
}

/* Is the object the primary one, or linked by an earlier reference? */
static bool
is_repeated(const LinkEvent *event, int position)
{
	const AtlasRef *ref = &event->refs[position];

	if (strcmp(ref->object_type, event->object_type) == 0 &&
		atlas_compare_text(ref->lookup.found_id, event->object_id) == 0)
		return true;
	for (int i = 0; i < position; i++)
		if (event->refs[i].outcome == ATLAS_LINKED && same_object(&event->refs[i], ref))
			return true;
	return false;
}

static const AtlasRef *
first_deferred(const LinkEvent *event)
{
	for (int i = 0; i < event->nrefs; i++)
		if (event->refs[i].outcome == ATLAS_DEFERRED)
			return &event->refs[i];
	return NULL;
}

static int
count_references(const LinkEvent *events, int nevents)
{
	int			count = 0;

	for (int i = 0; i < nevents; i++)
		count += events[i].nrefs;
	return count;
}

static void
write_links(const LinkEvent *events, int nevents, TimestampTz now)
{
	AtlasLinkRows *rows = atlas_link_rows(count_references(events, nevents));

	for (int i = 0; i < nevents; i++)
	{
		if (first_deferred(&events[i]) != NULL)
			continue;
		for (int j = 0; j < events[i].nrefs; j++)
			if (events[i].refs[j].outcome == ATLAS_LINKED && !is_repeated(&events[i], j))
				atlas_link_rows_add(rows, &events[i].id, &events[i].refs[j]);
	}
	atlas_link_rows_write(rows, now);
}

/* Records the references that were not linked, and returns how many. */
static int
write_unresolved(const LinkEvent *events, int nevents, TimestampTz now)
{
	static const Oid types[] = {
		UUIDOID, INT2OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID
	};
	AtlasColumn columns[lengthof(types)];
	int			size = count_references(events, nevents);
	Datum		values[lengthof(types) + 2];
	char		nulls[lengthof(types) + 2];

	for (int i = 0; i < lengthof(types); i++)
		atlas_column_init(&columns[i], size);
	for (int i = 0; i < nevents; i++)
	{
		if (first_deferred(&events[i]) != NULL)
			continue;
		for (int j = 0; j < events[i].nrefs; j++)
		{
			const AtlasRef *ref = &events[i].refs[j];

			if (ref->outcome == ATLAS_LINKED)
				continue;
			atlas_column_add(&columns[0], UUIDPGetDatum(&events[i].id));
			atlas_column_add(&columns[1], Int16GetDatum(j + 1));
			atlas_column_add(&columns[2], PointerGetDatum(ref->lookup.tenant));
			atlas_column_add(&columns[3], CStringGetTextDatum(ref->object_type));
			atlas_column_add_pointer(&columns[4], ref->lookup.object_id);
			atlas_column_add_pointer(&columns[5], ref->lookup.external_id);
			atlas_column_add(&columns[6], CStringGetTextDatum(
								ref->outcome == ATLAS_REFERENCE_NOT_FOUND ? "NOT_FOUND" : "ERROR"));
			atlas_column_add(&columns[7], CStringGetTextDatum(ref->reason));
		}
	}
	if (columns[0].nvalues == 0)
		return 0;

	memset(nulls, ' ', sizeof(nulls));
	for (int i = 0; i < lengthof(types); i++)
		values[i] = atlas_column_array(&columns[i], types[i]);
	values[lengthof(types)] = TimestampTzGetDatum(now);
	values[lengthof(types) + 1] = TimestampTzGetDatum(atlas_relink_time(now, 1));
	if (atlas_relink_window == 0)
		nulls[lengthof(types) + 1] = 'n';
	(void) atlas_execute(&insert_unresolved, values, nulls, false, 0);
	return columns[0].nvalues;
}

/* Takes the linked events out of the queue, and returns how many. */
static int
write_queue(const LinkEvent *events, int nevents)
{
	AtlasColumn linked;
	Datum		value;

	atlas_column_init(&linked, nevents);
	for (int i = 0; i < nevents; i++)
		if (first_deferred(&events[i]) == NULL)
			atlas_column_add(&linked, UUIDPGetDatum(&events[i].id));
	if (linked.nvalues > 0)
	{
		value = atlas_column_array(&linked, UUIDOID);
		(void) atlas_execute(&delete_queued, &value, NULL, false, 0);
	}
	return linked.nvalues;
}

/* When an event that is not to blame for anything is tried again. */
static TimestampTz
put_off(TimestampTz now)
{
	return atlas_backoff(now, MAX_BACKOFF_SECONDS, 1, MAX_BACKOFF_SECONDS);
}

/* When an event that was put off is tried again: the longer it waits, the later. */
static TimestampTz
deferred_until(const LinkEvent *event, TimestampTz now)
{
	int64		waited = (now - event->received_at) / USECS_PER_SEC / 2;

	waited = Max(Min(waited, MAX_BACKOFF_SECONDS), FIRST_BACKOFF_SECONDS);
	return atlas_backoff(now, (int) waited, 1, MAX_BACKOFF_SECONDS);
}

/* Events that are put off, until when, and why. */
typedef struct Deferrals
{
	AtlasColumn ids;
	AtlasColumn times;
	AtlasColumn reasons;
} Deferrals;

static void
init_deferrals(Deferrals *deferrals, int size)
{
	atlas_column_init(&deferrals->ids, size);
	atlas_column_init(&deferrals->times, size);
	atlas_column_init(&deferrals->reasons, size);
}

static void
defer(Deferrals *deferrals, const pg_uuid_t *id, TimestampTz until, const char *reason)
{
	atlas_column_add(&deferrals->ids, UUIDPGetDatum(id));
	atlas_column_add(&deferrals->times, TimestampTzGetDatum(until));
	atlas_column_add(&deferrals->reasons, CStringGetTextDatum(reason));
}

static int
write_deferrals(const Deferrals *deferrals)
{
	Datum		values[3];

	if (deferrals->ids.nvalues == 0)
		return 0;
	values[0] = atlas_column_array(&deferrals->ids, UUIDOID);
	values[1] = atlas_column_array(&deferrals->times, TIMESTAMPTZOID);
	values[2] = atlas_column_array(&deferrals->reasons, TEXTOID);
	(void) atlas_execute(&defer_queued, values, NULL, false, 0);
	return deferrals->ids.nvalues;
}

/*
 * Puts off the events some reference of which cannot be looked up now, and those
 * that are not in the log: in a restore they may come later.
 */
static int
write_deferred(const pg_uuid_t *ids, int nids, const LinkEvent *events, int nevents,
			   TimestampTz now)
{
	Deferrals	deferrals;
	int			next = 0;		/* both are sorted */

	init_deferrals(&deferrals, nids);
	for (int i = 0; i < nids; i++)
	{
		const AtlasRef *ref;

		if (next == nevents || atlas_event_id_compare(&events[next].id, &ids[i]) != 0)
		{
			defer(&deferrals, &ids[i], put_off(now), "the event is not there");
			continue;
		}
		ref = first_deferred(&events[next]);
		if (ref != NULL)
			defer(&deferrals, &ids[i], deferred_until(&events[next], now), ref->reason);
		next++;
	}
	return write_deferrals(&deferrals);
}

/* ----- All phases for a part of the batch, in a subtransaction ----- */

/* A month's links have a partition of their own. */
static void
ensure_partitions(const LinkEvent *events, int nevents)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(nevents, 1));

	for (int i = 0; i < nevents; i++)
		ids[i] = events[i].id;
	atlas_partition_ensure(ATLAS_LINKS, ids, nevents);
}

static void
resolve_references(LinkEvent *events, int nevents)
{
	AtlasRef  **refs = palloc(sizeof(AtlasRef *) * Max(count_references(events, nevents), 1));
	int			nrefs = 0;

	for (int i = 0; i < nevents; i++)
		for (int j = 0; j < events[i].nrefs; j++)
			refs[nrefs++] = &events[i].refs[j];
	atlas_resolve(refs, nrefs);
}

static void
link_events(void *argument, int from, int to)
{
	LinkBatch  *batch = argument;
	TimestampTz now = GetCurrentTimestamp();
	AtlasLinkCounts counts = {0};
	int			nevents;
	LinkEvent  *events = read_events(&batch->ids[from], to - from, &nevents);

	ensure_partitions(events, nevents);
	resolve_references(events, nevents);
	write_links(events, nevents, now);
	counts.not_found = write_unresolved(events, nevents, now);
	counts.linked = write_queue(events, nevents);
	counts.deferred = write_deferred(&batch->ids[from], to - from, events, nevents, now);

	batch->counts->linked += counts.linked;
	batch->counts->not_found += counts.not_found;
	batch->counts->deferred += counts.deferred;
}

void
atlas_link_failed(const pg_uuid_t *id, int max_attempts, const char *message)
{
	Datum		values[4];
	bool		isnull;
	int			attempts = 0;

	values[0] = UUIDPGetDatum(id);
	if (atlas_execute(&select_attempts, values, NULL, false, 1) > 0)
		attempts = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
											   1, &isnull));
	values[1] = CStringGetTextDatum(message);
	values[2] = Int32GetDatum(max_attempts);
	values[3] = TimestampTzGetDatum(atlas_backoff(GetCurrentTimestamp(), FIRST_BACKOFF_SECONDS,
												  attempts + 1, MAX_BACKOFF_SECONDS));
	(void) atlas_execute(&fail_queued, values, NULL, false, 0);

	ereport(LOG,
			(errmsg("event %s could not be linked, attempt %d of %d: %s",
					atlas_event_id_string(id), attempts + 1, max_attempts, message),
			 attempts + 1 >= max_attempts ?
			 errhint("It is FAILED now. Repair the cause and call atlas_retry_failed().") : 0));
}

static void
fail_event(void *argument, int item, const ErrorData *error)
{
	LinkBatch  *batch = argument;

	if (atlas_is_shortage(error))
	{
		Deferrals	deferrals;

		init_deferrals(&deferrals, 1);
		defer(&deferrals, &batch->ids[item], put_off(GetCurrentTimestamp()), error->message);
		batch->counts->deferred += write_deferrals(&deferrals);
	}
	else
	{
		atlas_link_failed(&batch->ids[item], atlas_max_attempts, error->message);
		batch->counts->failed++;
	}
}

void
atlas_link(const pg_uuid_t *ids, int nids, AtlasLinkCounts *counts)
{
	LinkBatch	batch = {.counts = counts};

	if (nids == 0)
		return;
	batch.ids = palloc(sizeof(pg_uuid_t) * nids);
	memcpy(batch.ids, ids, sizeof(pg_uuid_t) * nids);
	qsort(batch.ids, nids, sizeof(pg_uuid_t), atlas_event_id_compare);
	atlas_bisect(&batch, 0, nids, link_events, fail_event);
}

int
atlas_claim_batch(AtlasCursor *cursor, int limit, pg_uuid_t *ids)
{
	/* A share for what was put off, however much is new. */
	int			nclaimed = limit > 1 ? atlas_queue_claim_due(Max(limit / 10, 1), ids) : 0;

	nclaimed += atlas_queue_claim(cursor, limit - nclaimed, ids + nclaimed);
	if (nclaimed == 0)
		nclaimed = atlas_queue_claim_due(limit, ids);
	return nclaimed;
}

int
atlas_link_batch(AtlasCursor *cursor, int limit, AtlasLinkCounts *counts)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * limit);
	int			nclaimed = atlas_claim_batch(cursor, limit, ids);

	atlas_link(ids, nclaimed, counts);
	return nclaimed;
}
