/*
 * link_rows.c
 *		Writing what became of a batch of events: links, unresolved references,
 *		and the queue, which an event leaves, or in which it is put off.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/extension.h"
#include "base/retry.h"
#include "base/statement.h"
#include "link/link_batch.h"
#include "link/link_rows.h"

#define FIRST_BACKOFF_SECONDS 1
#define MAX_BACKOFF_SECONDS 60
#define ENDING_MILLISECONDS 100	/* until the transaction of an event may have ended */
#define DEFERRAL_LOG_SECONDS 60	/* between two lines about the same reason */

static AtlasTable links_table = {
	.relation = offsetof(AtlasExtension, links),
	.partitions = ATLAS_LINKS,
	.ncolumns = 5,
	.columns = {"event_id", "linked_at", "tenant_id", "object_type", "object_id"},
	.types = {UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID},
	.insert = {
		.sql =
		"INSERT INTO @extschema@.atlas_event_links"
		"       (event_id, linked_at, tenant_id, object_type, object_id)"
		" SELECT *"
		"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		"                   pg_catalog.unnest($4), pg_catalog.unnest($5)) AS l"
		" ON CONFLICT DO NOTHING",
		.nparameters = 5,
		.parameters = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID},
	},
};

static AtlasStatement insert_unresolved = {
	.sql =
	"INSERT INTO @extschema@.atlas_event_unresolved"
	"       (event_id, position, tenant_id, object_type, object_id, external_id, outcome, reason,"
	"        first_attempt_at, next_attempt_at)"
	" SELECT *"
	"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                   pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
	"                   pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),"
	"                   pg_catalog.unnest($10)) AS u",
	.nparameters = 10,
	.parameters = {UUIDARRAYOID, INT2ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID},
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
	"   SET attempts = $2, last_error = $3, next_attempt_at = $4"
	" WHERE event_id OPERATOR(pg_catalog.=) $1",
	.nparameters = 4,
	.parameters = {UUIDOID, INT2OID, TEXTOID, TIMESTAMPTZOID},
};

static AtlasStatement select_attempts = {
	.sql =
	"SELECT attempts FROM @extschema@.atlas_event_queue WHERE event_id OPERATOR(pg_catalog.=) $1",
	.nparameters = 1,
	.parameters = {UUIDOID},
};

void
atlas_link_rows_init(AtlasRows *rows, int size)
{
	atlas_rows_init(rows, &links_table, size);
}

void
atlas_link_rows_add(AtlasRows *rows, const pg_uuid_t *event_id, const AtlasRef *ref, TimestampTz now)
{
	static const bool nulls[ATLAS_MAX_COLUMNS] = {false};
	Datum		values[ATLAS_MAX_COLUMNS];

	CHECK_FOR_INTERRUPTS();
	values[0] = UUIDPGetDatum(event_id);
	values[1] = TimestampTzGetDatum(now);
	values[2] = PointerGetDatum(ref->lookup.tenant);
	values[3] = CStringGetTextDatum(ref->object_type);
	values[4] = PointerGetDatum(ref->lookup.found_id);
	atlas_rows_add(rows, values, nulls);
}

/* By type and id. There may be many, so a sort can be interrupted. */
static int
compare_objects(const void *a, const void *b)
{
	const AtlasRef *left = *(const AtlasRef *const *) a;
	const AtlasRef *right = *(const AtlasRef *const *) b;
	int			result = strcmp(left->object_type, right->object_type);

	CHECK_FOR_INTERRUPTS();
	return result != 0 ? result : atlas_compare_text(left->lookup.found_id, right->lookup.found_id);
}

static bool
is_primary_object(const AtlasLinkEvent *event, const AtlasRef *ref)
{
	return strcmp(ref->object_type, event->object_type) == 0 &&
		atlas_compare_text(ref->lookup.found_id, event->object_id) == 0;
}

/* The references to the objects to link: each object once, and not the primary one. */
static int
distinct_objects(const AtlasLinkEvent *event, const AtlasRef **refs)
{
	int			nrefs = 0;
	int			ndistinct = 0;

	for (int i = 0; i < event->nrefs; i++)
		if (event->refs[i].outcome == ATLAS_LINKED && !is_primary_object(event, &event->refs[i]))
			refs[nrefs++] = &event->refs[i];
	qsort(refs, nrefs, sizeof(AtlasRef *), compare_objects);
	for (int i = 0; i < nrefs; i++)
		if (i == 0 || compare_objects(&refs[i - 1], &refs[i]) != 0)
			refs[ndistinct++] = refs[i];
	return ndistinct;
}

static const AtlasRef *
first_deferred(const AtlasLinkEvent *event)
{
	for (int i = 0; i < event->nrefs; i++)
		if (event->refs[i].outcome == ATLAS_DEFERRED)
			return &event->refs[i];
	return NULL;
}

int
atlas_count_references(const AtlasLinkEvent *events, int nevents)
{
	int			count = 0;

	for (int i = 0; i < nevents; i++)
		count += events[i].nrefs;
	return count;
}

static void
write_links(const AtlasLinkEvent *events, int nevents, bool may_exist, TimestampTz now)
{
	AtlasRows	rows;

	atlas_link_rows_init(&rows, atlas_count_references(events, nevents));
	for (int i = 0; i < nevents; i++)
	{
		const AtlasRef **refs;
		int			nrefs;

		if (first_deferred(&events[i]) != NULL)
			continue;
		refs = palloc(sizeof(AtlasRef *) * Max(events[i].nrefs, 1));
		nrefs = distinct_objects(&events[i], refs);
		for (int j = 0; j < nrefs; j++)
			atlas_link_rows_add(&rows, &events[i].id, refs[j], now);
		pfree(refs);
	}
	if (may_exist)
		atlas_rows_insert(&rows);
	else
		atlas_rows_write(&rows);
}

/* Records the references that were not linked, and returns how many. */
static int
write_unresolved(const AtlasLinkEvent *events, int nevents, TimestampTz now)
{
	static const Oid types[] = {
		UUIDOID, INT2OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		TIMESTAMPTZOID, TIMESTAMPTZOID
	};
	AtlasColumn columns[lengthof(types)];
	int			size = atlas_count_references(events, nevents);
	TimestampTz next = atlas_relink_time(now, 1);
	Datum		values[lengthof(types)];

	for (int i = 0; i < lengthof(types); i++)
		atlas_column_init(&columns[i], size);
	for (int i = 0; i < nevents; i++)
	{
		if (first_deferred(&events[i]) != NULL)
			continue;
		for (int j = 0; j < events[i].nrefs; j++)
		{
			const AtlasRef *ref = &events[i].refs[j];

			CHECK_FOR_INTERRUPTS();
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
			atlas_column_add(&columns[8], TimestampTzGetDatum(now));
			if (atlas_relink_window == 0 || ref->problem != NULL)
				atlas_column_add_null(&columns[9]);
			else
				atlas_column_add(&columns[9], TimestampTzGetDatum(next));
		}
	}
	if (columns[0].nvalues == 0)
		return 0;

	for (int i = 0; i < lengthof(types); i++)
		values[i] = atlas_column_array(&columns[i], types[i]);
	(void) atlas_execute(&insert_unresolved, values, NULL, false, 0);
	return columns[0].nvalues;
}

/* Takes the linked events out of the queue, and returns how many. */
static int
write_queue(const AtlasLinkEvent *events, int nevents)
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
deferred_until(const AtlasLinkEvent *event, TimestampTz now)
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

/* Says so in the log, but of many events for one reason only now and then. */
static void
log_deferral(const char *reason)
{
	static TimestampTz last_time = 0;
	static uint32 last_reason = 0;
	TimestampTz now = GetCurrentTimestamp();
	uint32		hash = DatumGetUInt32(hash_any((const unsigned char *) reason, strlen(reason)));

	if (hash == last_reason &&
		now < TimestampTzPlusMilliseconds(last_time, DEFERRAL_LOG_SECONDS * INT64CONST(1000)))
		return;
	last_time = now;
	last_reason = hash;
	ereport(LOG,
			(errmsg("events are put off, and tried again later: %s", reason),
			 errhint("This is said once a minute. atlas_event_logs has the events, with last_error.")));
}

static void
write_deferrals(const Deferrals *deferrals)
{
	Datum		values[3];

	if (deferrals->ids.nvalues == 0)
		return;
	log_deferral(TextDatumGetCString(deferrals->reasons.values[0]));
	values[0] = atlas_column_array(&deferrals->ids, UUIDOID);
	values[1] = atlas_column_array(&deferrals->times, TIMESTAMPTZOID);
	values[2] = atlas_column_array(&deferrals->reasons, TEXTOID);
	(void) atlas_execute(&defer_queued, values, NULL, false, 0);
}

/* Puts off the events some reference of which cannot be looked up now. */
static void
write_deferred(const AtlasLinkEvent *events, int nevents, TimestampTz now)
{
	Deferrals	deferrals;

	init_deferrals(&deferrals, nevents);
	for (int i = 0; i < nevents; i++)
	{
		const AtlasRef *ref = first_deferred(&events[i]);

		if (ref != NULL)
			defer(&deferrals, &events[i].id, deferred_until(&events[i], now), ref->reason);
	}
	write_deferrals(&deferrals);
}

void
atlas_write_missing(const AtlasMissing *missing, TimestampTz now)
{
	Deferrals	deferrals;
	TimestampTz soon = TimestampTzPlusMilliseconds(now, ENDING_MILLISECONDS);
	TimestampTz later = put_off(now);
	int			next = 0;

	init_deferrals(&deferrals, missing->nids);
	for (int i = 0; i < missing->nids; i++)
	{
		const pg_uuid_t *id = &missing->ids[i];

		while (next < missing->nending && atlas_event_id_compare(&missing->ending[next], id) < 0)
			next++;
		if (next < missing->nending && atlas_event_id_compare(&missing->ending[next], id) == 0)
			defer(&deferrals, id, soon, "the transaction that submitted the event is about to end");
		else
			defer(&deferrals, id, later, "the event is not there");
	}
	write_deferrals(&deferrals);
}

void
atlas_link_failed(const pg_uuid_t *id, bool is_made, const char *message)
{
	Datum		values[4];
	bool		isnull;
	bool		is_failed;
	int			attempts;

	values[0] = UUIDPGetDatum(id);
	if (atlas_execute(&select_attempts, values, NULL, false, 1) == 0)
		return;
	attempts = DatumGetInt16(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
										   1, &isnull));
	is_failed = attempts + (is_made ? 1 : 0) >= atlas_max_attempts;
	if (is_made || !is_failed)
		attempts++;

	values[1] = Int16GetDatum(attempts);
	values[2] = CStringGetTextDatum(message);
	values[3] = TimestampTzGetDatum(is_failed ? DT_NOEND :
									atlas_backoff(GetCurrentTimestamp(), FIRST_BACKOFF_SECONDS,
												  attempts, MAX_BACKOFF_SECONDS));
	(void) atlas_execute(&fail_queued, values, NULL, false, 0);

	ereport(LOG,
			(errmsg("event %s could not be linked, attempt %d of %d: %s",
					atlas_event_id_string(id), attempts, atlas_max_attempts, message),
			 is_failed ?
			 errhint("It is FAILED now. Repair the cause and call atlas_retry_failed().") : 0));
}

void
atlas_put_off(const pg_uuid_t *id, const char *reason)
{
	Deferrals	deferrals;

	init_deferrals(&deferrals, 1);
	defer(&deferrals, id, put_off(GetCurrentTimestamp()), reason);
	write_deferrals(&deferrals);
}

void
atlas_write_events(const AtlasLinkEvent *events, int nevents, bool links_may_exist,
				   TimestampTz now, AtlasLinkCounts *counts)
{
	write_links(events, nevents, links_may_exist, now);
	counts->not_found += write_unresolved(events, nevents, now);
	counts->linked += write_queue(events, nevents);
	write_deferred(events, nevents, now);
}
