/*
 * status.c
 *		atlas_status(): the row of the view atlas_events_status.
 *
 * What the linker does comes from shared memory, what waits from the queue. The
 * advice is for the reader who wonders why an event is still PENDING.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/identity.h"
#include "base/shmem.h"
#include "base/statement.h"
#include "objects/table_advice.h"
#include "worker/housekeeping.h"
#include "worker/worker.h"

#define LAUNCHER_SECONDS 5		/* that the launcher may take to look at the databases */

enum
{
	STATUS_PRELOADED,
	STATUS_WORKER_PID,
	STATUS_WORKER_STATE,
	STATUS_SUBMITTED,
	STATUS_LINKED,
	STATUS_NOT_FOUND,
	STATUS_FAILED,
	STATUS_QUEUE_DEPTH,
	STATUS_OLDEST_PENDING_AGE,
	STATUS_LAST_ERROR,
	STATUS_LAST_ERROR_AT,
	STATUS_ADVICE,
	STATUS_NCOLUMNS
};

/*
 * The oldest is looked for among the first of the queue's cursor, which is in
 * the order of the transactions, and among those that wait for another attempt.
 */
static AtlasStatement select_queue = {
	.sql =
	"SELECT (SELECT pg_catalog.count(*) FROM @extschema@.atlas_event_queue"
	"         WHERE next_attempt_at OPERATOR(pg_catalog.=) 'infinity' AND submitted_xid OPERATOR(pg_catalog.>=) '0'),"
	"       (SELECT pg_catalog.count(*) FROM @extschema@.atlas_event_queue"
	"         WHERE next_attempt_at IS NULL OR next_attempt_at OPERATOR(pg_catalog.<>) 'infinity'),"
	"       EXISTS (SELECT FROM @extschema@.atlas_event_queue"
	"                WHERE next_attempt_at OPERATOR(pg_catalog.<) 'infinity' AND submitted_xid OPERATOR(pg_catalog.>=) '0'),"
	"       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
	"       (SELECT pg_catalog.min(e.received_at)"
	"          FROM ((SELECT event_id FROM @extschema@.atlas_event_queue"
	"                  WHERE next_attempt_at IS NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0'"
	"                  ORDER BY next_attempt_at, submitted_xid, event_id LIMIT 1)"
	"                UNION ALL"
	"                (SELECT event_id FROM @extschema@.atlas_event_queue"
	"                  WHERE next_attempt_at OPERATOR(pg_catalog.<) 'infinity' AND submitted_xid OPERATOR(pg_catalog.>=) '0')) q,"
	"               @extschema@.atlas_events e"
	"         WHERE e.event_id OPERATOR(pg_catalog.=) q.event_id)",
};

PG_FUNCTION_INFO_V1(atlas_status);

/* Copies a column of the query above, unless it is null. */
static void
put_queue_column(int column, int status, Datum *values, bool *nulls)
{
	values[status] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column,
								   &nulls[status]);
}

static void
put_text(int status, const char *value, Datum *values, bool *nulls)
{
	nulls[status] = value == NULL;
	if (value != NULL)
		values[status] = CStringGetTextDatum(value);
}

/* What is known of the workers, besides the slot of this database. */
typedef struct WorkerState
{
	bool		no_slot_left;	/* for another database */
	bool		launcher_runs;
	bool		launcher_is_late;	/* it has not looked at the databases in time */
	bool		all_busy;		/* as many linkers run as may */
} WorkerState;

/* The caller holds the lock. */
static WorkerState
worker_state(TimestampTz now)
{
	WorkerState state = {0};
	TimestampTz due = (TimestampTz) pg_atomic_read_u64(&atlas_shared->launcher_due);
	int			running = 0;

	for (int i = 0; i < ATLAS_MAX_DATABASES; i++)
		if (OidIsValid(atlas_shared->databases[i].database) && atlas_shared->databases[i].pid != 0)
			running++;
	state.no_slot_left = atlas_shmem_find(InvalidOid) == NULL;
	state.launcher_runs = pg_atomic_read_u64(&atlas_shared->launcher_latch) != 0;
	state.launcher_is_late = TimestampDifferenceExceeds(due, now, LAUNCHER_SECONDS * 1000);
	/* The last of several is for visits. */
	state.all_busy = running >= Max(atlas_max_workers - 1, 1);
	return state;
}

/* Does the next linker wait because the one before has ended with an error? */
static bool
is_in_backoff(const AtlasDatabase *slot, TimestampTz now)
{
	return slot->pid == 0 && slot->failures > 0 && slot->not_before > now;
}

static const char *
state_name(AtlasDatabase *slot, TimestampTz now)
{
	if (RecoveryInProgress())
		return "off";
	if (slot->holders > 0)
		return "held";
	if (is_in_backoff(slot, now))
		return "backoff";
	switch (slot->state)
	{
		case ATLAS_LINKER_ASLEEP:
			return pg_atomic_read_u32(&slot->pending) != 0 ? "waiting" : "asleep";
		case ATLAS_LINKER_STARTING:
			return "starting";
		case ATLAS_LINKER_LINKING:
			return "linking";
		case ATLAS_LINKER_IDLE:
			return "idle";
		case ATLAS_LINKER_NO_SLOT:
			return "waiting";
		case ATLAS_LINKER_OFF:
		case ATLAS_LINKER_SUBSCRIBED:
			return "off";
	}
	return NULL;
}

/* What the advice depends on, besides the workers. */
typedef struct QueueState
{
	bool		any_failed;
	bool		any_put_off;
	bool		is_late;		/* something has waited for longer than naptime */
} QueueState;

/* Why no linker can come; NULL when one can. */
static const char *
advice_for_absence(const AtlasDatabase *slot, const WorkerState *workers)
{
	if (slot->holders > 0)
		return "A transaction renames, moves, copies or drops this database: events are linked when it has ended.";
	if (slot->state == ATLAS_LINKER_OFF)
		return "atlas_events.linking is off: set it to on to have events linked, and reload.";
	if (slot->state == ATLAS_LINKER_SUBSCRIBED)
		return "The queue is filled by a subscription: events are linked on the publisher.";
	if (!workers->launcher_runs)
		return "The launcher of atlas_events does not run: see the server log.";
	if (workers->launcher_is_late)
		return "The launcher of atlas_events does not answer: see in pg_stat_activity what it waits for.";
	if (!OidIsValid(slot->database) && workers->no_slot_left)
		return "atlas_events serves as many databases as it can, and this is not among them: call atlas_link_events() from time to time.";
	if (slot->state == ATLAS_LINKER_NO_SLOT)
		return "No background worker slot is free: increase max_worker_processes.";
	return NULL;
}

/* Why events wait for long, though a linker can come. */
static const char *
advice_for_lateness(const AtlasDatabase *slot, const WorkerState *workers)
{
	if (slot->pid != 0)
		return "Events wait for longer than atlas_events.naptime: see in pg_stat_activity what worker_pid does.";
	if (workers->all_busy)
		return "Events wait for longer than atlas_events.naptime: other databases have all atlas_events.max_workers.";
	return "Events wait for longer than atlas_events.naptime: a linker is about to come; if none does see the server log.";
}

/* The first thing that a DBA should look at; NULL when all is well. */
static const char *
advice_for(const AtlasDatabase *slot, const WorkerState *workers, const QueueState *queue)
{
	const char *advice;

	if (RecoveryInProgress())
		return "This server is a standby: events are linked on the primary.";
	advice = advice_for_absence(slot, workers);
	if (advice != NULL)
		return advice;
	if (slot->failures > 0 && slot->pid == 0)
		return "The linker has ended with an error and is started again, within a minute: see last_error and the server log.";
	advice = atlas_object_types_advice();
	if (advice != NULL)
		return advice;
	if (slot->problem[0] != '\0')
		return atlas_housekeeping_advice(slot);
	if (queue->any_put_off)
		return "Events are put off and tried again: see last_error in atlas_event_logs.";
	if (queue->any_failed)
		return "Events have failed: see last_error in atlas_event_logs, then call atlas_retry_failed().";
	return queue->is_late ? advice_for_lateness(slot, workers) : NULL;
}

/* What the queue's query above has found, for the advice. */
static QueueState
queue_state(const Datum *values, const bool *nulls)
{
	QueueState	queue = {0};
	bool		isnull;

	queue.any_put_off = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0],
												   SPI_tuptable->tupdesc, 3, &isnull));
	queue.any_failed = DatumGetInt64(values[STATUS_FAILED]) > 0;
	if (!nulls[STATUS_OLDEST_PENDING_AGE])
	{
		Interval   *age = DatumGetIntervalP(values[STATUS_OLDEST_PENDING_AGE]);

		queue.is_late = age->day > 0 || age->time > atlas_naptime * USECS_PER_SEC;
	}
	return queue;
}

/* What shared memory says. A database that nothing happened in has no slot. */
static void
put_shared(const QueueState *queue, Datum *values, bool *nulls)
{
	AtlasDatabase copy = {.state = ATLAS_LINKER_ASLEEP};
	AtlasDatabase *slot;
	WorkerState workers;
	TimestampTz now = GetCurrentTimestamp();

	values[STATUS_PRELOADED] = BoolGetDatum(atlas_shared != NULL);
	nulls[STATUS_PRELOADED] = false;
	if (atlas_shared == NULL)
	{
		put_text(STATUS_WORKER_STATE, "off", values, nulls);
		put_text(STATUS_ADVICE, "Add atlas_events to shared_preload_libraries and restart, or call atlas_link_events() from time to time.",
				 values, nulls);
		return;
	}

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	slot = atlas_shmem_find(MyDatabaseId);
	if (slot != NULL)
	{
		copy = *slot;
		values[STATUS_SUBMITTED] = Int64GetDatum(pg_atomic_read_u64(&slot->submitted));
		values[STATUS_LINKED] = Int64GetDatum(pg_atomic_read_u64(&slot->linked));
		values[STATUS_NOT_FOUND] = Int64GetDatum(pg_atomic_read_u64(&slot->not_found));
		nulls[STATUS_SUBMITTED] = nulls[STATUS_LINKED] = nulls[STATUS_NOT_FOUND] = false;
	}
	workers = worker_state(now);
	LWLockRelease(atlas_shared->lock);

	values[STATUS_WORKER_PID] = Int32GetDatum(copy.pid);
	nulls[STATUS_WORKER_PID] = copy.pid == 0;
	put_text(STATUS_WORKER_STATE, state_name(&copy, now), values, nulls);
	if (copy.last_error_at != 0)
	{
		put_text(STATUS_LAST_ERROR, copy.last_error, values, nulls);
		values[STATUS_LAST_ERROR_AT] = TimestampTzGetDatum(copy.last_error_at);
		nulls[STATUS_LAST_ERROR_AT] = false;
	}
	put_text(STATUS_ADVICE, advice_for(&copy, &workers, queue), values, nulls);
}

Datum
atlas_status(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[STATUS_NCOLUMNS] = {0};
	bool		nulls[STATUS_NCOLUMNS];
	AtlasIdentity saved;
	QueueState	queue;
	HeapTuple	tuple;
	Datum		result;

	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	tupdesc = BlessTupleDesc(tupdesc);

	memset(nulls, true, sizeof(nulls));
	SPI_connect();
	atlas_become_owner(&saved);
	(void) atlas_execute(&select_queue, NULL, NULL, true, 0);
	put_queue_column(1, STATUS_FAILED, values, nulls);
	put_queue_column(2, STATUS_QUEUE_DEPTH, values, nulls);
	put_queue_column(4, STATUS_OLDEST_PENDING_AGE, values, nulls);
	queue = queue_state(values, nulls);
	put_shared(&queue, values, nulls);
	tuple = heap_form_tuple(tupdesc, values, nulls);
	result = PointerGetDatum(SPI_returntuple(tuple, tupdesc));
	atlas_return(&saved);
	SPI_finish();
	PG_RETURN_DATUM(result);
}
