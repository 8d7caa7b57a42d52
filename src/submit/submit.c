/*
 * submit.c
 *		Storing events, one or many, in the caller's transaction.
 *
 *	types known? ─► key known? ─► primary object there? ─► partitions ─► keys
 *	─► log ─► queue, or work table ─► (at commit) wake the linker
 *
 * Everything that can refuse an event comes before the first row is written. So each
 * of many events can be refused or stored for itself, without subtransactions. Objects
 * are looked up with the rights of the owners of their tables, and rows are written as
 * the owner of the extension. The caller only needs EXECUTE on the function.
 *
 * Usually no statement is planned or run for that, neither for one event nor for
 * many: see index_lookup.c and rows.c.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/event_id.h"
#include "base/identity.h"
#include "base/tenant.h"
#include "base/wakeup.h"
#include "event/event_related.h"
#include "event/validation.h"
#include "objects/registry.h"
#include "store/log.h"
#include "store/partitions.h"
#include "store/queue.h"
#include "store/rows.h"
#include "store/work.h"
#include "submit/idempotency.h"
#include "submit/submit.h"

/* ----- The submissions that are still to be stored ----- */

/* Is this submission still to be stored? */
static bool
is_open(const AtlasSubmission *submission)
{
	return submission->event.error.status == 0 && !submission->duplicate;
}

/* Takes those out of the list that are not to be stored any more; the others keep their order. */
static void
drop_closed(AtlasOpenSubmissions *open)
{
	int			nkept = 0;

	for (int i = 0; i < open->nitems; i++)
		if (is_open(open->items[i]))
			open->items[nkept++] = open->items[i];
	open->nitems = nkept;
}

/* ----- Phase: resolve the type of the primary object ----- */

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

/* Lists the submissions that can be read and whose type is known. */
static void
resolve_primary_types(AtlasSubmission *submissions, int nsubmissions, AtlasOpenSubmissions *open)
{
	open->items = palloc(sizeof(AtlasSubmission *) * Max(nsubmissions, 1));
	open->nitems = 0;
	for (int i = 0; i < nsubmissions; i++)
	{
		resolve_primary_type(&submissions[i].event);
		if (is_open(&submissions[i]))
			open->items[open->nitems++] = &submissions[i];
	}
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

/* Looks up the primary object of the only submission, which needs no sorting. */
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

/* By the type of the primary object. */
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
look_up_primaries_of_type(AtlasSubmission **group, int ngroup)
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

/* Sorts them by type in a list of its own: the order of the call is the order of the events. */
static void
look_up_primaries(const AtlasOpenSubmissions *open)
{
	AtlasSubmission **sorted;
	text	   *tenant = atlas_session_tenant();
	int			end;

	for (int i = 0; i < open->nitems; i++)
	{
		AtlasSubmission *submission = open->items[i];

		memset(&submission->primary, 0, sizeof(AtlasLookup));
		submission->primary.tenant = tenant;
		submission->primary.object_id = submission->event.primary.object_id;
		submission->primary.external_id = submission->event.primary.external_id;
	}
	if (open->nitems == 1)
	{
		look_up_one(open->items[0]);
		return;
	}

	sorted = palloc(sizeof(AtlasSubmission *) * Max(open->nitems, 1));
	memcpy(sorted, open->items, sizeof(AtlasSubmission *) * open->nitems);
	qsort(sorted, open->nitems, sizeof(AtlasSubmission *), compare_types);
	for (int start = 0; start < open->nitems; start = end)
	{
		for (end = start + 1; end < open->nitems; end++)
			if (compare_types(&sorted[start], &sorted[end]) != 0)
				break;
		look_up_primaries_of_type(&sorted[start], end - start);
	}
}

/* ----- Phase: resolve the types of related objects ----- */

/*
 * Makes the types of related objects canonical. One that is unknown stays as it is: it
 * may be registered before the event is linked, or later. This comes after the
 * idempotency keys, which stand for what was submitted.
 */
static void
resolve_related_types(const AtlasOpenSubmissions *open)
{
	for (int i = 0; i < open->nitems; i++)
	{
		AtlasEvent *event = &open->items[i]->event;

		for (int j = 0; j < event->nrelated; j++)
			if (event->related[j].object_type != NULL)
				(void) atlas_make_type_canonical(&event->related[j]);
	}
}

/* ----- Phase: make ids, and make sure that there are partitions ----- */

/* By event id. */
static int
compare_ids(const void *a, const void *b)
{
	CHECK_FOR_INTERRUPTS();
	return atlas_event_id_compare(&(*(AtlasSubmission *const *) a)->event_id,
								  &(*(AtlasSubmission *const *) b)->event_id);
}

/* Gives the events their ids, and sorts them by id. */
static void
make_ids(const AtlasOpenSubmissions *open)
{
	AtlasEventIds ids;

	atlas_event_ids_begin(open->nitems, &ids);
	for (int i = 0; i < open->nitems; i++)
		atlas_event_id_make(open->items[i]->event.occurred_at, &ids, &open->items[i]->event_id);
	qsort(open->items, open->nitems, sizeof(AtlasSubmission *), compare_ids);
}

/* Makes sure that the events, which are sorted by id, have partitions to go to. */
static void
ensure_log_partitions(const AtlasOpenSubmissions *open)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(open->nitems, 1));

	for (int i = 0; i < open->nitems; i++)
		ids[i] = open->items[i]->event_id;
	atlas_partition_ensure(ATLAS_EVENTS, ids, open->nitems);
}

/* ----- Phase: write ----- */

/* The external id that is kept: the row's own, else the one submitted. */
static const text *
kept_external_id(const AtlasSubmission *submission)
{
	return submission->primary.found_external_id != NULL ?
		submission->primary.found_external_id : submission->event.primary.external_id;
}

/* Adds the row of an event. */
static void
add_to_log(AtlasRows *rows, const AtlasSubmission *submission)
{
	const AtlasEvent *event = &submission->event;

	CHECK_FOR_INTERRUPTS();
	atlas_rows_add(rows);
	atlas_rows_set_pointer(rows, ATLAS_LOG_EVENT_ID, &submission->event_id);
	atlas_rows_set(rows, ATLAS_LOG_OCCURRED_AT, TimestampTzGetDatum(event->occurred_at));
	atlas_rows_set(rows, ATLAS_LOG_RECEIVED_AT, TimestampTzGetDatum(event->received_at));
	atlas_rows_set_pointer(rows, ATLAS_LOG_TENANT_ID, submission->primary.tenant);
	atlas_rows_set(rows, ATLAS_LOG_OBJECT_TYPE, CStringGetTextDatum(event->primary.object_type));
	atlas_rows_set_pointer(rows, ATLAS_LOG_OBJECT_ID, submission->primary.found_id);
	atlas_rows_set_pointer(rows, ATLAS_LOG_EXTERNAL_ID, kept_external_id(submission));
	atlas_rows_set_pointer(rows, ATLAS_LOG_NAME, event->name);
	atlas_rows_set_pointer(rows, ATLAS_LOG_DESCRIPTION, event->description);
	atlas_rows_set_pointer(rows, ATLAS_LOG_ICON, event->icon);
	atlas_rows_set_pointer(rows, ATLAS_LOG_PAYLOAD, event->payload);
	if (event->nrelated > 0)
		atlas_rows_set_pointer(rows, ATLAS_LOG_RELATED_OBJECTS,
							   atlas_references_to_jsonb(event->related, event->nrelated));
}

/*
 * Writes the events, and what the linker is to do about them: those with related objects
 * wait in the queue, and of the others documents are made. Returns how many rows the linker finds.
 */
static int
write_events(const AtlasOpenSubmissions *open)
{
	AtlasRows	events;
	AtlasRows	queued;
	AtlasNewWork work;
	uint64		xid;

	atlas_rows_init(&events, &atlas_log_table, open->nitems);
	for (int i = 0; i < open->nitems; i++)
		add_to_log(&events, open->items[i]);
	atlas_rows_write(&events);

	xid = U64FromFullTransactionId(GetTopFullTransactionId());
	atlas_queue_rows_init(&queued, open->nitems);
	atlas_new_work_begin(&work, open->nitems);
	for (int i = 0; i < open->nitems; i++)
	{
		const AtlasSubmission *submission = open->items[i];

		if (submission->event.nrelated > 0)
			atlas_queue_rows_add(&queued, &submission->event_id, submission->primary.tenant, xid);
		else
			atlas_new_work_add(&work, &submission->event_id, submission->primary.tenant, atlas_event_depth);
	}
	atlas_rows_write(&queued);
	return queued.nrows + atlas_new_work_write(&work);
}

/* ----- Phase: say how far each event is ----- */

/* Sets the status of replayed events, which are sorted by id. */
static void
set_replayed_statuses(AtlasSubmission **duplicates, int nduplicates)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * nduplicates);
	AtlasQueued *queued = palloc(sizeof(AtlasQueued) * nduplicates);
	int			nqueued;
	int			next = 0;
	text	   *tenant = atlas_session_tenant();

	for (int i = 0; i < nduplicates; i++)
	{
		keys[i].tenant = tenant;
		keys[i].id = duplicates[i]->event_id;
	}
	nqueued = atlas_queue_find(keys, nduplicates, queued);
	for (int i = 0; i < nqueued; i++)
	{
		const pg_uuid_t *id = &queued[i].key.id;

		while (next < nduplicates && atlas_event_id_compare(&duplicates[next]->event_id, id) < 0)
			next++;
		for (; next < nduplicates &&
			 atlas_event_id_compare(&duplicates[next]->event_id, id) == 0; next++)
			duplicates[next]->processing_status = queued[i].is_failed ? "FAILED" : "PENDING";
	}
}

/* Sets the status of each event. Only that of replayed events has to be looked up. */
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
	set_replayed_statuses(duplicates, nduplicates);
}

void
atlas_submit(AtlasSubmission *submissions, int nsubmissions)
{
	AtlasOpenSubmissions open;
	AtlasIdentity saved;
	int			nqueued = 0;

	resolve_primary_types(submissions, nsubmissions, &open);

	atlas_take_rights_of_owner(&saved);
	atlas_find_replays(&open);
	atlas_return(&saved);
	drop_closed(&open);

	look_up_primaries(&open);
	drop_closed(&open);
	resolve_related_types(&open);
	make_ids(&open);

	atlas_take_rights_of_owner(&saved);
	ensure_log_partitions(&open);
	atlas_claim_keys(&open);
	drop_closed(&open);
	if (open.nitems > 0)
		nqueued = write_events(&open);
	set_statuses(submissions, nsubmissions);
	atlas_return(&saved);

	atlas_wake_at_commit(open.nitems, nqueued);
}
