/*
 * linking_status.c
 *		What the linker of this database does, what waits for it, and what a DBA
 *		should look at.
 *
 * What the linker does comes from shared memory; what waits comes from the queue. The
 * advice is for the reader who wonders why an event is still PENDING.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/shmem.h"
#include "base/statement.h"
#include "objects/table_advice.h"
#include "work/search_status.h"
#include "worker/housekeeping.h"
#include "worker/linking_status.h"
#include "worker/worker.h"

#define LAUNCHER_SECONDS 5		/* by which the launcher may be late */

/*
 * Of all tenants, as the view says. The oldest event is looked for at the beginning of the queue's cursor, which has the
 * order of the transactions, and among the events that wait for another attempt.
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
	"          FROM ((SELECT tenant_id, event_id FROM @extschema@.atlas_event_queue"
	"                  WHERE next_attempt_at IS NULL AND submitted_xid OPERATOR(pg_catalog.>=) '0'"
	"                  ORDER BY next_attempt_at, submitted_xid, event_id LIMIT 1)"
	"                UNION ALL"
	"                (SELECT tenant_id, event_id FROM @extschema@.atlas_event_queue"
	"                  WHERE next_attempt_at OPERATOR(pg_catalog.<) 'infinity' AND submitted_xid OPERATOR(pg_catalog.>=) '0')) q,"
	"               LATERAL (SELECT e.received_at FROM @extschema@.atlas_events e"
	"                         WHERE e.tenant_id OPERATOR(pg_catalog.=) q.tenant_id"
	"                           AND e.event_id OPERATOR(pg_catalog.=) q.event_id OFFSET 0) e)",
};

/* What is known of the workers, besides the slot of this database. */
typedef struct WorkerState
{
	bool		no_slot_left;	/* for another database */
	bool		launcher_runs;
	bool		launcher_is_late;	/* it has not looked at the databases in time */
	bool		all_busy;		/* as many linkers run as may */
} WorkerState;

/* Looks at the launcher and at the other linkers. The caller holds the lock. */
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

/* The word for what the linker does, or for why there is none. */
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

/* Why no linker can come. NULL if one can. */
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

/* Why events wait for long although a linker can come. */
static const char *
advice_for_lateness(const AtlasDatabase *slot, const WorkerState *workers)
{
	if (slot->pid != 0)
		return "Events wait for longer than atlas_events.naptime: see in pg_stat_activity what worker_pid does.";
	if (workers->all_busy)
		return "Events wait for longer than atlas_events.naptime: other databases have all atlas_events.max_workers.";
	return "Events wait for longer than atlas_events.naptime: a linker is about to come; if none does see the server log.";
}

/* Has an event waited for longer than a linker may take to come? */
static bool
is_late(const Interval *age)
{
	return age != NULL && (age->day > 0 || age->time > atlas_naptime * USECS_PER_SEC);
}

/* The first thing that a DBA should look at. NULL if all is well. */
static const char *
advice_for(const AtlasDatabase *slot, const WorkerState *workers, const AtlasLinkingStatus *status)
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
	if (status->any_put_off)
		return "Events are put off and tried again: see last_error in atlas_event_logs.";
	if (status->failed > 0)
		return "Events have failed: see last_error in atlas_event_logs, then call atlas_retry_failed().";
	if (is_late(status->oldest_pending_age))
		return advice_for_lateness(slot, workers);
	advice = atlas_search_advice(atlas_naptime);
	return advice != NULL ? advice : atlas_rule_advice(&status->rules);
}

/* Reads what waits in the queue. */
static void
read_queue(AtlasLinkingStatus *status)
{
	HeapTuple	row;
	TupleDesc	tupdesc;
	Datum		age;
	bool		isnull;

	(void) atlas_execute(&select_queue, NULL, NULL, true, 0);
	row = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	status->failed = DatumGetInt64(SPI_getbinval(row, tupdesc, 1, &isnull));
	status->queue_depth = DatumGetInt64(SPI_getbinval(row, tupdesc, 2, &isnull));
	status->any_put_off = DatumGetBool(SPI_getbinval(row, tupdesc, 3, &isnull));
	age = SPI_getbinval(row, tupdesc, 4, &isnull);
	status->oldest_pending_age = isnull ? NULL : DatumGetIntervalP(age);
}

/* Reads what shared memory says. A database in which nothing has happened has no slot. */
static void
read_shared(AtlasLinkingStatus *status)
{
	AtlasDatabase copy = {.state = ATLAS_LINKER_ASLEEP};
	AtlasDatabase *slot;
	WorkerState workers;
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(atlas_shared->lock, LW_SHARED);
	slot = atlas_shmem_find(MyDatabaseId);
	status->has_counters = slot != NULL;
	if (slot != NULL)
	{
		copy = *slot;
		status->submitted = pg_atomic_read_u64(&slot->submitted);
		status->linked = pg_atomic_read_u64(&slot->linked);
		status->not_found = pg_atomic_read_u64(&slot->not_found);
	}
	workers = worker_state(now);
	LWLockRelease(atlas_shared->lock);

	status->worker_pid = copy.pid;
	status->worker_state = state_name(&copy, now);
	status->last_error_at = copy.last_error_at;
	if (copy.last_error_at != 0)
		status->last_error = pstrdup(copy.last_error);
	status->advice = advice_for(&copy, &workers, status);
}

void
atlas_linking_status(AtlasLinkingStatus *status)
{
	memset(status, 0, sizeof(*status));
	read_queue(status);
	atlas_rule_status(&status->rules);
	status->is_preloaded = atlas_shared != NULL;
	if (status->is_preloaded)
		read_shared(status);
	else
	{
		status->worker_state = "off";
		status->advice = "Add atlas_events to shared_preload_libraries and restart, or call atlas_link_events() from time to time; without preloading events are not found by search.";
	}
}
