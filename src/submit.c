/*
 * submit.c
 *		Storing events, one or many, in the caller's transaction.
 *
 *	types known? ─► key known? ─► primary object there? ─► partitions ─► keys
 *	─► log ─► queue ─► (at commit) wake the linker
 *
 * Everything that can refuse an event comes before the first row is written, so
 * that of many events each can stand for itself without subtransactions. The
 * objects are looked up as the owners of their tables, the rows are written as
 * the owner of the extension; the caller needs EXECUTE on the function, no
 * more.
 *
 * A single event has statements of its own, without arrays; many events are
 * looked up with one query a type and written with one statement a table.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "event_id.h"
#include "extension.h"
#include "partition.h"
#include "submit.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "values.h"
#include "wakeup.h"

char	   *atlas_tenant_setting = NULL;

/* The columns of the log, in the order of the parameters of both statements. */
#define LOG_COLUMNS \
	"event_id, occurred_at, object_type, object_id, external_id, name, description, icon," \
	" payload, related_objects, received_at, tenant_id"

#define LOG_NVALUES 10			/* those that differ from event to event */

static const Oid log_types[LOG_NVALUES] = {
	UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	JSONBOID, JSONBOID
};

static AtlasStatement insert_event = {
	.sql =
	"INSERT INTO @extschema@.atlas_events (" LOG_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
	.nparameters = 12,
	.parameters = {UUIDOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	JSONBOID, JSONBOID, TIMESTAMPTZOID, TEXTOID},
};

static AtlasStatement insert_events = {
	.sql =
	"INSERT INTO @extschema@.atlas_events (" LOG_COLUMNS ")"
	" SELECT e.*, $11, $12"
	"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                   pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
	"                   pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),"
	"                   pg_catalog.unnest($10)) AS e",
	.nparameters = 12,
	.parameters = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID, JSONBARRAYOID, TIMESTAMPTZOID, TEXTOID},
};

static AtlasStatement queue_event = {
	.sql =
	"INSERT INTO @extschema@.atlas_event_queue (event_id, submitted_xid, tenant_id)"
	" VALUES ($1, pg_catalog.pg_current_xact_id(), $2)",
	.nparameters = 2,
	.parameters = {UUIDOID, TEXTOID},
};

static AtlasStatement queue_events = {
	.sql =
	"INSERT INTO @extschema@.atlas_event_queue (event_id, submitted_xid, tenant_id)"
	" SELECT e, pg_catalog.pg_current_xact_id(), $2 FROM pg_catalog.unnest($1) AS e",
	.nparameters = 2,
	.parameters = {UUIDARRAYOID, TEXTOID},
};

static AtlasStatement select_queued = {
	.sql =
	"SELECT event_id, COALESCE(next_attempt_at OPERATOR(pg_catalog.=) 'infinity', false)"
	"  FROM @extschema@.atlas_event_queue"
	" WHERE event_id OPERATOR(pg_catalog.=) ANY ($1)"
	" ORDER BY event_id",
	.nparameters = 1,
	.parameters = {UUIDARRAYOID},
};

text *
atlas_session_tenant(void)
{
	atlas_refuse_code_of_owner();
	return cstring_to_text(atlas_tenant_setting ? atlas_tenant_setting : "");
}

static int
count_open(const AtlasSubmission *submissions, int nsubmissions)
{
	int			count = 0;

	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]))
			count++;
	return count;
}

/* ----- Phase: look the primary objects up ----- */

/* A custom type may have been unregistered since its name was resolved. */
static void
refuse_unregistered(AtlasSubmission *submission)
{
	atlas_refuse(&submission->event.error, ATLAS_OBJECT_NOT_FOUND,
				 psprintf("Object type %s is not registered any more.",
						  submission->event.primary.object_type),
				 "Connect it with atlas_register_object_type().");
}

static void
look_up_one(AtlasSubmission *submission)
{
	AtlasObjectType *type = atlas_object_type(submission->event.primary.object_type);

	if (type == NULL)
	{
		refuse_unregistered(submission);
		return;
	}
	(void) atlas_connect(type, false);
	atlas_lookup_one(type, &submission->primary);
	atlas_refuse_lookup(type, &submission->primary, &submission->event.error);
}

static int
compare_types(const void *a, const void *b)
{
	const AtlasSubmission *left = *(AtlasSubmission *const *) a;
	const AtlasSubmission *right = *(AtlasSubmission *const *) b;

	return strcmp(left->event.primary.object_type, right->event.primary.object_type);
}

/* Looks up a group of submissions whose primary objects are of one type. */
static void
look_up_group(AtlasSubmission **group, int ngroup)
{
	AtlasObjectType *type = atlas_object_type(group[0]->event.primary.object_type);
	AtlasLookup *lookups = palloc(sizeof(AtlasLookup) * ngroup);

	if (type == NULL)
	{
		for (int i = 0; i < ngroup; i++)
			refuse_unregistered(group[i]);
		return;
	}
	for (int i = 0; i < ngroup; i++)
		lookups[i] = group[i]->primary;
	(void) atlas_connect(type, false);
	atlas_lookup_many(type, lookups, ngroup);
	for (int i = 0; i < ngroup; i++)
	{
		group[i]->primary = lookups[i];
		atlas_refuse_lookup(type, &lookups[i], &group[i]->event.error);
	}
}

static void
look_up_primaries(AtlasSubmission *submissions, int nsubmissions)
{
	AtlasSubmission **sorted = palloc(sizeof(AtlasSubmission *) * Max(nsubmissions, 1));
	text	   *tenant = atlas_session_tenant();
	int			nsorted = 0;
	int			end;

	for (int i = 0; i < nsubmissions; i++)
	{
		AtlasSubmission *submission = &submissions[i];

		if (!atlas_is_open(submission))
			continue;
		memset(&submission->primary, 0, sizeof(AtlasLookup));
		submission->primary.tenant = tenant;
		submission->primary.object_id = submission->event.primary.object_id;
		submission->primary.external_id = submission->event.primary.external_id;
		sorted[nsorted++] = submission;
	}
	if (nsorted == 1)
	{
		look_up_one(sorted[0]);
		return;
	}

	qsort(sorted, nsorted, sizeof(AtlasSubmission *), compare_types);
	for (int start = 0; start < nsorted; start = end)
	{
		for (end = start + 1; end < nsorted; end++)
			if (compare_types(&sorted[start], &sorted[end]) != 0)
				break;
		look_up_group(&sorted[start], end - start);
	}
}

/* ----- Phase: make sure that there are partitions ----- */

static void
ensure_partitions(const AtlasSubmission *submissions, int nsubmissions)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(nsubmissions, 1));
	int			nids = 0;

	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]))
			ids[nids++] = submissions[i].event_id;
	qsort(ids, nids, sizeof(pg_uuid_t), atlas_event_id_compare);
	atlas_partition_ensure(ATLAS_LOG, ids, nids);
}

/* ----- Phase: write ----- */

/* The external id that is kept: the row's own, else the one submitted. */
static const text *
kept_external_id(const AtlasSubmission *submission)
{
	return submission->primary.found_external_id != NULL ?
		submission->primary.found_external_id : submission->event.primary.external_id;
}

/* The values of a submission, in the order of LOG_COLUMNS; 0 is null. */
static void
log_values(const AtlasSubmission *submission, Datum *values)
{
	const AtlasEvent *event = &submission->event;
	Jsonb	   *related = NULL;

	if (event->nrelated > 0)
		related = atlas_references_to_jsonb(event->related, event->nrelated);
	values[0] = UUIDPGetDatum(&submission->event_id);
	values[1] = TimestampTzGetDatum(event->occurred_at);
	values[2] = CStringGetTextDatum(event->primary.object_type);
	values[3] = PointerGetDatum(submission->primary.found_id);
	values[4] = PointerGetDatum(kept_external_id(submission));
	values[5] = PointerGetDatum(event->name);
	values[6] = PointerGetDatum(event->description);
	values[7] = PointerGetDatum(event->icon);
	values[8] = PointerGetDatum(event->payload);
	values[9] = PointerGetDatum(related);
}

static void
write_one(const AtlasSubmission *submission)
{
	Datum		values[LOG_NVALUES + 2];
	char		nulls[LOG_NVALUES + 2];
	Datum		queue_values[2];

	log_values(submission, values);
	memset(nulls, ' ', sizeof(nulls));
	for (int i = 0; i < LOG_NVALUES; i++)
		if (log_types[i] != TIMESTAMPTZOID && DatumGetPointer(values[i]) == NULL)
			nulls[i] = 'n';
	values[LOG_NVALUES] = TimestampTzGetDatum(submission->event.received_at);
	values[LOG_NVALUES + 1] = PointerGetDatum(submission->primary.tenant);
	(void) atlas_execute(&insert_event, values, nulls, false, 0);

	if (submission->event.nrelated > 0)
	{
		queue_values[0] = values[0];
		queue_values[1] = values[LOG_NVALUES + 1];
		(void) atlas_execute(&queue_event, queue_values, NULL, false, 0);
	}
}

static void
write_many(const AtlasSubmission *submissions, int nsubmissions)
{
	AtlasColumn columns[LOG_NVALUES];
	AtlasColumn queued;
	Datum		values[LOG_NVALUES + 2];
	Datum		tenant = PointerGetDatum(atlas_session_tenant());

	for (int i = 0; i < LOG_NVALUES; i++)
		atlas_column_init(&columns[i], nsubmissions);
	atlas_column_init(&queued, nsubmissions);
	for (int i = 0; i < nsubmissions; i++)
	{
		if (!atlas_is_open(&submissions[i]))
			continue;
		log_values(&submissions[i], values);
		for (int j = 0; j < LOG_NVALUES; j++)
		{
			if (log_types[j] == TIMESTAMPTZOID)
				atlas_column_add(&columns[j], values[j]);
			else
				atlas_column_add_pointer(&columns[j], DatumGetPointer(values[j]));
		}
		if (submissions[i].event.nrelated > 0)
			atlas_column_add(&queued, values[0]);
	}

	for (int i = 0; i < LOG_NVALUES; i++)
		values[i] = atlas_column_array(&columns[i], log_types[i]);
	values[LOG_NVALUES] = TimestampTzGetDatum(submissions[0].event.received_at);
	values[LOG_NVALUES + 1] = tenant;
	(void) atlas_execute(&insert_events, values, NULL, false, 0);

	if (queued.nvalues > 0)
	{
		Datum		queue_values[2];

		queue_values[0] = atlas_column_array(&queued, UUIDOID);
		queue_values[1] = tenant;
		(void) atlas_execute(&queue_events, queue_values, NULL, false, 0);
	}
}

/* ----- Phase: say how far each event is ----- */

static int
compare_ids(const void *a, const void *b)
{
	return atlas_event_id_compare(&(*(AtlasSubmission *const *) a)->event_id,
								  &(*(AtlasSubmission *const *) b)->event_id);
}

/* Sets the status of replayed events, which are sorted by id. */
static void
set_queued_statuses(AtlasSubmission **duplicates, int nduplicates)
{
	AtlasColumn ids;
	Datum		value;
	int			next = 0;

	atlas_column_init(&ids, nduplicates);
	for (int i = 0; i < nduplicates; i++)
		atlas_column_add_pointer(&ids, &duplicates[i]->event_id);
	value = atlas_column_array(&ids, UUIDOID);
	(void) atlas_execute(&select_queued, &value, NULL, false, 0);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[row];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		bool		isnull;
		pg_uuid_t  *id = DatumGetUUIDP(SPI_getbinval(tuple, tupdesc, 1, &isnull));
		bool		failed = DatumGetBool(SPI_getbinval(tuple, tupdesc, 2, &isnull));

		while (next < nduplicates && atlas_event_id_compare(&duplicates[next]->event_id, id) < 0)
			next++;
		for (; next < nduplicates &&
			 atlas_event_id_compare(&duplicates[next]->event_id, id) == 0; next++)
			duplicates[next]->processing_status = failed ? "FAILED" : "PENDING";
	}
}

/* Says of each event how far it is: of new ones it is known. */
static void
set_statuses(AtlasSubmission *submissions, int nsubmissions)
{
	AtlasSubmission **duplicates = palloc(sizeof(AtlasSubmission *) * Max(nsubmissions, 1));
	int			nduplicates = 0;

	for (int i = 0; i < nsubmissions; i++)
	{
		AtlasSubmission *submission = &submissions[i];

		submission->processing_status = "LINKED";
		if (submission->duplicate)
			duplicates[nduplicates++] = submission;
		else if (submission->event.nrelated > 0)
			submission->processing_status = "PENDING";
	}
	if (nduplicates == 0)
		return;
	qsort(duplicates, nduplicates, sizeof(AtlasSubmission *), compare_ids);
	set_queued_statuses(duplicates, nduplicates);
}

void
atlas_submit(AtlasSubmission *submissions, int nsubmissions)
{
	AtlasIdentity saved;
	int			guc_level;
	int			nstored;
	int			nqueued = 0;

	for (int i = 0; i < nsubmissions; i++)
		if (submissions[i].event.error.status != ATLAS_TOO_LARGE)
			atlas_object_types_of_event(&submissions[i].event);

	guc_level = atlas_restrict_search_path();
	atlas_become_owner(&saved);
	atlas_find_replays(submissions, nsubmissions);
	atlas_return(&saved);

	look_up_primaries(submissions, nsubmissions);
	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]))
			atlas_event_id_make(submissions[i].event.occurred_at, &submissions[i].event_id);

	atlas_become_owner(&saved);
	ensure_partitions(submissions, nsubmissions);
	atlas_claim_keys(submissions, nsubmissions);
	nstored = count_open(submissions, nsubmissions);
	if (nsubmissions == 1 && nstored == 1)
		write_one(&submissions[0]);
	else if (nstored > 0)
		write_many(submissions, nsubmissions);
	set_statuses(submissions, nsubmissions);
	atlas_return(&saved);
	atlas_restore_search_path(guc_level);

	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]) && submissions[i].event.nrelated > 0)
			nqueued++;
	atlas_wake_at_commit(nstored, nqueued);
}
