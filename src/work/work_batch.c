/*
 * work_batch.c
 *		The second step of the linker, for a batch of events.
 *
 *	claimed rows of the work table ─► read the events ─► partitions ─► documents ─► rows out of
 *	the work table
 *
 * As in linking, a batch is processed in a subtransaction; if that fails it is bisected
 * until the event that makes it fail stands alone. Such an event is tried again, and after
 * max_attempts its document is stored empty, and says why: so nothing is left in the work table.
 *
 * An event may have more than one row: when it has FAILED it gets one, and another one when
 * it is LINKED after all. Its document is made once. One that is there already is an
 * error at first, because looking for each of them would cost more than the bisection that follows.
 *
 * Events whose documents go to a partition that somebody has locked stay where they are, and
 * the others go on. If that is all of them, it is an error, so that the caller waits for a while.
 *
 * An event that is not in the log is put off, as in linking. If it has not come for a day, it
 * has been deleted, and its row goes.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/retry.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "link/put_off.h"
#include "rules/rule_batch.h"
#include "search/document.h"
#include "store/log.h"
#include "store/missing.h"
#include "store/partitions.h"
#include "store/work.h"
#include "work/document_rows.h"
#include "work/work_batch.h"

#define FIRST_BACKOFF_SECONDS 1
#define MAX_BACKOFF_SECONDS 60
#define MAX_MISSING_SECONDS 3600	/* between two looks for an event that is not there */
#define MISSING_ATTEMPTS 30		/* after which it was deleted: about a day */
#define BYTES_AT_ONCE (8 * 1024 * 1024) /* of documents in memory */

static AtlasStatement select_sources = {
	ATLAS_LOG_BY_KEYS("e.tenant_id, " ATLAS_FACT_COLUMNS),
};

/* Its columns, counted from 1. */
#define TENANT_COLUMN 1
#define FACT_COLUMN 2

/* An event that is worked on. */
typedef struct WorkEvent
{
	AtlasEventKey key;
	AtlasEventFacts facts;		/* in a row of the statement above */
	bool		rules_are_left; /* somebody else is in the way */
} WorkEvent;

typedef struct WorkBatch
{
	AtlasEventKey *keys;		/* sorted, the rows of one event side by side */
	int			nkeys;
	bool		documents_may_exist;
	bool		makes_partitions;	/* at this moment, of documents */
	bool		makes_rule_partitions;	/* or of hits or matches */
	int			left;			/* whether some rows were left, and why */
	List	   *faults;			/* of AtlasRuleFault: rules that are to be switched off */
	MemoryContext context;		/* of this list */
} WorkBatch;

/* ----- Reading the events ----- */

/* By key. */
static int
compare_work_events(const void *a, const void *b)
{
	return atlas_event_key_compare(&((const WorkEvent *) a)->key, &((const WorkEvent *) b)->key);
}

/* The events of the rows, each once, with all that is to be done about it. */
static int
distinct_events(const AtlasEventKey *keys, int nkeys, AtlasEventKey *distinct)
{
	int			ndistinct = 0;

	for (int i = 0; i < nkeys; i++)
	{
		if (ndistinct > 0 && atlas_event_key_compare(&distinct[ndistinct - 1], &keys[i]) == 0)
			distinct[ndistinct - 1].what |= keys[i].what;
		else
			distinct[ndistinct++] = keys[i];
	}
	return ndistinct;
}

/* Reads those of the events that are there; both are sorted by key. */
static WorkEvent *
read_work_events(const AtlasEventKey *keys, int nkeys, int *nevents)
{
	WorkEvent  *events;

	*nevents = atlas_log_select(&select_sources, keys, nkeys);
	events = palloc(sizeof(WorkEvent) * Max(*nevents, 1));
	for (int i = 0; i < *nevents; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		atlas_event_facts_take(&events[i].facts, row, SPI_tuptable->tupdesc, FACT_COLUMN);
		events[i].key.id = *DatumGetUUIDP(events[i].facts.values[ATLAS_FACT_EVENT_ID]);
		events[i].key.tenant = atlas_result_text(row, SPI_tuptable->tupdesc, TENANT_COLUMN);
		events[i].rules_are_left = false;
	}
	qsort(events, *nevents, sizeof(WorkEvent), compare_work_events);
	atlas_complete_keys(keys, events, *nevents, sizeof(WorkEvent));
	return events;
}

/* Reads them, and once more if some are missing: see missing.h. */
static WorkEvent *
read_events_to_work_on(const AtlasEventKey *keys, int nkeys, int *nevents, AtlasMissing *missing)
{
	WorkEvent  *events = read_work_events(keys, nkeys, nevents);

	atlas_find_missing(keys, nkeys, events, *nevents, sizeof(WorkEvent), missing);
	if (missing->nkeys > 0)
	{
		events = read_work_events(keys, nkeys, nevents);
		atlas_forget_found(missing, events, *nevents, sizeof(WorkEvent));
	}
	return events;
}

/* ----- Documents ----- */

/* A fact as text, in whatever form it has in the row; NULL if it is null. */
static const text *
text_fact(const WorkEvent *event, AtlasFact fact)
{
	return event->facts.nulls[fact] ? NULL : DatumGetTextPP(event->facts.values[fact]);
}

/* Makes the document of an event. */
static TSVector
document_of(const WorkEvent *event)
{
	AtlasDocumentSource source = {.tenant = event->key.tenant};

	source.object_type = text_fact(event, ATLAS_FACT_OBJECT_TYPE);
	source.name = text_fact(event, ATLAS_FACT_NAME);
	source.description = text_fact(event, ATLAS_FACT_DESCRIPTION);
	if (!event->facts.nulls[ATLAS_FACT_PAYLOAD])
		source.payload = DatumGetJsonbP(event->facts.values[ATLAS_FACT_PAYLOAD]);
	return atlas_make_document(&source);
}

static bool
needs_document(const WorkEvent *event)
{
	return (event->key.what & ATLAS_WORK_DOCUMENT) != 0;
}

/* A month's documents have a partition of their own. */
static void
ensure_document_partitions(const WorkEvent *events, int nevents)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(nevents, 1));
	int			nids = 0;

	for (int i = 0; i < nevents; i++)
		if (needs_document(&events[i]))
			ids[nids++] = events[i].key.id;
	atlas_partition_ensure(ATLAS_EVENT_SEARCH, ids, nids);
}

/* Takes out the events that need a document and whose partitions are locked, and locks the other ones. Returns how many remain. */
static int
omit_locked(WorkEvent *events, int nevents)
{
	Datum	   *ids = palloc(sizeof(Datum) * Max(nevents, 1));
	int			nkept = 0;
	int			to;

	for (int i = 0; i < nevents; i++)
		ids[i] = UUIDPGetDatum(&events[i].key.id);
	for (int from = 0; from < nevents; from = to)
	{
		Oid			partition;
		bool		is_locked;

		to = nevents;
		partition = atlas_partition_of(ATLAS_EVENT_SEARCH, ids, from, &to);
		is_locked = OidIsValid(partition) && !ConditionalLockRelationOid(partition, RowExclusiveLock);
		for (int i = from; i < to; i++)
			if (!is_locked || !needs_document(&events[i]))
				events[nkept++] = events[i];
	}
	return nkept;
}

/* Is the document of one of the events to take the place of another? */
static bool
replaces_some(const WorkEvent *events, int nevents)
{
	for (int i = 0; i < nevents; i++)
		if (events[i].key.what & ATLAS_WORK_REPLACE)
			return true;
	return false;
}

/*
 * Makes the documents and writes them, some at a time: as many as memory is meant for. What
 * it takes to make one is freed before the next.
 */
static void
write_documents(const WorkEvent *events, int nevents, bool may_exist)
{
	MemoryContext making = AllocSetContextCreate(CurrentMemoryContext, "atlas_events document",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext writing = AllocSetContextCreate(CurrentMemoryContext, "atlas_events documents",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(writing);
	AtlasExistingDocuments existing = replaces_some(events, nevents) ? ATLAS_REPLACE_EXISTING :
		may_exist ? ATLAS_SKIP_EXISTING : ATLAS_NONE_EXISTS;
	AtlasRows	rows;
	Size		bytes = 0;

	atlas_document_rows_init(&rows, nevents);
	for (int i = 0; i < nevents; i++)
	{
		TSVector	document;
		TSVector	copy;

		CHECK_FOR_INTERRUPTS();
		if (!needs_document(&events[i]))
			continue;
		MemoryContextSwitchTo(making);
		document = document_of(&events[i]);
		copy = MemoryContextAlloc(writing, VARSIZE(document));
		memcpy(copy, document, VARSIZE(document));
		bytes += VARSIZE(document);
		MemoryContextSwitchTo(writing);
		MemoryContextReset(making);
		atlas_document_rows_add(&rows, &events[i].key, copy, NULL);
		if (bytes >= BYTES_AT_ONCE)
		{
			atlas_document_rows_write(&rows, existing);
			MemoryContextReset(writing);
			atlas_document_rows_init(&rows, nevents - i - 1);
			bytes = 0;
		}
	}
	atlas_document_rows_write(&rows, existing);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(making);
	MemoryContextDelete(writing);
}

/* ----- Rules ----- */

/*
 * Evaluates the rules for the events that say so, and notes of which they are left. Takes out the events that are
 * left altogether, and returns how many remain.
 */
static int
evaluate_rules(WorkBatch *batch, AtlasRuleBatch *rules, WorkEvent *events, int nevents)
{
	AtlasRuleEvent *rule_events = palloc(sizeof(AtlasRuleEvent) * Max(nevents, 1));
	int			nrule_events = 0;
	int			next = 0;
	int			nkept = 0;

	for (int i = 0; i < nevents; i++)
	{
		if ((events[i].key.what & ATLAS_WORK_RULES) == 0)
			continue;
		atlas_rule_event_take(&rule_events[nrule_events], &events[i].facts);
		rule_events[nrule_events++].key = events[i].key;
	}
	atlas_rules_evaluate(rules, rule_events, nrule_events, batch->faults);
	rules->makes_partitions = &batch->makes_rule_partitions;
	for (int i = 0; i < nevents; i++)
	{
		if (events[i].key.what & ATLAS_WORK_RULES)
		{
			if (next >= rules->nevaluated)
				continue;
			events[i].rules_are_left = rule_events[next++].is_left;
			batch->left |= events[i].rules_are_left ? ATLAS_LEFT_RULES : 0;
		}
		events[nkept++] = events[i];
	}
	batch->left |= rules->nevaluated < nrule_events ? ATLAS_LEFT_FOR_TIME : 0;
	return nkept;
}

/* Remembers the rules that are to be switched off, whatever becomes of this part of the batch. */
static void
note_faults(WorkBatch *batch, const AtlasRuleBatch *rules)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	batch->faults = atlas_rules_add_faults(batch->faults, rules);
	MemoryContextSwitchTo(old);
}

/* ----- Rows of the work table ----- */

/*
 * Removes the rows of the events that are done with, and leaves the rules in those of the events of which they are
 * left; both are sorted by key.
 */
static void
remove_done(const AtlasEventKey *keys, int nkeys, const WorkEvent *events, int nevents)
{
	AtlasEventKey *done = palloc(sizeof(AtlasEventKey) * nkeys);
	AtlasEventKey *left = palloc(sizeof(AtlasEventKey) * nkeys);
	int			ndone = 0;
	int			nleft = 0;
	int			next = 0;

	for (int i = 0; i < nkeys; i++)
	{
		while (next < nevents && atlas_event_key_compare(&events[next].key, &keys[i]) < 0)
			next++;
		if (next >= nevents || atlas_event_key_compare(&events[next].key, &keys[i]) != 0)
			continue;
		if (events[next].rules_are_left && (keys[i].what & ATLAS_WORK_RULES))
			left[nleft++] = keys[i];
		else
			done[ndone++] = keys[i];
	}
	atlas_work_remove(done, ndone);
	atlas_work_leave_rules(left, nleft);
}

/* Puts a row off whose event is not in the log, or removes it. */
static void
put_off_missing_row(AtlasEventKey *key, bool is_ending, TimestampTz now)
{
	int			attempts = key->attempts + 1;

	if (is_ending)
		atlas_work_postpone(key, key->attempts, ATLAS_IS_ENDING, atlas_when_ended(now));
	else if (attempts > MISSING_ATTEMPTS)
		atlas_work_remove(key, 1);
	else
		atlas_work_postpone(key, attempts, ATLAS_IS_MISSING,
							atlas_backoff(now, MAX_BACKOFF_SECONDS, attempts, MAX_MISSING_SECONDS));
}

/* Does this for all rows of the missing events; the keys and the list are sorted. */
static void
put_off_missing_rows(AtlasEventKey *keys, int nkeys, const AtlasMissing *missing)
{
	TimestampTz now = GetCurrentTimestamp();
	int			key = 0;

	for (int i = 0; i < missing->nkeys; i++)
	{
		CHECK_FOR_INTERRUPTS();
		while (atlas_event_key_compare(&keys[key], &missing->keys[i]) < 0)
			key++;
		for (; key < nkeys && atlas_event_key_compare(&keys[key], &missing->keys[i]) == 0; key++)
			put_off_missing_row(&keys[key], missing->ending[i], now);
	}
}

/* Puts off an event that is not to blame for anything. */
static void
put_off_row(AtlasEventKey *key, const char *reason)
{
	atlas_log_put_off(reason, "atlas_event_work");
	atlas_work_postpone(key, key->attempts, reason,
						atlas_backoff(GetCurrentTimestamp(), MAX_BACKOFF_SECONDS, 1, MAX_BACKOFF_SECONDS));
}

/* ----- Failures ----- */

typedef struct GivenUp
{
	AtlasEventKey *key;
	const char *problem;
} GivenUp;

/* Stores an empty document that says why, and removes the row. An event that is not there has no document. */
static void
store_empty(void *argument)
{
	GivenUp    *given_up = argument;
	AtlasRows	rows;

	if (atlas_log_select(&select_sources, given_up->key, 1) == 0)
	{
		put_off_missing_row(given_up->key, false, GetCurrentTimestamp());
		return;
	}
	atlas_partition_ensure(ATLAS_EVENT_SEARCH, &given_up->key->id, 1);
	atlas_document_rows_init(&rows, 1);
	atlas_document_rows_add(&rows, given_up->key, NULL, given_up->problem);
	atlas_document_rows_write(&rows, ATLAS_REPLACE_EXISTING);
	if (given_up->key->what & ATLAS_WORK_RULES)
		atlas_work_reduce(given_up->key, ATLAS_WORK_RULES);
	else
		atlas_work_remove(given_up->key, 1);
}

/* Does the same to a row that has no document. */
static void
give_up_rules(void *argument)
{
	GivenUp    *given_up = argument;

	atlas_work_remove(given_up->key, 1);
}

/* Says in the server log that an attempt has failed. */
static void
log_failed_work(const AtlasEventKey *key, int attempts, bool is_given_up, const char *message)
{
	const char *id = atlas_event_id_string(&key->id);

	if (key->what & ATLAS_WORK_DOCUMENT)
		ereport(LOG,
				(errmsg("the document of event %s could not be made, attempt %d of %d: %s",
						id, attempts, atlas_max_attempts, message),
				 is_given_up ?
				 errhint("It is stored empty. Repair the cause and call atlas_rebuild_search().") : 0));
	else
		ereport(LOG,
				(errmsg("the rules could not be evaluated for event %s, attempt %d of %d: %s",
						id, attempts, atlas_max_attempts, message),
				 is_given_up ? errhint("The event counts for no rule.") : 0));
}

bool
atlas_work_failed(AtlasEventKey *key, bool is_made, const char *message)
{
	GivenUp		given_up = {key, message};
	bool		is_given_up = key->attempts + (is_made ? 1 : 0) >= atlas_max_attempts;
	int			attempts = is_made || !is_given_up ? key->attempts + 1 : key->attempts;
	ErrorData  *error = NULL;

	log_failed_work(key, attempts, is_given_up, message);
	if (is_given_up)
	{
		error = atlas_try(key->what & ATLAS_WORK_DOCUMENT ? store_empty : give_up_rules, &given_up);
		if (error == NULL)
			return false;
		if (atlas_stops_batch(error))
			ReThrowError(error);
		/* Not even that can be stored. It may be later. */
		put_off_row(key, error->message);
		return false;
	}
	atlas_work_postpone(key, attempts, message,
						atlas_backoff(GetCurrentTimestamp(), FIRST_BACKOFF_SECONDS, attempts,
									  MAX_BACKOFF_SECONDS));
	return true;
}

/* Makes two rows of one that is about the document and the rules, to find out which of them fails. */
static void
split_row(AtlasEventKey *key)
{
	AtlasRows	rows;

	atlas_work_rows_init(&rows, 1);
	atlas_work_rows_add(&rows, &key->id, key->tenant, U64FromFullTransactionId(GetTopFullTransactionId()),
						key->depth, ATLAS_WORK_RULES);
	atlas_rows_write(&rows);
	atlas_work_reduce(key, key->what & ~ATLAS_WORK_RULES);
}

/* An event is not to blame if a partition of its month cannot be made. Its document does not wait for those of rules. */
static void
fail_work(void *argument, int item, const ErrorData *error)
{
	WorkBatch  *batch = argument;
	int			what = batch->keys[item].what;
	bool		is_both = (what & ATLAS_WORK_RULES) && (what & ATLAS_WORK_DOCUMENT);

	if (atlas_is_shortage(error) || batch->makes_partitions || (batch->makes_rule_partitions && !is_both))
		put_off_row(&batch->keys[item], error->message);
	else if (is_both)
		split_row(&batch->keys[item]);
	else
		(void) atlas_work_failed(&batch->keys[item], true, error->message);
}

/* ----- The batch ----- */

/* Works on a part of the batch, kept or not. */
static void
work_on_part(void *argument, int from, int to, bool kept)
{
	WorkBatch  *batch = argument;
	AtlasEventKey *keys = &batch->keys[from];
	int			nkeys = to - from;
	AtlasEventKey *distinct = palloc(sizeof(AtlasEventKey) * nkeys);
	AtlasEventKey *rows = palloc(sizeof(AtlasEventKey) * nkeys);
	int			ndistinct = distinct_events(keys, nkeys, distinct);
	AtlasMissing missing;
	int			nread;
	int			nevents;
	WorkEvent  *events;
	SPITupleTable *tuptable;
	AtlasRuleBatch rules;

	batch->makes_partitions = batch->makes_rule_partitions = false; /* as an error may have left them */
	events = read_events_to_work_on(distinct, ndistinct, &nread, &missing);
	tuptable = SPI_tuptable;
	batch->makes_partitions = true;
	ensure_document_partitions(events, nread);
	batch->makes_partitions = false;
	nevents = omit_locked(events, nread);
	if (nevents == 0 && nread > 0 && nkeys == batch->nkeys)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("partitions of table \"atlas_event_search\" are locked")));
	batch->left |= nevents < nread ? ATLAS_LEFT_LOCKED : 0;
	nevents = evaluate_rules(batch, &rules, events, nevents);
	note_faults(batch, &rules);
	write_documents(events, nevents, batch->documents_may_exist);
	atlas_rules_write(&rules);
	note_faults(batch, &rules);
	atlas_rules_end(&rules);
	SPI_freetuptable(tuptable);
	remove_done(keys, nkeys, events, nevents);
	/* What is put off is put off in the copy: if this is undone, the rows are where they were. */
	memcpy(rows, keys, sizeof(AtlasEventKey) * nkeys);
	put_off_missing_rows(rows, nkeys, &missing);
}

/* The body of the subtransaction that nearly always succeeds. */
static void
work_on_whole_batch(void *argument)
{
	WorkBatch  *batch = argument;

	work_on_part(batch, 0, batch->nkeys, true);
}

/* Works on the whole batch, and else on parts of it, until the events that fail stand alone. */
static void
work_on_batch(WorkBatch *batch)
{
	ErrorData  *error = atlas_try(work_on_whole_batch, batch);

	if (error == NULL)
		return;
	if (atlas_stops_batch(error))
		ReThrowError(error);
	batch->documents_may_exist = true;
	atlas_bisect(batch, batch->nkeys, work_on_part, fail_work);
}

int
atlas_work_on(const AtlasEventKey *keys, int nkeys)
{
	WorkBatch	batch = {.nkeys = nkeys,.context = CurrentMemoryContext};
	ListCell   *cell;

	if (nkeys == 0)
		return 0;
	batch.keys = palloc(sizeof(AtlasEventKey) * nkeys);
	memcpy(batch.keys, keys, sizeof(AtlasEventKey) * nkeys);
	qsort(batch.keys, nkeys, sizeof(AtlasEventKey), atlas_event_key_compare);
	work_on_batch(&batch);
	foreach(cell, batch.faults)
		atlas_rule_switch_off(lfirst(cell));
	return batch.left;
}

int
atlas_work_batch(AtlasCursor *cursor, int limit, int *left)
{
	AtlasEventKey *keys = palloc(sizeof(AtlasEventKey) * limit);
	int			nclaimed = atlas_queue_claim_batch(cursor, limit, keys);

	*left = atlas_work_on(keys, nclaimed);
	if (*left & ~ATLAS_LEFT_RULES)
		cursor->sweep_next = true;
	return nclaimed;
}
