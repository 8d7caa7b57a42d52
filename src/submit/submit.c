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
 * Usually no statement is planned or run for that, neither for one event nor for
 * many: see index_lookup.c and rows.c.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/extension.h"
#include "base/identity.h"
#include "base/statement.h"
#include "base/tenant.h"
#include "base/wakeup.h"
#include "event/event_related.h"
#include "event/validation.h"
#include "objects/registry.h"
#include "store/partitions.h"
#include "store/rows.h"
#include "submit/submit.h"

static AtlasTable log_table = {
	.relation = offsetof(AtlasExtension, events),
	.partitions = ATLAS_LOG,
	.ncolumns = 12,
	.columns = {"event_id", "occurred_at", "received_at", "tenant_id", "object_type", "object_id",
	"external_id", "name", "description", "icon", "payload", "related_objects"},
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID,
	TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID, JSONBOID},
	.insert = {
		.sql =
		"INSERT INTO @extschema@.atlas_events"
		"       (event_id, occurred_at, received_at, tenant_id, object_type, object_id,"
		"        external_id, name, description, icon, payload, related_objects)"
		" SELECT *"
		"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		"                   pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
		"                   pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9),"
		"                   pg_catalog.unnest($10), pg_catalog.unnest($11), pg_catalog.unnest($12)) AS e",
		.nparameters = 12,
		.parameters = {UUIDARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
		JSONBARRAYOID, JSONBARRAYOID},
	},
};

static AtlasTable queue_table = {
	.relation = offsetof(AtlasExtension, queue),
	.partitions = ATLAS_NOT_PARTITIONED,
	.ncolumns = 6,
	.columns = {"event_id", "submitted_xid", "next_attempt_at", "attempts", "tenant_id", "last_error"},
	.types = {UUIDOID, XID8OID, TIMESTAMPTZOID, INT2OID, TEXTOID, TEXTOID},
	.insert = {
		.sql =
		"INSERT INTO @extschema@.atlas_event_queue"
		"       (event_id, submitted_xid, next_attempt_at, attempts, tenant_id, last_error)"
		" SELECT *"
		"   FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
		"                   pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6)) AS q",
		.nparameters = 6,
		.parameters = {UUIDARRAYOID, XID8ARRAYOID, TIMESTAMPTZARRAYOID, INT2ARRAYOID, TEXTARRAYOID,
		TEXTARRAYOID},
	},
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

	CHECK_FOR_INTERRUPTS();
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

static int
compare_ids(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return atlas_event_id_compare(&(*(AtlasSubmission *const *) a)->event_id,
								  &(*(AtlasSubmission *const *) b)->event_id);
}

/* Gives the events that can be stored their ids, and answers with them in that order. */
static AtlasSubmission **
make_ids(AtlasSubmission *submissions, int nsubmissions, int *nsorted)
{
	AtlasSubmission **sorted = palloc(sizeof(AtlasSubmission *) * Max(nsubmissions, 1));

	*nsorted = 0;
	for (int i = 0; i < nsubmissions; i++)
	{
		if (!atlas_is_open(&submissions[i]))
			continue;
		atlas_event_id_make(submissions[i].event.occurred_at, &submissions[i].event_id);
		sorted[(*nsorted)++] = &submissions[i];
	}
	qsort(sorted, *nsorted, sizeof(AtlasSubmission *), compare_ids);
	return sorted;
}

static void
ensure_partitions(AtlasSubmission *const *sorted, int nsorted)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(nsorted, 1));

	for (int i = 0; i < nsorted; i++)
		ids[i] = sorted[i]->event_id;
	atlas_partition_ensure(ATLAS_LOG, ids, nsorted);
}

/* ----- Phase: write ----- */

/* The external id that is kept: the row's own, else the one submitted. */
static const text *
kept_external_id(const AtlasSubmission *submission)
{
	return submission->primary.found_external_id != NULL ?
		submission->primary.found_external_id : submission->event.primary.external_id;
}

static void
add_to_log(AtlasRows *rows, const AtlasSubmission *submission)
{
	const AtlasEvent *event = &submission->event;
	Datum		values[ATLAS_MAX_COLUMNS];
	bool		nulls[ATLAS_MAX_COLUMNS];

	CHECK_FOR_INTERRUPTS();
	values[0] = UUIDPGetDatum(&submission->event_id);
	values[1] = TimestampTzGetDatum(event->occurred_at);
	values[2] = TimestampTzGetDatum(event->received_at);
	values[3] = PointerGetDatum(submission->primary.tenant);
	values[4] = CStringGetTextDatum(event->primary.object_type);
	values[5] = PointerGetDatum(submission->primary.found_id);
	values[6] = PointerGetDatum(kept_external_id(submission));
	values[7] = PointerGetDatum(event->name);
	values[8] = PointerGetDatum(event->description);
	values[9] = PointerGetDatum(event->icon);
	values[10] = PointerGetDatum(event->payload);
	values[11] = PointerGetDatum(event->nrelated == 0 ? NULL :
								 atlas_references_to_jsonb(event->related, event->nrelated));
	for (int i = 0; i < log_table.ncolumns; i++)
		nulls[i] = log_table.types[i] != TIMESTAMPTZOID && DatumGetPointer(values[i]) == NULL;
	atlas_rows_add(rows, values, nulls);
}

static void
add_to_queue(AtlasRows *rows, const AtlasSubmission *submission, uint64 xid)
{
	static const bool nulls[ATLAS_MAX_COLUMNS] = {[2] = true,[5] = true};
	Datum		values[ATLAS_MAX_COLUMNS] = {0};

	values[0] = UUIDPGetDatum(&submission->event_id);
	values[1] = UInt64GetDatum(xid);
	values[3] = Int16GetDatum(0);
	values[4] = PointerGetDatum(submission->primary.tenant);
	atlas_rows_add(rows, values, nulls);
}

/* Writes those that are still to be stored. */
static void
write_events(AtlasSubmission *const *sorted, int nsorted)
{
	AtlasRows	events;
	AtlasRows	queued;
	uint64		xid;

	atlas_rows_init(&events, &log_table, nsorted);
	for (int i = 0; i < nsorted; i++)
		if (atlas_is_open(sorted[i]))
			add_to_log(&events, sorted[i]);
	atlas_rows_write(&events);

	xid = U64FromFullTransactionId(GetTopFullTransactionId());
	atlas_rows_init(&queued, &queue_table, nsorted);
	for (int i = 0; i < nsorted; i++)
		if (atlas_is_open(sorted[i]) && sorted[i]->event.nrelated > 0)
			add_to_queue(&queued, sorted[i], xid);
	atlas_rows_write(&queued);
}

/* ----- Phase: say how far each event is ----- */

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

/* Makes the type of the primary object canonical, or says that it is unknown. */
static void
resolve_primary_type(AtlasEvent *event)
{
	if (event->error.status == ATLAS_TOO_LARGE || event->primary.object_type == NULL)
		return;					/* refused already */
	if (!atlas_make_type_canonical(&event->primary))
		atlas_event_note(event, NULL, "unknown_type", "objectType",
						 "is neither a built-in object type nor a registered one");
}

/*
 * Makes the types of related objects canonical. One that is unknown stays as it is: it
 * may be registered before the event is linked, or later. This comes after the
 * idempotency keys, which stand for what was submitted.
 */
static void
resolve_related_types(AtlasEvent *event)
{
	for (int i = 0; i < event->nrelated; i++)
		if (event->related[i].object_type != NULL)
			(void) atlas_make_type_canonical(&event->related[i]);
}

void
atlas_submit(AtlasSubmission *submissions, int nsubmissions)
{
	AtlasIdentity saved;
	AtlasSubmission **sorted;
	int			nsorted;
	int			nstored;
	int			nqueued = 0;

	for (int i = 0; i < nsubmissions; i++)
		resolve_primary_type(&submissions[i].event);

	atlas_take_rights_of_owner(&saved);
	atlas_find_replays(submissions, nsubmissions);
	atlas_return(&saved);

	look_up_primaries(submissions, nsubmissions);
	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]))
			resolve_related_types(&submissions[i].event);
	sorted = make_ids(submissions, nsubmissions, &nsorted);

	atlas_take_rights_of_owner(&saved);
	ensure_partitions(sorted, nsorted);
	atlas_claim_keys(submissions, nsubmissions);
	nstored = count_open(submissions, nsubmissions);
	if (nstored > 0)
		write_events(sorted, nsorted);
	set_statuses(submissions, nsubmissions);
	atlas_return(&saved);

	for (int i = 0; i < nsubmissions; i++)
		if (atlas_is_open(&submissions[i]) && submissions[i].event.nrelated > 0)
			nqueued++;
	atlas_wake_at_commit(nstored, nqueued);
}
