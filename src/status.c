/*
 * status.c
 *		atlas_status(): the row of the view atlas_events_status.
 *
 * What the linker does comes from shared memory, what waits from the queue. The
 * advice is for the reader who wonders why an event is still PENDING.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "worker.h"

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
	"         WHERE next_attempt_at OPERATOR(pg_catalog.=) 'infinity'),"
	"       (SELECT pg_catalog.count(*) FROM @extschema@.atlas_event_queue"
	"         WHERE next_attempt_at IS NULL OR next_attempt_at OPERATOR(pg_catalog.<>) 'infinity'),"
	"       pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)"
	"       (SELECT pg_catalog.min(e.received_at)"
	"          FROM ((SELECT event_id FROM @extschema@.atlas_event_queue"
	"                  WHERE next_attempt_at IS NULL"
	"                  ORDER BY submitted_xid, event_id LIMIT 1)"
	"                UNION ALL"
	"                (SELECT event_id FROM @extschema@.atlas_event_queue"
	"                  WHERE next_attempt_at OPERATOR(pg_catalog.<) 'infinity')) q,"
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

static const char *
state_name(AtlasLinkerState state)
{
	switch (state)
	{
		case ATLAS_LINKER_ASLEEP:
			return "asleep";
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

static const char *
advice_for(AtlasLinkerState state, bool any_failed)
{
	switch (state)
	{
		case ATLAS_LINKER_NO_SLOT:
			return "No background worker slot is free: increase max_worker_processes.";
		case ATLAS_LINKER_OFF:
			return "Set atlas_events.linking to on to have events linked.";
		case ATLAS_LINKER_SUBSCRIBED:
			return "The queue is filled by a subscription: events are linked on the publisher.";
		default:
			if (any_failed)
				return "Events have failed: see last_error in atlas_event_logs, then call atlas_retry_failed().";
			return NULL;
	}
}

static void
put_shared(Datum *values, bool *nulls, bool any_failed)
{
	AtlasDatabase copy;
	AtlasDatabase *slot = NULL;

	if (atlas_shared != NULL)
	{
		LWLockAcquire(atlas_shared->lock, LW_SHARED);
		slot = atlas_shmem_find(MyDatabaseId);
		if (slot != NULL)
			copy = *slot;
		LWLockRelease(atlas_shared->lock);
	}
	values[STATUS_PRELOADED] = BoolGetDatum(atlas_shared != NULL);
	nulls[STATUS_PRELOADED] = false;
	if (atlas_shared == NULL)
	{
		put_text(STATUS_WORKER_STATE, "off", values, nulls);
		put_text(STATUS_ADVICE, "Add atlas_events to shared_preload_libraries and restart, or call atlas_link_events() from time to time.",
				 values, nulls);
		return;
	}
	if (slot == NULL)
	{
		put_text(STATUS_WORKER_STATE, state_name(ATLAS_LINKER_ASLEEP), values, nulls);
		return;
	}

	values[STATUS_WORKER_PID] = Int32GetDatum(copy.pid);
	nulls[STATUS_WORKER_PID] = copy.pid == 0;
	put_text(STATUS_WORKER_STATE, copy.holders > 0 ? "held" : state_name(copy.state),
			 values, nulls);
	values[STATUS_SUBMITTED] = Int64GetDatum(pg_atomic_read_u64(&slot->submitted));
	values[STATUS_LINKED] = Int64GetDatum(pg_atomic_read_u64(&slot->linked));
	values[STATUS_NOT_FOUND] = Int64GetDatum(pg_atomic_read_u64(&slot->not_found));
	nulls[STATUS_SUBMITTED] = nulls[STATUS_LINKED] = nulls[STATUS_NOT_FOUND] = false;
	if (copy.last_error_at != 0)
	{
		put_text(STATUS_LAST_ERROR, copy.last_error, values, nulls);
		values[STATUS_LAST_ERROR_AT] = TimestampTzGetDatum(copy.last_error_at);
		nulls[STATUS_LAST_ERROR_AT] = false;
	}
	put_text(STATUS_ADVICE, advice_for(copy.state, any_failed), values, nulls);
}

Datum
atlas_status(PG_FUNCTION_ARGS)
{
	TupleDesc	tupdesc;
	Datum		values[STATUS_NCOLUMNS] = {0};
	bool		nulls[STATUS_NCOLUMNS];
	AtlasIdentity saved;
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
	put_queue_column(3, STATUS_OLDEST_PENDING_AGE, values, nulls);
	put_shared(values, nulls, DatumGetInt64(values[STATUS_FAILED]) > 0);
	tuple = heap_form_tuple(tupdesc, values, nulls);
	result = PointerGetDatum(SPI_returntuple(tuple, tupdesc));
	atlas_return(&saved);
	SPI_finish();
	PG_RETURN_DATUM(result);
}
